//! [`judge_rules`]: the lines of pg_hba.conf against the trusted sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    check::CheckId,
    finding::{Finding, MAX_FINDINGS, rest},
    trusted::Trusted,
};
use crate::{
    hba::{
        Address, Client, Connection, Database, Encryption, Facts, Judged, Line, Method, Place,
        Role, Rules, Verdict,
    },
    source::{Prefix, PrefixSet, PrefixUnion},
};

/// Pairs of a database and a role that are judged.
const MAX_CLIENTS: usize = 400;
/// Lines that are looked at for all clients together, which bounds the time.
const MAX_VISITS: usize = 4_000_000;
/// Pairs of a role and a group of which it is asked whether one is a member of the other.
const MAX_MEMBERSHIPS: usize = 1_000_000;
/// Prefixes of trusted sources that are judged.
const MAX_PREFIXES: usize = 5_000;

/// The rules of a database's server, and what they are held against.
#[derive(Clone, Copy)]
pub struct RulesAudit<'a> {
    /// The lines.
    pub rules: &'a Rules,
    /// The trusted sources of the database.
    pub trusted: &'a [Trusted],
    /// The addresses of this host, which come by no interface.
    pub own: &'a [IpAddr],
    /// Facts of the server.
    pub facts: &'a dyn Facts,
}

impl std::fmt::Debug for RulesAudit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rules, trusted, own, facts: _ } = self;
        f.debug_struct("RulesAudit")
            .field("rules", rules)
            .field("trusted", trusted)
            .field("own", own)
            .finish_non_exhaustive()
    }
}

/// Judges the lines: A-2, T-2, X-1, X-3 and X-5.
pub fn judge_rules(audit: &RulesAudit<'_>) -> Vec<Finding> {
    let mut findings = weak_lines(audit.rules);
    let clients = Clients::of(audit);
    let mut survey = Survey::new(audit);
    for (database, role) in &clients.pairs {
        survey.judge(*database, *role);
    }
    survey.finish(clients.are_all, &mut findings);
    findings
}

/// Lines that ask for too little.
fn weak_lines(rules: &Rules) -> Vec<Finding> {
    let is_weak = |line: &&Line| {
        let is_encrypted = matches!(line.connection(), Connection::HostSsl | Connection::HostGss);
        let is_weak = match line.method() {
            Method::Trust => !line.has_client_certificate(),
            Method::Password => !is_encrypted,
            Method::Ident => true,
            _ => false,
        };
        is_weak && line.address().is_some_and(|address| !is_of_this_host(address))
    };
    let weak: Vec<&Line> = rules.lines().iter().filter(is_weak).collect();
    let fail = |line: &&Line| {
        let text = format!("{}: \"{line}\"", short(line));
        Finding::fail(CheckId::A2, text).about(line.place().to_string())
    };
    let mut findings: Vec<Finding> = weak.iter().take(MAX_FINDINGS).map(fail).collect();
    findings.extend(rest(CheckId::A2, weak.len(), "lines"));
    if weak.is_empty() {
        let text = "no line for the network has trust, password without TLS, or ident";
        findings.push(Finding::ok(CheckId::A2, text));
    }
    findings
}

/// Whether only clients on this host have such an address.
fn is_of_this_host(address: &Address) -> bool {
    match address {
        Address::SameHost => true,
        Address::Net(net) => net.length().is_some_and(|length| {
            let net = Prefix::new(net.address(), length);
            LOOPBACK.iter().any(|loopback| loopback.covers(&net))
        }),
        Address::All | Address::SameNet | Address::Name(_) | Address::Zoned(_) => false,
    }
}

/// The prefixes that clients on this host have, whose addresses are these.
pub(super) fn of_this_host(own: &[IpAddr]) -> PrefixSet {
    own.iter().map(|own| Prefix::host(*own)).chain(LOOPBACK).collect()
}

const LOOPBACK: [Prefix; 2] =
    [Prefix::v4(Ipv4Addr::new(127, 0, 0, 0), 8), Prefix::v6(Ipv6Addr::LOCALHOST, 128)];

