//! [`PostgresCatalog`]: PostgreSQL's roles, settings and connections, and the checks of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;

use super::{
    check::CheckId,
    connection::{Origins, SeenConnection},
    finding::{Finding, listed},
    rules::{admits, of_this_host, short},
    trusted::Trusted,
};
use crate::{
    hba::{Client, Database, Encryption, Facts, Judged, Line, Method, Role, Rules, Verdict},
    source::{Prefix, PrefixUnion},
};

/// Lines that are looked at for all roles together, which bounds the time.
const MAX_VISITS: usize = 8_000_000;
/// Roles that are held against the lines.
const MAX_ROLES: usize = 500;
/// Names of administrators that everybody knows.
const KNOWN_NAMES: [&str; 4] = ["postgres", "root", "admin", "administrator"];

/// The hash of a password as PostgreSQL keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPassword {
    /// None is kept.
    None,
    /// One of MD5.
    Md5,
    /// One that takes long to try out.
    Scram,
}

/// A role of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbRole {
    /// Its name.
    pub name: String,
    /// Whether the server began with it, which comes by the Unix socket.
    pub is_first: bool,
    /// Whether nothing is forbidden to it.
    pub is_superuser: bool,
    /// Whether it may log in.
    pub may_log_in: bool,
    /// Whether its password counts no longer.
    pub has_expired: bool,
    /// Its password; `None`: nobody said.
    pub password: Option<StoredPassword>,
}

/// The memberships of roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    groups: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Memberships {
    /// Those of these roles, as pairs of a member and its group.
    pub fn new(
        roles: impl IntoIterator<Item = Vec<u8>>,
        pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let mut groups: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> =
            roles.into_iter().map(|role| (role, BTreeSet::new())).collect();
        for (member, group) in pairs {
            groups.entry(member).or_default().insert(group);
        }
        Self { groups }
    }

    /// Whether a role is a member of another, directly or not, or is it. One that does not exist is
    /// a member of nothing.
    pub fn is_member(&self, member: &[u8], group: &[u8]) -> bool {
        let Some((member, _)) = self.groups.get_key_value(member) else { return false };
        let (mut seen, mut next) = (BTreeSet::from([member]), vec![member]);
        while let Some(role) = next.pop() {
            if role == group {
                return true;
            }
            let groups = self.groups.get(role).into_iter().flatten();
            next.extend(groups.filter(|group| seen.insert(group)));
        }
        false
    }
}

/// The answers of a PostgreSQL to somebody who logged in. Each may be missing, with the reason.
#[derive(Clone, Debug)]
pub struct PostgresCatalog {
    /// The roles.
    pub roles: Result<Vec<DbRole>, String>,
    /// Their memberships.
    pub memberships: Result<Memberships, String>,
    /// The connections from elsewhere than the Unix socket.
    pub connections: Result<Vec<SeenConnection>, String>,
    /// Those of replicas, which are among them.
    pub replicas: Result<Vec<SeenConnection>, String>,
    /// Settings by name.
    pub settings: Result<BTreeMap<String, String>, String>,
}

/// A catalogue, and what it is held against.
#[derive(Clone, Copy)]
pub struct RolesAudit<'a> {
    /// The catalogue.
    pub catalog: &'a PostgresCatalog,
    /// The lines of pg_hba.conf, or the reason why they are not known.
    pub rules: Result<&'a Rules, &'a str>,
    /// Facts of the server.
    pub facts: &'a dyn Facts,
    /// The trusted sources, or the reason why they are not known.
    pub trusted: Result<&'a [Trusted], &'a str>,
    /// The addresses of this host.
    pub own: &'a [IpAddr],
    /// The time.
    pub now: Timestamp,
}

impl std::fmt::Debug for RolesAudit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { catalog, rules, facts: _, trusted, own, now } = self;
        f.debug_struct("RolesAudit")
            .field("catalog", catalog)
            .field("rules", rules)
            .field("trusted", trusted)
            .field("own", own)
            .field("now", now)
            .finish_non_exhaustive()
    }
}

