//! [`ResolveConfig`]: the settings of the resolver, and [`Resolvable`], what it can resolve.

use std::time::Duration;

use dbfw_core::{
    answers::Limits,
    source::{Location, SourceKey},
};
use dbfw_provider::{
    digitalocean::DigitalOceanConfig, dns::DnsConfig, feed::FeedsConfig, worker::Account,
};

/// Settings of the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveConfig {
    /// The account of droplets, tags, clusters, apps and networks; `None`: hosts resolve them.
    pub digitalocean: Option<DigitalOceanConfig>,
    /// The resolvers of host names.
    pub dns: DnsConfig,
    /// Requests for feeds.
    pub feeds: FeedsConfig,
    /// Limits on the age of answers that are not confirmed.
    pub limits: Limits,
    /// The share of a source's prefixes that may go at once, in percent.
    pub max_shrink: u8,
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            digitalocean: None,
            dns: DnsConfig::default(),
            feeds: FeedsConfig::default(),
            limits: Limits { gone_after: Duration::from_secs(120), max_stale: None },
            max_shrink: 50,
        }
    }
}

impl ResolveConfig {
    /// The sources that can be resolved.
    pub fn resolvable(&self) -> Resolvable {
        Resolvable { digitalocean: self.digitalocean.is_some() }
    }
}

/// The sources that the server resolves. The hosts resolve all others themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolvable {
    digitalocean: bool,
}

impl Resolvable {
    /// The account that a source is asked of; `None`: the server does not resolve it.
    pub fn account(self, source: &SourceKey) -> Option<Account> {
        // A file of a list that came with a backup would be one of this machine.
        if source.feed().is_some_and(|feed| matches!(feed.location, Location::Path(_))) {
            return None;
        }
        let account = Account::resolving(source.kind())?;
        (account != Account::DigitalOcean || self.digitalocean).then_some(account)
    }

    /// The accounts that sources are asked of.
    pub fn accounts(self) -> impl Iterator<Item = Account> {
        let all = [Account::DigitalOcean, Account::Feeds, Account::Dns];
        all.into_iter()
            .filter(move |account| *account != Account::DigitalOcean || self.digitalocean)
    }
}
