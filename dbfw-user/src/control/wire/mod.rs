//! What goes over the control socket, one JSON document a line. The documents are also
//! what `--output json` prints, so their fields are a promise: add, never rename.

mod answers;
mod audit;
mod drops;
mod request;
mod setup;
mod sources;
mod status;

pub use answers::*;
pub use audit::*;
pub use drops::*;
pub use request::*;
pub use setup::*;
pub use sources::*;
pub use status::*;

#[cfg(test)]
mod tests;
