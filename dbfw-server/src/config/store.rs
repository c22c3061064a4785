//! Reading where the store is.

use dbfw_core::toml::{Report, Table, Value, quoted};
use url::Url;

use super::types::StoreConfig;
use crate::store::{EtcdSettings, Identity, Login};

const STORE_FIX: &str = r#"write { kind = "file", path = "/var/lib/dbfw-server/store.redb" }"#;
const ENDPOINTS_FIX: &str = r#"write ["https://etcd-1.example.com:2379"]"#;
const PREFIX_FIX: &str = r#"write prefix = "/dbfw/v1""#;

/// Bytes of a prefix in etcd.
const MAX_PREFIX: usize = 128;

#[derive(Clone, Copy)]
enum Kind {
    File,
    Etcd,
}

/// The store of a configuration.
pub(super) fn store(value: &Value<'_>, report: &mut Report) -> Option<StoreConfig> {
    let mut table = value.table(STORE_FIX, report)?;
    let kind = table.require("kind", r#"add kind = "file""#, report);
    let kinds = [("file", Kind::File), ("etcd", Kind::Etcd)];
    let kind = kind.and_then(|value| value.word(&kinds, "a kind of store", report))?;
    let store = match kind {
        Kind::File => {
            let fix = r#"add path = "/var/lib/dbfw-server/store.redb""#;
            let path = table.require("path", fix, report);
            let path = path.and_then(|it| it.path("/var/lib/dbfw-server/store.redb", report));
            path.map(StoreConfig::File)
        }
        Kind::Etcd => etcd(&mut table, report).map(StoreConfig::Etcd),
    };
    table.finish(report);
    if matches!(kind, Kind::Etcd) && cfg!(not(feature = "etcd")) {
        let fix = "build it with the feature etcd, or keep the store in a file";
        report.problem(&value.place(), "this dbfw-server was built without etcd", fix);
        return None;
    }
    store
}

fn etcd(table: &mut Table<'_>, report: &mut Report) -> Option<EtcdSettings> {
    let endpoints = table.require("endpoints", ENDPOINTS_FIX, report);
    let endpoints = endpoints.and_then(|value| {
        let endpoints = value.distinct(ENDPOINTS_FIX, report, endpoint)?;
        if endpoints.is_empty() {
            report.problem(&value.place(), "lists no member of etcd", ENDPOINTS_FIX);
            return None;
        }
        Some(endpoints)
    });
    let mut path = |name: &'static str, example: &str, report: &mut Report| {
        let value = table.take(name);
        let place = value.as_ref().map(Value::place);
        (value.and_then(|value| value.path(example, report)), place)
    };
    let (ca_file, _) = path("ca_file", "/etc/dbfw-server/etcd-ca.pem", report);
    let (cert_file, cert_place) = path("cert_file", "/etc/dbfw-server/etcd.pem", report);
    let (key_file, key_place) = path("key_file", "/etc/dbfw-server/etcd.key", report);
    let (password_file, password_place) =
        path("password_file", "/etc/dbfw-server/etcd-password", report);
    let user = table.take("user");
    let user_place = user.as_ref().map(Value::place);
    let user = user.and_then(|value| value.string(r#"write user = "dbfw""#, report));
    let mut prefix = "/dbfw/v1".to_owned();
    table.set("prefix", &mut prefix, report, self::prefix);
    for (one, other, name) in [
        (&cert_place, &key_place, "key_file"),
        (&key_place, &cert_place, "cert_file"),
        (&user_place, &password_place, "password_file"),
        (&password_place, &user_place, "user"),
    ] {
        if let (Some(place), None) = (one, other) {
            report.problem(place, format!("needs {name} besides"), format!("add {name}"));
        }
    }
    let endpoints = endpoints?;
    let is_tls = |endpoint: &String| endpoint.starts_with("https://");
    if endpoints.iter().any(is_tls) && ca_file.is_none() {
        let message = "has no ca_file: only the authority that it names is trusted";
        let fix = r#"add ca_file = "/etc/dbfw-server/etcd-ca.pem""#;
        report.problem(&table.place(), message, fix);
        return None;
    }
    let is_remote = |endpoint: &&String| !is_tls(endpoint) && !is_loopback(endpoint);
    if let Some(open) = endpoints.iter().find(is_remote) {
        let message = format!("lists and the digests of tokens go to {open} without TLS");
        report.warning(&table.place(), message, "use https, or a network that nobody else is in");
    }
    let identity = cert_file.zip(key_file);
    let login = user.map(str::to_owned).zip(password_file);
    Some(EtcdSettings {
        endpoints,
        ca_file,
        identity: identity.map(|(cert_file, key_file)| Identity { cert_file, key_file }),
        login: login.map(|(user, password_file)| Login { user, password_file }),
        prefix,
    })
}

/// The address of a member.
fn endpoint(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(ENDPOINTS_FIX, report)?;
    let is_address = |url: &Url| {
        let plain = Url::parse(&url.origin().ascii_serialization()).is_ok_and(|it| it == *url);
        matches!(url.scheme(), "https" | "http") && url.port().is_some() && plain
    };
    let Some(url) = Url::parse(written).ok().filter(is_address) else {
        let message = format!("{} is not the address of a member with its port", quoted(written));
        report.problem(&value.place(), message, ENDPOINTS_FIX);
        return None;
    };
    Some(url.origin().ascii_serialization())
}

fn is_loopback(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| url.host().map(|it| it.to_owned()));
    match host {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The prefix of the keys, which begins with a slash and ends without one.
fn prefix(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(PREFIX_FIX, report)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let is_prefix = written.len() <= MAX_PREFIX
        && written.starts_with('/')
        && !written.ends_with('/')
        && written.chars().all(is_plain);
    if !is_prefix {
        report.problem(&value.place(), format!("{} is no prefix", quoted(written)), PREFIX_FIX);
        return None;
    }
    Some(written.to_owned())
}
