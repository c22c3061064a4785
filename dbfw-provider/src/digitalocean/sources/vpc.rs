//! `vpc:`: the range of a VPC network; and addresses that look like one but are one. Pure.

use std::net::IpAddr;

use dbfw_core::{
    answers::{Answer, FetchError, Outcome, Part},
    source::Prefix,
};
use dbfw_wire::digitalocean::Vpc;

use super::droplet::network;
use crate::{digitalocean::facts::Sighting, http::clean};

/// The outcome of a `vpc:` source.
pub(crate) fn outcome(sighting: Sighting<'_, Vpc>) -> Outcome {
    match sighting.found {
        Ok(vpc) => {
            let part = match range(vpc) {
                Ok(prefix) => Part::prefixes(vec![prefix]),
                Err(error) => Part::Failed(error),
            };
            let parts = [("range".to_owned(), part)].into();
            Answer { parts, from: sighting.from, ..Answer::default() }.into()
        }
        Err(missed) => missed.into(),
    }
}

/// The network's range.
pub(crate) fn range(vpc: &Vpc) -> Result<Prefix, FetchError> {
    network(&format!("VPC network {}", clean(&vpc.id, 80)), "ip_range", &vpc.ip_range)
}

/// The answer for an `ip_addr:` source of one address: that address, whatever is known of the
/// networks. DigitalOcean's manual has people paste a network's address without its length.
pub(crate) fn address<'a>(
    address: IpAddr,
    networks: impl Iterator<Item = &'a Vpc>,
    from: &str,
) -> Answer {
    let prefix = Prefix::host(address);
    let note = |vpc: &Vpc| {
        let range = range(vpc).ok().filter(|range| range.addr() == address && !range.is_host())?;
        let (name, id) = (clean(&vpc.name, 80), clean(&vpc.id, 80));
        Some(format!(
            "{address} is taken as one address; VPC {name} is {range}: write ip_addr:{range} or \
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
