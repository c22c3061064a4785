//! NAT rules that pass packets for a protected port on to another machine or a container, as
//! Docker's do for a published port: the backstop sees this host's own sockets only.

use std::{collections::BTreeSet, net::IpAddr};

use dbfw_core::Port;

use super::{
    host::Host,
    nat::{NatRules, range, split_ports, words},
};

/// A rule that passes packets on. Rules that take the port from a set or a map are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The protected ports that it matches.
    pub(super) ports: BTreeSet<Port>,
    /// The machine that it passes them to.
    pub(super) to: IpAddr,
    interface: Matched,
}

/// The interfaces by which a rule's packets come in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Matched {
    All,
    /// The one of this name; with `*` or `+` at its end, those whose names begin so.
    One(String),
    /// All others.
    AllBut(String),
}

impl Redirect {
    /// Whether the rule matches what comes in by an interface.
    pub(super) fn is_of(&self, interface: &str) -> bool {
        match &self.interface {
            Matched::All => true,
            Matched::One(name) => is_called(interface, name),
            Matched::AllBut(name) => !is_called(interface, name),
        }
    }
}

fn is_called(interface: &str, name: &str) -> bool {
    match name.strip_suffix(['*', '+']) {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    }
}

/// Looks for rules that pass packets to one of the `protected` ports on to a machine that is not
/// one of the addresses `own`. None where they cannot be listed.
pub(super) fn look(host: &Host, protected: &BTreeSet<Port>, own: &[IpAddr]) -> Vec<Redirect> {
    if protected.is_empty() {
        return Vec::new();
    }
    let Ok(rules) = NatRules::read(host) else { return Vec::new() };
    let by_iptables = rules.iptables.iter().flat_map(|listed| iptables(&listed.rules, protected));
    let by_nft = rules.nft.iter().flat_map(|listed| nft(listed, &rules.managed, protected));
    by_iptables.chain(by_nft).filter(|rule| !own.contains(&rule.to)).collect()
}

/// The rules in what iptables-save prints.
pub(super) fn iptables(listing: &str, protected: &BTreeSet<Port>) -> Vec<Redirect> {
    let rule = |line: &str| {
        let words = words(line);
        let after = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            let is_not = at > 0 && words[at - 1] == "!";
            Some((words.get(at + 1)?.as_str(), is_not))
        };
        let is_ours = words.first().is_some_and(|word| word == "-A");
        let is_dnat = after("-j").is_some_and(|(target, _)| target == "DNAT");
        if !is_ours || !is_dnat {
            return None;
        }
        let (to, _) = split_ports(after("--to-destination")?.0);
        let ports = match after("--dport").or_else(|| after("--dports")) {
            Some((_, true)) => return None,
            Some((ports, false)) => Some(ports.replace(':', "-")),
            None => None,
        };
        let interface = match after("-i") {
            Some((name, false)) => Matched::One(name.to_owned()),
            Some((name, true)) => Matched::AllBut(name.to_owned()),
            None => Matched::All,
        };
        let protocol = after("-p").map(|(protocol, _)| protocol);
        redirect(protected, protocol, ports.as_deref(), to, interface)
    };
    listing.lines().filter_map(rule).collect()
}

/// The rules in a listing of nft's. `managed`: families whose table `nat` iptables has listed.
fn nft(listing: &str, managed: &[&str], protected: &BTreeSet<Port>) -> Vec<Redirect> {
    let mut found = Vec::new();
    let mut ours = true;
    for line in listing.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["table", family, name, "{", ..] = words[..] {
            ours = name != "nat" || !managed.contains(&family);
        } else if ours {
            found.extend(nft_rule(&words, protected));
        }
    }
    found
}

fn nft_rule(words: &[&str], protected: &BTreeSet<Port>) -> Option<Redirect> {
    let at = words.iter().position(|word| *word == "dnat")?;
    let (matches, statement) = words.split_at(at);
    let to = statement.iter().position(|word| *word == "to")?;
    let (to, _) = split_ports(statement.get(to + 1)?);
    let (mut protocol, mut ports, mut interface) = (None, None, Matched::All);
    for (at, word) in matches.iter().enumerate() {
        let value = matches.get(at + 1..).unwrap_or_default();
        match *word {
            "dport" => {
                protocol = at.checked_sub(1).and_then(|before| matches.get(before)).copied();
                ports = Some(match value {
                    ["!=", ..] => return None,
                    ["{", set @ ..] => {
                        set.iter().take_while(|word| **word != "}").copied().collect::<String>()
                    }
                    [one, ..] => (*one).to_owned(),
                    [] => return None,
                });
            }
            "iif" | "iifname" => {
                interface = match value {
                    ["!=", name, ..] => Matched::AllBut(name.trim_matches('"').to_owned()),
                    [name, ..] => Matched::One(name.trim_matches('"').to_owned()),
                    [] => return None,
                };
            }
            _ => {}
        }
    }
    redirect(protected, protocol, ports.as_deref(), to, interface)
}

