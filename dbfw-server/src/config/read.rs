//! Reading the configuration: every problem at once, with its place and its fix.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use dbfw_core::toml::{
    Document, Place, Problems, Report, Table, Value, parse_duration, quoted, utf8,
};
use dbfw_provider::{
    digitalocean::DigitalOceanConfig,
    fs::{OpenError, read_file},
    tables::{DIGITALOCEAN, check_dns, read_digitalocean, read_dns, read_feed_keys},
};
use rustls::pki_types::ServerName;
use url::Url;

use super::{
    store::store,
    types::{Config, METRICS_PORT, StoreConfig, Tls},
};
use crate::{model::MAX_WAIT, resolve::ResolveConfig};

/// Bytes of the file.
const MAX_FILE: u64 = 1 << 20;

/// Bytes of the server's name.
const MAX_NAME: usize = 64;

const LISTEN_FIX: &str = r#"write ["0.0.0.0:7443"]"#;
const TLS_FIX: &str = r#"write "self", { cert = "/…", key = "/…" } or "off""#;
const NAMES_FIX: &str = r#"write ["ctl.example.com"]"#;
const URL_FIX: &str = r#"write "https://ctl.example.com:7443""#;
const WAIT_FIX: &str = r#"write wait = "1s""#;
const FEEDS_FIX: &str = r#"write ["https://api.github.com/meta"]"#;

/// Reads the configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let mut report = Report::default();
    let mut config = Config::default();
    if let Some(content) = content(path, &mut report)
        && let Some(text) = utf8(path, &content, &mut report)
        && let Some(document) = Document::parse(path, text, &mut report)
    {
        read(&document, &mut config, &mut report);
    }
    config.warnings = report.finish(path)?;
    Ok(config)
}

/// The directory of the admin socket, as far as the configuration can be read.
pub fn run_dir(path: &Path) -> PathBuf {
    let (mut config, mut ignored) = (Config::default(), Report::default());
    if let Ok(content) = read_file(path, MAX_FILE) {
        let text = String::from_utf8_lossy(&content);
        read(&Document::parse_lenient(path, &text), &mut config, &mut ignored);
    }
    config.run_dir
}

fn content(path: &Path, report: &mut Report) -> Option<Vec<u8>> {
    let fix = |error: &OpenError| match error {
        OpenError::NotRegular => "name a file",
        OpenError::TooLarge(_) => "name the configuration",
        OpenError::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => "run `dbfw-server init`, or name another with --config",
            io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
            _ => "check the path and the file system",
        },
    };
    read_file(path, MAX_FILE)
        .map_err(|error| report.problem(&Place::file(path), error.to_string(), fix(&error)))
        .ok()
}

fn read(document: &Document<'_>, config: &mut Config, report: &mut Report) {
    let mut root = document.root();
    let mut section = |name: &'static str, report: &mut Report| {
        let fix = format!("begin it with [{name}]");
        root.take(name).and_then(|value| value.table(&fix, report))
    };
    if let Some(table) = section("server", report) {
        read_server(config, table, report);
    }
    if let Some(table) = section("digitalocean", report) {
        let mut digitalocean = DigitalOceanConfig::default();
        read_digitalocean(&mut digitalocean, table, report);
        DIGITALOCEAN.check(&digitalocean.api_url, &digitalocean.http, report);
        config.resolve.digitalocean = Some(digitalocean);
    }
    if let Some(table) = section("dns", report) {
        read_dns(&mut config.resolve.dns, table, report);
        check_dns(&config.resolve.dns, report);
    }
    if let Some(table) = section("feeds", report) {
        read_feeds(config, table, report);
    }
    if let Some(table) = section("resolve", report) {
        read_resolve(&mut config.resolve, table, report);
    }
    root.finish(report);
}

fn read_server(config: &mut Config, mut table: Table<'_>, report: &mut Report) {
    let usual_store = config.store.clone();
    table.set("name", &mut config.name, report, name);
    table.set("listen", &mut config.listen, report, |value, report| {
        let addresses = value.distinct(LISTEN_FIX, report, listen)?;
        if addresses.is_empty() {
            report.problem(&value.place(), "lists no address", LISTEN_FIX);
            return None;
        }
        Some(addresses)
    });
    table.set("tls", &mut config.tls, report, tls);
    table.set("tls_names", &mut config.tls_names, report, |value, report| {
        value.distinct(NAMES_FIX, report, tls_name)
    });
    table.set("url", &mut config.url, report, |value, report| url(value, report).map(Some));
    for (name, directory, example) in [
        ("state_dir", &mut config.state_dir, "/var/lib/dbfw-server"),
        ("run_dir", &mut config.run_dir, "/run/dbfw-server"),
    ] {
        table.set(name, directory, report, |value, report| value.path(example, report));
    }
    table.set("store", &mut config.store, report, store);
    if config.store == usual_store {
        config.store = StoreConfig::File(config.state_dir.join("store.redb"));
    }
    table.set("metrics_listen", &mut config.metrics_listen, report, |value, report| {
        value.metrics_listen(METRICS_PORT, report)
    });
    table.set("merge", &mut config.merge, report, Value::boolean);
    table.set("wait", &mut config.wait, report, wait);
    table.set("max_sources", &mut config.max_sources, report, |value, report| {
        number(value, 1..=5000, "a possible number of sources", report)
    });
    table.set("max_connections", &mut config.max_connections, report, |value, report| {
        number(value, 16..=100_000, "a possible number of connections", report)
    });
    table.set("max_agents", &mut config.max_agents, report, |value, report| {
        number(value, 1..=100_000, "a possible number of agents", report)
    });
    table.set("requests_per_minute", &mut config.requests_per_minute, report, |value, report| {
        value.integer(10..=1_000_000, "a possible number of requests", report)
    });
    table.finish(report);
    check_plain(config, report);
}

