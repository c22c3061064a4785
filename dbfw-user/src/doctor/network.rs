//! Checks of network settings: local ports, routes, cookies.

use std::collections::BTreeSet;

use dbfw_core::Port;
use dbfw_wire::control::Finding;

use super::{
    finding,
    host::Host,
    kernel::{switch, unreadable},
    masquerade::{self, Hazard},
    sockets,
};
use crate::config::DatabaseConfig;

pub(super) fn check(host: &Host, databases: &[DatabaseConfig]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ports: BTreeSet<u16> =
        databases.iter().flat_map(|database| database.ports.iter()).map(|port| port.port).collect();
    match host.sysctl("net/ipv4/ip_local_port_range") {
        Ok(range) => {
            let reserved = host.sysctl("net/ipv4/ip_local_reserved_ports").unwrap_or_default();
            let rules = masquerade::look(host, &ports);
            findings.extend(local_ports(&range, &reserved, &ports, &rules));
        }
        Err(error) => findings.push(unreadable(
            "local_ports",
            "/proc/sys/net/ipv4/ip_local_port_range",
            &error,
        )),
    }
    findings.extend(route_localnet(&settings(host, "route_localnet")));
    findings.extend(switch(
        host,
        "tcp_syncookies",
        "net/ipv4/tcp_syncookies",
        "SYN cookies are on",
        "SYN cookies are off: a flood from forged trusted addresses fills the backlog",
        "sysctl -w net.ipv4.tcp_syncookies=1",
    ));
    findings.push(rp_filter(&settings(host, "rp_filter")));
    let listening: BTreeSet<Port> =
        sockets::listeners(host).into_iter().map(|(_, port)| port).collect();
    findings.extend(databases.iter().flat_map(|database| listeners(database, &listening)));
    findings
}

/// An IPv4 setting of every interface, and of "all".
fn settings(host: &Host, name: &str) -> Vec<(String, String)> {
    host.names("/proc/sys/net/ipv4/conf")
        .into_iter()
        .filter_map(|interface| {
            let value = host.sysctl(&format!("net/ipv4/conf/{interface}/{name}")).ok()?;
            Some((interface, value))
        })
        .collect()
}

/// Other users of this host's ports: sockets, and connections that are
/// masqueraded.
fn local_ports(
    range: &str,
    reserved: &str,
    protected: &BTreeSet<u16>,
    rules: &Result<Vec<Hazard>, &str>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rules.iter().flatten().map(masqueraded).collect();
    findings.extend(own_ports(range, reserved, protected));
    if findings.is_empty() {
        let all = "no outgoing connection is given a protected port as its own";
        let detail = match rules {
            Err(why) => format!("{all}; not known for masqueraded ones: {why}"),
            Ok(_) => all.to_owned(),
        };
        findings.push(finding::ok("local_ports", detail));
    }
    findings
}

fn masqueraded(hazard: &Hazard) -> Finding {
    finding::warn(
        "local_ports",
        format!(
            "a connection that this host rewrites may be given a protected port as its own, and \
             what answers it would be dropped: {}",
            hazard.rule
        ),
        hazard.fix.clone(),
    )
}

