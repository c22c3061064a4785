//! The tables `[[database]]` of the configuration: their keys, checks and defaults.

use dbfw_common::{MAX_BOUND, MAX_NAME, Mode};
use dbfw_core::{
    Destinations, Port, PortError, PortRange,
    answers::ListId,
    policy::USUAL_MIN_LEN,
    source::{Prefix, PrefixError},
    toml::{Place, Report, Value, quoted, read_sources},
    trust::OnEmpty,
};
use toml::de::DeValue;

use super::{audit::read_audit, provider::read_provider};
use crate::config::types::{AuditLogin, DatabaseConfig};

const PORT_FIX: &str = "use 1 to 65535";
const PORTS_FIX: &str = "write ports = [5432]";
const ADDRESSES_FIX: &str = r#"write ["192.0.2.5"], or "local" for every address of this host"#;
const NAME_FIX: &str = r#"add name = "orders""#;

/// A database as far as it could be read, with what the checks across databases need.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Settings; one that had a problem has its default: only of use if nothing was reported.
    pub(crate) config: DatabaseConfig,
    /// Place of the table.
    pub(crate) place: Place,
    /// Place of the name; `None`: there is no usable one.
    pub(crate) name: Option<Place>,
    /// The ports as they are written, each with its place.
    pub(crate) ports: Vec<(PortRange, Place)>,
    /// Place of `config.destinations`, if anything is there.
    pub(crate) addresses: Option<Place>,
    /// Places of `config.trusted_sources`.
    pub(crate) sources: Vec<Place>,
    /// Place of `config.provider`, if anything is there.
    pub(crate) provider: Option<Place>,
}

/// One element of the array `database`.
pub(crate) fn read_database(value: Value<'_>, report: &mut Report) -> Option<Draft> {
    const FIX: &str = "begin each database with [[database]]";
    let named = value.get().get("name").and_then(|name| name.get_ref().as_str());
    let value = match named {
        Some(name) if name_problem(name).is_none() => value.renamed(format!("database.{name}")),
        _ => value,
    };
    let mut table = value.table(FIX, report)?;

    let mut draft = Draft {
        config: DatabaseConfig {
            name: String::new(),
            ports: Default::default(),
            destinations: Destinations::default(),
            mode: Mode::Enforce,
            trusted_sources: Vec::new(),
            provider: None,
            on_empty: OnEmpty::Keep,
            max_shrink: 50,
            allow_any: false,
            min_prefix: USUAL_MIN_LEN,
            audit: AuditLogin::default(),
        },
        place: value.place(),
        name: None,
        ports: Vec::new(),
        addresses: None,
        sources: Vec::new(),
        provider: None,
    };
    let config = &mut draft.config;

    if let Some(value) = table.require("name", NAME_FIX, report)
        && let Some(name) = name(&value, report)
    {
        config.name = name;
        draft.name = Some(value.place());
    }
    if let Some(value) = table.require("ports", PORTS_FIX, report) {
        draft.ports = ports(&value, report);
        config.ports = draft.ports.iter().map(|(range, _)| *range).collect();
    }
    if let Some(value) = table.take("addresses") {
        if let Some(destinations) = destinations(&value, report) {
            config.destinations = destinations;
        }
        draft.addresses = Some(value.place());
    }
    table.set("mode", &mut config.mode, report, |value, report| {
        let words = [Mode::Enforce, Mode::Observe, Mode::Off].map(|mode| (mode.as_str(), mode));
        value.word(&words, "a mode", report)
    });
    if let Some(value) = table.take("trusted_sources") {
        read_sources(&value, report, |source, entry| {
            config.trusted_sources.push(source);
            draft.sources.push(entry.place());
        });
    }
    if let Some(value) = table.take("provider") {
        config.provider = read_provider(&value, report);
        if matches!(config.provider, Some(ListId::Server(_))) {
            // Its list is an operator's word: it counts at once, also where it takes everything
            // away.
            (config.on_empty, config.max_shrink) = (OnEmpty::Close, 100);
        }
        draft.provider = Some(value.place());
    }
    let is_of_server = matches!(config.provider, Some(ListId::Server(_)));
    table.set("on_empty", &mut config.on_empty, report, |value, report| {
        let words = [("keep", OnEmpty::Keep), ("close", OnEmpty::Close), ("open", OnEmpty::Open)];
        let word = value.word(&words, "a meaning of an empty list", report)?;
        if is_of_server && word == OnEmpty::Open {
            report.problem(
                &value.place(),
                "lets the server open the database to everyone, by an empty list",
                "leave it out: an empty list of a control plane closes the database",
            );
            return None;
        }
        Some(word)
    });
    table.set("max_shrink", &mut config.max_shrink, report, Value::max_shrink);
    table.set("allow_any", &mut config.allow_any, report, Value::boolean);
    if let Some(value) = table.take("min_prefix") {
        read_min_prefix(&mut config.min_prefix, &value, report);
    }
    if let Some(value) = table.take("audit") {
        config.audit = read_audit(&value, report);
    }
    table.finish(report);
    Some(draft)
}

