//! Source addresses and ports that the host rewrites: a connection that is masqueraded may be
//! given a protected port as its own, whatever `ip_local_reserved_ports` says, and what answers
//! it is judged as a packet to the database.

use std::collections::{BTreeSet, HashMap};

use super::host::Host;
use crate::nat::{Iptables, NatRules, range, split_ports, words};

/// Ports that the kernel chooses from for a port of 1024 or more.
const PORTS: (u16, u16) = (1024, u16::MAX);

/// A rule that may give a protected port to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hazard {
    /// The rule, as it is listed.
    pub(super) rule: String,
    /// The command that puts a rule before it which gives out other ports.
    pub(super) fix: String,
}

/// Looks for rules of this network namespace that may give out one of the `protected` ports.
///
/// # Errors
/// The reason why they cannot be listed.
pub(super) fn look(host: &Host, protected: &BTreeSet<u16>) -> Result<Vec<Hazard>, &'static str> {
    let exposed: Vec<u16> = protected.iter().copied().filter(|port| *port >= PORTS.0).collect();
    let Some(safe) = widest_gap(&exposed) else { return Ok(Vec::new()) };
    if !host.is_this() {
        return Err("another host's cannot be listed");
    }
    let listed = NatRules::read()?;
    let mut found = Vec::new();
    for Iptables { command, rules } in &listed.iptables {
        found.extend(hazards(&iptables(rules, command, safe), &exposed));
    }
    let of_nft = listed.nft.iter();
    found.extend(of_nft.flat_map(|rules| hazards(&nft(rules, &listed.managed, safe), &exposed)));
    Ok(found)
}

/// The widest range of ports from 1024 on without any of these, which are sorted.
fn widest_gap(protected: &[u16]) -> Option<(u16, u16)> {
    let mut gaps = Vec::new();
    let mut from = Some(PORTS.0);
    for &port in protected {
        gaps.extend(from.filter(|from| *from < port).map(|from| (from, port - 1)));
        from = port.checked_add(1);
    }
    gaps.extend(from.map(|from| (from, PORTS.1)));
    // Of several the first: `max_by_key` takes the last.
    gaps.into_iter().rev().max_by_key(|(low, high)| high - low)
}

/// A rule that rewrites sources.
struct Rewrite {
    chain: String,
    /// The rule, as it is listed.
    rule: String,
    /// Its match, word by word.
    matches: Vec<String>,
    /// The ports it gives out.
    ports: (u16, u16),
    /// The rules that fix it, put before it.
    cures: Vec<Cure>,
}

/// A rule that gives out other ports than the one it stands before.
struct Cure {
    /// Its match, word by word.
    matches: Vec<String>,
    /// The command that adds it.
    command: String,
}

/// The rules that give out one of the `protected` ports and are not fixed by one before them.
fn hazards(rules: &[Rewrite], protected: &[u16]) -> Vec<Hazard> {
    let gives_out = |Rewrite { ports: (low, high), .. }: &Rewrite| {
        protected.iter().any(|port| (low..=high).contains(&port))
    };
    let mut hazards = Vec::new();
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| gives_out(rule)) {
        let is_there = |cure: &Cure| {
            let earlier = rules[..at].iter().filter(|earlier| earlier.chain == rule.chain);
            earlier.filter(|earlier| !gives_out(earlier)).any(|e| e.matches == cure.matches)
        };
        let missing = rule.cures.iter().filter(|cure| !is_there(cure));
        let commands: Vec<&str> = missing.map(|cure| cure.command.as_str()).collect();
        if !commands.is_empty() {
            hazards.push(Hazard { rule: rule.rule.clone(), fix: commands.join(" && ") });
        }
    }
    hazards
}

/// The rules in a listing of nft's with handles. `managed`: families whose table `nat` iptables
/// has listed.
fn nft(listing: &str, managed: &[&str], safe: (u16, u16)) -> Vec<Rewrite> {
    let mut rewrites = Vec::new();
    let (mut table, mut chain, mut ours) = (String::new(), String::new(), true);
    for line in listing.lines() {
        let words = words(line);
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["table", family, name, "{", ..] => {
                table = format!("{family} {name}");
                ours = name != "nat" || !managed.contains(&family);
            }
            ["chain", name, "{", ..] => chain = format!("{table} {name}"),
            [.., "#", "handle", handle] if ours => {
                rewrites.extend(nft_rule(&words[..words.len() - 3], &chain, handle, safe));
            }
            _ => {}
        }
    }
    rewrites
}