/// The ports that sockets of this host are given.
fn own_ports(range: &str, reserved: &str, protected: &BTreeSet<u16>) -> Option<Finding> {
    let mut bounds = range.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(low)), Some(Ok(high))) = (bounds.next(), bounds.next()) else {
        return Some(finding::warn(
            "local_ports",
            format!("cannot read the range of local ports from {range:?}"),
            "sysctl net.ipv4.ip_local_port_range",
        ));
    };
    let is_reserved = |port: u16| {
        reserved.split(',').any(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            matches!((from.trim().parse(), to.trim().parse()),
                (Ok(from), Ok(to)) if (from..=to).contains(&port))
        })
    };
    let missing: Vec<String> = protected
        .iter()
        .filter(|port| (low..=high).contains(*port) && !is_reserved(**port))
        .map(u16::to_string)
        .collect();
    if missing.is_empty() {
        return None;
    }
    let all = [reserved.trim()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .chain(missing.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(",");
    Some(finding::warn(
        "local_ports",
        format!(
            "an outgoing connection may be given port {} as its own ({low}-{high}), and what \
             answers it would be dropped",
            missing.join(" or ")
        ),
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={all}"),
    ))
}

fn route_localnet(settings: &[(String, String)]) -> Vec<Finding> {
    let on: Vec<&str> = settings
        .iter()
        .filter(|(_, value)| value != "0")
        .map(|(interface, _)| interface.as_str())
        .collect();
    if on.is_empty() {
        return vec![finding::ok("route_localnet", "127.0.0.0/8 is not routed from the network")];
    }
    let fixes: Vec<String> =
        on.iter().map(|name| format!("sysctl -w net.ipv4.conf.{name}.route_localnet=0")).collect();
    vec![finding::warn(
        "route_localnet",
        format!(
            "on {}: packets from the network may reach what listens on 127.0.0.1. dbfw drops \
             them on the interfaces it covers only",
            on.join(", ")
        ),
        fixes.join("; "),
    )]
}

/// Only told: XDP runs before it, so it neither helps nor hinders dbfw.
fn rp_filter(settings: &[(String, String)]) -> Finding {
    let value = |name: &str| {
        settings.iter().find(|(interface, _)| interface == name).map(|(_, value)| value.as_str())
    };
    let all = value("all").unwrap_or("0");
    let interfaces: Vec<String> = settings
        .iter()
        .filter(|(name, _)| name != "all" && name != "default" && name != "lo")
        // The larger of the two is in force.
        .map(|(name, value)| format!("{name} {}", value.as_str().max(all)))
        .collect();
    finding::ok(
        "rp_filter",
        format!(
            "reverse path filter (0 off, 1 strict, 2 loose): {}",
            if interfaces.is_empty() { "no interface".to_owned() } else { interfaces.join(", ") }
        ),
    )
}

fn listeners(database: &DatabaseConfig, listening: &BTreeSet<Port>) -> Vec<Finding> {
    database
        .ports
        .ranges()
        .map(|ports| {
            let check = format!("listener {}", database.name);
            if ports.iter().any(|port| listening.contains(&port)) {
                finding::ok(check, format!("something listens on {ports}"))
            } else {
                finding::warn(
                    check,
                    format!(
                        "nothing listens on {ports} here. If the database runs in a container or \
                         behind a port forward, list the port clients connect to"
                    ),
                    format!(
                        "start the database, or correct ports of [[database]] {:?}; see: ss -lntup",
                        database.name
                    ),
                )
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn protected_ports_as_local_ports() {
        let check = |range, reserved, ports: &[u16]| {
            let none = Ok(Vec::new());
            local_ports(range, reserved, &ports.iter().copied().collect(), &none).remove(0)
        };
        assert_eq!(check("32768\t60999", "", &[5432]).state.as_str(), "ok");
        let found = check("1024\t65535", "", &[5432, 6432]);
        assert_eq!(found.state.as_str(), "warn");
        assert_eq!(
            found.fix.as_deref(),
            Some("sysctl -w net.ipv4.ip_local_reserved_ports=5432,6432")
        );
        let found = check("1024 65535", "8080,9148-9150", &[9149, 5432]);
        assert_eq!(
            found.fix.as_deref(),
            Some("sysctl -w net.ipv4.ip_local_reserved_ports=8080,9148-9150,5432")
        );
        assert_eq!(check("1024 65535", "5000-6000", &[5432]).state.as_str(), "ok");
        assert_eq!(check("32768 60999", "", &[32768]).state.as_str(), "warn");
        assert_eq!(check("32768 60999", "", &[60999]).state.as_str(), "warn");
        assert_eq!(check("32768 60999", "x-,-,,5432-", &[60999]).state.as_str(), "warn");
        assert_eq!(check("nonsense", "", &[5432]).state.as_str(), "warn");
    }

    #[test]
    fn masqueraded_connections_are_told_of_first() {
        let hazard = Hazard { rule: "masquerade".into(), fix: "nft …".into() };
        let ports = BTreeSet::from([5432]);
        let rules = Ok(vec![hazard]);
        let found = local_ports("1024 65535", "5432", &ports, &rules);
        assert_eq!((found.len(), found[0].state.as_str()), (1, "warn"));
        assert_eq!(found[0].fix.as_deref(), Some("nft …"));
        assert_eq!(local_ports("1024 65535", "", &ports, &rules).len(), 2);
        let found = local_ports("1024 65535", "5432", &ports, &Err("only root can"));
        assert_eq!(found[0].state.as_str(), "ok");
        assert!(found[0].detail.ends_with("only root can"), "{found:?}");
    }

    #[test]
    fn settings_by_interface() {
        assert_eq!(route_localnet(&pairs(&[("all", "0"), ("eth0", "0")]))[0].state.as_str(), "ok");
        let found = &route_localnet(&pairs(&[("all", "0"), ("eth0", "1")]))[0];
        assert_eq!(found.state.as_str(), "warn");
        assert_eq!(found.fix.as_deref(), Some("sysctl -w net.ipv4.conf.eth0.route_localnet=0"));
        let told = rp_filter(&pairs(&[("all", "1"), ("default", "0"), ("eth0", "0")]));
        assert!(told.detail.ends_with("eth0 1"), "{told:?}");
    }
}
