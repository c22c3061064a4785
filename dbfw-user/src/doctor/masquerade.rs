//! Source addresses and ports that the host rewrites: a connection that is masqueraded may be
//! given a protected port as its own, whatever `ip_local_reserved_ports` says, and what answers
//! it is judged as a packet to the database.

use std::collections::BTreeSet;

use super::host::Host;

/// Ports that the kernel chooses from for a port of 1024 or more.
const PORTS: (u16, u16) = (1024, u16::MAX);

/// A family of addresses, with what lists its rules and what changes them.
struct Family {
    /// As nft calls it.
    name: &'static str,
    /// iptables that keeps its rules as nft's: its program, and the one that lists.
    nft: (&'static str, &'static str),
    /// iptables that keeps rules of its own.
    legacy: (&'static str, &'static str),
    /// Tables of the latter. Listing one that is not there would make it.
    legacy_tables: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "ip",
        nft: ("iptables-nft", "iptables-nft-save"),
        legacy: ("iptables-legacy", "iptables-legacy-save"),
        legacy_tables: "/proc/net/ip_tables_names",
    },
    Family {
        name: "ip6",
        nft: ("ip6tables-nft", "ip6tables-nft-save"),
        legacy: ("ip6tables-legacy", "ip6tables-legacy-save"),
        legacy_tables: "/proc/net/ip6_tables_names",
    },
];

/// Knowledge of the rules of this network namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// These may give out a protected port; none: no rule does.
    Listed(Vec<Hazard>),
    /// They cannot be listed, for this reason.
    Unknown(&'static str),
}

/// A rule that may give a protected port to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hazard {
    /// The rule, as it is listed.
    pub(super) rule: String,
    /// The command that puts a rule before it which gives out other ports.
    pub(super) fix: String,
}

/// Looks for rules that may give out one of the `protected` ports.
pub(super) fn look(host: &Host, protected: &BTreeSet<u16>) -> Rules {
    let exposed: Vec<u16> = protected.iter().copied().filter(|port| *port >= PORTS.0).collect();
    let Some(ports) = widest_gap(&exposed) else { return Rules::Listed(Vec::new()) };
    let denied = Rules::Unknown("only root can list them");
    let rules = match host.output("nft", &["--handle", "--terse", "list", "ruleset"]) {
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return denied,
        None => None,
    };
    let mut asked = rules.is_some();
    let mut managed = Vec::new();
    let mut hazards = Vec::new();
    for Family { name, nft, legacy, legacy_tables } in FAMILIES {
        let tables = host.read(legacy_tables).unwrap_or_default();
        let mut listers = Vec::new();
        if rules.as_deref().is_none_or(|rules| is_of_iptables(rules, name)) {
            listers.push((nft, true));
        }
        if tables.lines().any(|table| table == "nat") {
            listers.push((legacy, false));
        }
        for ((change, list), is_nft) in listers {
            match host.output(list, &["-t", "nat"]) {
                Some(Ok(text)) => {
                    asked = true;
                    managed.extend(is_nft.then_some(name));
                    hazards.extend(iptables(&text, change, &exposed, ports));
                }
                Some(Err(_)) => return denied,
                None => {}
            }
        }
    }
    hazards.extend(rules.iter().flat_map(|rules| nft(rules, &managed, &exposed, ports)));
    match asked {
        true => Rules::Listed(hazards),
        false => Rules::Unknown("nft is not installed"),
    }
}

/// Whether iptables manages the table `nat` of a family: by the name of its chain.
fn is_of_iptables(rules: &str, family: &str) -> bool {
    let table = format!("table {family} nat {{");
    let (_, rest) = rules.split_once(&table).unwrap_or_default();
    let table = rest.split_once("\n}").map_or(rest, |(table, _)| table);
    table.lines().any(|line| line.trim_start().starts_with("chain POSTROUTING {"))
}

/// The widest range of ports from 1024 on without any of these, which are sorted.
fn widest_gap(protected: &[u16]) -> Option<(u16, u16)> {
    let (first, last) = (u32::from(PORTS.0), u32::from(PORTS.1));
    let mut from = first;
    let mut widest: Option<(u32, u32)> = None;
    for end in protected.iter().map(|port| u32::from(*port)).chain([last + 1]) {
        if from < end && widest.is_none_or(|(low, high)| high - low < end - 1 - from) {
            widest = Some((from, end - 1));
        }
        from = end + 1;
    }
    let (low, high) = widest?;
    Some((u16::try_from(low).ok()?, u16::try_from(high).ok()?))
}

/// A rule that rewrites sources.
struct Rewrite {
    /// Match of the rule, word by word.
    matches: Vec<String>,
    /// The ports it gives out.
    ports: (u16, u16),
}

