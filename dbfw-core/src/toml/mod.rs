//! TOML read by hand: values with their places, every problem at once, and trusted sources.

mod duration;
mod problem;
mod read;
mod report;
mod sources;
mod text;

pub use self::{
    duration::{DurationError, parse_duration, shown},
    problem::{Place, Problem, Problems},
    read::{Document, Table, Value, utf8},
    report::Report,
    sources::read_sources,
    text::{is_digits, quoted, shortened},
};
