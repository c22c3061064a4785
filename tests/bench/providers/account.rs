//! Accounts of many droplets, rules of every type, and where what they name is in the kernel.

use std::net::IpAddr;

use dbfw_datapath::Reader;
use dbfw_tests::{agent::Host, provider_server::Account};

/// Adds `count` droplets in the default VPC, `tags` tags dealt out among them in turn; their
/// ids.
pub(super) fn droplets(account: &mut Account, count: usize, tags: usize) -> Vec<u64> {
    (0..count)
        .map(|index| {
            let tag = tag(index % tags.max(1));
            let tags = if tags > 0 { vec![tag.as_str()] } else { Vec::new() };
            account.add_droplet(&format!("web-{index}"), &tags, &[])
        })
        .collect()
}

/// The name of a tag.
pub(super) fn tag(number: usize) -> String {
    format!("tag-{number}")
}

/// Every address of droplets.
pub(super) fn addresses(account: &Account, droplets: &[u64]) -> Vec<IpAddr> {
    let of = |id: &u64| account.addresses_of(*id);
    droplets.iter().flat_map(of).map(|text| text.parse().expect("an address")).collect()
}

/// What the agent of a host has put into the maps.
pub(super) fn reader(host: &Host<'_>) -> Reader {
    Reader::open(host.pins().parent().expect("the pin directory")).expect("read the maps")
}

/// Whether the kernel knows all of them.
pub(super) fn all_known(reader: &Reader, addresses: &[IpAddr]) -> bool {
    // The last ones first: those are the ones to wait for.
    addresses
        .iter()
        .rev()
        .all(|address| reader.lookup(*address).expect("look the address up").is_some())
}