impl Rewrite {
    fn gives_out(&self, protected: &[u16]) -> bool {
        protected.iter().any(|port| (self.ports.0..=self.ports.1).contains(port))
    }
}

/// A range as nft and iptables write it.
fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?))
}

/// Words, of which one in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => words.extend(taken(&mut word)),
            c => word.push(c),
        }
    }
    words.extend(taken(&mut word));
    words
}

fn taken(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

/// The hazards in a listing of nft's with handles. `managed`: families whose table `nat` iptables
/// has listed.
fn nft(listing: &str, managed: &[&str], protected: &[u16], safe: (u16, u16)) -> Vec<Hazard> {
    let mut hazards = Vec::new();
    let (mut table, mut chain, mut ours) = (String::new(), String::new(), true);
    let mut earlier: Vec<Rewrite> = Vec::new();
    for line in listing.lines() {
        let words = words(line);
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["table", family, name, "{", ..] => {
                table = format!("{family} {name}");
                ours = name != "nat" || !managed.contains(&family);
            }
            ["chain", name, "{", ..] => {
                name.clone_into(&mut chain);
                earlier.clear();
            }
            [.., "#", "handle", handle] if ours => {
                let Some(rule) = NftRule::of(&words[..words.len() - 3]) else { continue };
                let cured = rule.cured();
                let is_cured = earlier
                    .iter()
                    .any(|other| other.matches == cured && !other.gives_out(protected));
                if rule.rewrite.gives_out(protected) && !is_cured {
                    let rest = rule.target(safe);
                    let matches = cured.join(" ");
                    let fix = format!(
                        "nft 'insert rule {table} {chain} position {handle} {matches} {rest}'"
                    );
                    hazards.push(Hazard { rule: words[..words.len() - 3].join(" "), fix });
                }
                earlier.push(rule.rewrite);
            }
            _ => {}
        }
    }
    hazards
}

/// A rule of nft's that rewrites sources.
struct NftRule {
    rewrite: Rewrite,
    /// `masquerade`, or `snat to` and the address.
    statement: Vec<String>,
    /// Words after it: `random`, a comment.
    rest: Vec<String>,
}

impl NftRule {
    /// The two protocols that ports are of, as nft lists them.
    const PROTOCOLS: [&str; 6] = ["meta", "l4proto", "{", "tcp,", "udp", "}"];

    /// `None`: it rewrites no sources, or by a map, which gives out the port there was.
    fn of(words: &[String]) -> Option<Self> {
        let at = words.iter().position(|word| word == "masquerade" || word == "snat")?;
        let (matches, statement) = words.split_at(at);
        let mut statement = statement.to_vec();
        let mut rest = statement.split_off(1);
        let mut ports = PORTS;
        if let Some(to) = rest.iter().position(|word| word == "to") {
            let mut behind = rest.split_off(to + 1);
            let target = if behind.is_empty() { String::new() } else { behind.remove(0) };
            let (address, range_text) = split_ports(&target);
            if statement[0] == "snat" && address.is_empty() {
                return None;
            }
            ports = range_text.and_then(range).unwrap_or(PORTS);
            statement.extend(rest);
            statement.extend((!address.is_empty()).then(|| address.to_owned()));
            rest = behind;
        }
        Some(Self {
            rewrite: Rewrite { matches: without_counter(matches), ports },
            statement,
            rest,
        })
    }

    /// Match of the rule that fixes this one.
    fn cured(&self) -> Vec<String> {
        let mut matches = self.rewrite.matches.clone();
        if !matches.iter().any(|word| ["tcp", "udp", "tcp,", "th"].contains(&word.as_str())) {
            matches.extend(Self::PROTOCOLS.map(str::to_owned));
        }
        matches
    }

    /// The statement with these ports.
    fn target(&self, (low, high): (u16, u16)) -> String {
        let (last, before) = self.statement.split_last().map_or(("", &[][..]), |(l, b)| (&**l, b));
        let ports = format!(":{low}-{high}");
        let statement = match before.is_empty() || last == "to" {
            // masquerade, with or without a range.
            true => format!("masquerade to {ports}"),
            false if last.contains(':') && !last.starts_with('[') => {
                format!("{} [{last}]{ports}", before.join(" "))
            }
            false => format!("{} {last}{ports}", before.join(" ")),
        };
        [&[statement][..], &self.rest].concat().join(" ")
    }
}

/// The address and the ports in what stands behind `to`.
fn split_ports(target: &str) -> (&str, Option<&str>) {
    match target.rsplit_once(':') {
        // An address of IPv6 alone has colons of its own.
        Some((address, ports)) if !address.contains(':') || address.ends_with(']') => {
            (address, Some(ports))
        }
        _ => (target, None),
    }
}

