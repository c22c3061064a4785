//! The tables of a configuration file that set the workers, one file each: the agent's and the
//! control plane's have the same keys, checks and defaults.

mod aptible;
mod digitalocean;
mod dns;
mod feeds;
mod http;

pub use self::{
    aptible::{APTIBLE, read_aptible},
    digitalocean::{DIGITALOCEAN, read_digitalocean},
    dns::{check_dns, read_dns},
    feeds::{read_feed_keys, read_feeds},
    http::{Api, secret_file, token_file},
};
