//! What goes over the control socket, one JSON document a line. The documents are also
//! what `--output json` prints, so their fields are a promise: add, never rename.

mod answers;
mod drops;
mod history;
mod request;
mod setup;
mod sources;
mod status;

pub use answers::*;
pub use drops::*;
pub use history::*;
pub use request::*;
pub use setup::*;
pub use sources::*;
pub use status::*;

#[cfg(test)]
mod tests;