fn without_counter(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "counter" {
            // packets N bytes N
            words.by_ref().take(4).for_each(drop);
        } else {
            kept.push(word.clone());
        }
    }
    kept
}

/// The hazards in what iptables-save prints.
fn iptables(listing: &str, command: &str, protected: &[u16], safe: (u16, u16)) -> Vec<Hazard> {
    let mut hazards = Vec::new();
    let mut earlier: Vec<(String, usize, Rewrite)> = Vec::new();
    let mut counts: Vec<(String, usize)> = Vec::new();
    for line in listing.lines() {
        let words = words(line);
        let [append, chain, rule @ ..] = &words[..] else { continue };
        if append != "-A" {
            continue;
        }
        let place = match counts.iter_mut().find(|(known, _)| known == chain) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                counts.push((chain.clone(), 1));
                1
            }
        };
        let Some(jump) = rule.iter().position(|word| word == "-j") else { continue };
        let (matches, action) = rule.split_at(jump);
        let option = match action.get(1).map(String::as_str) {
            Some("MASQUERADE") => "--to-ports",
            Some("SNAT") => "--to-source",
            _ => continue,
        };
        let value = action.iter().position(|word| word == option).and_then(|at| action.get(at + 1));
        let (address, ports) = match (option, value) {
            ("--to-ports", Some(ports)) => ("", Some(ports.as_str())),
            (_, Some(target)) => split_ports(target),
            (_, None) => ("", None),
        };
        let rewrite =
            Rewrite { matches: sorted(matches), ports: ports.and_then(range).unwrap_or(PORTS) };
        let protocols: &[&str] =
            if matches.iter().any(|word| word == "-p") { &[] } else { &["tcp", "udp"] };
        let wanted: Vec<Vec<String>> = match protocols {
            [] => vec![matches.to_vec()],
            _ => protocols.iter().map(|p| with_protocol(matches, p)).collect(),
        };
        let is_cured = wanted.iter().all(|wanted| {
            let wanted = sorted(wanted);
            earlier.iter().any(|(other, _, rewrite)| {
                other == chain && rewrite.matches == wanted && !rewrite.gives_out(protected)
            })
        });
        if rewrite.gives_out(protected) && !is_cured {
            let (low, high) = safe;
            let ports = match address {
                "" => format!("{low}-{high}"),
                address => format!("{address}:{low}-{high}"),
            };
            let target = &action[1];
            let fixes: Vec<String> = wanted
                .iter()
                .map(|wanted| {
                    let wanted = wanted.join(" ");
                    format!(
                        "{command} -t nat -I {chain} {place} {wanted} -j {target} {option} {ports}"
                    )
                })
                .collect();
            hazards.push(Hazard { rule: words.join(" "), fix: fixes.join(" && ") });
        }
        earlier.push((chain.clone(), place, rewrite));
    }
    hazards
}

fn with_protocol(matches: &[String], protocol: &str) -> Vec<String> {
    matches.iter().cloned().chain(["-p".to_owned(), protocol.to_owned()]).collect()
}

