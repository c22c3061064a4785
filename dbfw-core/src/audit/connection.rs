//! [`SeenConnection`]: a connection of a client as an audit saw it, and.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    check::CheckId,
    finding::{Finding, State, listed},
    trusted::Trusted,
};
use crate::source::{Prefix, PrefixMap};

/// Connections that are looked at.
const MAX_CONNECTIONS: usize = 100_000;
/// Clients that a text names.
const MAX_NAMED: usize = 5;
/// Bits by which a prefix is longer than one that is far too wide.
const FAR_WIDER: u8 = 12;
/// The length of the smallest block that clients are said to be in.
const SMALLEST_BLOCK: [u8; 2] = [28, 64];

/// A connection that a client has, or opened while it was watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenConnection {
    /// The address that it comes from.
    pub from: IpAddr,
    /// The database's user; `None`: nobody knows.
    pub user: Option<String>,
    /// The database; `None`: nobody knows, or the engine has none.
    pub database: Option<String>,
    /// The name that the client's program gives itself; `None`: nobody knows.
    pub application: Option<String>,
    /// Whether it has TLS; `None`: nobody knows.
    pub tls: Option<bool>,
}

impl SeenConnection {
    /// "app@10.0.0.1", and "app@10.0.0.1 (psql)" where the program's name is known.
    fn shown(&self) -> String {
        let program = self.application.as_ref().map(|name| format!(" ({name})"));
        let program = program.unwrap_or_default();
        match &self.user {
            Some(user) => format!("{user}@{}{program}", self.from),
            None => format!("{}{program}", self.from),
        }
    }
}

/// The trusted sources by the addresses that they stand for.
#[derive(Debug)]
pub(super) struct Origins<'a> {
    trusted: &'a [Trusted],
    prefixes: PrefixMap<usize>,
}

impl<'a> Origins<'a> {
    pub(super) fn of(trusted: &'a [Trusted]) -> Self {
        let mut prefixes: BTreeMap<Prefix, usize> = BTreeMap::new();
        for (at, source) in trusted.iter().enumerate() {
            for prefix in source.prefixes.iter() {
                prefixes.entry(*prefix).or_insert(at);
            }
        }
        Self { trusted, prefixes: prefixes.into_iter().collect() }
    }

    /// The source that an address comes from, which is that of the longest prefix around it.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<(&'a Trusted, Prefix)> {
        let (prefix, at) = self.prefixes.longest(address.to_canonical())?;
        Some((&self.trusted[*at], prefix))
    }
}

/// A connection that comes from a trusted source.
struct Known<'a> {
    connection: &'a SeenConnection,
    source: &'a Trusted,
    prefix: Prefix,
}

/// Holds connections against the trusted sources. Those of this host, whose
/// addresses are `own`, and those of strangers do not count.
pub fn judge_connections(
    connections: &[SeenConnection],
    trusted: &[Trusted],
    own: &[IpAddr],
) -> Vec<Finding> {
    let origins = Origins::of(trusted);
    let is_of_others = |connection: &&SeenConnection| {
        let from = connection.from.to_canonical();
        !from.is_loopback() && !own.contains(&from)
    };
    let known = connections.iter().take(MAX_CONNECTIONS).filter(is_of_others);
    let known: Vec<Known<'_>> = known
        .filter_map(|connection| {
            let (source, prefix) = origins.of_address(connection.from)?;
            Some(Known { connection, source, prefix })
        })
        .collect();
    let mut findings = plaintext(&known);
    findings.extend(shared_users(&known));
    findings.extend(wide_sources(&known, trusted));
    findings.extend(undeclared_users(&known, trusted));
    if connections.len() > MAX_CONNECTIONS {
        // What is there was found; what is not may be among the rest.
        let why = format!("only {MAX_CONNECTIONS} connections were looked at");
        for finding in &mut findings {
            if finding.state() == State::Ok {
                *finding = Finding::unknown(finding.check(), &why);
            }
        }
    }
    findings
}

/// The connections of each source, by its name.
fn by_source<'k, 'a>(known: &'k [Known<'a>]) -> BTreeMap<&'a str, Vec<&'k Known<'a>>> {
    let mut found: BTreeMap<&str, Vec<&Known<'_>>> = BTreeMap::new();
    for one in known {
        found.entry(&one.source.source).or_default().push(one);
    }
    found
}

