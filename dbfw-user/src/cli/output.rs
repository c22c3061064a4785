//! Documents of the control socket as text.
//!
//! Pure: the same document, form and moment give the same text.
//!
//! Text for people may carry ANSI styles, which the stream it is written to removes where
//! they are not wanted.

mod audit;
mod check;
mod doctor;
mod drops;
mod explain;
mod history;
mod map;
mod refused;
mod reload;
mod render;
#[cfg(test)]
pub(super) mod samples;
mod sources;
mod status;
mod suggest;
mod table;
mod trust;
mod words;

pub(super) use self::{
    drops::{forgotten, is_let_in, left_out},
    render::{Format, Render, render, render_item},
    sources::UnusedSources,
    suggest::Shown,
    words::{clean, lasting},
};

#[cfg(test)]
mod tests;
