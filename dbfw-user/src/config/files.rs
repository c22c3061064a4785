//! The files that the agent reads because of a configuration.

use std::{collections::BTreeMap, path::PathBuf};

use dbfw_core::{answers::ListId, source::Location};
use dbfw_provider::token::TokenSource;

use super::Config;

/// Purpose of a file that the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The configuration: without it the agent does not take it.
    Configuration,
    /// A list, a feed, certificate authorities: what was read last stays.
    Data,
    /// A token, which nobody but the agent is to read.
    Secret,
}

/// Every file that the agent reads because of a configuration, systemd's credentials apart.
pub(crate) fn files(config: &Config) -> BTreeMap<PathBuf, Purpose> {
    let mut files: BTreeMap<PathBuf, Purpose> =
        config.files.iter().map(|file| (file.path.clone(), Purpose::Configuration)).collect();
    for database in &config.databases {
        if let Some(ListId::File(path)) = &database.provider {
            files.insert(path.clone(), Purpose::Data);
        }
        for feed in database.trusted_sources.iter().filter_map(|source| source.key().feed()) {
            if let Location::Path(path) = &feed.location {
                files.insert(path.clone(), Purpose::Data);
            }
        }
    }
    let tokens = [
        config.digitalocean.as_ref().map(|api| &api.token),
        config.aptible.as_ref().map(|api| &api.token),
        config.server.as_ref().map(|server| &server.token),
    ];
    for token in tokens.into_iter().flatten() {
        if let TokenSource::File(path) = token {
            files.insert(path.clone(), Purpose::Secret);
        }
    }
    let clients = [
        config.digitalocean.as_ref().map(|api| &api.http),
        config.aptible.as_ref().map(|api| &api.http),
        config.server.as_ref().map(|server| &server.http),
        Some(&config.feeds.http),
    ];
    let authorities = clients.into_iter().flatten().filter_map(|http| http.ca_file.as_ref());
    files.extend(authorities.map(|path| (path.clone(), Purpose::Data)));
    files
}
