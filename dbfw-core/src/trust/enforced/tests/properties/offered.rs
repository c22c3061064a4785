//! Candidates at random, as the agent puts them together.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Decision(Offered),
    Set(Settings),
    Restart,
}

/// How the database is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) provider: bool,
    pub(super) on_empty: OnEmpty,
    pub(super) max_shrink: u8,
    pub(super) allow_any: bool,
    /// Shortest IPv4 prefix.
    pub(super) min: u8,
}

/// What a candidate is made of, and how it comes.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    said: Said,
    listed: Vec<Source>,
    written: Vec<Source>,
    plain: Vec<&'static str>,
    pub(super) pending: bool,
    unanswered: bool,
    pub(super) confirm: Confirm,
    pub(super) wait: i64,
}

#[derive(Clone, Debug)]
struct Source {
    text: String,
    prefixes: Vec<&'static str>,
    /// Prefixes it had until `max_stale` took them.
    lapsed: Vec<&'static str>,
}

/// What the provider said of its list.
#[derive(Clone, Copy, Debug)]
enum Said {
    Unread,
    List,
    Gone,
    Lapsed,
}

/// Which plans are confirmed with an decision.
#[derive(Clone, Copy, Debug)]
pub(super) enum Confirm {
    Nothing,
    /// The one that is refused now.
    Shown,
    /// Every one that was refused before, but not that.
    Others,
}

const HOSTS: [&str; 12] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.0/31",
    "10.0.0.0/30",
    "10.0.1.0/24",
    "2001:db8::1",
    "10.0.2.0",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.2.3",
];
const WIDE: [&str; 6] =
    ["0.0.0.0/0", "::/0", "10.0.0.0/7", "128.0.0.0/1", "2000::/3", "12.0.0.0/8"];

impl Default for Settings {
    fn default() -> Self {
        let on_empty = OnEmpty::Keep;
        Self { provider: true, on_empty, max_shrink: 50, allow_any: false, min: 8 }
    }
}

impl Settings {
    pub(super) fn database(self) -> Guards {
        let mut database = database(self.on_empty);
        database.provider = database.provider.filter(|_| self.provider);
        (database.max_shrink, database.allow_any) = (self.max_shrink, self.allow_any);
        database.min_prefix[0] = self.min;
        database
    }
}

impl Source {
    fn rule(&self, origin: &Origin) -> Rule {
        let mut rule = rule(&self.text, origin, &self.prefixes);
        rule.prefixes = prefixes([&rule].into_iter()).into();
        rule
    }
}

impl Offered {
    pub(super) fn candidate(&self, settings: Settings, enforced: &Enforced, now: i64) -> Candidate {
        let origin = |source: &Source| match source.text.as_str() {
            "droplet:7" => Origin::Local,
            _ => Origin::Config,
        };
        let mut candidate = Candidate {
            guarded: self.written.iter().map(|source| source.rule(&origin(source))).collect(),
            pending: self.pending,
            unanswered: self.unanswered,
            ..Candidate::default()
        };
        for (text, origin) in self.plain.iter().zip([Origin::Config, Origin::Local]) {
            candidate.plain.push(rule(&format!("ip_addr:{text}"), &origin, &[text]));
        }
        let mut sources: Vec<&Source> = self.written.iter().collect();
        if settings.provider {
            candidate.list = match self.said {
                Said::Unread => ListPart::Unread,
                Said::Gone => ListPart::Gone(at(now)),
                Said::Lapsed => ListPart::Lapsed,
                Said::List if self.listed.is_empty() => ListPart::Empty(at(now)),
                Said::List => ListPart::Read(at(now)),
            };
        }
        match candidate.list {
            ListPart::Empty(_) if settings.on_empty == OnEmpty::Open => {
                candidate.guarded.push(Rule::everybody("file:/orders.list".into()));
            }
            ListPart::Read(_) => {
                let rules = self.listed.iter().map(|source| source.rule(&provider()));
                candidate.guarded.extend(rules);
                sources.extend(&self.listed);
            }
            ListPart::Lapsed => {
                let listed = enforced.guarded.iter().filter(|rule| is_listed(rule));
                candidate.lapsed.extend(prefixes(listed));
            }
            _ => {}
        }
        let lapsed = sources.iter().flat_map(|source| &source.lapsed);
        candidate.lapsed.extend(lapsed.map(|text| text.parse::<Prefix>().unwrap()));
        candidate
    }
}

fn source(text: &'static str) -> impl Strategy<Value = Source> {
    let prefixes = prop_oneof![
        12 => subsequence(HOSTS.to_vec(), 0..=8),
        1 => subsequence(WIDE.to_vec(), 1..=2),
    ];
    let lapsed = prop_oneof![8 => Just(vec![]), 1 => subsequence(HOSTS.to_vec(), 1..4)];
    (prefixes, lapsed).prop_map(move |(prefixes, mut lapsed)| {
        lapsed.retain(|prefix| !prefixes.contains(prefix));
        Source { text: text.to_owned(), prefixes, lapsed }
    })
}

fn listed() -> impl Strategy<Value = Vec<Source>> {
    let literals = prop_oneof![
        20 => subsequence(HOSTS.to_vec(), 0..=12),
        1 => subsequence(WIDE.to_vec(), 1..=2),
    ];
    (literals, prop::option::of(source("tag:listed"))).prop_map(|(literals, tag)| {
        let source = |at: &&'static str| Source {
            text: format!("ip_addr:{at}"),
            prefixes: vec![*at],
            lapsed: vec![],
        };
        literals.iter().map(source).chain(tag).collect()
    })
}

fn offered() -> impl Strategy<Value = Offered> {
    let written = (
        prop::option::of(source("tag:a")),
        prop::option::of(source("dns:db.example")),
        prop::option::of(source("droplet:7")),
    );
    let said = prop_oneof![
        1 => Just(Said::Unread), 12 => Just(Said::List), 1 => Just(Said::Gone),
        1 => Just(Said::Lapsed),
    ];
    let confirm = prop_oneof![
        3 => Just(Confirm::Nothing), 1 => Just(Confirm::Shown), 1 => Just(Confirm::Others),
    ];
    let plain = subsequence(vec!["10.7.0.0/16", "192.0.2.0/24"], 0..=2);
    let few = || prop::bool::weighted(0.15);
    (said, listed(), written, plain, few(), few(), confirm, 0_i64..25).prop_map(
        |(said, listed, (a, b, c), plain, pending, unanswered, confirm, wait)| Offered {
            said,
            listed,
            written: [a, b, c].into_iter().flatten().collect(),
            plain,
            pending,
            unanswered,
            confirm,
            wait,
        },
    )
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let on_empty =
        prop_oneof![2 => Just(OnEmpty::Keep), 1 => Just(OnEmpty::Close), 1 => Just(OnEmpty::Open)];
    let settings = (
        prop::bool::weighted(0.8),
        on_empty,
        prop_oneof![Just(0_u8), Just(34), Just(50), Just(100)],
        prop::bool::weighted(0.2),
        prop_oneof![Just(7_u8), Just(8), Just(24)],
    );
    let settings = settings.prop_map(|(provider, on_empty, max_shrink, allow_any, min)| {
        Step::Set(Settings { provider, on_empty, max_shrink, allow_any, min })
    });
    let step = prop_oneof![
        10 => offered().prop_map(Step::Decision), 1 => settings, 1 => Just(Step::Restart),
    ];
    vec(step, 1..16)
}