/// Judges roles and settings: A-3, L-1, L-2, R-1, R-2, R-3 and R-6.
pub fn judge_roles(audit: &RolesAudit<'_>) -> Vec<Finding> {
    let mut findings = hashes(audit.catalog);
    findings.push(logging(audit.catalog));
    findings.extend(replicas(audit.catalog));
    match &audit.catalog.roles {
        Ok(roles) => {
            findings.extend(passwords(roles));
            findings.extend(Reach::new(audit, roles).judge());
        }
        Err(why) => {
            let checks = [CheckId::R1, CheckId::R2, CheckId::R3, CheckId::R6];
            findings.extend(checks.map(|check| Finding::unknown(check, why)));
        }
    }
    findings
}

/// The doubt about roles whose passwords nobody may see.
fn hidden_passwords(roles: &[DbRole]) -> Option<String> {
    let is_hidden = roles.iter().any(|role| role.may_log_in && role.password.is_none());
    is_hidden.then(|| "pg_authid, which has the passwords, may be read by superusers alone".into())
}

/// Weak hashes.
fn hashes(catalog: &PostgresCatalog) -> Vec<Finding> {
    let check = CheckId::A3;
    let (mut failed, mut doubt) = (Vec::new(), None);
    match &catalog.settings {
        Err(why) => doubt = Some(why.clone()),
        Ok(settings) => match settings.get("password_encryption").map(String::as_str) {
            Some("md5" | "on") => failed.push((
                "password_encryption".to_owned(),
                "password_encryption is md5, which new passwords get".to_owned(),
            )),
            Some(_) => {}
            None => doubt = Some("it does not say password_encryption".to_owned()),
        },
    }
    match &catalog.roles {
        Err(why) => doubt = Some(why.clone()),
        Ok(roles) => {
            let weak = roles
                .iter()
                .filter(|role| role.may_log_in && role.password == Some(StoredPassword::Md5));
            failed.extend(weak.map(|role| {
                (role.name.clone(), format!("{}: its password is kept as an MD5 hash", role.name))
            }));
            doubt = doubt.or_else(|| hidden_passwords(roles));
        }
    }
    listed(check, failed, "roles", doubt, "passwords are kept by scram-sha-256")
}

/// Whether connections are logged (L-1).
fn logging(catalog: &PostgresCatalog) -> Finding {
    let check = CheckId::L1;
    match &catalog.settings {
        Err(why) => Finding::unknown(check, why),
        Ok(settings) => match settings.get("log_connections").map(String::as_str) {
            Some("" | "off" | "false" | "no" | "0") => {
                Finding::fail(check, "log_connections is off")
            }
            Some(value) => Finding::ok(check, format!("log_connections is {value}")),
            None => Finding::unknown(check, "it does not say log_connections"),
        },
    }
}

/// Replicas that are superusers (L-2).
fn replicas(catalog: &PostgresCatalog) -> Vec<Finding> {
    let check = CheckId::L2;
    let (replicas, roles) = match (&catalog.replicas, &catalog.roles) {
        (Ok(replicas), Ok(roles)) => (replicas, roles),
        (Err(why), _) | (_, Err(why)) => return vec![Finding::unknown(check, why)],
    };
    let is_superuser = |user: &str| roles.iter().any(|role| role.is_superuser && role.name == user);
    let users: BTreeMap<&str, IpAddr> = replicas
        .iter()
        .filter_map(|replica| Some((replica.user.as_deref()?, replica.from)))
        .filter(|(user, _)| is_superuser(user))
        .collect();
    let failed = users
        .into_iter()
        .map(|(user, from)| (user.to_owned(), format!("the superuser {user} replicates to {from}")))
        .collect();
    let fine = match replicas.len() {
        0 => "no replica is connected",
        _ => "no replica connects as a superuser",
    };
    listed(check, failed, "roles", None, fine)
}

