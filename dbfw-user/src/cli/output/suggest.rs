//! Output of `dbfw suggest`, for people and as plain fields.

use std::collections::BTreeMap;

use dbfw_wire::control::{Activity, RefusedAddress, Suggestion, Suggestions, Visitor};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    render::Render,
    table::{Cell, Column, FAIR, GOOD, NARROWEST, Table, left, right},
    words::{ago, clean, count, cut, number_of, wrap},
};

/// Columns of the table at most; the longest source takes 41 of them.
const WIDTH: usize = 100;

/// Spaces before the lines about a source.
const INDENT: usize = 4;

/// Refused addresses that the table names.
const MAX_NAMED: usize = 2;

/// Sources in the table, unless all are asked for.
const MAX_SHOWN: usize = 20;

/// Suggestions, and whether to show all of them, scanners too.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::cli) struct Shown<'s> {
    pub(in crate::cli) suggestions: &'s Suggestions,
    #[serde(skip)]
    pub(in crate::cli) all: bool,
}

/// A source in the table.
struct Row<'s> {
    database: &'s str,
    source: String,
    looks_like: Visitor,
    others: u64,
    activity: &'s Activity,
    /// Its addresses where the source does not say them.
    addresses: String,
    why: &'s str,
}

fn columns<'s>() -> [Column<Row<'s>>; 6] {
    [
        left("DATABASE", |one, _| one.database.into()),
        left("SOURCE", |one, _| one.source.as_str().into()),
        left("LOOKS LIKE", |one, _| visitor(one.looks_like)),
        right("OTHERS", |one, _| count(one.others).into()),
        right("MINUTES", |one, _| count(one.activity.minutes.into()).into()),
        right("LAST SEEN", |one, now| ago(Some(one.activity.last_seen), now).into()),
    ]
}

fn visitor(visitor: Visitor) -> Cell {
    match visitor {
        Visitor::Client => Cell::styled(visitor.as_str(), GOOD),
        Visitor::Unclear => Cell::styled(visitor.as_str(), FAIR),
        Visitor::Scanner => visitor.as_str().into(),
    }
}

impl<'s> Row<'s> {
    fn proposed(one: &'s Suggestion) -> Self {
        let says_all = one.covers.iter().all(|address| one.source == format!("ip_addr:{address}"));
        Self {
            database: &one.database,
            source: one.source.clone(),
            looks_like: one.looks_like,
            others: one.others,
            activity: &one.activity,
            addresses: if says_all { String::new() } else { named(&one.covers) + ": " },
            why: &one.why,
        }
    }

    fn scanner(one: &'s RefusedAddress) -> Self {
        Self {
            database: &one.database,
            source: ip_addr(one),
            looks_like: one.looks_like,
            others: 0,
            activity: &one.activity,
            addresses: String::new(),
            why: &one.why,
        }
    }

    /// The lines below its own.
    fn details(&self, now: Timestamp) -> String {
        let Activity { first_seen, packets, ports, last_connected, .. } = self.activity;
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "{}{}; first seen {}, ~{} packets to {}",
            self.addresses,
            self.why,
            ago(Some(*first_seen), now),
            count(*packets),
            if ports.is_empty() { "no port".to_owned() } else { ports.join(", ") },
        );
        if last_connected.is_some() {
            text.push_str(&format!(", last connected {}", ago(*last_connected, now)));
        }
        let room = WIDTH - INDENT;
        let lines = wrap(&text, room);
        lines.iter().map(|line| format!("{:INDENT$}{}\n", "", cut(line, room))).collect()
    }
}

