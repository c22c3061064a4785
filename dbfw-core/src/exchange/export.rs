//! Rules of PostgreSQL and nftables that are a list.

use std::{collections::BTreeSet, fmt::Write as _};

use super::imported::one_line;
use crate::{Destinations, Ports, source::Prefix};

/// A database whose list is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its name.
    pub name: String,
    /// The ports it judges.
    pub ports: Ports,
    /// The destinations it judges.
    pub destinations: Destinations,
    /// Whether it drops what is not trusted; else it only counts.
    pub drops: bool,
    /// Its trusted sources.
    pub sources: Vec<ExportedSource>,
}

/// A trusted source of an [`Exported`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSource {
    /// `type:value`.
    pub source: String,
    /// For people.
    pub description: Option<String>,
    /// The database's users that come from it; none: any.
    pub users: Vec<String>,
    /// The addresses it stands for.
    pub prefixes: Vec<Prefix>,
}

impl ExportedSource {
    fn comment(&self) -> String {
        let text = match &self.description {
            Some(description) => format!("{}: {description}", self.source),
            None => self.source.clone(),
        };
        comment(&text)
    }
}

/// A comment of one line. A backslash at its end would continue it in `pg_hba.conf`.
fn comment(text: &str) -> String {
    let text = one_line(text);
    let end = if text.ends_with('\\') { " #" } else { "" };
    format!("# {text}{end}\n")
}

/// Lines of `pg_hba.conf`: one for each prefix and user, with TLS and SCRAM.
pub fn pg_hba(databases: &[Exported]) -> String {
    let mut text = comment("Written by dbfw export, to replace the lines for hosts.");
    for database in databases {
        text += "\n";
        text += &comment(&format!("Trusted sources of {}", database.name));
        for source in &database.sources {
            text += &source.comment();
            let mut users: Vec<String> = source.users.iter().map(|user| quoted(user)).collect();
            if users.is_empty() {
                users.push("all".to_owned());
            }
            for prefix in &source.prefixes {
                for user in &users {
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "hostssl all {user} {prefix} scram-sha-256");
                }
            }
        }
    }
    text
}

/// A name that is no keyword, and no pattern.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table of nftables that drops what the databases do not trust, before anything else sees it.
/// It replaces itself when it is loaded again.
pub fn nft(databases: &[Exported]) -> String {
    let mut text = comment("Written by dbfw export, for hosts without XDP. Load it with nft -f.");
    text += "table inet dbfw_export\ndelete table inet dbfw_export\n\ntable inet dbfw_export {\n";
    for (number, database) in (1..).zip(databases) {
        for family in FAMILIES {
            set(&mut text, number, family, database);
        }
    }
    text += "\tchain prerouting {\n\t\ttype filter hook prerouting priority raw; policy accept;\n";
    text += "\t\tiif \"lo\" accept\n";
    // Where their first bytes look like ports nftables takes them for such.
    text += "\t\t";
    text += &comment("Later fragments, which have no port");
    text += "\t\tip frag-off & 0x1fff != 0 return\n";
    for (number, database) in (1..).zip(databases) {
        rules(&mut text, number, database);
    }
    if !databases.is_empty() {
        text += "\t\t";
        text += &comment("First fragments, whose port may be in a later one");
        text += "\t\tip frag-off & 0x3fff == 0x2000 jump hidden\n\t\tfrag frag-off 0 jump hidden\n";
        text += "\t}\n\n";
        hidden(&mut text, databases);
    }
    text += "\t}\n}\n";
    text
}

/// A family as nftables writes it.
#[derive(Clone, Copy)]
struct Family {
    header: &'static str,
    set: &'static str,
    is_v4: bool,
}

const FAMILIES: [Family; 2] = [
    Family { header: "ip", set: "ipv4", is_v4: true },
    Family { header: "ip6", set: "ipv6", is_v4: false },
];

fn set(text: &mut String, number: usize, family: Family, database: &Exported) {
    *text += "\t";
    *text += &comment(&format!("Trusted sources of {}", database.name));
    let Family { set, is_v4, .. } = family;
    let _ = writeln!(text, "\tset trusted{number}_{set} {{\n\t\ttype {set}_addr");
    *text += "\t\tflags interval\n\t\tauto-merge\n";
    let mut seen = BTreeSet::new();
    let mut elements = String::new();
    for source in &database.sources {
        let new: Vec<String> = source
            .prefixes
            .iter()
            .filter(|prefix| prefix.is_v4() == is_v4 && seen.insert(**prefix))
            .map(Prefix::to_string)
            .collect();
        if !new.is_empty() {
            let _ =
                writeln!(elements, "\t\t\t{}\t\t\t{},", source.comment(), new.join(",\n\t\t\t"));
        }
    }
    if !elements.is_empty() {
        let _ = writeln!(text, "\t\telements = {{\n{elements}\t\t}}");
    }
    *text += "\t}\n\n";
}

fn rules(text: &mut String, number: usize, database: &Exported) {
    *text += "\t\t";
    *text += &comment(&database.name);
    let verdict = if database.drops { "counter drop" } else { "counter" };
    for udp in [false, true] {
        let ranges = database.ports.ranges().filter(|range| range.first().udp == udp);
        let numbers: Vec<String> = ranges.map(|range| range.numbers()).collect();
        if numbers.is_empty() {
            continue;
        }
        let protocol = if udp { "udp" } else { "tcp" };
        let ports = format!("{protocol} dport {{ {} }}", numbers.join(", "));
        for family in FAMILIES {
            for destination in destinations(&database.destinations, family) {
                let Family { header, set, .. } = family;
                let _ = writeln!(
                    text,
                    "\t\t{ports} {destination}{header} saddr != @trusted{number}_{set} {verdict}"
                );
            }
        }
    }
}

/// The chain that drops first fragments without a port, whoever sends them: the rules before it
/// cannot judge them, and what is put together of them passes no rule any more. Hosts do not send
/// such fragments (RFC 7112).
fn hidden(text: &mut String, databases: &[Exported]) {
    *text += "\tchain hidden {\n\t\tth dport 0-65535 return\n";
    *text += "\t\tmeta l4proto != { tcp, udp } return\n";
    let drops = databases.iter().any(|database| database.drops);
    let verdict = if drops { "counter drop" } else { "counter" };
    let mut matches = BTreeSet::new();
    for family in FAMILIES {
        for database in databases {
            let alternatives = destinations(&database.destinations, family).into_iter();
            matches.extend(alternatives.map(|one| format!("meta nfproto {} {one}", family.set)));
        }
    }
    if databases.iter().any(|database| database.destinations.is_every()) {
        matches = BTreeSet::from([String::new()]);
    }
    for one in matches {
        let _ = writeln!(text, "\t\t{one}{verdict}");
    }
}

/// The matches of which one has to hold; an empty one always does.
fn destinations(destinations: &Destinations, family: Family) -> Vec<String> {
    if destinations.is_every() {
        return vec![String::new()];
    }
    let written: Vec<String> = destinations
        .prefixes()
        .iter()
        .filter(|prefix| prefix.is_v4() == family.is_v4)
        .map(Prefix::to_string)
        .collect();
    let local = destinations.has_local().then(|| {
        // Broadcast, multicast and anycast are always judged.
        "fib daddr type != unicast ".to_owned()
    });
    let written = (!written.is_empty())
        .then(|| format!("{} daddr {{ {} }} ", family.header, written.join(", ")));
    local.into_iter().chain(written).collect()
}