/// Passwords that are missing or past.
fn passwords(roles: &[DbRole]) -> Vec<Finding> {
    let wrong = |role: &DbRole| match role.password {
        Some(StoredPassword::None) if !role.is_first => Some("it has no password"),
        Some(StoredPassword::Md5 | StoredPassword::Scram) | None if role.has_expired => {
            Some("its password has expired")
        }
        _ => None,
    };
    let failed = roles
        .iter()
        .filter(|role| role.may_log_in)
        .filter_map(|role| {
            let name = &role.name;
            Some((name.clone(), format!("{name} may log in, and {}", wrong(role)?)))
        })
        .collect();
    let fine = "every role that may log in has a password";
    listed(CheckId::R3, failed, "roles", hidden_passwords(roles), fine)
}

/// A line by which a role may come, and a part of the addresses it may come from.
#[derive(Clone, Copy)]
struct Way<'a> {
    line: &'a Line,
    part: Prefix,
    /// Whether it is known that it leads in.
    is_sure: bool,
}

/// The ways of the roles over the network.
struct Reach<'a> {
    audit: &'a RolesAudit<'a>,
    roles: &'a [DbRole],
    /// By the number of the role, sorted by part.
    ways: BTreeMap<usize, Vec<Way<'a>>>,
    /// The reason why some are missing.
    doubt: Option<String>,
}

impl<'a> Reach<'a> {
    fn new(audit: &'a RolesAudit<'a>, roles: &'a [DbRole]) -> Self {
        let mut reach = Self { audit, roles, ways: BTreeMap::new(), doubt: None };
        let rules = match audit.rules {
            Ok(rules) => rules,
            Err(why) => {
                reach.doubt = Some(why.to_owned());
                return reach;
            }
        };
        let named = rules.databases().into_iter().map(Database::Named);
        let databases: Vec<Database<'a>> =
            [Database::Other, Database::Replication].into_iter().chain(named).collect();
        let visits = 4 * databases.len() * rules.lines().len().max(1);
        let most = (MAX_VISITS / visits).clamp(1, MAX_ROLES);
        let mut numbers: Vec<usize> =
            (0..roles.len()).filter(|number| roles[*number].may_log_in).collect();
        // Those that weigh most are looked at if not all can be.
        numbers.sort_by_key(|number| !roles[*number].is_superuser);
        if numbers.len() > most {
            reach.doubt =
                Some(format!("only {most} of {} roles were held against it", numbers.len()));
        }
        for number in numbers.into_iter().take(most) {
            let ways = reach.of_role(rules, &databases, &roles[number]);
            reach.ways.insert(number, ways);
        }
        reach
    }

    fn of_role(
        &self,
        rules: &'a Rules,
        databases: &[Database<'a>],
        role: &'a DbRole,
    ) -> Vec<Way<'a>> {
        let own = of_this_host(self.audit.own);
        let own: PrefixUnion = std::iter::once(&own).collect();
        let mut found: BTreeMap<(Prefix, *const Line), Way<'a>> = BTreeMap::new();
        for database in databases {
            for encryption in [Encryption::Tls, Encryption::Plain] {
                let role_name = Role::Named(role.name.as_bytes());
                let client = Client { database: *database, role: role_name, encryption };
                let judge = |all| rules.judge(all, &client, self.audit.facts);
                for judged in [Prefix::ANY4, Prefix::ANY6].into_iter().flat_map(judge) {
                    let Some(way) = way(&judged, role) else { continue };
                    if own.holds(&way.part) {
                        continue;
                    }
                    let key = (way.part, std::ptr::from_ref(way.line));
                    let known = found.entry(key).or_insert(way);
                    known.is_sure |= way.is_sure;
                }
            }
        }
        found.into_values().collect()
    }

    fn judge(&self) -> Vec<Finding> {
        let mut findings = self.superusers();
        match self.audit.trusted {
            Ok(trusted) => {
                findings.extend(self.known_names(trusted));
                findings.extend(self.forgotten(trusted));
            }
            Err(why) => {
                let checks = [CheckId::R2, CheckId::R6];
                findings.extend(checks.map(|check| Finding::unknown(check, why)));
            }
        }
        findings
    }

