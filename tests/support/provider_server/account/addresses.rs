//! Addresses of machines: given by a test, or the next that are free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_wire::digitalocean::{Address, Droplet, Networks};
use ipnet::Ipv4Net;

use super::Account;

/// Where public addresses are counted from: 198.18.0.0/15, which no network routes.
const PUBLIC: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// Where IPv6 addresses are counted from, in the range of documentation.
const V6: u128 = 0x2001_0db8_0116_0000_0000_0000_0000_0000;

impl Account {
    /// The addresses of the next machine that is made without any, whoever makes it: a client
    /// that grows a node pool gets them too. Calls add up: one machine each.
    pub fn reserve(&mut self, addresses: &[&str]) {
        self.reserved.push_back(addresses.iter().map(|address| (*address).to_owned()).collect());
    }

    /// The networks of a new machine: the addresses asked for; else those reserved; else a
    /// private, a public and an IPv6 address that nobody has.
    pub(super) fn networks(&mut self, addresses: &[&str], number: u64) -> Networks {
        if !addresses.is_empty() {
            return networks(addresses.iter().copied());
        }
        if let Some(reserved) = self.reserved.pop_front() {
            return networks(reserved.iter().map(String::as_str));
        }
        let low = u32::try_from(number).expect("a machine's number fits");
        let vpc: Option<Ipv4Net> = self.vpcs.first().and_then(|vpc| vpc.ip_range.parse().ok());
        let private = vpc.map(|range| Ipv4Addr::from(u32::from(range.network()) + low).to_string());
        let public = Ipv4Addr::from(PUBLIC + low).to_string();
        let v6 = Ipv6Addr::from(V6 + u128::from(number)).to_string();
        networks(private.iter().chain([&public, &v6]).map(String::as_str))
    }
}

/// Sorts addresses into the networks a droplet's answer has.
pub(super) fn networks<'a>(addresses: impl Iterator<Item = &'a str>) -> Networks {
    let mut networks = Networks::default();
    for text in addresses {
        let address: IpAddr =
            text.parse().unwrap_or_else(|_| panic!("{text} is not an address of a machine"));
        let is_private = matches!(address, IpAddr::V4(v4) if v4.is_private());
        let list = if address.is_ipv4() { &mut networks.v4 } else { &mut networks.v6 };
        list.push(Address {
            ip_address: text.to_owned(),
            kind: if is_private { "private" } else { "public" }.to_owned(),
        });
    }
    networks
}

/// Every address of a machine.
pub(super) fn of(droplet: &Droplet) -> Vec<String> {
    let networks = droplet.networks.iter();
    let addresses = networks.flat_map(|networks| networks.v4.iter().chain(&networks.v6));
    addresses.map(|address| address.ip_address.clone()).collect()
}
