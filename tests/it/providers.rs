//! The agent against the tests' own DigitalOcean, Aptible and feeds, judged by the kernel.

mod common;
mod faults;
