//! The table `[dns]` of the configuration: its keys, their checks and defaults.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::dns::DnsConfig;
use dbfw_core::toml::{Report, Table, Value, quoted, shown};

const SERVERS_FIX: &str = r#"write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#;

const DAY: Duration = Duration::from_secs(86_400);

/// The port of DNS.
const PORT: u16 = 53;

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub fn read_dns(config: &mut DnsConfig, mut table: Table<'_>, report: &mut Report) {
    table.set("servers", &mut config.servers, report, servers);
    table.set("timeout", &mut config.timeout, report, Value::timeout);
    table.set("grace", &mut config.grace, report, |value, report| {
        value.duration(Duration::ZERO..=DAY, "a possible grace", report)
    });
    for (name, ttl) in [("min_ttl", &mut config.min_ttl), ("max_ttl", &mut config.max_ttl)] {
        table.set(name, ttl, report, |value, report| {
            value.duration(Duration::from_millis(100)..=DAY, "a possible TTL", report)
        });
    }
    table.finish(report);
}

/// Checks the settings of all files together.
pub fn check_dns(config: &DnsConfig, report: &mut Report) {
    let DnsConfig { min_ttl, max_ttl, .. } = *config;
    let place = report.place_of("dns.max_ttl").or_else(|| report.place_of("dns.min_ttl"));
    if let Some(place) = place.filter(|_| min_ttl > max_ttl) {
        report.problem(
            &place,
            format!("min_ttl {} is longer than max_ttl {}", shown(min_ttl), shown(max_ttl)),
            "make min_ttl the smaller one",
        );
    }
}

fn servers(value: &Value<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let servers = value.distinct(SERVERS_FIX, report, server)?;
    if servers.is_empty() {
        let fix = "remove the key to ask the servers of /etc/resolv.conf";
        report.problem(&value.place(), "lists no server", fix);
        return None;
    }
    Some(servers)
}

fn server(value: &Value<'_>, report: &mut Report) -> Option<SocketAddr> {
    let written = value.string(SERVERS_FIX, report)?;
    let unbracketed = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::from((ip, PORT)));
    let server = written
        .parse()
        .ok()
        .or_else(|| address(written))
        .or_else(|| unbracketed.filter(|text| text.contains(':')).and_then(address))
        .filter(|server| server.port() != 0 && !server.ip().is_unspecified());
    if server.is_none() {
        let message = format!("{} is not the address of a server", quoted(written));
        report.problem(&value.place(), message, SERVERS_FIX);
    }
    server
}
