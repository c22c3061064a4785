//! `dbfw sources`: a table, and below it the sources that do not resolve.

use anstyle::Style;
use dbfw_wire::control::{SourceState, SourceStatus, Sources};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    render::Render,
    table::{BAD, Cell, Column, FAIR, GOOD, SCREEN, Table, left, right},
    words::{
        DASH, ago, clean, count, ending, fields, lasting, maybe, moment, number_of, since, wrap,
    },
};

/// Sources that are told one by one below the table.
const MAX_BLOCKS: usize = 50;

/// Parts of one source that are told one by one.
const MAX_PARTS: usize = 5;

const COLUMNS: [Column<SourceStatus>; 10] = [
    left("DATABASE", |source, _| (&source.database).into()),
    left("SOURCE", |source, _| (&source.source).into()),
    left("STATE", |source, _| state(source)),
    right("AGE", |source, _| source.age_seconds.map_or(DASH.to_owned(), lasting).into()),
    left("PREFIXES", |source, _| prefixes(source).into()),
    right("PACKETS", |source, _| count(source.packets).into()),
    left("LAST USED", |source, now| last_used(source, now).into()),
    left("EXPIRES", |source, now| ending(source.expires_at, now).into()),
    left("ORIGIN", |source, _| (&source.origin).into()),
    left("DESCRIPTION", |source, _| Cell::foreign(source.description.as_deref())),
];

/// The sources of a document that were not used for some time.
#[derive(Debug, Serialize)]
pub(in super::super) struct UnusedSources {
    pub(in super::super) sources: Vec<SourceStatus>,
    /// The time they were not used.
    #[serde(skip)]
    pub(in super::super) within: SignedDuration,
}

impl Render for Sources {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return "No source is trusted.\n".to_owned();
        }
        table(&self.sources, now)
    }

    fn plain(&self) -> String {
        plain(&self.sources)
    }
}

impl Render for UnusedSources {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            let within = lasting(self.within.unsigned_abs().as_secs());
            return format!("Every source that is counted was used in the last {within}.\n");
        }
        table(&self.sources, now)
    }

    fn plain(&self) -> String {
        plain(&self.sources)
    }
}

fn table(sources: &[SourceStatus], now: Timestamp) -> String {
    let mut text = Table::of(&COLUMNS, sources, now).render();
    let mut troubles = Blocks::default();
    let mut notes = Blocks::default();
    for source in sources {
        if let Some(trouble) = problem_of(source) {
            troubles.add(source, trouble);
        }
        if !source.notes.is_empty() {
            notes.add(source, (String::new(), source.notes.clone()));
        }
    }
    text.push_str(&troubles.text("Not resolved, or only in part", BAD));
    text.push_str(&notes.text("Probably not meant", FAIR));
    text
}

fn plain(sources: &[SourceStatus]) -> String {
    sources.iter().map(record).collect()
}

fn record(source: &SourceStatus) -> String {
    let parts: Vec<_> = source
        .unresolved
        .iter()
        .map(|unresolved| format!("{}: {}", unresolved.part, unresolved.why))
        .collect();
    fields([
        &source.database,
        &source.source,
        &source.origin,
        &source.prefixes.join(","),
        &source.packets.to_string(),
        &moment(source.last_hit),
        &moment(source.expires_at),
        &maybe(source.description.as_ref()),
        source.state.as_str(),
        &maybe(source.age_seconds.as_ref()),
        &maybe(source.resolved_from.as_ref()),
        &maybe(source.error.as_ref()),
        &parts.join("; "),
        &source.notes.join("; "),
        &moment(source.since),
        &source.users.join(","),
    ])
}

/// The last use; of a source that was never used, how long it has been counted.
fn last_used(source: &SourceStatus, now: Timestamp) -> String {
    match (source.last_hit, source.since) {
        (None, Some(counted)) => format!("none in {}", since(counted, now)),
        (last_hit, _) => ago(last_hit, now),
    }
}

fn prefixes(source: &SourceStatus) -> String {
    match source.prefixes.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        many => number_of(many.len() as u64, "prefix", "prefixes"),
    }
}

fn state(source: &SourceStatus) -> Cell {
    use SourceState::{Expired, Gone, Literal, Ok, Pending, Stale, Unresolvable};

    let style = match source.state {
        Ok if source.unresolved.is_empty() => GOOD,
        Literal => Style::new(),
        Ok | Pending | Stale => FAIR,
        Gone | Unresolvable | Expired => BAD,
    };
    Cell::styled(source.state.as_str(), style)
}

/// Trouble of a source, in a word and at length; `None` if it has none.
fn problem_of(source: &SourceStatus) -> Option<(String, Vec<String>)> {
    let in_force = match source.prefixes.len() {
        0 => "resolves to no address".to_owned(),
        1 => "1 prefix in force".to_owned(),
        many => format!("{} in force", number_of(many as u64, "prefix", "prefixes")),
    };
    let is_fine = matches!(source.state, SourceState::Ok | SourceState::Literal);
    if is_fine && source.unresolved.is_empty() && source.error.is_none() {
        return None;
    }
    let mut why: Vec<String> = source.error.iter().cloned().collect();
    why.extend(
        source.unresolved.iter().take(MAX_PARTS).map(|part| format!("{}: {}", part.part, part.why)),
    );
    if let Some(more @ 1..) = source.unresolved.len().checked_sub(MAX_PARTS) {
        why.push(format!("and {more} more: dbfw sources --output json"));
    }
    Some((format!("{}, {in_force}", source.state), why))
}

/// Paragraphs below the table: one for each trouble, however many databases have it.
#[derive(Debug, Default)]
struct Blocks<'a>(Vec<Block<'a>>);

#[derive(Debug)]
struct Block<'a> {
    source: &'a str,
    databases: Vec<&'a str>,
    /// The state in a word, and the lines below.
    said: (String, Vec<String>),
}

impl<'a> Blocks<'a> {
    fn add(&mut self, source: &'a SourceStatus, said: (String, Vec<String>)) {
        let known = self.0.iter_mut().find(|b| b.source == source.source && b.said == said);
        match known {
            Some(block) if block.databases.contains(&source.database.as_str()) => {}
            Some(block) => block.databases.push(&source.database),
            None => self.0.push(Block {
                source: &source.source,
                databases: vec![&source.database],
                said,
            }),
        }
    }

    fn text(&self, title: &str, style: Style) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut text = format!("\n{style}{title}:{style:#}\n");
        for Block { source, databases, said: (state, lines) } in self.0.iter().take(MAX_BLOCKS) {
            text.push_str(&format!("  {} of {}", clean(source), clean(&databases.join(", "))));
            if !state.is_empty() {
                text.push_str(&format!(": {}", clean(state)));
            }
            text.push('\n');
            for line in lines.iter().flat_map(|line| wrap(line, SCREEN - 4)) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        if let Some(more @ 1..) = self.0.len().checked_sub(MAX_BLOCKS) {
            text.push_str(&format!("  and {more} more: dbfw sources --output json\n"));
        }
        text
    }
}
