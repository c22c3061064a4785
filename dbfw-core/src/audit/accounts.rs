//! [`MySqlCatalog`]: the accounts, settings and connections of MySQL or MariaDB, and the checks of
//! them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    check::CheckId,
    connection::{Origins, SeenConnection},
    finding::{Finding, listed},
    rules::of_this_host,
    trusted::Trusted,
};
use crate::source::{Prefix, PrefixUnion};

/// Names of administrators that everybody knows.
const KNOWN_NAMES: [&str; 3] = ["root", "admin", "administrator"];
/// Versions of TLS that are broken.
const OLD_TLS: [&str; 2] = ["TLSv1", "TLSv1.0"];

/// The proof that an account asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// None.
    Nothing,
    /// A password, kept by SHA-1 alone (mysql_native_password).
    NativePassword,
    /// A password, kept so that it takes long to try out.
    Password,
    /// Something else: a Unix socket, a directory, a certificate.
    Other,
    /// One that nobody has.
    Impossible,
}

/// The hosts that an account admits, as its name has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountHosts {
    /// Every one.
    Any,
    /// This host alone.
    Local,
    /// The addresses of a block.
    Block(Prefix),
    /// Those whose name or address is alike, which only the server can tell.
    Alike(String),
}

impl AccountHosts {
    /// The hosts of an account's name.
    pub fn parse(host: &str) -> Self {
        let alike = || Self::Alike(host.to_owned());
        if matches!(host, "%" | "") {
            return Self::Any;
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Self::Local;
        }
        let block = match host.split_once('/') {
            Some((address, mask)) => masked(address, mask),
            None => host.parse().ok().map(Prefix::host).or_else(|| octets(host)),
        };
        match block {
            Some(block) if of_this_host(&[]).iter().any(|loopback| loopback.covers(&block)) => {
                Self::Local
            }
            Some(block) if block.len() == 0 => Self::Any,
            Some(block) => Self::Block(block),
            None => alike(),
        }
    }

    /// Whether clients at every, at no, or (`None`) perhaps at some addresses of a prefix are
    /// admitted.
    fn admits(&self, prefix: &Prefix) -> Option<bool> {
        match self {
            Self::Any => Some(true),
            Self::Local => Some(false),
            Self::Block(block) => Some(block.covers(prefix) || prefix.covers(block)),
            Self::Alike(_) => None,
        }
    }
}

/// The block of an address and a netmask, or a length.
fn masked(address: &str, mask: &str) -> Option<Prefix> {
    let address: Ipv4Addr = address.parse().ok()?;
    let length = match mask.parse::<u8>() {
        Ok(length) if length <= 32 => length,
        Ok(_) => return None,
        Err(_) => {
            let mask = mask.parse::<Ipv4Addr>().ok()?.to_bits();
            (mask.leading_ones() + mask.trailing_zeros() >= 32)
                .then(|| u8::try_from(mask.leading_ones()).ok())??
        }
    };
    Some(Prefix::new(IpAddr::V4(address), length))
}

/// The block of `10.1.%`: whole octets, and anything after them.
fn octets(host: &str) -> Option<Prefix> {
    let whole = host.strip_suffix(".%")?;
    let mut octets = [0; 4];
    let mut count = 0;
    for text in whole.split('.') {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        *octets.get_mut(count).filter(|_| is_number && count < 3)? = text.parse().ok()?;
        count += 1;
    }
    Some(Prefix::new(IpAddr::V4(octets.into()), u8::try_from(count * 8).ok()?))
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbAccount {
    /// The user's name; empty: any.
    pub user: String,
    /// The host as it is written.
    pub host: String,
    /// The proof that it asks for.
    pub proof: Proof,
    /// Whether all privileges are its own.
    pub is_admin: bool,
    /// Whether it is kept from logging in.
    pub is_locked: bool,
    /// Whether its password has expired.
    pub has_expired: bool,
    /// Whether it has to use TLS.
    pub needs_tls: bool,
}

impl fmt::Display for DbAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}

