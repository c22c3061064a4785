//! The agent against the tests' own DigitalOcean, Aptible and feeds, judged by the kernel.

mod aptible;
mod audit;
mod changes;
mod common;
mod faults;
mod feeds;
mod guards;
mod names;
mod observe;
mod pydo;
mod readers;
mod restart;