    fn ways(&self) -> impl Iterator<Item = (&'a DbRole, &[Way<'a>])> {
        self.ways.iter().map(|(number, ways)| (&self.roles[*number], &**ways))
    }

    /// Superusers from other hosts.
    fn superusers(&self) -> Vec<Finding> {
        let is_remote = |connection: &&SeenConnection| {
            let from = connection.from.to_canonical();
            !from.is_loopback() && !self.audit.own.contains(&from)
        };
        let origins = Origins::of(self.audit.trusted.unwrap_or_default());
        let mut failed: BTreeMap<String, String> = BTreeMap::new();
        let mut doubt = self.doubt.clone();
        match &self.audit.catalog.connections {
            Err(why) => doubt = Some(why.clone()),
            Ok(connections) => {
                for connection in connections.iter().filter(is_remote) {
                    let user = connection.user.as_deref();
                    let role = self.roles.iter().find(|role| Some(&*role.name) == user);
                    if let Some(role) = role.filter(|role| role.is_superuser) {
                        let source = origins.of_address(connection.from);
                        let source = source.map(|(source, _)| format!(", {}", source.shown()));
                        let text = format!(
                            "the superuser {} is logged in from {}{}",
                            role.name,
                            connection.from,
                            source.unwrap_or_default()
                        );
                        failed.entry(role.name.clone()).or_insert(text);
                    }
                }
            }
        }
        for (role, ways) in self.ways().filter(|(role, _)| role.is_superuser) {
            if let Some(way) = ways.iter().find(|way| way.is_sure) {
                let text = format!(
                    "the superuser {} may log in by {} \"{}\", from {}",
                    role.name,
                    short(way.line),
                    way.line,
                    way.part
                );
                failed.entry(role.name.clone()).or_insert(text);
            } else if let Some(way) = ways.first() {
                doubt.get_or_insert_with(|| unsure(role, way));
            }
        }
        let failed = failed.into_iter().collect();
        let fine = "no superuser is logged in from another host, and pg_hba.conf admits none";
        listed(CheckId::R1, failed, "superusers", doubt, fine)
    }

    /// Roles of names that everybody knows, from trusted sources.
    fn known_names(&self, trusted: &[Trusted]) -> Vec<Finding> {
        let (mut failed, mut doubt) = (Vec::new(), self.doubt.clone());
        for (role, ways) in self.ways() {
            if !KNOWN_NAMES.contains(&&*role.name.to_lowercase()) {
                continue;
            }
            let from = |is_wanted: &dyn Fn(&Way<'a>) -> bool| {
                trusted.iter().find_map(|source| {
                    let way = ways.iter().find(|way| is_wanted(way) && meets(source, way))?;
                    Some((source, way))
                })
            };
            if let Some((source, way)) = from(&|way| way.is_sure) {
                let text = format!(
                    "{} may log in from {} by {} \"{}\"",
                    role.name,
                    source.shown(),
                    short(way.line),
                    way.line
                );
                failed.push((role.name.clone(), text));
            } else if let Some((_, way)) = from(&|_| true) {
                doubt.get_or_insert_with(|| unsure(role, way));
            }
        }
        let fine = "no administrator may log in from a trusted source";
        listed(CheckId::R2, failed, "roles", doubt, fine)
    }

    /// Roles that come only from sources that are not used.
    fn forgotten(&self, trusted: &[Trusted]) -> Vec<Finding> {
        let (mut failed, mut doubt) = (Vec::new(), self.doubt.clone());
        let seen: BTreeSet<&str> = match &self.audit.catalog.connections {
            Ok(seen) => seen.iter().filter_map(|seen| seen.user.as_deref()).collect(),
            Err(why) => return vec![Finding::unknown(CheckId::R6, why)],
        };
        for (role, ways) in self.ways() {
            if role.is_superuser || seen.contains(&*role.name) {
                continue;
            }
            let sources = trusted.iter().filter(|source| ways.iter().any(|way| meets(source, way)));
            let sources: Vec<&Trusted> = sources.collect();
            let uses = sources.iter().map(|source| source.is_unused(self.audit.now));
            let uses: Vec<Option<bool>> = uses.collect();
            // One that is used is enough, whatever the others are.
            let is_forgotten = match uses.contains(&None) {
                _ if uses.contains(&Some(false)) => Some(false),
                true => None,
                false => Some(true),
            };
            match is_forgotten {
                _ if sources.is_empty() => {}
                Some(true) => {
                    let names: Vec<String> = sources.iter().map(|source| source.shown()).collect();
                    let text = format!(
                        "{} may log in only from what is not used: {}",
                        role.name,
                        names.join(", ")
                    );
                    failed.push((role.name.clone(), text));
                }
                Some(false) => {}
                None => {
                    doubt.get_or_insert_with(|| {
                        "the trusted sources are not counted for 30 days yet".to_owned()
                    });
                }
            }
        }
        let fine = "every role is connected, or may come from a source that is used";
        listed(CheckId::R6, failed, "roles", doubt, fine)
    }
}