/// The pairs of databases and roles that the lines can tell apart.
struct Clients<'a> {
    pairs: Vec<(Database<'a>, Role<'a>)>,
    /// Whether none was left out.
    are_all: bool,
}

impl<'a> Clients<'a> {
    fn of(audit: &RulesAudit<'a>) -> Self {
        let declared = audit.trusted.iter().flat_map(|source| &source.users);
        let mut names: BTreeSet<&[u8]> = audit.rules.roles();
        names.extend(declared.map(String::as_bytes));
        let other = match others(audit, &names) {
            Some(others) => {
                names.extend(others);
                Role::Unrelated
            }
            None => Role::Other,
        };
        let roles = std::iter::once(other).chain(names.into_iter().map(Role::Named));
        let roles: Vec<Role<'a>> = roles.collect();
        let named = audit.rules.databases().into_iter().map(Database::Named);
        let databases: Vec<Database<'a>> =
            [Database::Other, Database::Replication].into_iter().chain(named).collect();
        let pairs =
            databases.iter().flat_map(|database| roles.iter().map(|role| (*database, *role)));
        // Two families and two encryptions of each.
        let most = MAX_VISITS / (4 * audit.rules.lines().len().max(1));
        let most = most.clamp(1, MAX_CLIENTS);
        let are_all = databases.len().saturating_mul(roles.len()) <= most;
        Self { pairs: pairs.take(most).collect(), are_all }
    }
}

/// One of each kind of the roles that are not among `names`: those of the same groups are of one kind,
/// since the lines take them alike. `None`: nobody knows them, or they are too many to tell.
fn others<'a>(audit: &RulesAudit<'a>, names: &BTreeSet<&[u8]>) -> Option<Vec<&'a [u8]>> {
    let (roles, groups) = (audit.facts.login_roles()?, audit.rules.groups());
    if roles.len().saturating_mul(groups.len()) > MAX_MEMBERSHIPS {
        return None;
    }
    let mut kinds: BTreeMap<Vec<&[u8]>, &'a [u8]> = BTreeMap::new();
    for role in roles.iter().filter(|role| !names.contains(role.as_slice())) {
        let mut of = Vec::new();
        for group in &groups {
            if audit.facts.is_member(role, group)? {
                of.push(*group);
            }
        }
        kinds.entry(of).or_insert(role);
    }
    Some(kinds.into_values().collect())
}

/// The findings about a trusted source.
#[derive(Default)]
struct OfSource<'a> {
    is_admitted: bool,
    /// A line of which it is not known whether it admits it.
    may_be: Option<&'a Line>,
    /// A line that admits it without TLS.
    plain: Option<&'a Line>,
    /// A hostssl line, and the later one that admits it without TLS.
    shadow: Option<(&'a Line, &'a Line)>,
}

struct Survey<'a> {
    audit: &'a RulesAudit<'a>,
    /// The place of each line in the order in which they are tried.
    order: BTreeMap<*const Line, usize>,
    /// The prefixes of trusted sources, by the number of the source.
    prefixes: Vec<(Prefix, usize)>,
    /// Whether some prefixes were left out.
    is_cut: bool,
    /// Addresses that a line may admit without being too wide.
    allowed: PrefixUnion,
    /// Lines that admit others, each with some of them.
    wide: BTreeMap<usize, (&'a Line, Prefix)>,
    /// Lines of which it is not known whether they do.
    may_be_wide: BTreeMap<usize, &'a Line>,
    sources: Vec<OfSource<'a>>,
}

