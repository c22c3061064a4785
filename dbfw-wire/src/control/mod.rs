//! The documents of the control socket, one line of JSON each.
//!
//! `--output json` prints them too, so their fields are a promise: add, never rename.

mod audit;
mod check;
mod doctor;
mod drops;
mod explain;
mod export;
mod failure;
mod history;
mod map;
mod reload;
mod request;
mod sources;
mod status;
mod suggest;
mod trust;

pub use audit::*;
pub use check::*;
pub use doctor::*;
pub use drops::*;
pub use explain::*;
pub use export::*;
pub use failure::*;
pub use history::*;
pub use map::*;
pub use reload::*;
pub use request::*;
pub use sources::*;
pub use status::*;
pub use suggest::*;
pub use trust::*;

#[cfg(test)]
mod tests;