impl DbAccount {
    fn hosts(&self) -> AccountHosts {
        AccountHosts::parse(&self.host)
    }

    fn may_log_in(&self) -> bool {
        !self.is_locked && self.proof != Proof::Impossible
    }

    fn is_remote(&self) -> bool {
        self.may_log_in() && self.hosts() != AccountHosts::Local
    }
}

/// The answers of a MySQL or MariaDB to somebody who logged in. Each may be missing, with the reason.
#[derive(Clone, Debug)]
pub struct MySqlCatalog {
    /// The accounts.
    pub accounts: Result<Vec<DbAccount>, String>,
    /// The connections by TCP.
    pub connections: Result<Vec<SeenConnection>, String>,
    /// Whether clients have to use TLS.
    pub requires_tls: Result<bool, String>,
    /// The versions of TLS that it takes: "TLSv1.2,TLSv1.3"; empty: it has none.
    pub tls_version: Result<String, String>,
}

/// Judges accounts and settings, T-2b, T-4, X-1 and X-3.
pub fn judge_accounts(
    catalog: &MySqlCatalog,
    trusted: Result<&[Trusted], &str>,
    own: &[IpAddr],
) -> Vec<Finding> {
    let mut findings = vec![old_tls(catalog)];
    match &catalog.accounts {
        Ok(accounts) => {
            findings.extend(hashes(accounts));
            findings.extend(passwords(accounts));
            findings.extend(without_tls(catalog, accounts));
            findings.extend(administrators(catalog, accounts, trusted, own));
        }
        Err(why) => {
            let checks = [CheckId::A3, CheckId::R1, CheckId::R3, CheckId::T2b];
            findings.extend(checks.map(|check| Finding::unknown(check, why)));
        }
    }
    match (&catalog.accounts, trusted) {
        (Ok(accounts), Ok(trusted)) => {
            findings.extend(known_names(accounts, trusted));
            findings.extend(wide_accounts(accounts, trusted, own));
            findings.extend(dead_sources(accounts, trusted));
        }
        (Err(why), _) => findings.extend(of_lists(why)),
        (_, Err(why)) => findings.extend(of_lists(why)),
    }
    findings
}

/// The checks that need both lists.
fn of_lists(why: &str) -> impl Iterator<Item = Finding> {
    let checks = [CheckId::R2, CheckId::R4, CheckId::X1, CheckId::X3];
    checks.into_iter().map(move |check| Finding::unknown(check, why))
}

/// Old versions of TLS (T-4).
fn old_tls(catalog: &MySqlCatalog) -> Finding {
    let check = CheckId::T4;
    let versions = match &catalog.tls_version {
        Ok(versions) => versions,
        Err(why) => return Finding::unknown(check, why),
    };
    let is_old = |version: &&str| {
        OLD_TLS.iter().chain(&["TLSv1.1"]).any(|old| old.eq_ignore_ascii_case(version))
    };
    let old: Vec<&str> = versions.split(',').map(str::trim).filter(is_old).collect();
    match &*old {
        [] if versions.is_empty() => Finding::ok(check, "it has no TLS"),
        [] => Finding::ok(check, format!("tls_version is {versions}")),
        old => Finding::fail(check, format!("tls_version allows {}", old.join(" and "))),
    }
}

/// Weak hashes.
fn hashes(accounts: &[DbAccount]) -> Vec<Finding> {
    let weak = accounts
        .iter()
        .filter(|account| account.may_log_in() && account.proof == Proof::NativePassword);
    let failed = weak
        .map(|account| {
            let name = account.to_string();
            (name.clone(), format!("{name}: its password is kept by mysql_native_password"))
        })
        .collect();
    let fine = "no password is kept by mysql_native_password";
    listed(CheckId::A3, failed, "accounts", None, fine)
}