impl<'a> Survey<'a> {
    fn new(audit: &'a RulesAudit<'a>) -> Self {
        let lines = audit.rules.lines().iter().enumerate();
        let order = lines.map(|(at, line)| (std::ptr::from_ref(line), at)).collect();
        let sets = audit.trusted.iter().map(|source| &source.prefixes);
        let own = of_this_host(audit.own);
        let prefixes = audit.trusted.iter().enumerate();
        let mut prefixes =
            prefixes.flat_map(|(at, source)| source.prefixes.iter().map(move |one| (*one, at)));
        Self {
            audit,
            order,
            prefixes: prefixes.by_ref().take(MAX_PREFIXES).collect(),
            is_cut: prefixes.next().is_some(),
            allowed: sets.chain([&own]).collect(),
            wide: BTreeMap::new(),
            may_be_wide: BTreeMap::new(),
            sources: audit.trusted.iter().map(|_| OfSource::default()).collect(),
        }
    }

    fn at(&self, line: &Line) -> usize {
        self.order.get(&std::ptr::from_ref(line)).copied().unwrap_or_default()
    }

    fn judge(&mut self, database: Database<'a>, role: Role<'a>) {
        let of = |encryption| -> Vec<Judged<'a>> {
            let client = Client { database, role, encryption };
            let judge = |all| self.audit.rules.judge(all, &client, self.audit.facts);
            [Prefix::ANY4, Prefix::ANY6].into_iter().flat_map(judge).collect()
        };
        let (tls, plain) = (of(Encryption::Tls), of(Encryption::Plain));
        for judged in tls.iter().chain(&plain) {
            let line = match judged.verdict {
                Verdict::Line(line) | Verdict::Unknown(line) if admits(line) => line,
                _ => continue,
            };
            let at = self.at(line);
            if self.wide.contains_key(&at) || self.allowed.holds(&judged.part) {
                continue;
            }
            if judged.verdict.line().is_some() {
                self.wide.insert(at, (line, judged.part));
            } else {
                self.may_be_wide.insert(at, line);
            }
        }
        let takes = |source: &Trusted| match role {
            _ if source.users.is_empty() => true,
            Role::Named(name) => source.users.iter().any(|user| user.as_bytes() == name),
            Role::Other | Role::Unrelated => false,
        };
        let trusted = self.audit.trusted;
        for at in 0..self.prefixes.len() {
            let (prefix, number) = self.prefixes[at];
            if takes(&trusted[number]) {
                self.judge_source(number, &prefix, &tls, &plain);
            }
        }
    }

    fn judge_source(
        &mut self,
        number: usize,
        prefix: &Prefix,
        tls: &[Judged<'a>],
        plain: &[Judged<'a>],
    ) {
        let mut found = std::mem::take(&mut self.sources[number]);
        for judged in overlapping(tls, prefix).iter().chain(overlapping(plain, prefix)) {
            match judged.verdict {
                Verdict::Line(line) => found.is_admitted |= admits(line),
                Verdict::Unknown(line) => found.may_be = found.may_be.or(Some(line)),
                Verdict::NoLine => {}
            }
        }
        for judged in overlapping(plain, prefix) {
            let Some(line) = judged.verdict.line().filter(|line| admits(line)) else { continue };
            found.plain = found.plain.or(Some(line));
            let both = if judged.part.covers(prefix) { prefix } else { &judged.part };
            let before = overlapping(tls, both).iter().filter_map(|judged| judged.verdict.line());
            let mut before = before.filter(|before| {
                before.connection() == Connection::HostSsl
                    && admits(before)
                    && self.at(before) < self.at(line)
            });
            if found.shadow.is_none()
                && let Some(before) = before.next()
            {
                found.shadow = Some((before, line));
            }
        }
        self.sources[number] = found;
    }

    fn finish(self, are_all: bool, findings: &mut Vec<Finding>) {
        let is_whole = are_all && !self.is_cut;
        let cut = || {
            let why = "pg_hba.conf and the trusted sources are too many to judge all of them";
            why.to_owned()
        };
        for (line, part) in self.wide.values().take(MAX_FINDINGS) {
            let text = format!(
                "{}: \"{line}\" admits addresses outside the trusted sources, such as {part}",
                short(line)
            );
            findings.push(Finding::fail(CheckId::X1, text).about(line.place().to_string()));
        }
        findings.extend(rest(CheckId::X1, self.wide.len(), "lines admit others"));
        if let Some(line) = self.may_be_wide.values().next() {
            findings.push(Finding::unknown(CheckId::X1, unknown(line)));
        } else if !are_all {
            findings.push(Finding::unknown(CheckId::X1, cut()));
        } else if self.wide.is_empty() {
            let text = "pg_hba.conf admits nobody besides the trusted sources and this host";
            findings.push(Finding::ok(CheckId::X1, text));
        }
        self.finish_sources(is_whole, &cut, findings);
    }

    fn finish_sources(
        &self,
        is_whole: bool,
        cut: &dyn Fn() -> String,
        findings: &mut Vec<Finding>,
    ) {
        let sources = || self.audit.trusted.iter().zip(&self.sources);
        let has_prefix = |source: &Trusted| !source.prefixes.is_empty();
        for check in [CheckId::X3, CheckId::X5, CheckId::T2] {
            let mut failed = 0;
            let mut doubt: Option<&Line> = None;
            for (source, found) in sources().filter(|(source, _)| has_prefix(source)) {
                let name = source.shown();
                let text = match check {
                    CheckId::X3 => match (found.is_admitted, found.may_be) {
                        (true, _) => continue,
                        (false, Some(line)) => {
                            doubt = Some(line);
                            continue;
                        }
                        (false, None) if !is_whole => continue,
                        (false, None) => match &*source.users {
                            [] => format!("{name}: no line of pg_hba.conf admits it"),
                            users => format!(
                                "{name}: no line of pg_hba.conf admits {} from it",
                                users.join(", ")
                            ),
                        },
                    },
                    CheckId::X5 => match found.shadow {
                        None => {
                            doubt = doubt.or(found.may_be);
                            continue;
                        }
                        Some((before, line)) => format!(
                            "{name}: without TLS it gets past {} \"{before}\" by {} \"{line}\"",
                            short(before),
                            short(line)
                        ),
                    },
                    _ => match found.plain {
                        None => {
                            doubt = doubt.or(found.may_be);
                            continue;
                        }
                        Some(line) => {
                            format!("{name}: {} \"{line}\" admits it without TLS", short(line))
                        }
                    },
                };
                failed += 1;
                if failed <= MAX_FINDINGS {
                    findings.push(Finding::fail(check, text).about(&source.source));
                }
            }
            findings.extend(rest(check, failed, "trusted sources"));
            if let Some(line) = doubt {
                findings.push(Finding::unknown(check, unknown(line)));
            } else if !is_whole {
                findings.push(Finding::unknown(check, cut()));
            } else if failed == 0 {
                findings.push(Finding::ok(check, fine(check)));
            }
        }
    }
}

/// The text where a check of the trusted sources finds nothing.
fn fine(check: CheckId) -> &'static str {
    match check {
        CheckId::X3 => "pg_hba.conf has a line for each trusted source",
        CheckId::X5 => "no trusted source gets past a hostssl line without TLS",
        _ => "pg_hba.conf admits no trusted source without TLS",
    }
}

