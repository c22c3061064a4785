//! The control plane of dbfw: lists of trusted sources, kept in one place and edited through
//! DigitalOcean's API.
//!
//! `list` and `model` are the domain: what a list is, and what the store keeps. `store` keeps it.
//! `service` is what can be done, `resolve` finds what sources stand for, and `fleet` has the hosts that lists are sent to; `api` lets clients
//! ask for it over HTTP, `panel` has pages for people, `metrics` what monitoring reads, and `serve` listens.
//! `cli` is the command line, whose subcommands ask the running server through its admin socket.

pub mod api;
pub mod cli;
pub mod config;
pub mod fleet;
pub mod list;
pub mod metrics;
pub mod model;
pub mod panel;
pub mod resolve;
pub mod serve;
pub mod service;
pub mod store;