/// Passwords that are missing or past.
fn passwords(accounts: &[DbAccount]) -> Vec<Finding> {
    let wrong = |account: &DbAccount| match account.proof {
        Proof::Nothing => Some("it needs no password"),
        Proof::NativePassword | Proof::Password if account.has_expired => {
            Some("its password has expired")
        }
        _ => None,
    };
    let failed = accounts
        .iter()
        .filter(|account| account.may_log_in())
        .filter_map(|account| {
            let name = account.to_string();
            let text = format!("{name} may log in, and {}", wrong(account)?);
            Some((name, text))
        })
        .collect();
    listed(CheckId::R3, failed, "accounts", None, "every account has a password")
}

/// Accounts that may do without TLS (T-2b).
fn without_tls(catalog: &MySqlCatalog, accounts: &[DbAccount]) -> Vec<Finding> {
    let check = CheckId::T2b;
    match &catalog.requires_tls {
        Err(why) => return vec![Finding::unknown(check, why)],
        Ok(true) => return vec![Finding::ok(check, "require_secure_transport is on")],
        Ok(false) => {}
    }
    let lax = accounts.iter().filter(|account| account.is_remote() && !account.needs_tls);
    let failed = lax
        .map(|account| {
            let name = account.to_string();
            let text = format!("{name} may log in without TLS: require_secure_transport is off");
            (name, text)
        })
        .collect();
    listed(check, failed, "accounts", None, "every account that others reach has to use TLS")
}

/// Administrators from other hosts.
fn administrators(
    catalog: &MySqlCatalog,
    accounts: &[DbAccount],
    trusted: Result<&[Trusted], &str>,
    own: &[IpAddr],
) -> Vec<Finding> {
    let origins = Origins::of(trusted.unwrap_or_default());
    let mut failed: Vec<(String, String)> = Vec::new();
    let mut doubt = None;
    match &catalog.connections {
        Err(why) => doubt = Some(why.clone()),
        Ok(connections) => {
            for connection in connections {
                let from = connection.from.to_canonical();
                let Some(user) = connection.user.as_deref() else { continue };
                let is_admin = accounts.iter().any(|one| one.is_admin && one.user == user);
                let is_known = failed.iter().any(|(subject, _)| subject == user);
                if !is_admin || is_known || from.is_loopback() || own.contains(&from) {
                    continue;
                }
                let source = origins.of_address(from);
                let source = source.map(|(source, _)| format!(", {}", source.shown()));
                let text = format!(
                    "{user}, who has all privileges, is logged in from {from}{}",
                    source.unwrap_or_default()
                );
                failed.push((user.to_owned(), text));
            }
        }
    }
    for account in accounts.iter().filter(|account| account.is_admin && account.is_remote()) {
        let name = account.to_string();
        let text = format!("{name} has all privileges and may log in from other hosts");
        failed.push((name, text));
    }
    let fine = "no account with all privileges is used from another host, or may be";
    listed(CheckId::R1, failed, "accounts", doubt, fine)
}

/// Accounts of names that everybody knows, from trusted sources.
fn known_names(accounts: &[DbAccount], trusted: &[Trusted]) -> Vec<Finding> {
    let (mut failed, mut doubt) = (Vec::new(), None);
    let known = accounts.iter().filter(|account| {
        account.may_log_in() && KNOWN_NAMES.contains(&&*account.user.to_lowercase())
    });
    for account in known {
        let hosts = account.hosts();
        let admitted = |source: &&Trusted| {
            source.prefixes.iter().any(|prefix| hosts.admits(prefix) == Some(true))
        };
        let name = account.to_string();
        match (trusted.iter().find(admitted), &hosts) {
            (Some(source), _) => {
                let text = format!("{name} may log in from {}", source.shown());
                failed.push((name, text));
            }
            (None, AccountHosts::Alike(_)) => doubt = Some(depends(account)),
            (None, _) => {}
        }
    }
    let fine = "no administrator may log in from a trusted source";
    listed(CheckId::R2, failed, "accounts", doubt, fine)
}

