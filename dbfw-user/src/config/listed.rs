//! A list of trusted sources in a file, checked before an agent reads it.

use std::path::Path;

use dbfw_core::{
    answers::SourceList,
    policy::{USUAL_MIN_LEN, check_width},
    source::{PrefixSet, PrefixUnion},
    toml::{Place, Problem, Problems, Report},
    trust::OnEmpty,
};
use dbfw_provider::{http::HttpConfig, list};
use jiff::Timestamp;

use super::{
    types::{Config, DatabaseConfig},
    validate::{Doubts, unanswerable},
};

/// A list that an agent would take.
#[derive(Debug)]
pub struct Listed {
    /// Sources in it.
    pub sources: usize,
    /// Addresses and networks that they name themselves; the others are asked for.
    pub prefixes: PrefixSet,
    /// Doubts about what is legal but probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads a list as the worker of the provider `file` does. `host` is the configuration of the
/// host, where there is one: without it, every source is taken to have somebody to ask. `database`
/// is the one whose list it is: without it, the guards are taken to have their defaults.
///
/// # Errors
///
/// Every problem in the list: a single one refuses it as a whole.
pub fn check_list(
    file: &Path,
    text: &[u8],
    host: Option<&Config>,
    database: Option<&DatabaseConfig>,
    now: Timestamp,
) -> Result<Listed, Problems> {
    let mut report = Report::default();
    let mut doubts = Doubts::new(now);
    let mut sources = 0;
    let has_digitalocean = host.is_none_or(|config| config.digitalocean.is_some());
    let defaults = HttpConfig::default();
    let feeds = host.map_or(&defaults, |config| &config.feeds.http);
    let list = list::parse_each(file, text, &mut |source, place| {
        let place = place();
        sources += 1;
        doubts.look(source, &place, &mut report);
        if let Some((message, fix)) = unanswerable(source, has_digitalocean, feeds) {
            report.warning(&place, format!("{message}: it lets nobody in"), fix);
        }
    })?;
    let prefixes = prefixes(&list, now);
    warn_of_guards(file, &list, &prefixes, database, &mut report);
    Ok(Listed { sources, prefixes: prefixes.flatten(), warnings: report.finish(file)? })
}

/// The prefixes that the sources of a list name themselves.
fn prefixes(list: &SourceList, now: Timestamp) -> PrefixUnion {
    let live = list.sources.iter().filter(|source| source.expires_at.is_none_or(|at| at > now));
    live.filter_map(|source| source.key().prefixes()).chain([&list.plain]).collect()
}

/// Warns of what a guard refuses by the configuration of the database, or by the defaults.
fn warn_of_guards(
    file: &Path,
    list: &SourceList,
    prefixes: &PrefixUnion,
    database: Option<&DatabaseConfig>,
    report: &mut Report,
) {
    let place = Place::file(file);
    let keeps = database.is_none_or(|database| database.on_empty == OnEmpty::Keep);
    let (allow_any, min_prefix) = database
        .map_or((false, USUAL_MIN_LEN), |database| (database.allow_any, database.min_prefix));
    if list.is_empty() && keeps {
        report.warning(
            &place,
            "names nobody: on_empty decides, and by default the last good list stays in force",
            "add a source, or set on_empty = \"close\" for the database",
        );
    }
    if let Err(refusal) = check_width(prefixes, allow_any, min_prefix) {
        report.warning(&place, refusal.to_string(), refusal.setting());
    }
}
