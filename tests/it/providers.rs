//! The agent against the tests' own DigitalOcean, Aptible and feeds, judged by the kernel.

mod aptible;
mod changes;
pub(crate) mod common;
mod faults;
mod feeds;
mod guards;
mod history;
mod names;
mod observe;
mod pydo;
pub(crate) mod readers;
mod restart;
