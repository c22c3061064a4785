//! What is measured: lists, and the floods against each.

use dbfw_common::Family;

use crate::{
    report::grouped,
    sets::{Kind, Pattern, Set},
};

/// Where a flood comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Uniform,
    Inside,
    One,
}

impl Source {
    pub(super) const ALL: [Self; 3] = [Self::Uniform, Self::Inside, Self::One];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniformly random sources",
            Self::Inside => "random sources inside the clients' networks",
            Self::One => "one untrusted source",
        }
    }

    /// For names of files.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Inside => "inside",
            Self::One => "one",
        }
    }
}

/// A list, and the floods against it.
pub(super) struct Group {
    pub(super) family: Family,
    pub(super) kind: Kind,
    pub(super) count: usize,
    pub(super) sources: &'static [Source],
}

/// A flood against a list.
pub(super) struct Cell {
    pub(super) title: String,
    pub(super) family: Family,
    pub(super) source: Source,
    pub(super) pattern: Pattern,
    pub(super) list: &'static str,
    pub(super) single_addresses: bool,
    pub(super) count: usize,
    /// Of the packets, from sources of the list.
    pub(super) share: f64,
}

impl Cell {
    pub(super) fn new(set: &Set, source: Source) -> Self {
        let pattern = match source {
            Source::Uniform => Pattern::Uniform,
            Source::Inside => set.inside(),
            Source::One => set.one(),
        };
        let family = set.family.as_str();
        let count = set.prefixes.len();
        let list = match (set.kind, set.family) {
            (Kind::Hosts, _) => "hosts",
            (Kind::CloudHosts, Family::V4) => "hosts in 64 /16s",
            (Kind::CloudHosts, Family::V6) => "hosts in 64 /32s",
            (Kind::Mixed, Family::V4) => "prefixes /16 to /32",
            (Kind::Mixed, Family::V6) => "prefixes /32 to /64",
        };
        Self {
            title: format!("{family}, {}, {} {list}", source.name(), grouped(count)),
            family: set.family,
            source,
            list,
            single_addresses: set.is_hosts(),
            count,
            share: set.share(&pattern),
            pattern,
        }
    }
}

/// Everything, or what shows the shape.
pub(super) fn groups(quick: bool) -> Vec<Group> {
    use Source::{Inside, One, Uniform};
    let (uniform, both, inside): (&[Source], &[Source], &[Source]) =
        (&[Uniform], &[Uniform, One], &[Inside]);
    let chosen: &[(Kind, usize, &'static [Source])] = if quick {
        &[
            (Kind::Hosts, 1, uniform),
            (Kind::Hosts, 10_000, both),
            (Kind::Hosts, 100_000, uniform),
            (Kind::CloudHosts, 10_000, inside),
        ]
    } else {
        &[
            (Kind::Hosts, 1, uniform),
            (Kind::Hosts, 1_000, uniform),
            (Kind::Hosts, 10_000, both),
            (Kind::Hosts, 100_000, uniform),
            (Kind::Hosts, 1_000_000, both),
            (Kind::Mixed, 1_000_000, uniform),
            (Kind::CloudHosts, 10_000, inside),
            (Kind::CloudHosts, 100_000, inside),
        ]
    };
    let mut groups = Vec::new();
    for family in Family::ALL {
        for (kind, count, sources) in chosen {
            if quick && family == Family::V6 && *count != 10_000 {
                continue;
            }
            groups.push(Group { family, kind: *kind, count: *count, sources });
        }
    }
    groups
}
