//! Workers that ask the outside for lists and for the prefixes of sources.

pub mod aptible;
pub mod backoff;
pub mod budget;
pub mod digitalocean;
pub mod dns;
pub mod feed;
pub mod file;
pub mod http;
pub mod inventory;
pub mod list;
pub mod rounds;
pub mod secret;
pub mod stats;
pub mod worker;