impl Render for Shown<'_> {
    fn table(&self, now: Timestamp) -> String {
        let Self { suggestions, all } = *self;
        let scanners = if all { &suggestions.scanners[..] } else { &[] };
        let rows = suggestions.suggestions.iter().map(Row::proposed);
        let mut rows: Vec<Row<'_>> = rows.chain(scanners.iter().map(Row::scanner)).collect();
        if rows.is_empty() {
            return nothing(suggestions) + "\n";
        }
        let more = if all { 0 } else { rows.len().saturating_sub(MAX_SHOWN) };
        rows.truncate(rows.len() - more);
        let mut table = Table::of(&columns(), &rows, now);
        table.fit_to(WIDTH, &[(0, NARROWEST)]);
        let table = table.render();
        let mut lines = table.lines();
        let mut text = lines.next().unwrap_or_default().to_owned() + "\n";
        for (line, row) in lines.zip(&rows) {
            text.push_str(&format!("{line}\n{}", row.details(now)));
        }
        if more > 0 {
            text.push_str(&format!("and {more} more: dbfw suggest --all\n"));
        }
        text.push_str(&format!("\n{}", untrusted(suggestions)));
        let hint = match (suggestions.scanners.len(), all) {
            (0, _) | (_, true) => "",
            _ => " (dbfw suggest --all)",
        };
        text.push_str(&format!(
            "{hint}.\nLook at each before you trust it. `dbfw suggest --output plain` prints lines \
             for the configuration.\n"
        ));
        text
    }

    /// TOML for the configuration.
    fn plain(&self) -> String {
        let Self { suggestions, all } = *self;
        let mut by_database: BTreeMap<&str, (Vec<&Suggestion>, Vec<&RefusedAddress>)> =
            BTreeMap::new();
        for one in &suggestions.suggestions {
            by_database.entry(&one.database).or_default().0.push(one);
        }
        for one in &suggestions.scanners {
            by_database.entry(&one.database).or_default().1.push(one);
        }
        if by_database.is_empty() {
            return format!("# {}\n", nothing(suggestions));
        }
        let mut text = String::new();
        for (database, (proposed, scanners)) in by_database {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("# For the database {}:\n", quoted(database)));
            text.push_str("trusted_sources = [\n");
            text.extend(proposed.into_iter().map(line));
            if all {
                text.extend(scanners.into_iter().map(scanner_line));
            } else if !scanners.is_empty() {
                text.push_str(&format!(
                    "  # {}, not shown: dbfw suggest --all\n",
                    scanners_are(scanners.len())
                ));
            }
            text.push_str("]\n");
        }
        text
    }
}

fn nothing(suggestions: &Suggestions) -> String {
    match suggestions.since {
        Some(_) if !suggestions.scanners.is_empty() => {
            format!("Nothing to propose: {} (dbfw suggest --all).", untrusted(suggestions))
        }
        Some(since) => format!("Every source that came since {since:.0} is trusted by now."),
        None => "Nobody has come who is not trusted.".to_owned(),
    }
}

/// The number of addresses that are not trusted, without a full stop.
fn untrusted(suggestions: &Suggestions) -> String {
    let observed = number_of(
        suggestions.observed as u64,
        "address that is not trusted came",
        "addresses that are not trusted came",
    );
    let scanners = match suggestions.scanners.len() {
        0 => String::new(),
        scanners => format!("; {}", scanners_are(scanners)),
    };
    format!("{observed}{scanners}")
}

fn scanners_are(count: usize) -> String {
    number_of(count as u64, "looks like a scanner", "look like scanners")
}

fn named(addresses: &[String]) -> String {
    let first = addresses.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match addresses.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn ip_addr(one: &RefusedAddress) -> String {
    format!("ip_addr:{}", one.address)
}

/// A line of TOML. One that is doubtful is a comment: it has to be looked at before it can be used.
fn line(one: &Suggestion) -> String {
    let others = match one.others {
        0 => String::new(),
        others => format!("{}: ", number_of(others, "other address", "other addresses")),
    };
    let seen = match one.covers.len() {
        1 => String::new(),
        covers => format!("{covers} addresses seen, "),
    };
    let mark = if one.looks_like == Visitor::Client { "" } else { "# " };
    format!("  {mark}{},  # {seen}{others}{}\n", quoted(&one.source), clean(&one.why))
}

fn scanner_line(one: &RefusedAddress) -> String {
    format!("  # {},  # looks like a scanner: {}\n", quoted(&ip_addr(one)), clean(&one.why))
}

/// A TOML string: JSON's escapes are among TOML's, and control characters are left to neither.
fn quoted(text: &str) -> String {
    serde_json::Value::from(clean(text)).to_string()
}