/// Reports plain HTTP that others could listen to.
fn check_plain(config: &Config, report: &mut Report) {
    let open = config.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    let (Tls::Off, Some(address)) = (&config.tls, open) else { return };
    // The default address has no place.
    let place = report.place_of("server.tls").or_else(|| report.place_of("server.listen"));
    let Some(place) = place else { return };
    report.problem(
        &place,
        format!("tokens would be sent to {address} without TLS"),
        r#"write tls = "self", or listen on 127.0.0.1 alone"#,
    );
}

fn read_resolve(resolve: &mut ResolveConfig, mut table: Table<'_>, report: &mut Report) {
    table.set("gone_after", &mut resolve.limits.gone_after, report, Value::gone_after);
    table.set("max_stale", &mut resolve.limits.max_stale, report, Value::max_stale);
    table.set("max_shrink", &mut resolve.max_shrink, report, Value::max_shrink);
    table.finish(report);
}

fn read_feeds(config: &mut Config, mut table: Table<'_>, report: &mut Report) {
    read_feed_keys(&mut config.resolve.feeds, &mut table, report);
    table.set("allow", &mut config.allowed_feeds, report, |value, report| {
        value.distinct(FEEDS_FIX, report, |element, report| {
            let written = element.string(FEEDS_FIX, report)?;
            match Url::parse(written) {
                Ok(url) if url.scheme() == "https" && url.username().is_empty() => {
                    Some(String::from(url))
                }
                _ => {
                    let message = format!("{} is no https URL", quoted(written));
                    report.problem(&element.place(), message, FEEDS_FIX);
                    None
                }
            }
        })
    });
    table.finish(report);
}

fn number(
    value: &Value<'_>,
    range: std::ops::RangeInclusive<u32>,
    what: &str,
    report: &mut Report,
) -> Option<usize> {
    value.integer(range, what, report).and_then(|number| usize::try_from(number).ok())
}

/// A time that the answer to a change waits.
fn wait(value: &Value<'_>, report: &mut Report) -> Option<Duration> {
    let written = value.string(WAIT_FIX, report)?;
    let time = parse_duration(written).ok().and_then(|time| Duration::try_from(time).ok());
    let time = time.filter(|time| *time <= MAX_WAIT);
    if time.is_none() {
        report.problem(
            &value.place(),
            format!("{} is no time up to 30s", quoted(written)),
            WAIT_FIX,
        );
    }
    time
}

fn name(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(r#"write name = "ctl""#, report)?;
    let is_odd = |c: char| c.is_control() || dbfw_core::misleads(c);
    if written.is_empty() || written.len() > MAX_NAME || written.chars().any(is_odd) {
        let message = format!("{} is no name", quoted(written));
        report.problem(&value.place(), message, "use 1 to 64 bytes on one line");
        return None;
    }
    Some(written.to_owned())
}

fn listen(value: &Value<'_>, report: &mut Report) -> Option<SocketAddr> {
    let written = value.string(LISTEN_FIX, report)?;
    let address = written.parse::<SocketAddr>().ok();
    if address.is_none() {
        let message = format!("{} is not an address with a port", quoted(written));
        report.problem(&value.place(), message, r#"write "0.0.0.0:7443" or "[::]:7443""#);
    }
    address
}

fn tls(value: &Value<'_>, report: &mut Report) -> Option<Tls> {
    match value.get().as_str() {
        Some("self") => return Some(Tls::Own),
        Some("off") => return Some(Tls::Off),
        Some(other) => {
            let message = format!("{} is no certificate", quoted(other));
            report.problem(&value.place(), message, TLS_FIX);
            return None;
        }
        None => {}
    }
    let mut table = value.table(TLS_FIX, report)?;
    let cert = table.require("cert", r#"add cert = "/etc/dbfw-server/server.pem""#, report);
    let cert = cert.and_then(|value| value.path("/etc/dbfw-server/server.pem", report));
    let key = table.require("key", r#"add key = "/etc/dbfw-server/server.key""#, report);
    let key = key.and_then(|value| value.path("/etc/dbfw-server/server.key", report));
    table.finish(report);
    Some(Tls::Files { cert: cert?, key: key? })
}

fn tls_name(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(NAMES_FIX, report)?;
    if ServerName::try_from(written).is_err() {
        let message = format!("{} is no host name or address", quoted(written));
        report.problem(&value.place(), message, NAMES_FIX);
        return None;
    }
    Some(written.to_owned())
}

/// The address of a server: a scheme and an authority, and nothing behind them.
fn url(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(URL_FIX, report)?;
    let is_address = |url: &Url| {
        let plain = Url::parse(&url.origin().ascii_serialization()).is_ok_and(|it| it == *url);
        matches!(url.scheme(), "https" | "http") && plain
    };
    let Some(url) = Url::parse(written).ok().filter(is_address) else {
        let message = format!("{} is not the address of a server", quoted(written));
        report.problem(&value.place(), message, URL_FIX);
        return None;
    };
    Some(url.origin().ascii_serialization())
}
