//! [`Forward`]: a rule of destination NAT, such as that of a container's published port.

use std::net::IpAddr;

use dbfw_core::Port;

use super::{NatRules, range, split_ports, words};

/// A rule that passes packets on to another address. [`Forward::unread`] has those that take port or
/// address from a set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// `None`: of TCP and UDP.
    udp: Option<bool>,
    /// First and last ports; `None`: all.
    ports: Option<Vec<(u16, u16)>>,
    /// The destination that it matches; `None`: every one.
    at: Option<IpAddr>,
    interface: Matched,
    to: IpAddr,
    to_port: Option<u16>,
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

impl Forward {
    /// The rules in these listings.
    pub(crate) fn all(rules: &NatRules) -> Vec<Self> {
        let by_iptables = rules.iptables.iter().flat_map(|listed| iptables(&listed.rules));
        let by_nft = rules.nft.iter().flat_map(|listed| nft(listed, &rules.managed));
        by_iptables.chain(by_nft).collect()
    }

    /// The rules of destination NAT in these listings that are not among [`Self::all`], as they are
    /// listed: those that take port or address from a set or a map, or match what is not a port.
    pub(crate) fn unread(rules: &NatRules) -> Vec<String> {
        let by_iptables = rules.iptables.iter().flat_map(|listed| {
            let is_dnat = |words: &[&str]| words.windows(2).any(|pair| pair == ["-j", "DNAT"]);
            unread(&listed.rules, &[], is_dnat, iptables_rule)
        });
        let by_nft = rules.nft.iter().flat_map(|listed| {
            unread(listed, &rules.managed, |words| words.contains(&"dnat"), nft_rule)
        });
        by_iptables.chain(by_nft).collect()
    }

    /// Whether the rule matches what comes in by an interface.
    pub(crate) fn is_of(&self, interface: &str) -> bool {
        match &self.interface {
            Matched::All => true,
            Matched::One(name) => is_called(interface, name),
            Matched::AllBut(name) => !is_called(interface, name),
        }
    }

    /// Whether the rule matches packets to a port.
    pub(crate) fn takes(&self, port: Port) -> bool {
        let has = |(low, high): &(u16, u16)| (*low..=*high).contains(&port.port);
        self.udp.is_none_or(|udp| udp == port.udp)
            && self.ports.as_ref().is_none_or(|ranges| ranges.iter().any(has))
    }

    /// The single TCP ports that the rule matches, without those of ranges.
    pub(crate) fn tcp_ports(&self) -> impl Iterator<Item = u16> {
        let ranges = self.ports.iter().flatten().filter(|_| self.udp != Some(true));
        ranges.filter(|(low, high)| low == high).map(|(port, _)| *port)
    }

    /// The destination that the rule matches; `None`: every one.
    pub(crate) fn at(&self) -> Option<IpAddr> {
        self.at
    }

    /// The port that the rule passes packets on to; `None`: the one they have.
    pub(crate) fn to_port(&self) -> Option<u16> {
        self.to_port
    }

    /// The address that the rule passes packets on to.
    pub(crate) fn to(&self) -> IpAddr {
        self.to
    }
}

fn is_called(interface: &str, name: &str) -> bool {
    match name.strip_suffix(['*', '+']) {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    }
}

/// The rules in what iptables-save prints.
fn iptables(listing: &str) -> Vec<Forward> {
    rules(listing, &[]).filter_map(|words| iptables_rule(&borrowed(&words))).collect()
}

fn iptables_rule(words: &[&str]) -> Option<Forward> {
    let after = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        let is_not = at > 0 && words[at - 1] == "!";
        Some((*words.get(at + 1)?, is_not))
    };
    let is_ours = words.first().is_some_and(|word| *word == "-A");
    let is_dnat = after("-j").is_some_and(|(target, _)| target == "DNAT");
    if !is_ours || !is_dnat {
        return None;
    }
    let (to, to_port) = split_ports(after("--to-destination")?.0);
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
    Some(Forward {
        udp: after("-p").and_then(|(protocol, _)| is_udp(protocol)),
        ports: ports.as_deref().map(ranges),
        at: after("-d").filter(|(_, is_not)| !is_not).and_then(|(at, _)| address(at)),
        interface,
        to: address(to)?,
        to_port: to_port.and_then(|port| port.parse().ok()),
    })
}

/// The rules in a listing of nft's. `managed`: families whose table `nat` iptables has listed.
fn nft(listing: &str, managed: &[&str]) -> Vec<Forward> {
    rules(listing, managed).filter_map(|words| nft_rule(&borrowed(&words))).collect()
}

/// The words of each line of a listing that is of no table of `managed`.
fn rules<'l>(listing: &'l str, managed: &'l [&str]) -> impl Iterator<Item = Vec<String>> + 'l {
    let mut ours = true;
    listing.lines().map(words).filter(move |words| {
        if let ["table", family, name, "{", ..] = borrowed(words)[..] {
            ours = name != "nat" || !managed.contains(&family);
        }
        ours
    })
}