/// iptables-save orders the words of a rule as it likes.
fn sorted(words: &[String]) -> Vec<String> {
    let mut sorted = words.to_vec();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: (u16, u16) = (33061, 65535);

    fn nft_fixes(rules: &[&str]) -> Vec<String> {
        let mut text = String::from(
            "table ip nat { # handle 3\n\tchain post { # handle 1\n\
             \t\ttype nat hook postrouting priority srcnat; policy accept;\n",
        );
        for (rule, handle) in rules.iter().zip(2..) {
            text.push_str(&format!("\t\t{rule} # handle {handle}\n"));
        }
        text.push_str("\t}\n}\n");
        nft(&text, &[], &[33060], SAFE).into_iter().map(|hazard| hazard.fix).collect()
    }

    #[test]
    fn the_widest_range_without_a_protected_port() {
        assert_eq!(widest_gap(&[33060]), Some((33061, 65535)));
        assert_eq!(widest_gap(&[40000]), Some((1024, 39999)));
        assert_eq!(widest_gap(&[1024, 5432, 65535]), Some((5433, 65534)));
        assert_eq!(widest_gap(&[20000, 30000, 50000]), Some((30001, 49999)));
        assert_eq!(widest_gap(&(1024..=65535).collect::<Vec<_>>()), None);
    }

    #[test]
    fn rules_of_nft() {
        let insert = "nft 'insert rule ip nat post position 2";
        for (rule, statement) in [
            (
                r#"oifname "eth0" masquerade"#,
                r#"oifname "eth0" meta l4proto { tcp, udp } masquerade to :33061-65535"#,
            ),
            (
                r#"oifname "a masquerade b" counter packets 1 bytes 60 masquerade fully-random comment "x y""#,
                r#"oifname "a masquerade b" meta l4proto { tcp, udp } masquerade to :33061-65535 fully-random comment "x y""#,
            ),
            (
                "meta l4proto tcp masquerade to :1024-65535",
                "meta l4proto tcp masquerade to :33061-65535",
            ),
            (
                "ip saddr 10.0.0.0/8 snat to 192.0.2.1",
                "ip saddr 10.0.0.0/8 meta l4proto { tcp, udp } snat to 192.0.2.1:33061-65535",
            ),
            (
                "tcp dport 443 snat ip to 192.0.2.1:2000-40000 random",
                "tcp dport 443 snat ip to 192.0.2.1:33061-65535 random",
            ),
            ("snat to 2001:db8::1", "meta l4proto { tcp, udp } snat to [2001:db8::1]:33061-65535"),
        ] {
            assert_eq!(nft_fixes(&[rule]), [format!("{insert} {statement}'")], "{rule}");
            // Nothing is left to fix once the command was run.
            assert_eq!(nft_fixes(&[statement, rule]), [""; 0], "{rule}");
            // Behind the rule it would come too late.
            assert_eq!(nft_fixes(&[rule, statement]).len(), 1, "{rule}");
        }
        for harmless in [
            "meta l4proto { tcp, udp } masquerade to :40000-50000",
            "tcp dport 443 snat to 192.0.2.1:1024-33059",
            r#"oifname "masquerade" accept"#,
            r#"accept comment "masquerade""#,
        ] {
            assert_eq!(nft_fixes(&[harmless]), [""; 0], "{harmless}");
        }
        for broken in ["masquerade to", "snat to", "snat", "counter masquerade", "\"", "# handle"] {
            nft_fixes(&[broken]);
        }
    }

    #[test]
    fn rules_that_iptables_manages_are_for_iptables() {
        let text = "table ip nat { # handle 3\n chain POSTROUTING { # handle 1\n \
                    oifname \"eth0\" masquerade # handle 2\n }\n}\n";
        assert!(is_of_iptables(text, "ip") && !is_of_iptables(text, "ip6"));
        assert!(!is_of_iptables(&text.replace("POSTROUTING", "post"), "ip"));
        assert!(!is_of_iptables("", "ip") && !is_of_iptables("table ip nat {", "ip"));
        assert_eq!(nft(text, &["ip"], &[33060], SAFE), []);
        assert_eq!(nft(text, &["ip6"], &[33060], SAFE).len(), 1);
        let both =
            format!("{}{text}", text.replace("POSTROUTING", "post").replace("ip nat", "ip6 nat"));
        assert!(is_of_iptables(&both, "ip") && !is_of_iptables(&both, "ip6"));
    }

    #[test]
    fn rules_of_iptables() {
        let docker = "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
        let cures = "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p tcp -j MASQUERADE --to-ports 33061-65535\n\
                     -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p udp -j MASQUERADE --to-ports 33061-65535\n";
        let check = |rules: &str| {
            let text = format!("*nat\n:POSTROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n");
            iptables(&text, "iptables", &[33060], SAFE)
        };
        let found = check(&format!("-A POSTROUTING -j RETURN\n{docker}"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule, docker);
        assert_eq!(
            found[0].fix,
            "iptables -t nat -I POSTROUTING 2 -s 172.17.0.0/16 ! -o docker0 -p tcp -j MASQUERADE \
             --to-ports 33061-65535 && iptables -t nat -I POSTROUTING 2 -s 172.17.0.0/16 ! -o \
             docker0 -p udp -j MASQUERADE --to-ports 33061-65535"
        );
        assert_eq!(check(&format!("{cures}{docker}")), []);
        assert_eq!(check(&format!("{docker}\n{cures}")).len(), 1);
        let libvirt =
            "-A LIBVIRT_PRT -s 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535";
        assert_eq!(
            check(libvirt)[0].fix,
            "iptables -t nat -I LIBVIRT_PRT 1 -s 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports \
             33061-65535"
        );
        let snat = "-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.1";
        assert!(check(snat)[0].fix.contains("-j SNAT --to-source 192.0.2.1:33061-65535"));
        for harmless in ["-A POSTROUTING -j ACCEPT", "-A X", "-A", "", "COMMIT -j MASQUERADE"] {
            assert_eq!(check(harmless), [], "{harmless}");
        }
    }
}
