//! Ports of containers that are published on this host.

use std::{collections::BTreeSet, net::IpAddr};

use dbfw_core::audit::Engine;

use super::processes::{self, Process, Program};
use crate::nat::{Forward, NatRules};

/// A port of this host that leads to one of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Published {
    /// The address on this host; `None`: every one.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// The port inside.
    pub(super) inner: u16,
    /// "docker-proxy 910", "a NAT rule".
    pub(super) by: String,
}

impl Published {
    /// The engine that the port inside is of.
    pub(super) fn engine(&self) -> Option<Engine> {
        Engine::of_port(self.inner)
    }
}

/// The published ports, and the reason why some may be missing.
pub(super) fn published() -> (BTreeSet<Published>, Option<String>) {
    let proxies = processes::processes();
    let proxies = proxies.iter().filter(|process| process.program == Program::DockerProxy);
    let mut found: BTreeSet<Published> = proxies.filter_map(by_proxy).collect();
    let missing = match NatRules::read() {
        Ok(rules) => {
            found.extend(Forward::all(&rules).iter().flat_map(by_rule));
            None
        }
        Err(why) => Some(why.to_owned()),
    };
    (found, missing)
}

/// The port that a docker-proxy publishes, by its arguments.
fn by_proxy(process: &Process) -> Option<Published> {
    let words = processes::arguments(process.pid).ok()?;
    let words: Vec<String> =
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    of_arguments(&words, format!("docker-proxy {}", process.pid))
}

fn of_arguments(words: &[String], by: String) -> Option<Published> {
    let of = |option: &str| {
        let at = words.iter().position(|word| word.trim_start_matches('-') == option)?;
        Some(words.get(at + 1)?.as_str())
    };
    if of("proto").is_some_and(|proto| proto != "tcp") {
        return None;
    }
    let address: Option<IpAddr> = of("host-ip").and_then(|text| text.parse().ok());
    Some(Published {
        address: address.filter(|address| !address.is_unspecified()),
        port: of("host-port")?.parse().ok()?,
        inner: of("container-port")?.parse().ok()?,
        by,
    })
}

/// The TCP ports that a rule of destination NAT publishes. Ranges are not among them: no container
/// serves a database at a range.
fn by_rule(rule: &Forward) -> Vec<Published> {
    let published = |port: u16| Published {
        address: rule.at(),
        port,
        inner: rule.to_port().unwrap_or(port),
        by: "a NAT rule".to_owned(),
    };
    rule.tcp_ports().map(published).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn shown(found: Option<Published>) -> String {
        found.map_or("-".to_owned(), |found| {
            let address = found.address.map_or("any".to_owned(), |address| address.to_string());
            format!("{address} {} {}", found.port, found.inner)
        })
    }

    #[test]
    fn proxies() {
        for (line, expected) in [
            (
                "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 5433 -container-ip \
                 172.17.0.2 -container-port 5432 -use-listen-fd",
                "any 5433 5432",
            ),
            (
                "docker-proxy --proto tcp --host-ip 127.0.0.1 --host-port 1 --container-port 2",
                "127.0.0.1 1 2",
            ),
            ("docker-proxy -proto udp -host-port 1 -container-port 2", "-"),
            ("docker-proxy -host-port x -container-port 2", "-"),
            ("docker-proxy -host-port", "-"),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(shown(of_arguments(&words, String::new())), expected, "{line}");
        }
    }

    #[test]
    fn rules() {
        for (rule, expected) in [
            (
                "iifname != \"docker0\" tcp dport 5433 counter packets 0 bytes 0 dnat to 172.17.0.2:5432",
                &["any 5433 5432"][..],
            ),
            (
                "ip daddr 192.0.2.1 tcp dport 5432 dnat ip to 10.0.0.2:5433",
                &["192.0.2.1 5432 5433"],
            ),
            ("ip daddr 192.0.2.1 tcp dport 5432 dnat to 10.0.0.2", &["192.0.2.1 5432 5432"]),
            ("tcp dport 5433 dnat to [fd00::2]:5432", &["any 5433 5432"]),
            ("tcp dport { 1, 2 } dnat to 172.17.0.2:5432", &["any 1 5432", "any 2 5432"]),
            ("udp dport 5433 dnat to 172.17.0.2:5432", &[]),
            ("tcp dport 5000-6000 dnat to 172.17.0.2", &[]),
            ("tcp dport 22 accept", &[]),
        ] {
            let listing = format!("table ip mine {{\n{rule}\n}}\n");
            let rules = NatRules { nft: Some(listing), ..NatRules::default() };
            let found = Forward::all(&rules);
            let found: Vec<String> =
                found.iter().flat_map(by_rule).map(|found| shown(Some(found))).collect();
            assert_eq!(found, expected, "{rule}");
        }
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_arguments_panic(words in vec(
            prop_oneof![
                select(&["-proto", "--host-ip", "-host-port", "-container-port", "tcp", "0.0.0.0"][..])
                    .prop_map(str::to_owned),
                "[-0-9a-z.:]{0,8}",
                any::<String>(),
            ],
            0..10,
        )) {
            if let Some(found) = of_arguments(&words, String::new()) {
                prop_assert!(found.address.is_none_or(|address| !address.is_unspecified()));
            }
        }
    }
}
