//! Addresses that no machine connects from.

use std::net::IpAddr;

/// The kind of an address that no other machine connects from: "a loopback address". Link-local
/// addresses are not among them: a machine on the same link has one.
pub fn unusable_source(addr: IpAddr) -> Option<&'static str> {
    let addr = addr.to_canonical();
    if addr.is_loopback() {
        return Some("a loopback address");
    }
    if addr.is_unspecified() {
        return Some("the unspecified address");
    }
    if addr.is_multicast() {
        return Some("a multicast address");
    }
    match addr {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an address of \"this network\" (0.0.0.0/8)"),
        _ => None,
    }
}