/// The rule, if it matches a protected port. `ports` are numbers and ranges with commas between
/// them; `None`: all.
fn redirect(
    protected: &BTreeSet<Port>,
    protocol: Option<&str>,
    ports: Option<&str>,
    to: &str,
    interface: Matched,
) -> Option<Redirect> {
    let udp = match protocol {
        Some("tcp") => Some(false),
        Some("udp") => Some(true),
        _ => None,
    };
    let ranges: Option<Vec<(u16, u16)>> =
        ports.map(|ports| ports.split(',').filter_map(|part| range(part.trim())).collect());
    let matches = |port: &&Port| {
        let has = |(low, high): &(u16, u16)| (*low..=*high).contains(&port.port);
        udp.is_none_or(|udp| udp == port.udp)
            && ranges.as_ref().is_none_or(|ranges| ranges.iter().any(has))
    };
    let ports: BTreeSet<Port> = protected.iter().filter(matches).copied().collect();
    let to = to.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    (!ports.is_empty()).then_some(Redirect { ports, to, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected() -> BTreeSet<Port> {
        [(false, 5432), (true, 5432), (false, 6432)].map(|(udp, port)| Port { udp, port }).into()
    }

    fn told(found: &[Redirect]) -> Vec<String> {
        let text = |rule: &Redirect| {
            let ports: Vec<String> = rule.ports.iter().map(ToString::to_string).collect();
            let ways = ["eth1", "docker0", "br-1"].into_iter().filter(|name| rule.is_of(name));
            let ways: Vec<&str> = ways.collect();
            format!("{} to {} by {}", ports.join(" "), rule.to, ways.join(" "))
        };
        found.iter().map(text).collect()
    }

    #[test]
    fn rules_of_iptables() {
        for (rule, expected) in [
            (
                "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 5432 -j DNAT --to-destination 172.17.0.2:5432",
                "tcp/5432 to 172.17.0.2 by eth1 br-1",
            ),
            (
                "-A PREROUTING -i br-+ -p udp -m udp --dport 5000:6000 -j DNAT --to-destination 10.0.0.9",
                "udp/5432 to 10.0.0.9 by br-1",
            ),
            (
                "-A PREROUTING -p tcp -m multiport --dports 80,6432 -j DNAT --to-destination 10.0.0.9:80",
                "tcp/6432 to 10.0.0.9 by eth1 docker0 br-1",
            ),
            (
                "-A PREROUTING -i eth1 -j DNAT --to-destination [fd00::2]",
                "tcp/5432 tcp/6432 udp/5432 to fd00::2 by eth1",
            ),
        ] {
            assert_eq!(told(&iptables(rule, &protected())), [expected], "{rule}");
        }
        for harmless in [
            "-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:5432",
            "-A DOCKER -p tcp -m tcp ! --dport 5432 -j DNAT --to-destination 172.17.0.2:5432",
            "-A PREROUTING -p tcp -m tcp --dport 5432 -j REDIRECT --to-ports 6432",
            ":DOCKER - [0:0]",
            "-A X -j DNAT",
            "-A X -j DNAT --to-destination",
            "-j",
            "",
        ] {
            assert_eq!(iptables(harmless, &protected()), [], "{harmless}");
        }
    }

    #[test]
    fn rules_of_nft() {
        let all = "eth1 docker0 br-1";
        for (rule, expected) in [
            ("tcp dport 5432 dnat to 10.0.0.9:5432", format!("tcp/5432 to 10.0.0.9 by {all}")),
            (
                "iifname \"eth1\" tcp dport { 80, 6000-7000 } counter packets 0 bytes 0 dnat ip to 10.0.0.9",
                "tcp/6432 to 10.0.0.9 by eth1".to_owned(),
            ),
            (
                "iifname != \"docker0\" th dport 5432 dnat ip6 to [fd00::2]:5432 # handle 4",
                "tcp/5432 udp/5432 to fd00::2 by eth1 br-1".to_owned(),
            ),
            ("dnat to 10.0.0.9", format!("tcp/5432 tcp/6432 udp/5432 to 10.0.0.9 by {all}")),
        ] {
            let text = format!("table ip mine {{ # handle 1\n chain pre {{\n {rule}\n }}\n}}\n");
            assert_eq!(told(&nft(&text, &["ip"], &protected())), [expected], "{rule}");
        }
        for harmless in [
            "tcp dport 8080 dnat to 10.0.0.9:5432",
            "tcp dport != 5432 dnat to 10.0.0.9:5432",
            "dnat to tcp dport map { 5432 : 10.0.0.9 }",
            "tcp dport 5432 accept comment \"dnat to 10.0.0.9\"",
            "tcp dport 5432 redirect to :6432",
            "dnat",
            "dnat to",
            "dport",
        ] {
            assert_eq!(nft(harmless, &[], &protected()), [], "{harmless}");
        }
        let managed = "table ip nat {\n tcp dport 5432 dnat to 10.0.0.9\n}\n";
        assert_eq!(nft(managed, &["ip"], &protected()), []);
        assert_eq!(nft(managed, &["ip6"], &protected()).len(), 1);
    }
}