/// The way that a verdict is for a role; `None`: it keeps it out.
fn way<'a>(judged: &Judged<'a>, role: &DbRole) -> Option<Way<'a>> {
    let (line, is_sure) = match judged.verdict {
        Verdict::Line(line) => (line, true),
        Verdict::Unknown(line) => (line, false),
        Verdict::NoLine => return None,
    };
    if !admits(line) {
        return None;
    }
    let takes_password =
        matches!(line.method(), Method::Password | Method::Md5 | Method::ScramSha256);
    let is_sure = match (takes_password, role.password) {
        (true, Some(StoredPassword::None)) => return None,
        (true, _) if role.has_expired => return None,
        (true, None) => false,
        _ => is_sure,
    };
    Some(Way { line, part: judged.part, is_sure })
}

/// Whether a role may come from a source by a way.
fn meets(source: &Trusted, way: &Way<'_>) -> bool {
    source.prefixes.iter().any(|prefix| prefix.covers(&way.part) || way.part.covers(prefix))
}

fn unsure(role: &DbRole, way: &Way<'_>) -> String {
    let what = match role.password {
        None => "has a password",
        Some(_) => "is meant",
    };
    format!("{}: whether {} {what} is not known \"{}\"", short(way.line), role.name, way.line)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};
    use crate::hba::{Dialect, NoFiles};

    fn role(name: &str) -> DbRole {
        DbRole {
            name: name.to_owned(),
            is_first: false,
            is_superuser: false,
            may_log_in: true,
            has_expired: false,
            password: Some(StoredPassword::Scram),
        }
    }

    fn superuser(name: &str) -> DbRole {
        DbRole { is_superuser: true, ..role(name) }
    }

    fn seen(from: &str, user: &str) -> SeenConnection {
        let user = Some(user.to_owned());
        let from = from.parse().unwrap();
        SeenConnection { from, user, database: None, application: None, tls: Some(true) }
    }

    fn catalog(roles: &[DbRole]) -> PostgresCatalog {
        let settings = [("log_connections", "on"), ("password_encryption", "scram-sha-256")];
        PostgresCatalog {
            roles: Ok(roles.to_vec()),
            memberships: Ok(Memberships::default()),
            connections: Ok(Vec::new()),
            replicas: Ok(Vec::new()),
            settings: Ok(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }
    }

    struct Known(Memberships);

    impl Facts for Known {
        fn is_member(&self, member: &[u8], group: &[u8]) -> Option<bool> {
            Some(self.0.is_member(member, group))
        }
    }

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    fn ago(days: i64) -> Option<Timestamp> {
        Some(now() - jiff::SignedDuration::from_hours(24 * days))
    }

    fn source(prefix: &str, hit: i64) -> Trusted {
        Trusted {
            source: format!("ip_addr:{prefix}"),
            prefixes: [prefix.parse().unwrap()].into(),
            since: ago(90),
            last_hit: ago(hit),
            ..Trusted::default()
        }
    }

    fn judged(catalog: &PostgresCatalog, hba: &str, trusted: &[Trusted]) -> Vec<Finding> {
        let rules =
            Rules::parse("hba".as_ref(), hba.as_bytes(), Dialect::From16, &mut NoFiles).unwrap();
        let facts = Known(catalog.memberships.clone().unwrap_or_default());
        judge_roles(&RolesAudit {
            catalog,
            rules: Ok(&rules),
            facts: &facts,
            trusted: Ok(trusted),
            own: &[],
            now: now(),
        })
    }

    /// The state of a check, with the subject.
    fn of(findings: &[Finding], check: CheckId) -> (State, &str) {
        let finding = findings.iter().find(|finding| finding.check() == check).unwrap();
        (finding.state(), finding.subject().unwrap_or("-"))
    }

    const CLOSED: &str = "local all all peer\n";

    #[test]
    fn memberships_are_followed_and_may_go_round() {
        let roles = ["a", "b", "c", "d"].map(|name| name.as_bytes().to_vec());
        let pair = |a: &str, b: &str| (a.as_bytes().to_vec(), b.as_bytes().to_vec());
        let pairs = [pair("a", "b"), pair("b", "c"), pair("c", "a")];
        let members = Memberships::new(roles, pairs);
        for (member, group, is) in [
            ("a", "c", true),
            ("a", "a", true),
            ("a", "d", false),
            ("d", "d", true),
            ("x", "x", false),
        ] {
            assert_eq!(
                members.is_member(member.as_bytes(), group.as_bytes()),
                is,
                "{member} {group}"
            );
        }
    }

    #[test]
    fn superusers_over_the_network() {
        let open = "host all all 10.0.0.0/24 scram-sha-256\n";
        let no_password = DbRole { password: Some(StoredPassword::None), ..superuser("ops") };
        let hidden = DbRole { password: None, ..superuser("ops") };
        for (ops, hba, state) in [
            (superuser("ops"), open, State::Fail),
            (superuser("ops"), CLOSED, State::Ok),
            (superuser("ops"), "host all ops all reject\nhost all all all trust\n", State::Ok),
            (superuser("ops"), "host all all 127.0.0.1/32 trust\n", State::Ok),
            (no_password.clone(), open, State::Ok),
            (no_password, "hostssl all all all cert\n", State::Fail),
            (DbRole { has_expired: true, ..superuser("ops") }, open, State::Ok),
            (hidden, open, State::Unknown),
            (DbRole { may_log_in: false, ..superuser("ops") }, open, State::Ok),
            (role("ops"), open, State::Ok),
        ] {
            let findings = judged(&catalog(&[ops.clone(), role("app")]), hba, &[]);
            assert_eq!(of(&findings, CheckId::R1).0, state, "{ops:?} {hba}");
        }
        for (from, state) in [("10.0.0.3", State::Fail), ("127.0.0.1", State::Ok)] {
            let connections = Ok(vec![seen(from, "ops"), seen("10.0.0.4", "app")]);
            let catalog =
                PostgresCatalog { connections, ..catalog(&[superuser("ops"), role("app")]) };
            let findings = judged(&catalog, CLOSED, &[source("10.0.0.0/24", 1)]);
            assert_eq!(of(&findings, CheckId::R1).0, state, "{from}");
        }
    }

    /// A line for the members of a role depends on the catalogue.
    #[test]
    fn lines_for_members_are_decided() {
        let hba = "host all +admins all reject\nhost all all all scram-sha-256\n";
        let member = (b"ops".to_vec(), b"admins".to_vec());
        let names = || [b"ops".to_vec(), b"admins".to_vec()];
        for (pairs, state) in [(vec![member], State::Ok), (vec![], State::Fail)] {
            let memberships = Ok(Memberships::new(names(), pairs));
            let catalog = PostgresCatalog { memberships, ..catalog(&[superuser("ops")]) };
            assert_eq!(of(&judged(&catalog, hba, &[]), CheckId::R1).0, state);
        }
    }

    #[test]
    fn administrators_from_trusted_sources() {
        let first = DbRole { is_first: true, ..superuser("postgres") };
        let trusted = [source("10.0.0.0/24", 1)];
        for (hba, state) in [
            ("host all all 10.0.0.0/16 scram-sha-256\n", State::Fail),
            ("host all all 10.0.0.7/32 scram-sha-256\n", State::Fail),
            ("host all all 10.1.0.0/16 scram-sha-256\n", State::Ok),
            ("host all app 10.0.0.0/16 scram-sha-256\n", State::Ok),
        ] {
            let findings = judged(&catalog(&[first.clone(), role("app")]), hba, &trusted);
            assert_eq!(of(&findings, CheckId::R2).0, state, "{hba}");
        }
    }

    #[test]
    fn passwords_and_their_hashes() {
        for (role, hash, password) in [
            (role("app"), State::Ok, State::Ok),
            (DbRole { password: Some(StoredPassword::Md5), ..role("app") }, State::Fail, State::Ok),
            (
                DbRole { password: Some(StoredPassword::None), ..role("app") },
                State::Ok,
                State::Fail,
            ),
            (DbRole { has_expired: true, ..role("app") }, State::Ok, State::Fail),
            (DbRole { password: None, ..role("app") }, State::Unknown, State::Unknown),
            (
                DbRole { is_first: true, password: Some(StoredPassword::None), ..role("app") },
                State::Ok,
                State::Ok,
            ),
            (
                DbRole { may_log_in: false, password: Some(StoredPassword::None), ..role("app") },
                State::Ok,
                State::Ok,
            ),
        ] {
            let findings = judged(&catalog(std::slice::from_ref(&role)), CLOSED, &[]);
            assert_eq!(of(&findings, CheckId::A3).0, hash, "{role:?}");
            assert_eq!(of(&findings, CheckId::R3).0, password, "{role:?}");
        }
        let mut bad = catalog(&[]);
        let settings = [("log_connections", "off"), ("password_encryption", "md5")];
        bad.settings = Ok(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let findings = judged(&bad, CLOSED, &[]);
        assert_eq!(of(&findings, CheckId::A3), (State::Fail, "password_encryption"));
        assert_eq!(of(&findings, CheckId::L1).0, State::Fail);
        let findings = judged(&catalog(&[]), CLOSED, &[]);
        assert_eq!(of(&findings, CheckId::L1).0, State::Ok);
    }

    #[test]
    fn replicas_need_no_superuser() {
        for (user, state) in [("ops", State::Fail), ("replica", State::Ok)] {
            let replicas = Ok(vec![seen("10.0.0.3", user)]);
            let catalog =
                PostgresCatalog { replicas, ..catalog(&[superuser("ops"), role("replica")]) };
            assert_eq!(of(&judged(&catalog, CLOSED, &[]), CheckId::L2).0, state, "{user}");
        }
    }

    #[test]
    fn roles_of_sources_that_are_not_used() {
        let hba =
            "host all old 10.0.1.0/24 scram-sha-256\nhost all app 10.0.0.0/16 scram-sha-256\n";
        let roles = [role("old"), role("app")];
        for (hits, state) in [([1, 50], State::Fail), ([1, 2], State::Ok)] {
            let trusted = [source("10.0.0.0/24", hits[0]), source("10.0.1.0/24", hits[1])];
            let findings = judged(&catalog(&roles), hba, &trusted);
            assert_eq!(of(&findings, CheckId::R6).0, state, "{hits:?}");
        }
        let catalog_of_nobody = catalog(&roles);
        let trusted = [source("10.0.0.0/24", 1), source("10.0.1.0/24", 50)];
        let connections = Ok(vec![seen("10.0.1.1", "old")]);
        let catalog = PostgresCatalog { connections, ..catalog(&roles) };
        assert_eq!(of(&judged(&catalog, hba, &trusted), CheckId::R6).0, State::Ok);
        let new = Trusted { since: ago(3), last_hit: None, ..source("10.0.1.0/24", 1) };
        let findings = judged(&catalog_of_nobody, hba, &[new]);
        assert_eq!(of(&findings, CheckId::R6).0, State::Unknown);
    }

    #[test]
    fn what_is_not_known_is_not_well() {
        let why = "permission denied".to_owned();
        let catalog = PostgresCatalog {
            roles: Err(why.clone()),
            memberships: Err(why.clone()),
            connections: Err(why.clone()),
            replicas: Err(why.clone()),
            settings: Err(why),
        };
        let findings = judged(&catalog, CLOSED, &[source("10.0.0.0/24", 1)]);
        assert!(findings.iter().all(|finding| finding.state() == State::Unknown), "{findings:#?}");
        let ids: BTreeSet<CheckId> = findings.iter().map(Finding::check).collect();
        assert_eq!(ids.len(), 7, "{ids:?}");
    }
}
