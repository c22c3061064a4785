//! `dbfw sources`: asks the agent for the state of every trusted source.

use dbfw_wire::control::{Request, SourceStatus, Sources};
use jiff::{SignedDuration, Timestamp};

use super::{
    context::Context,
    exit::Exit,
    message::note,
    output::{UnusedSources, lasting},
};

pub(super) fn sources(context: &Context, unused: Option<SignedDuration>) -> anyhow::Result<Exit> {
    let found: Sources = context.call(&Request::Sources {})?;
    let Some(within) = unused else {
        context.show(&found)?;
        return Ok(Exit::Ok);
    };
    let from = Timestamp::now().checked_sub(within).unwrap_or(Timestamp::MIN);
    let Unused { sources, counted_later, uncounted } = Unused::of(found.sources, from);
    context.show(&UnusedSources { sources, within })?;
    if let Some((count, first)) = counted_later {
        note(&format!(
            "{count} of these have been counted for less than {}, the first of them since \
             {first:.0}: whether they were used before is not known",
            lasting(within.unsigned_abs().as_secs())
        ));
    }
    if uncounted > 0 {
        note(&format!(
            "{uncounted} more have no counter of their own and are left out: other sources of the \
             database have their addresses, or all counters are taken"
        ));
    }
    Ok(Exit::Ok)
}

/// The sources that let nothing in since a moment.
#[derive(Debug, PartialEq)]
struct Unused {
    sources: Vec<SourceStatus>,
    /// The number of those that are counted only since a later moment, and the first such moment.
    counted_later: Option<(usize, Timestamp)>,
    /// The number of sources of which it cannot be known.
    uncounted: usize,
}

impl Unused {
    fn of(all: Vec<SourceStatus>, from: Timestamp) -> Self {
        let is_unused = |source: &SourceStatus| source.last_hit.is_none_or(|at| at < from);
        let unused = all.into_iter().filter(is_unused);
        // A source that stands for no address needs no counter to be of no use.
        let is_known = |source: &SourceStatus| source.since.is_some() || source.prefixes.is_empty();
        let (sources, uncounted): (Vec<_>, Vec<_>) = unused.partition(is_known);
        let later = || sources.iter().filter_map(|source| source.since).filter(|at| *at > from);
        let counted_later = later().min().map(|first| (later().count(), first));
        Self { counted_later, uncounted: uncounted.len(), sources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    #[test]
    fn unused_is_what_let_nothing_in_and_was_counted() {
        let at = |text: &str| -> Option<Timestamp> { Some(text.parse().unwrap()) };
        let source =
            |name: &str, since, last_hit| SourceStatus { since, last_hit, ..samples::source(name) };
        let (old, new) = (at("2026-01-01T00:00:00Z"), at("2026-02-20T00:00:00Z"));
        let from = at("2026-02-01T00:00:00Z").unwrap();
        let mut nothing = source("tag:empty", None, None);
        nothing.prefixes.clear();
        let all = [
            source("tag:used", old, new),
            source("tag:never", old, None),
            source("tag:once", old, old),
            source("tag:young", new, None),
            source("tag:uncounted", None, None),
            nothing,
        ];
        let unused = Unused::of(all.to_vec(), from);
        let names: Vec<&str> = unused.sources.iter().map(|source| &*source.source).collect();
        assert_eq!(names, ["tag:never", "tag:once", "tag:young", "tag:empty"]);
        assert_eq!(unused.counted_later, Some((1, new.unwrap())));
        assert_eq!(unused.uncounted, 1);
        let none = Unused::of(all[..1].to_vec(), from);
        assert_eq!((none.sources.len(), none.counted_later, none.uncounted), (0, None, 0));
    }
}
