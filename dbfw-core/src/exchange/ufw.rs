//! ufw's rules as a list: `/etc/ufw/user.rules`, or what `ufw status` prints.

use super::imported::{Imported, Left};
use crate::{PortQuery, PortRange};

/// The rules that admit, as a list; with `port`, those for it.
pub fn import_ufw(text: &str, port: Option<PortQuery>) -> Vec<Imported> {
    let lines = text.lines().enumerate().take(MAX_LINES);
    lines.filter_map(|(at, line)| import(line.trim(), at + 1, port)).collect()
}

/// Lines that are read.
const MAX_LINES: usize = 1_000_000;

/// A rule of ufw.
struct Rule<'a> {
    admits: bool,
    ports: String,
    protocol: Option<bool>,
    source: &'a str,
}

fn import(line: &str, number: usize, port: Option<PortQuery>) -> Option<Imported> {
    let rule = match line.strip_prefix("### tuple ###") {
        Some(tuple) => of_tuple(tuple),
        None => of_status(line)?,
    };
    let left = |why| Imported::Left { what: format!("line {number}: {line}"), why };
    let Some(rule) = rule else { return Some(left(Left::Form)) };
    if !rule.admits {
        return Some(left(Left::Refuses));
    }
    match port.map(|port| rule.is_for(port)) {
        Some(None) => return Some(left(Left::Form)),
        Some(Some(false)) => return Some(left(Left::OtherPorts)),
        None | Some(Some(true)) => {}
    }
    let protocol = match rule.protocol {
        Some(true) => "/udp",
        Some(false) => "/tcp",
        None => "",
    };
    let ports = if rule.ports == "any" { "every port" } else { &rule.ports };
    let note = format!("{ports}{protocol} (line {number})");
    Some(match rule.source {
        "any" | "Anywhere" => Imported::of_text("0.0.0.0/0", note),
        "Anywhere (v6)" => Imported::of_text("::/0", note),
        source => Imported::of_text(source, note),
    })
}

impl Rule<'_> {
    /// Whether it is for a port; `None`: its ports cannot be read.
    fn is_for(&self, asked: PortQuery) -> Option<bool> {
        if self.ports == "any" {
            return Some(true);
        }
        let mut found = false;
        for part in self.ports.split(',') {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            for udp in [false, true] {
                if self.protocol.is_none_or(|protocol| protocol == udp) {
                    let range = PortRange::new(udp, first.parse().ok()?, last.parse().ok()?)?;
                    found |= asked.is_about(&range);
                }
            }
        }
        Some(found)
    }
}

/// `allow tcp 5432 0.0.0.0/0 any 192.0.2.0/24 in`: action, protocol, destination's port and
/// address, source's port and address. Interfaces, routes and applications are not read.
fn of_tuple(text: &str) -> Option<Rule<'_>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [action, protocol, ports, _, "any", source, "in", rest @ ..] = &*words else { return None };
    if rest.iter().any(|word| !word.starts_with("comment=")) {
        return None;
    }
    let protocol = match *protocol {
        "tcp" => Some(false),
        "udp" => Some(true),
        "any" => None,
        _ => return None,
    };
    // IPv6 rules are in a file of their own, where ::/0 is anybody.
    Some(Rule { admits: admits(action)?, ports: (*ports).to_owned(), protocol, source })
}

fn admits(action: &str) -> Option<bool> {
    match action {
        "allow" | "limit" => Some(true),
        "deny" | "reject" => Some(false),
        _ => None,
    }
}

/// A row of `ufw status`; `None`: the line is none. `Some(None)`: a row that is not read.
fn of_status(line: &str) -> Option<Option<Rule<'_>>> {
    let line = line.split_once(']').filter(|_| line.starts_with('[')).map_or(line, |(_, row)| row);
    let (to, rest) = [" ALLOW", " LIMIT", " DENY", " REJECT"]
        .into_iter()
        .find_map(|action| Some((line.split_once(action)?, action)))
        .map(|((to, rest), action)| (to.trim(), (rest, action)))?;
    let (rest, action) = rest;
    let rest = rest.split('#').next().unwrap_or_default().trim();
    let source = match rest.split_once(char::is_whitespace) {
        Some(("IN", source)) => source.trim(),
        Some(("OUT" | "FWD", _)) => return Some(None),
        _ => rest,
    };
    let to = to.strip_suffix("(v6)").unwrap_or(to).trim();
    let (ports, protocol) = match to.split_once('/') {
        Some((ports, "tcp")) => (ports, Some(false)),
        Some((ports, "udp")) => (ports, Some(true)),
        Some(_) => return Some(None),
        None if to == "Anywhere" => ("any", None),
        None => (to, None),
    };
    let admits = matches!(action, " ALLOW" | " LIMIT");
    Some(Some(Rule { admits, ports: ports.to_owned(), protocol, source }))
}