fn depends(account: &DbAccount) -> String {
    format!("{account}: which addresses that admits only the server knows")
}

/// Accounts that admit more than the trusted sources: of every host, and others.
fn wide_accounts(accounts: &[DbAccount], trusted: &[Trusted], own: &[IpAddr]) -> Vec<Finding> {
    let own = of_this_host(own);
    let sets = trusted.iter().map(|source| &source.prefixes);
    let allowed: PrefixUnion = sets.chain([&own]).collect();
    let is_everybody = allowed.holds(&Prefix::ANY4) && allowed.holds(&Prefix::ANY6);
    let first = trusted.iter().flat_map(|source| source.prefixes.iter()).next();
    let (mut any, mut wide, mut doubt) = (Vec::new(), Vec::new(), None);
    for account in accounts.iter().filter(|account| account.is_remote()) {
        let name = account.to_string();
        match account.hosts() {
            AccountHosts::Any if !is_everybody => {
                let rename = first.map(|prefix| {
                    let (user, host) = (quoted(&account.user), quoted(&account.host));
                    let narrow = quoted(&narrow(prefix));
                    format!(": RENAME USER {user}@{host} TO {user}@{narrow}")
                });
                let text = format!("{name} may come from every host{}", rename.unwrap_or_default());
                any.push((name, text));
            }
            AccountHosts::Block(block) if !allowed.holds(&block) => {
                let text = format!("{name} admits addresses outside the trusted sources");
                wide.push((name, text));
            }
            AccountHosts::Alike(_) => doubt = Some(depends(account)),
            AccountHosts::Any | AccountHosts::Local | AccountHosts::Block(_) => {}
        }
    }
    let fine = "no account may come from every host";
    let mut findings = listed(CheckId::R4, any, "accounts", None, fine);
    let fine = "no account names hosts outside the trusted sources, besides those of every host";
    findings.extend(listed(CheckId::X1, wide, "accounts", doubt, fine));
    findings
}

/// A text in SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A prefix as the host of an account.
fn narrow(prefix: &Prefix) -> String {
    let address = prefix.addr();
    match address {
        IpAddr::V4(_) if !prefix.is_host() => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.len())).unwrap_or(0);
            format!("{address}/{}", Ipv4Addr::from_bits(mask))
        }
        _ => address.to_string(),
    }
}