fn unknown(line: &Line) -> String {
    format!("{}: \"{line}\" depends on what only the server knows", short(line))
}

/// The place of a line without the directory.
pub(super) fn short(line: &Line) -> String {
    let Place { file, line } = line.place();
    let name = file.file_name().unwrap_or(file.as_os_str());
    format!("{}:{line}", name.to_string_lossy())
}

pub(super) fn admits(line: &Line) -> bool {
    line.method() != Method::Reject
}

/// The parts that have addresses in common with a prefix. Parts are sorted and do not overlap.
fn overlapping<'j, 'r>(parts: &'j [Judged<'r>], prefix: &Prefix) -> &'j [Judged<'r>] {
    // One part around it, or those inside it.
    let at = parts.partition_point(|judged| judged.part < *prefix);
    if let Some(before) = at.checked_sub(1)
        && parts[before].part.covers(prefix)
    {
        return &parts[before..at];
    }
    let rest = &parts[at..];
    &rest[..rest.partition_point(|judged| prefix.covers(&judged.part))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{finding::State, roles::Memberships},
        *,
    };
    use crate::{
        hba::{Dialect, NoFacts, NoFiles},
        testing::cases,
    };

    fn source(text: &str, users: &[&str]) -> Trusted {
        Trusted {
            source: format!("ip_addr:{text}"),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            prefixes: [text.parse().unwrap()].into(),
            ..Trusted::default()
        }
    }

    fn judged(file: &str, trusted: &[Trusted]) -> Vec<Finding> {
        let rules =
            Rules::parse("hba".as_ref(), file.as_bytes(), Dialect::From16, &mut NoFiles).unwrap();
        let own = ["10.9.9.9".parse().unwrap()];
        judge_rules(&RulesAudit { rules: &rules, trusted, own: &own, facts: &NoFacts })
    }

    /// Roles that may log in, and their memberships.
    struct Known(Vec<Vec<u8>>, Memberships);

    impl Facts for Known {
        fn is_member(&self, member: &[u8], group: &[u8]) -> Option<bool> {
            Some(self.1.is_member(member, group))
        }

        fn login_roles(&self) -> Option<&[Vec<u8>]> {
            Some(&self.0)
        }
    }

    fn of(findings: &[Finding], check: CheckId) -> Vec<(State, String)> {
        let of = findings.iter().filter(|finding| finding.check() == check);
        of.map(|finding| (finding.state(), finding.subject().unwrap_or("-").to_owned())).collect()
    }

    #[test]
    fn each_check_by_good_and_bad_lines() {
        let app = || source("10.1.0.0/16", &[]);
        let fail = |subject: &str| vec![(State::Fail, subject.to_owned())];
        let ok = || vec![(State::Ok, "-".to_owned())];
        let unknown = || vec![(State::Unknown, "-".to_owned())];
        let narrow = "local all all peer\nhost all all 127.0.0.1/32 trust\n\
                      host all all 10.9.9.9/32 scram-sha-256\n\
                      hostssl all all 10.1.0.0/16 scram-sha-256\n";
        let shadowed = "hostssl all all 10.1.0.0/16 scram-sha-256\n\
                        host all all 0.0.0.0/0 password\n";
        for (check, file, trusted, expected) in [
            (CheckId::A2, narrow, vec![app()], ok()),
            (CheckId::A2, shadowed, vec![app()], fail("hba:2")),
            (CheckId::A2, "host all all samehost ident", vec![], ok()),
            (CheckId::A2, "host all all samenet ident", vec![], fail("hba:1")),
            (CheckId::A2, "hostssl all all all password", vec![], ok()),
            (CheckId::A2, "hostssl all all all trust clientcert=verify-full", vec![], ok()),
            (CheckId::X1, narrow, vec![app()], ok()),
            (CheckId::X1, narrow, vec![], fail("hba:4")),
            (CheckId::X1, narrow, vec![source("10.1.0.0/17", &[])], fail("hba:4")),
            (
                CheckId::X1,
                narrow,
                vec![source("10.1.0.0/17", &[]), source("10.1.128.0/17", &[])],
                ok(),
            ),
            (CheckId::X1, "host all all all reject", vec![], ok()),
            // An earlier line takes what is outside.
            (
                CheckId::X1,
                "host all all 10.0.0.0/16 reject\nhost all all 10.0.0.0/15 md5",
                vec![app()],
                ok(),
            ),
            (CheckId::X1, "host one two 10.2.0.0/16 md5", vec![app()], fail("hba:1")),
            (CheckId::X1, "host replication r 10.2.0.0/16 md5", vec![app()], fail("hba:1")),
            (CheckId::X1, "host all +g 10.2.0.0/16 md5", vec![app()], unknown()),
            (CheckId::X3, narrow, vec![app()], ok()),
            (CheckId::X3, narrow, vec![source("10.3.0.0/16", &[])], fail("ip_addr:10.3.0.0/16")),
            (CheckId::X3, narrow, vec![source("10.1.2.3", &[])], ok()),
            (CheckId::X3, narrow, vec![source("10.0.0.0/8", &[])], ok()),
            (CheckId::X3, "host all a all md5", vec![source("10.3.0.0/16", &["a", "b"])], ok()),
            (
                CheckId::X3,
                "host all a all md5",
                vec![source("10.3.0.0/16", &["b"])],
                fail("ip_addr:10.3.0.0/16"),
            ),
            (CheckId::X3, "host all +g all md5", vec![app()], unknown()),
            (CheckId::X5, narrow, vec![app()], ok()),
            (CheckId::X5, shadowed, vec![app()], fail("ip_addr:10.1.0.0/16")),
            (CheckId::X5, shadowed, vec![source("10.2.0.0/16", &[])], ok()),
            // The plaintext line comes first, and hides nothing.
            (CheckId::X5, "hostnossl all all all md5\nhostssl all all all md5", vec![app()], ok()),
            (
                CheckId::X5,
                "hostssl all all all md5\nhostnossl all all all reject\nhost all all all md5",
                vec![app()],
                ok(),
            ),
            (CheckId::T2, narrow, vec![app()], ok()),
            (CheckId::T2, shadowed, vec![app()], fail("ip_addr:10.1.0.0/16")),
            (CheckId::T2, "host all all all md5", vec![source("::/0", &[])], fail("ip_addr:::/0")),
        ] {
            assert_eq!(of(&judged(file, &trusted), check), expected, "{check} of {file}");
        }
    }

    /// Whether a role that no line names gets in by its group.
    #[test]
    fn members_that_no_line_names() {
        let own = ["10.9.9.9".parse().unwrap()];
        let name = |name: &str| name.as_bytes().to_vec();
        let pairs = [("app", "apps"), ("night", "jobs"), ("jobs", "batch")];
        let all = ["app", "bi", "night", "apps", "jobs", "batch", "none", "orders"];
        let members = Memberships::new(
            all.map(name),
            pairs.map(|(member, group)| (name(member), name(group))),
        );
        let facts = Known(["app", "bi", "night"].map(name).into(), members);
        let (fail, ok) = (State::Fail, State::Ok);
        for (file, wide, dead) in [
            ("host all +apps 10.0.0.0/8 md5", fail, ok),
            ("host all +apps 10.1.0.0/16 md5", ok, ok),
            // By way of another group.
            ("host all +batch 10.0.0.0/8 md5", fail, ok),
            ("host all +none 10.0.0.0/8 md5", ok, fail),
            ("host all +apps 10.0.0.0/8 reject\nhost all +batch 10.1.0.0/16 md5", ok, ok),
            ("host all +apps 10.0.0.0/8 reject\nhost all app 10.0.0.0/8 md5", ok, fail),
            ("host all +apps,+batch 10.0.0.0/8 reject\nhost all all 10.0.0.0/8 md5", fail, ok),
        ] {
            let rules =
                Rules::parse("hba".as_ref(), file.as_bytes(), Dialect::From16, &mut NoFiles);
            let rules = rules.unwrap();
            let trusted = [source("10.1.0.0/16", &[])];
            let audit = RulesAudit { rules: &rules, trusted: &trusted, own: &own, facts: &facts };
            let findings = judge_rules(&audit);
            assert_eq!(of(&findings, CheckId::X1)[0].0, wide, "X-1 of {file}");
            assert_eq!(of(&findings, CheckId::X3)[0].0, dead, "X-3 of {file}");
        }
        let many = Known(vec![name("app"); MAX_MEMBERSHIPS + 1], facts.1);
        let rules = Rules::parse(
            "hba".as_ref(),
            b"host all +apps 10.0.0.0/8 md5",
            Dialect::From16,
            &mut NoFiles,
        );
        let rules = rules.unwrap();
        let audit = RulesAudit { rules: &rules, trusted: &[], own: &own, facts: &many };
        assert_eq!(of(&judge_rules(&audit), CheckId::X1)[0].0, State::Unknown);
    }

    #[test]
    fn many_lines_and_sources_take_bounded_time_and_are_unknown() {
        let lines: Vec<String> = (0..100_000)
            .map(|n| format!("host d{n} u{n} 10.{}.{}.0/24 md5", n % 200, n / 500))
            .collect();
        let prefixes = (0..100_000u32).map(|n| Prefix::host(Ipv4Addr::from_bits(n << 8).into()));
        let many = Trusted {
            source: "list".to_owned(),
            prefixes: prefixes.collect(),
            ..Trusted::default()
        };
        let findings = judged(&lines.join("\n"), &[many]);
        for check in [CheckId::X1, CheckId::X3, CheckId::X5, CheckId::T2] {
            let states = of(&findings, check);
            assert!(states.iter().any(|(state, _)| *state == State::Unknown), "{check} {states:?}");
            assert!(!states.iter().any(|(state, _)| *state == State::Ok), "{check} {states:?}");
            assert!(states.len() <= MAX_FINDINGS + 2);
        }
    }

    /// A small address space, in which every address is tried.
    fn line() -> impl Strategy<Value = String> {
        let word = |words: &'static [&'static str]| prop::sample::select(words);
        (
            word(&["host", "hostssl", "hostnossl"]),
            word(&["all", "d"]),
            word(&["all", "u"]),
            0u8..8,
            29u8..=32,
            word(&["md5", "reject", "trust"]),
        )
            .prop_map(|(kind, database, role, low, length, method)| {
                let net = Prefix::new(Ipv4Addr::new(10, 0, 0, low).into(), length);
                format!("{kind} {database} {role} {net} {method}")
            })
    }

    proptest! {
        #![proptest_config(cases(2_000))]

        /// Address by address, the first line that matches decides.
        #[test]
        fn what_single_addresses_say_is_found(
            lines in prop::collection::vec(line(), 1..6),
            low in 0u8..8,
            length in 29u8..=32,
        ) {
            let prefix = Prefix::new(Ipv4Addr::new(10, 0, 0, low).into(), length);
            let trusted = [Trusted {
                source: "it".to_owned(),
                prefixes: [prefix].into(),
                ..Trusted::default()
            }];
            let file = lines.join("\n");
            let findings = judged(&file, &trusted);
            let rules =
                Rules::parse("hba".as_ref(), file.as_bytes(), Dialect::From16, &mut NoFiles).unwrap();
            let (mut wide, mut admitted, mut plain) = (BTreeSet::new(), false, false);
            let mut shadowed = false;
            for low in 0..8 {
                let address = Prefix::host(Ipv4Addr::new(10, 0, 0, low).into());
                for database in [Database::Other, Database::Named(b"d")] {
                    for role in [Role::Other, Role::Named(b"u")] {
                        let line = |encryption| {
                            let client = Client { database, role, encryption };
                            let judged = rules.judge(address, &client, &NoFacts);
                            judged[0].verdict.line().filter(|line| admits(line))
                        };
                        let (by_tls, by_plain) = (line(Encryption::Tls), line(Encryption::Plain));
                        if !prefix.covers(&address) {
                            let lines = [by_tls, by_plain].into_iter().flatten();
                            wide.extend(lines.map(|line| line.place().to_string()));
                            continue;
                        }
                        admitted |= by_tls.is_some() || by_plain.is_some();
                        plain |= by_plain.is_some();
                        shadowed |= match (by_tls, by_plain) {
                            (Some(tls), Some(plain)) => {
                                tls.connection() == Connection::HostSsl
                                    && tls.place().line < plain.place().line
                            }
                            _ => false,
                        };
                    }
                }
            }
            let found: BTreeSet<String> = of(&findings, CheckId::X1)
                .into_iter()
                .filter(|(state, _)| *state == State::Fail)
                .map(|(_, subject)| subject)
                .collect();
            prop_assert_eq!(found, wide);
            for (check, is_bad) in
                [(CheckId::X3, !admitted), (CheckId::T2, plain), (CheckId::X5, shadowed)]
            {
                let state = if is_bad { State::Fail } else { State::Ok };
                prop_assert_eq!(of(&findings, check)[0].0, state, "{}", check);
            }
        }
    }
}
