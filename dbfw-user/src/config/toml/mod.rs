//! TOML read by hand: values with their places, problems, and the texts about them.

pub(crate) mod duration;
pub(crate) mod problem;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod text;