/// Problem of a name, and the fix.
fn name_problem(name: &str) -> Option<(String, String)> {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Some(("is empty".to_owned(), "give the database a name".to_owned()));
    }
    if let Some(c) = name.chars().find(|c| !usable(*c)) {
        return Some((
            format!("{} has a {c:?}", quoted(name)),
            r#"use letters, digits, "-", "_" and ".""#.to_owned(),
        ));
    }
    if name.len() > MAX_NAME {
        return Some((
            format!("{} is {} bytes long", quoted(name), name.len()),
            format!("use at most {MAX_NAME}"),
        ));
    }
    None
}

fn name(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let name = value.string(r#"write name = "orders""#, report)?;
    match name_problem(name) {
        None => Some(name.to_owned()),
        Some((message, fix)) => {
            report.problem(&value.place(), message, fix);
            None
        }
    }
}

fn ports(value: &Value<'_>, report: &mut Report) -> Vec<(PortRange, Place)> {
    let Some(elements) = value.array(PORTS_FIX, report) else { return Vec::new() };
    if elements.len() == 0 {
        report.problem(&value.place(), "lists no port", PORTS_FIX);
    }
    let mut ports: Vec<(PortRange, Place)> = Vec::new();
    for element in elements {
        let Some(range) = range(&element, report) else { continue };
        match ports.iter().find(|(other, _)| other.overlaps(&range)) {
            Some((other, _)) if *other == range => {
                report.problem(&element.place(), format!("{range} is listed twice"), "remove one");
            }
            Some((other, _)) => {
                let message = format!("{range} and {other} have ports in common");
                report.problem(&element.place(), message, "list each port once");
            }
            None => ports.push((range, element.place())),
        }
    }
    ports
}

fn range(value: &Value<'_>, report: &mut Report) -> Option<PortRange> {
    match value.get() {
        DeValue::Integer(_) => {
            let port = value.integer(1..=u32::from(u16::MAX), "a port", report)?;
            Some(Port { udp: false, port: u16::try_from(port).ok()? }.into())
        }
        DeValue::String(written) => match written.parse() {
            Ok(range) => Some(range),
            Err(error) => {
                let fix = match error {
                    PortError::Form => r#"write 5432, "6432-6440", "tcp/5432" or "udp/1234""#,
                    PortError::Number => PORT_FIX,
                    PortError::Reversed => "write the lower port first",
                };
                let message = format!("{} is not a port", quoted(written));
                report.problem(&value.place(), message, fix);
                None
            }
        },
        _ => {
            let fix = r#"write 5432, "6432-6440" or "udp/1234""#;
            value.mismatch("an integer or a string", fix, report);
            None
        }
    }
}

fn destinations(value: &Value<'_>, report: &mut Report) -> Option<Destinations> {
    match value.get().as_str() {
        Some("local") => Some(Destinations::new(true, Vec::new())),
        Some(other) => {
            let message = format!("{} is not an array of addresses", quoted(other));
            report.problem(&value.place(), message, ADDRESSES_FIX);
            None
        }
        None => {
            let written = value.list(ADDRESSES_FIX, report, destination)?;
            if written.is_empty() {
                report.problem(
                    &value.place(),
                    "lists no address",
                    "name one, or remove it: without addresses every destination is judged",
                );
                return None;
            }
            if written.len() > MAX_BOUND as usize {
                report.problem(
                    &value.place(),
                    format!("{} addresses, more than a database can have", written.len()),
                    format!("list at most {MAX_BOUND}; a network counts as one"),
                );
                return None;
            }
            let local = written.contains(&Destination::Local);
            let prefixes = written.into_iter().filter_map(|destination| match destination {
                Destination::Local => None,
                Destination::Prefix(prefix) => Some(prefix),
            });
            Some(Destinations::new(local, prefixes.collect()))
        }
    }
}

/// An element of `addresses`.
#[derive(Clone, Copy, PartialEq)]
enum Destination {
    Local,
    Prefix(Prefix),
}

fn destination(value: &Value<'_>, report: &mut Report) -> Option<Destination> {
    let written = value.string(ADDRESSES_FIX, report)?;
    if written == "local" {
        return Some(Destination::Local);
    }
    match written.parse::<Prefix>() {
        Ok(prefix) if prefix.len() == 0 => {
            report.problem(
                &value.place(),
                format!("{} is every address", quoted(written)),
                "remove addresses: without it every destination is judged",
            );
            None
        }
        Ok(prefix) => Some(Destination::Prefix(prefix)),
        Err(error) => {
            let fix = match &error {
                PrefixError::HostBits { network, addr, .. } => {
                    format!("write {network}, or {addr} for that address alone")
                }
                _ => ADDRESSES_FIX.to_owned(),
            };
            report.problem(&value.place(), error.to_string(), fix);
            None
        }
    }
}

fn read_min_prefix([ipv4, ipv6]: &mut [u8; 2], value: &Value<'_>, report: &mut Report) {
    let Some(mut table) = value.table("write { ipv4 = 8, ipv6 = 19 }", report) else { return };
    for (name, longest, setting) in [("ipv4", 32, ipv4), ("ipv6", 128, ipv6)] {
        table.set(name, setting, report, |value, report| {
            // Length 0 is everybody: that word is allow_any.
            let length = value.integer(1..=longest, "the length of a prefix", report)?;
            u8::try_from(length).ok()
        });
    }
    table.finish(report);
}