/// Some of several texts, each once.
fn some(texts: impl Iterator<Item = String>) -> String {
    let texts: BTreeSet<String> = texts.collect();
    let more = texts.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = texts.into_iter().take(MAX_NAMED).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Trusted sources without TLS.
fn plaintext(known: &[Known<'_>]) -> Vec<Finding> {
    let mut failed = Vec::new();
    for (name, of_source) in by_source(known) {
        let plain: Vec<_> =
            of_source.iter().filter(|one| one.connection.tls == Some(false)).collect();
        let Some(first) = plain.first() else { continue };
        let text = format!(
            "{}: {} of {} connections have no TLS: {}",
            first.source.shown(),
            plain.len(),
            of_source.len(),
            some(plain.iter().map(|one| one.connection.shown()))
        );
        failed.push((name.to_owned(), text));
    }
    let hidden = known.iter().filter(|one| one.connection.tls.is_none()).count();
    let doubt = (hidden > 0)
        .then(|| format!("of {hidden} connections it is not known whether they have TLS"));
    let fine = format!("none of {} connections of trusted sources is without TLS", known.len());
    listed(CheckId::X4, failed, "trusted sources", doubt, &fine)
}

/// Users that come from several sources.
fn shared_users(known: &[Known<'_>]) -> Vec<Finding> {
    let mut users: BTreeMap<&str, BTreeMap<&str, &Trusted>> = BTreeMap::new();
    for one in known {
        if let Some(user) = &one.connection.user {
            users.entry(user).or_default().insert(&one.source.source, one.source);
        }
    }
    let shared = users.iter().filter(|(_, sources)| sources.len() > 1);
    let failed = shared
        .map(|(user, sources)| {
            let text = format!(
                "{user} is used by {} trusted sources: {}",
                sources.len(),
                some(sources.values().map(|source| source.shown()))
            );
            ((*user).to_owned(), text)
        })
        .collect();
    let fine = format!("each of {} users comes from one trusted source", users.len());
    listed(CheckId::R5, failed, "users", nameless(known), &fine)
}

/// The doubt about connections whose user is not known.
fn nameless(known: &[Known<'_>]) -> Option<String> {
    let count = known.iter().filter(|one| one.connection.user.is_none()).count();
    (count > 0).then(|| format!("of {count} connections the user is not known"))
}

/// The smallest block around addresses of one family.
fn block(addresses: &BTreeSet<IpAddr>) -> Option<Prefix> {
    let (first, last) = (*addresses.first()?, *addresses.last()?);
    let smallest = SMALLEST_BLOCK[usize::from(first.is_ipv6())];
    let lengths = (0..=smallest).rev();
    lengths.map(|length| Prefix::new(first, length)).find(|block| block.contains(last))
}

/// Prefixes that are far wider than the block of the clients in them.
fn wide_sources(known: &[Known<'_>], trusted: &[Trusted]) -> Vec<Finding> {
    let may_be_wide = |prefix: &Prefix| {
        let smallest = SMALLEST_BLOCK[usize::from(!prefix.is_v4())];
        prefix.len().saturating_add(FAR_WIDER) <= smallest
    };
    let mut seen: BTreeMap<(&str, Prefix), BTreeSet<IpAddr>> = BTreeMap::new();
    for one in known.iter().filter(|one| may_be_wide(&one.prefix)) {
        let key = (&*one.source.source, one.prefix);
        seen.entry(key).or_default().insert(one.connection.from.to_canonical());
    }
    let (mut failed, mut unseen) = (Vec::new(), None);
    for source in trusted {
        for prefix in source.prefixes.iter().filter(|prefix| may_be_wide(prefix)) {
            let addresses = seen.get(&(&*source.source, *prefix));
            let Some(block) = addresses.and_then(block) else {
                unseen = unseen.or(Some((source, prefix)));
                continue;
            };
            if block.len() >= prefix.len() + FAR_WIDER {
                let text = format!(
                    "{}: its clients are all in {block}, and {prefix} is trusted",
                    source.shown()
                );
                failed.push((source.source.clone(), text));
            }
        }
    }
    let doubt = unseen
        .map(|(source, prefix)| format!("{}: no client in {prefix} is connected", source.shown()));
    let fine = "no trusted source is far wider than where its clients are";
    listed(CheckId::X6, failed, "prefixes", doubt, fine)
}

/// Users that come from elsewhere than is declared.
fn undeclared_users(known: &[Known<'_>], trusted: &[Trusted]) -> Vec<Finding> {
    let declared: BTreeMap<&str, &Trusted> = trusted
        .iter()
        .flat_map(|source| source.users.iter().map(move |user| (user.as_str(), source)))
        .collect();
    if declared.is_empty() {
        return vec![Finding::ok(CheckId::X7, "no trusted source declares its users")];
    }
    let mut wrong: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for Known { connection, source, .. } in known {
        let Some(user) = connection.user.as_deref() else { continue };
        let declares = source.users.iter().any(|own| own == user);
        let text = match (&*source.users, declared.get(user)) {
            _ if declares => continue,
            ([], None) => continue,
            ([], Some(other)) => format!(
                "{user} is declared for {} and comes from {}, as {}",
                other.shown(),
                source.shown(),
                connection.shown()
            ),
            (users, _) => format!(
                "{} declares {} and {user} comes from it, as {}",
                source.shown(),
                users.join(", "),
                connection.shown()
            ),
        };
        wrong.entry((&source.source, user)).or_insert(text);
    }
    let failed = wrong
        .into_iter()
        .map(|((source, user), text)| (format!("{source} {user}"), text))
        .collect();
    let fine = "every user comes from where it is declared";
    listed(CheckId::X7, failed, "users of sources", nameless(known), fine)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cases;

    fn source(name: &str, prefix: &str, users: &[&str]) -> Trusted {
        Trusted {
            source: name.to_owned(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            prefixes: [prefix.parse().unwrap()].into(),
            ..Trusted::default()
        }
    }

    fn seen(from: &str, user: &str, tls: Option<bool>) -> SeenConnection {
        let user = (!user.is_empty()).then(|| user.to_owned());
        let from = from.parse().unwrap();
        SeenConnection { from, user, database: None, application: None, tls }
    }

    /// The states and subjects of a check.
    fn of(findings: &[Finding], check: CheckId) -> Vec<(State, &str)> {
        let of = findings.iter().filter(|finding| finding.check() == check);
        of.map(|finding| (finding.state(), finding.subject().unwrap_or("-"))).collect()
    }

    #[test]
    fn plaintext_is_named_by_source_and_strangers_and_this_host_are_left_out() {
        let trusted =
            [source("tag:a", "10.0.0.0/24", &[]), source("ip_addr:b", "10.0.0.7/32", &[])];
        let own = ["10.0.0.250".parse().unwrap()];
        let judge = |connections: &[SeenConnection]| judge_connections(connections, &trusted, &own);
        let stranger = seen("198.51.100.1", "app", Some(false));
        let local = seen("127.0.0.1", "app", Some(false));
        let ours = seen("10.0.0.250", "app", Some(false));
        let good = judge(&[stranger.clone(), local, ours, seen("10.0.0.1", "app", Some(true))]);
        assert_eq!(of(&good, CheckId::X4), [(State::Ok, "-")]);
        let bad = judge(&[
            seen("10.0.0.1", "app", Some(true)),
            seen("10.0.0.2", "app", Some(false)),
            seen("::ffff:10.0.0.7", "ops", Some(false)),
            stranger,
        ]);
        assert_eq!(
            of(&bad, CheckId::X4),
            [(State::Fail, "ip_addr:b"), (State::Fail, "tag:a")],
            "the longest prefix names the source"
        );
        let text = bad.iter().find(|finding| finding.subject() == Some("tag:a")).unwrap().text();
        assert_eq!(text, "tag:a: 1 of 2 connections have no TLS: app@10.0.0.2");
        let application = Some("nightly \u{1b}[2J".to_owned());
        let named = SeenConnection { application, ..seen("10.0.0.2", "app", Some(false)) };
        let text = judge(&[named])[0].text().to_owned();
        assert!(text.ends_with(": app@10.0.0.2 (nightly \\u{1b}[2J)"), "{text}");
        let unsure = judge(&[seen("10.0.0.1", "app", None)]);
        assert_eq!(of(&unsure, CheckId::X4), [(State::Unknown, "-")]);
    }

    #[test]
    fn a_user_of_several_sources_is_shared_and_one_of_several_nodes_is_not() {
        let trusted = [source("tag:a", "10.0.0.0/24", &[]), source("tag:b", "10.0.1.0/24", &[])];
        for (from, state) in [("10.0.0.9", State::Ok), ("10.0.1.9", State::Fail)] {
            let connections = [seen("10.0.0.1", "app", None), seen(from, "app", None)];
            let findings = judge_connections(&connections, &trusted, &[]);
            assert_eq!(of(&findings, CheckId::R5)[0].0, state, "{from}");
        }
        let hidden = [seen("10.0.0.1", "", Some(true))];
        let findings = judge_connections(&hidden, &trusted, &[]);
        assert_eq!(of(&findings, CheckId::R5), [(State::Unknown, "-")]);
    }

    #[test]
    fn sources_that_are_far_too_wide() {
        for (prefix, from, state) in [
            ("10.0.0.0/16", &["10.0.1.1", "10.0.1.14"][..], State::Fail),
            ("10.0.0.0/16", &["10.0.1.1", "10.0.1.17"], State::Ok),
            ("10.0.0.0/16", &[], State::Unknown),
            ("10.0.0.0/17", &["10.0.1.1"], State::Ok),
            ("10.0.0.1/32", &["10.0.0.1"], State::Ok),
            ("2001:db8::/48", &["2001:db8::1", "2001:db8::2"], State::Fail),
            ("2001:db8::/48", &["2001:db8::1", "2001:db8:0:9000::2"], State::Ok),
        ] {
            let trusted = [source("s", prefix, &[])];
            let connections: Vec<_> = from.iter().map(|from| seen(from, "app", None)).collect();
            let findings = judge_connections(&connections, &trusted, &[]);
            assert_eq!(of(&findings, CheckId::X6)[0].0, state, "{prefix} {from:?}");
        }
    }

    #[test]
    fn users_come_from_where_they_are_declared() {
        let trusted = [
            source("tag:a", "10.0.0.0/24", &["app", "bi"]),
            source("tag:b", "10.0.1.0/24", &["ops"]),
            source("tag:c", "10.0.2.0/24", &[]),
        ];
        for (from, user, subject) in [
            ("10.0.0.1", "app", None),
            ("10.0.0.1", "postgres", Some("tag:a postgres")),
            ("10.0.0.1", "ops", Some("tag:a ops")),
            ("10.0.2.1", "somebody", None),
            ("10.0.2.1", "app", Some("tag:c app")),
        ] {
            let findings = judge_connections(&[seen(from, user, None)], &trusted, &[]);
            let expected = match subject {
                Some(subject) => (State::Fail, subject),
                None => (State::Ok, "-"),
            };
            assert_eq!(of(&findings, CheckId::X7), [expected], "{from} {user}");
        }
        let nobody = judge_connections(&[seen("10.0.2.1", "app", None)], &trusted[2..], &[]);
        assert_eq!(of(&nobody, CheckId::X7), [(State::Ok, "-")]);
    }

    proptest! {
        #![proptest_config(cases(500))]

        /// Every check says something, whatever is connected.
        #[test]
        fn every_check_has_a_result(
            connections in proptest::collection::vec(
                (any::<IpAddr>(), any::<Option<String>>(), any::<Option<bool>>()), 0..40
            ),
            lengths in proptest::collection::vec(0u8..=128, 0..6),
        ) {
            let trusted: Vec<Trusted> = lengths
                .iter()
                .zip(&connections)
                .map(|(length, (address, user, _))| Trusted {
                    source: format!("s{length}"),
                    users: user.iter().cloned().collect(),
                    prefixes: [Prefix::new(*address, *length)].into(),
                    ..Trusted::default()
                })
                .collect();
            let connections: Vec<SeenConnection> = connections
                .into_iter()
                .map(|(from, user, tls)| SeenConnection {
                    from,
                    user: user.clone(),
                    database: None,
                    application: user,
                    tls,
                })
                .collect();
            let findings = judge_connections(&connections, &trusted, &[]);
            for check in [CheckId::R5, CheckId::X4, CheckId::X6, CheckId::X7] {
                prop_assert!(!of(&findings, check).is_empty(), "{}", check);
            }
        }
    }
}
