//! `vpc:`: the range of a VPC network; and addresses that look like one but are one.

use std::net::IpAddr;

use dbfw_core::{
    answers::{Answer, FetchError, Outcome, Part},
    source::{Prefix, SourceKey},
};
use dbfw_wire::digitalocean::Vpc;

use super::droplet::{invalid, network};
use crate::{
    digitalocean::{fetch::Sighting, paging::Listing},
    http::clean,
};

/// The outcome of a `vpc:` source.
pub(crate) fn outcome(sighting: Sighting<Vpc>) -> Outcome {
    sighting.outcome(|vpc| {
        let part = match range(vpc) {
            Ok(prefix) => Part::prefixes(vec![prefix]),
            Err(error) => Part::Failed(error),
        };
        [("range".to_owned(), part)].into()
    })
}

/// The network's range.
///
/// # Errors
/// `ip_range` is no range.
pub(crate) fn range(vpc: &Vpc) -> Result<Prefix, FetchError> {
    network(&format!("VPC network {}", clean(&vpc.id, 80)), "ip_range", &vpc.ip_range)
}

/// The outcome of an `ip_addr:` source of one address, beside the account's networks, if they
/// are known.
pub(crate) fn address_outcome(key: &SourceKey, networks: Option<&Listing<Vpc>>) -> Outcome {
    let Some(address) = single_address(key) else {
        let what = key.kind().to_string();
        let text = format!("{:?} is not a single address", clean(key.value(), 80));
        return Outcome::Failed(invalid(&what, &text));
    };
    let from = networks.map_or("its own text", |list| list.from.as_str());
    self::address(address, networks.into_iter().flat_map(Listing::iter), from).into()
}

fn single_address(key: &SourceKey) -> Option<IpAddr> {
    match &**key.prefixes()? {
        [prefix] if prefix.is_host() => Some(prefix.addr()),
        _ => None,
    }
}

/// The answer for an address: that address, whatever is known of the networks. DigitalOcean's
/// manual has people paste a network's address without its length.
fn address<'a>(address: IpAddr, networks: impl Iterator<Item = &'a Vpc>, from: &str) -> Answer {
    let prefix = Prefix::host(address);
    let note = |vpc: &Vpc| {
        let range = range(vpc).ok().filter(|range| range.addr() == address && !range.is_host())?;
        let (name, id) = (clean(&vpc.name, 80), clean(&vpc.id, 80));
        Some(format!(
            "{address} is read as one address; VPC {name} is {range}: write ip_addr:{range} or \
             vpc:{id}"
        ))
    };
    Answer {
        parts: [("address".to_owned(), Part::prefixes(vec![prefix]))].into(),
        from: from.to_owned(),
        notes: networks.filter_map(note).collect(),
        ..Answer::default()
    }
}

#[cfg(test)]
mod tests;