/// The rules of destination NAT in a listing that `read` does not know, or knows no port of.
fn unread(
    listing: &str,
    managed: &[&str],
    is_dnat: impl Fn(&[&str]) -> bool,
    read: impl Fn(&[&str]) -> Option<Forward>,
) -> Vec<String> {
    let is_unread = |words: &Vec<&str>| {
        let known = |rule: Forward| rule.ports.is_none_or(|ports| !ports.is_empty());
        is_dnat(words) && !read(words).is_some_and(known)
    };
    let lines = rules(listing, managed);
    lines.filter(|words| is_unread(&borrowed(words))).map(|words| words.join(" ")).collect()
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn nft_rule(words: &[&str]) -> Option<Forward> {
    let at = words.iter().position(|word| *word == "dnat")?;
    let (matches, statement) = words.split_at(at);
    let to = statement.iter().position(|word| *word == "to")?;
    let (to, to_port) = split_ports(statement.get(to + 1)?);
    let mut found = Forward {
        udp: None,
        ports: None,
        at: None,
        interface: Matched::All,
        to: address(to)?,
        to_port: to_port.and_then(|port| port.parse().ok()),
    };
    for (at, word) in matches.iter().enumerate() {
        let value = matches.get(at + 1..).unwrap_or_default();
        match *word {
            "dport" => {
                let protocol = at.checked_sub(1).and_then(|before| matches.get(before));
                found.udp = protocol.and_then(|protocol| is_udp(protocol));
                found.ports = Some(match value {
                    ["!=", ..] => return None,
                    ["{", set @ ..] => {
                        let set = set.iter().take_while(|word| **word != "}");
                        ranges(&set.copied().collect::<String>())
                    }
                    [one, ..] => ranges(one),
                    [] => return None,
                });
            }
            "daddr" => found.at = value.first().and_then(|at| address(at)),
            "iif" | "iifname" => {
                found.interface = match value {
                    ["!=", name, ..] => Matched::AllBut(name.trim_matches('"').to_owned()),
                    [name, ..] => Matched::One(name.trim_matches('"').to_owned()),
                    [] => return None,
                };
            }
            _ => {}
        }
    }
    Some(found)
}

/// `None`: of TCP and UDP.
fn is_udp(protocol: &str) -> Option<bool> {
    match protocol {
        "tcp" => Some(false),
        "udp" => Some(true),
        _ => None,
    }
}

/// Numbers and ranges with commas between them. Names of sets are none.
fn ranges(ports: &str) -> Vec<(u16, u16)> {
    ports.split(',').filter_map(|part| range(part.trim())).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(text);
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{
        super::{Iptables, is_of_iptables},
        *,
    };

    fn told(found: &[Forward]) -> Vec<String> {
        let text = |rule: &Forward| {
            let ports = [(false, 5432), (false, 6432), (true, 5432)];
            let ports = ports.map(|(udp, port)| Port { udp, port }).into_iter();
            let ports: Vec<String> =
                ports.filter(|port| rule.takes(*port)).map(|port| port.to_string()).collect();
            let ways = ["eth1", "docker0", "br-1"].into_iter().filter(|name| rule.is_of(name));
            let ways: Vec<&str> = ways.collect();
            let at = rule.at.map(|at| format!(" at {at}")).unwrap_or_default();
            let to_port = rule.to_port.map(|port| format!(" {port}")).unwrap_or_default();
            format!("{}{at} to {}{to_port} by {}", ports.join(" "), rule.to, ways.join(" "))
        };
        found.iter().map(text).collect()
    }

    #[test]
    fn rules_of_iptables() {
        for (rule, expected) in [
            (
                "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 5432 -j DNAT --to-destination 172.17.0.2:5433",
                "tcp/5432 to 172.17.0.2 5433 by eth1 br-1",
            ),
            (
                "-A PREROUTING -i br-+ -p udp -m udp --dport 5000:6000 -j DNAT --to-destination 10.0.0.9",
                "udp/5432 to 10.0.0.9 by br-1",
            ),
            (
                "-A X -d 192.0.2.1/32 -p tcp -m multiport --dports 80,6432 -j DNAT --to-destination 10.0.0.9:80",
                "tcp/6432 at 192.0.2.1 to 10.0.0.9 80 by eth1 docker0 br-1",
            ),
            (
                "-A PREROUTING -i eth1 -j DNAT --to-destination [fd00::2]",
                "tcp/5432 tcp/6432 udp/5432 to fd00::2 by eth1",
            ),
            (
                "-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:5432",
                " to 172.17.0.2 5432 by eth1 docker0 br-1",
            ),
        ] {
            assert_eq!(told(&iptables(rule)), [expected], "{rule}");
        }
        for other in [
            "-A DOCKER -p tcp -m tcp ! --dport 5432 -j DNAT --to-destination 172.17.0.2:5432",
            "-A PREROUTING -p tcp -m tcp --dport 5432 -j REDIRECT --to-ports 6432",
            ":DOCKER - [0:0]",
            "-A X -j DNAT",
            "-A X -j DNAT --to-destination",
            "-j",
            "",
        ] {
            assert_eq!(iptables(other), [], "{other}");
        }
    }

    #[test]
    fn rules_of_nft() {
        let all = "eth1 docker0 br-1";
        for (rule, expected) in [
            ("tcp dport 5432 dnat to 10.0.0.9:5433", format!("tcp/5432 to 10.0.0.9 5433 by {all}")),
            (
                "iifname \"eth1\" tcp dport { 80, 6000-7000 } counter packets 0 bytes 0 dnat ip to 10.0.0.9",
                "tcp/6432 to 10.0.0.9 by eth1".to_owned(),
            ),
            (
                "iifname != \"docker0\" th dport 5432 dnat ip6 to [fd00::2]:5432 # handle 4",
                "tcp/5432 udp/5432 to fd00::2 5432 by eth1 br-1".to_owned(),
            ),
            (
                "ip daddr 192.0.2.1 tcp dport 5432 dnat to 10.0.0.9",
                format!("tcp/5432 at 192.0.2.1 to 10.0.0.9 by {all}"),
            ),
            ("dnat to 10.0.0.9", format!("tcp/5432 tcp/6432 udp/5432 to 10.0.0.9 by {all}")),
            ("tcp dport @ports dnat to 10.0.0.9:5432", format!(" to 10.0.0.9 5432 by {all}")),
        ] {
            let text = format!("table ip mine {{ # handle 1\n chain pre {{\n {rule}\n }}\n}}\n");
            assert_eq!(told(&nft(&text, &["ip"])), [expected], "{rule}");
        }
        for other in [
            "tcp dport != 5432 dnat to 10.0.0.9:5432",
            "dnat to tcp dport map { 5432 : 10.0.0.9 }",
            "tcp dport 5432 accept comment \"dnat to 10.0.0.9\"",
            "tcp dport 5432 redirect to :6432",
            "dnat",
            "dnat to",
            "dport",
        ] {
            assert_eq!(nft(other, &[]), [], "{other}");
        }
        let unread = |rule: &str| {
            let nft = Some(format!("table ip mine {{\n chain pre {{\n {rule}\n }}\n}}\n"));
            Forward::unread(&NatRules { nft, ..NatRules::default() })
        };
        for rule in [
            "tcp dport != 22 dnat to 10.0.0.9:5432",
            "tcp dport > 1024 dnat to 10.0.0.9",
            "tcp dport @ports dnat to 10.0.0.9:5432",
            "dnat ip to tcp dport map { 5432 : 10.0.0.9 }",
            "dnat to ip daddr map { 10.0.0.1 : 10.0.0.9 }",
            "tcp dport 5432 dnat to numgen inc mod 1 map { 0 : 10.0.0.9 }",
        ] {
            assert_eq!(unread(rule), [rule], "or it would be taken for absent");
        }
        for rule in [
            "tcp dport 5432 dnat to 10.0.0.9",
            "dnat to 10.0.0.9",
            "tcp dport 5432 accept comment \"dnat to 10.0.0.9\"",
            "tcp dport 5432 redirect to :6432",
            "",
        ] {
            assert_eq!(unread(rule), Vec::<String>::new(), "{rule}");
        }
        let managed = "table ip nat {\n tcp dport 5432 dnat to 10.0.0.9\n}\n";
        assert_eq!(nft(managed, &["ip"]), []);
        assert_eq!(nft(managed, &["ip6"]).len(), 1);
    }

    /// Words of both listings, and others.
    fn piece() -> impl Strategy<Value = String> {
        const PIECES: [&str; 40] = [
            "-A",
            "PREROUTING",
            "-i",
            "!",
            "-p",
            "tcp",
            "udp",
            "--dport",
            "--dports",
            "5432",
            "80,6432",
            "1:70000",
            "-j",
            "DNAT",
            "--to-destination",
            "10.0.0.9:80",
            "[fd00::2]:5432",
            "-d",
            "table",
            "ip",
            "nat",
            "{",
            "}",
            "chain",
            "dnat",
            "to",
            "map",
            "dport",
            "daddr",
            "iifname",
            "iif",
            "!=",
            "th",
            "\"eth*\"",
            "\"",
            ":",
            ",",
            "-",
            "@ports",
            "5000-6000",
        ];
        let known = select(&PIECES[..]).prop_map(str::to_owned);
        let gap = select(&[" ", " ", " ", " ", "\n", ""][..]);
        (prop_oneof![8 => known, 1 => "[ -~]{0,6}", 1 => any::<String>()], gap)
            .prop_map(|(piece, gap)| piece + gap)
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_listing_panics(pieces in vec(piece(), 0..40), managed: bool) {
            let text = pieces.concat();
            let listed = Iptables { command: "iptables-nft".to_owned(), rules: text.clone() };
            let managed = if managed { vec!["ip"] } else { Vec::new() };
            let rules = NatRules { nft: Some(text.clone()), managed, iptables: vec![listed] };
            let lines = text.lines().count();
            prop_assert!(Forward::all(&rules).len() <= 2 * lines);
            prop_assert!(Forward::unread(&rules).len() <= 2 * lines);
            for family in ["ip", "ip6"] {
                let _ = is_of_iptables(&text, family);
            }
        }
    }
}