/// Trusted sources that no account admits.
fn dead_sources(accounts: &[DbAccount], trusted: &[Trusted]) -> Vec<Finding> {
    let (mut failed, mut doubt) = (Vec::new(), None);
    for source in trusted.iter().filter(|source| !source.prefixes.is_empty()) {
        let takes = |account: &&DbAccount| {
            account.is_remote() && (source.users.is_empty() || source.users.contains(&account.user))
        };
        let mut may_be = None;
        let is_admitted = accounts.iter().filter(takes).any(|account| {
            let hosts = account.hosts();
            let admits = |prefix: &Prefix| hosts.admits(prefix);
            if source.prefixes.iter().any(|prefix| admits(prefix) == Some(true)) {
                return true;
            }
            if matches!(hosts, AccountHosts::Alike(_)) {
                may_be = Some(account);
            }
            false
        });
        match may_be {
            _ if is_admitted => {}
            Some(account) => doubt = Some(depends(account)),
            None => {
                let name = source.shown();
                let text = match &*source.users {
                    [] => format!("{name}: no account admits it"),
                    users => format!("{name}: no account admits {} from it", users.join(", ")),
                };
                failed.push((source.source.clone(), text));
            }
        }
    }
    let fine = "an account admits each trusted source";
    listed(CheckId::X3, failed, "trusted sources", doubt, fine)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::finding::State, *};
    use crate::testing::cases;

    fn account(name: &str) -> DbAccount {
        let (user, host) = name.split_once('@').unwrap();
        DbAccount {
            user: user.to_owned(),
            host: host.to_owned(),
            proof: Proof::Password,
            is_admin: false,
            is_locked: false,
            has_expired: false,
            needs_tls: false,
        }
    }

    fn source(prefix: &str, users: &[&str]) -> Trusted {
        Trusted {
            source: format!("ip_addr:{prefix}"),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            prefixes: [prefix.parse().unwrap()].into(),
            ..Trusted::default()
        }
    }

    fn judged(accounts: &[DbAccount], trusted: &[Trusted]) -> Vec<Finding> {
        let catalog = MySqlCatalog {
            accounts: Ok(accounts.to_vec()),
            connections: Ok(Vec::new()),
            requires_tls: Ok(false),
            tls_version: Ok("TLSv1.2,TLSv1.3".to_owned()),
        };
        judge_accounts(&catalog, Ok(trusted), &["10.9.9.9".parse().unwrap()])
    }

    fn of(findings: &[Finding], check: CheckId) -> State {
        findings.iter().find(|finding| finding.check() == check).unwrap().state()
    }

    #[test]
    fn hosts_of_accounts() {
        let block = |text: &str| AccountHosts::Block(text.parse().unwrap());
        for (host, expected) in [
            ("%", AccountHosts::Any),
            ("", AccountHosts::Any),
            ("0.0.0.0/0", AccountHosts::Any),
            ("localhost", AccountHosts::Local),
            ("127.0.0.1", AccountHosts::Local),
            ("127.%", AccountHosts::Local),
            ("::1", AccountHosts::Local),
            ("10.0.0.1", block("10.0.0.1/32")),
            ("2001:db8::1", block("2001:db8::1/128")),
            ("10.%", block("10.0.0.0/8")),
            ("10.1.2.%", block("10.1.2.0/24")),
            ("10.1.2.0/255.255.255.0", block("10.1.2.0/24")),
            ("10.1.2.0/24", block("10.1.2.0/24")),
        ] {
            assert_eq!(AccountHosts::parse(host), expected, "{host}");
        }
        for host in [
            "app.test",
            "10.1.2.3.%",
            "10.%.1.%",
            "10.1_.%",
            "300.%",
            ".%",
            "10.1.2.0/33",
            "10.1.2.0/255.0.255.0",
            "2001:db8:%",
            "10.0.0.%.test",
        ] {
            assert_eq!(AccountHosts::parse(host), AccountHosts::Alike(host.to_owned()));
        }
    }

    #[test]
    fn accounts_against_trusted_sources() {
        let trusted = [source("10.0.0.0/24", &[])];
        for (name, [r4, x1, x3]) in [
            ("app@%", [State::Fail, State::Ok, State::Ok]),
            ("app@10.0.0.%", [State::Ok, State::Ok, State::Ok]),
            ("app@10.0.%", [State::Ok, State::Fail, State::Ok]),
            ("app@192.0.2.1", [State::Ok, State::Fail, State::Fail]),
            ("app@10.9.9.9", [State::Ok, State::Ok, State::Fail]),
            ("app@localhost", [State::Ok, State::Ok, State::Fail]),
            ("app@app.test", [State::Ok, State::Unknown, State::Unknown]),
        ] {
            let findings = judged(&[account(name)], &trusted);
            let found = [CheckId::R4, CheckId::X1, CheckId::X3].map(|check| of(&findings, check));
            assert_eq!(found, [r4, x1, x3], "{name}");
        }
        let findings = judged(&[account("app@%")], &trusted);
        let text = findings.iter().find(|finding| finding.check() == CheckId::R4).unwrap().text();
        let rename = "RENAME USER 'app'@'%' TO 'app'@'10.0.0.0/255.255.255.0'";
        assert!(text.ends_with(rename), "{text}");
        let of_user = [source("10.0.0.0/24", &["bi"])];
        assert_eq!(of(&judged(&[account("app@%")], &of_user), CheckId::X3), State::Fail);
        assert_eq!(of(&judged(&[account("bi@%")], &of_user), CheckId::X3), State::Ok);
    }

    #[test]
    fn administrators_and_passwords() {
        let trusted = [source("10.0.0.0/24", &[])];
        let admin = |name| DbAccount { is_admin: true, ..account(name) };
        for (one, check, state) in [
            (admin("ops@%"), CheckId::R1, State::Fail),
            (admin("ops@localhost"), CheckId::R1, State::Ok),
            (DbAccount { is_locked: true, ..admin("ops@%") }, CheckId::R1, State::Ok),
            (account("root@10.0.0.%"), CheckId::R2, State::Fail),
            (account("root@192.0.2.1"), CheckId::R2, State::Ok),
            (account("root@localhost"), CheckId::R2, State::Ok),
            (account("root@app.test"), CheckId::R2, State::Unknown),
            (DbAccount { proof: Proof::Nothing, ..account("a@%") }, CheckId::R3, State::Fail),
            (DbAccount { has_expired: true, ..account("a@%") }, CheckId::R3, State::Fail),
            (DbAccount { proof: Proof::Other, ..account("a@%") }, CheckId::R3, State::Ok),
            (
                DbAccount { proof: Proof::NativePassword, ..account("a@%") },
                CheckId::A3,
                State::Fail,
            ),
            (DbAccount { proof: Proof::Impossible, ..account("a@%") }, CheckId::A3, State::Ok),
            (account("a@%"), CheckId::T2b, State::Fail),
            (DbAccount { needs_tls: true, ..account("a@%") }, CheckId::T2b, State::Ok),
            (account("a@localhost"), CheckId::T2b, State::Ok),
        ] {
            let findings = judged(std::slice::from_ref(&one), &trusted);
            assert_eq!(of(&findings, check), state, "{one:?}");
        }
    }

    #[test]
    fn settings_and_connections() {
        let catalog = |tls_version: &str, from: &str| MySqlCatalog {
            accounts: Ok(vec![DbAccount { is_admin: true, ..account("ops@localhost") }]),
            connections: Ok(vec![SeenConnection {
                from: from.parse().unwrap(),
                user: Some("ops".to_owned()),
                database: None,
                application: None,
                tls: None,
            }]),
            requires_tls: Ok(true),
            tls_version: Ok(tls_version.to_owned()),
        };
        for (versions, from, old, remote) in [
            ("TLSv1.2,TLSv1.3", "10.0.0.1", State::Ok, State::Fail),
            ("TLSv1,TLSv1.1,TLSv1.2", "127.0.0.1", State::Fail, State::Ok),
            ("TLSv1.1", "10.9.9.9", State::Fail, State::Ok),
            ("", "10.0.0.1", State::Ok, State::Fail),
        ] {
            let own = ["10.9.9.9".parse().unwrap()];
            let findings = judge_accounts(&catalog(versions, from), Ok(&[]), &own);
            assert_eq!(of(&findings, CheckId::T4), old, "{versions}");
            assert_eq!(of(&findings, CheckId::R1), remote, "{from}");
            assert_eq!(of(&findings, CheckId::T2b), State::Ok);
        }
        let unknown = judge_accounts(&catalog("TLSv1.3", "10.0.0.1"), Err("no list"), &[]);
        for check in [CheckId::R2, CheckId::R4, CheckId::X1, CheckId::X3] {
            assert_eq!(of(&unknown, check), State::Unknown);
        }
    }

    proptest! {
        #![proptest_config(cases(5_000))]

        #[test]
        fn no_host_panics(host in "([0-9]{1,3}\\.){0,4}[0-9%_a-z]{0,4}(/[0-9.]{0,15})?") {
            let _ = AccountHosts::parse(&host);
        }
    }
}
