//! Which requests a round needs. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use dbfw_core::{
    answers::{Cause, FetchError},
    source::{SourceKey, SourceType},
};
use jiff::Timestamp;

use super::listing::pages;
use crate::{http::clean, worker::Demand};

/// So many things of a kind are asked for one by one without a thought.
const FEW: u64 = 2;

/// Age up to which a count is believed that no request confirmed.
const COUNT_LIFE: Duration = Duration::from_secs(3600);

/// The things that a round asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) droplets: BTreeSet<u64>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) clusters: BTreeSet<String>,
    pub(crate) apps: BTreeSet<String>,
    pub(crate) vpcs: BTreeSet<String>,
    /// Whether addresses are to be compared with the VPC networks.
    pub(crate) addresses: bool,
}

/// The way to ask for things of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One request each.
    Each,
    /// The whole list.
    List,
    /// The first page of the list, which tells how many there are, and then either.
    Probe,
}

/// Counts of earlier answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) droplets: Count,
    pub(crate) clusters: Count,
    pub(crate) apps: Count,
    pub(crate) vpcs: Count,
    /// Droplets with a tag.
    pub(crate) tags: BTreeMap<String, u64>,
    /// Nodes of a cluster.
    pub(crate) nodes: BTreeMap<String, u64>,
}

/// A count of something, and its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(Option<(u64, Timestamp)>);

impl Count {
    pub(crate) fn set(&mut self, count: u64, now: Timestamp) {
        self.0 = Some((count, now));
    }

    pub(crate) fn get(self, now: Timestamp) -> Option<u64> {
        let (count, at) = self.0?;
        let age = Duration::try_from(now.duration_since(at)).ok()?;
        (age < COUNT_LIFE).then_some(count)
    }
}

/// The cheaper way, in requests: `each` of them, or a list of `total` things. No list takes
/// more than `most`: it would end where the budget of a minute does, round after round.
pub(crate) fn way(each: u64, total: Option<u64>, most: u64) -> Way {
    if each <= FEW {
        return Way::Each;
    }
    match total.map(pages) {
        None => Way::Probe,
        Some(pages) if pages < each && pages <= most => Way::List,
        Some(_) => Way::Each,
    }
}

/// Whether to go on with a list whose first page was read anyway.
pub(crate) fn goes_on(each: u64, total: Option<u64>, most: u64) -> bool {
    total.map(pages).is_none_or(|pages| pages - 1 <= each && pages <= most)
}

impl Known {
    /// Forgets tags and clusters that are not wanted any more.
    pub(crate) fn retain(&mut self, demand: &Demand) {
        let want = Want::of(&demand.sources);
        self.tags.retain(|tag, _| want.tags.contains(tag));
        self.nodes.retain(|id, _| want.clusters.contains(id));
    }
}

impl Want {
    /// The things that these sources need; other types are left out.
    pub(crate) fn of<'a>(keys: impl IntoIterator<Item = &'a SourceKey>) -> Self {
        let mut want = Self::default();
        for key in keys {
            match key.kind() {
                SourceType::Droplet => want.droplets.extend(key.droplet()),
                SourceType::Tag => want.tags.extend([key.value().to_owned()]),
                SourceType::K8s => want.clusters.extend([id(key)]),
                SourceType::App => want.apps.extend([id(key)]),
                SourceType::Vpc => want.vpcs.extend([id(key)]),
                SourceType::IpAddr => want.addresses |= address(key).is_ok(),
                SourceType::Feed | SourceType::Dns => {}
            }
        }
        want
    }

    /// Requests for droplets and tags one by one, with those for the nodes that the clusters
    /// had last time.
    pub(crate) fn each_droplet(&self, known: &Known) -> u64 {
        let of_tag = |tag| pages(known.tags.get(tag).copied().unwrap_or(0));
        let of_cluster = |id| known.nodes.get(id).copied().unwrap_or(0);
        self.droplets.len() as u64
            + self.tags.iter().map(of_tag).sum::<u64>()
            + self.clusters.iter().map(of_cluster).sum::<u64>()
    }
}

/// A droplet's id in an answer: a number in its only form.
pub(crate) fn parse_droplet_id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|id: &u64| id.to_string() == text)
}

/// An id as answers have it: in small letters.
pub(crate) fn id(key: &SourceKey) -> String {
    key.value().to_ascii_lowercase()
}

/// A single address.
pub(crate) fn address(key: &SourceKey) -> Result<IpAddr, FetchError> {
    match key.prefixes().map(|prefixes| &**prefixes) {
        Some([prefix]) if prefix.is_host() => Ok(prefix.addr()),
        _ => {
            let value = clean(key.value(), 80);
            let text = format!("DigitalOcean: {}: {value:?} is not a single address", key.kind());
            Err(FetchError::new(Cause::Invalid, text))
        }
    }
}

#[cfg(test)]
mod tests;