/// `None`: it rewrites no sources, or by a map, which gives out the port there was.
fn nft_rule(words: &[String], chain: &str, handle: &str, safe: (u16, u16)) -> Option<Rewrite> {
    /// The two protocols that ports are of, as nft lists them.
    const PROTOCOLS: [&str; 6] = ["meta", "l4proto", "{", "tcp,", "udp", "}"];

    let at = words.iter().position(|word| word == "masquerade" || word == "snat")?;
    let (matches, statement) = words.split_at(at);
    let to = statement.iter().position(|word| word == "to");
    // `masquerade`, or `snat` and perhaps a family; the address; `random`, a comment.
    let (verb, rest) = statement.split_at(to.unwrap_or(1));
    let (target, rest) = match to {
        Some(_) => (rest.get(1).map_or("", String::as_str), rest.get(2..).unwrap_or_default()),
        None => ("", rest),
    };
    let (address, ports) = split_ports(target);
    if verb[0] == "snat" && address.is_empty() {
        return None;
    }
    let matches = without_counter(matches);
    let mut cured = matches.clone();
    if !matches.iter().any(|word| ["tcp", "udp", "tcp,", "th"].contains(&word.as_str())) {
        cured.extend(PROTOCOLS.map(str::to_owned));
    }
    let address = match address.contains(':') && !address.starts_with('[') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    let (low, high) = safe;
    let target = ["to".to_owned(), format!("{address}:{low}-{high}")];
    let rule = [&cured[..], verb, &target[..], rest].concat().join(" ");
    let command = format!("nft 'insert rule {chain} position {handle} {rule}'");
    Some(Rewrite {
        chain: chain.to_owned(),
        rule: words.join(" "),
        matches,
        ports: ports.and_then(range).unwrap_or(PORTS),
        cures: vec![Cure { matches: cured, command }],
    })
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

/// The rules in what iptables-save prints.
fn iptables(listing: &str, program: &str, (low, high): (u16, u16)) -> Vec<Rewrite> {
    let mut rewrites = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in listing.lines() {
        let words = words(line);
        let [append, chain, rule @ ..] = &words[..] else { continue };
        if append != "-A" {
            continue;
        }
        let place = places.entry(chain.clone()).or_default();
        *place += 1;
        let Some(jump) = rule.iter().position(|word| word == "-j") else { continue };
        let (matches, action) = rule.split_at(jump);
        let (target, option) = match action.get(1).map(String::as_str) {
            Some(target @ "MASQUERADE") => (target, "--to-ports"),
            Some(target @ "SNAT") => (target, "--to-source"),
            _ => continue,
        };
        let value = action.iter().position(|word| word == option).and_then(|at| action.get(at + 1));
        let value = value.map_or("", String::as_str);
        let (address, ports) =
            if option == "--to-ports" { ("", Some(value)) } else { split_ports(value) };
        let to = if address.is_empty() {
            format!("{low}-{high}")
        } else {
            format!("{address}:{low}-{high}")
        };
        let cure = |protocol: &[&str]| {
            let protocol: Vec<String> = protocol.iter().map(|&word| word.to_owned()).collect();
            let matches = [matches, &protocol].concat();
            let words = matches.join(" ");
            let command =
                format!("{program} -t nat -I {chain} {place} {words} -j {target} {option} {to}");
            Cure { matches: sorted(matches), command }
        };
        let cures = if matches.iter().any(|word| word == "-p") {
            vec![cure(&[])]
        } else {
            vec![cure(&["-p", "tcp"]), cure(&["-p", "udp"])]
        };
        rewrites.push(Rewrite {
            chain: chain.clone(),
            rule: words.join(" "),
            matches: sorted(matches.to_vec()),
            ports: ports.and_then(range).unwrap_or(PORTS),
            cures,
        });
    }
    rewrites
}

/// iptables-save orders the words of a rule as it likes.
fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words
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
        hazards(&nft(&text, &[], SAFE), &[33060]).into_iter().map(|hazard| hazard.fix).collect()
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
        assert!(nft(text, &["ip"], SAFE).is_empty());
        assert_eq!(nft(text, &["ip6"], SAFE).len(), 1);
    }

    #[test]
    fn rules_of_iptables() {
        let docker = "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
        let cures = "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p tcp -j MASQUERADE --to-ports 33061-65535\n\
                     -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p udp -j MASQUERADE --to-ports 33061-65535\n";
        let check = |rules: &str| {
            let text = format!("*nat\n:POSTROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n");
            hazards(&iptables(&text, "iptables", SAFE), &[33060])
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
