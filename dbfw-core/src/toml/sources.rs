//! Trusted sources as the configuration and TOML lists write them.

use toml::{de::DeValue, value::Datetime};

use super::{
    problem::Place,
    read::{Table, Value},
    report::Report,
    text::quoted,
};
use crate::source::{Expiry, GrammarError, ParseError, SourceType, TrustedSource};

const EXAMPLE: &str = r#"write "ip_addr:192.0.2.10" or { type = "ip_addr", value = "192.0.2.10" }"#;
const EXPIRES_FIX: &str =
    r#"write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#;

/// Hands each entry of a `trusted_sources` array to `keep`, with its place in the file.
/// Those with a problem are reported and left out.
pub fn read_sources(
    value: &Value<'_>,
    report: &mut Report,
    mut keep: impl FnMut(TrustedSource, &Value<'_>),
) {
    let fix = r#"write trusted_sources = ["ip_addr:192.0.2.10"]"#;
    for entry in value.array(fix, report).into_iter().flatten() {
        if let Some(source) = read_source(&entry, report) {
            keep(source, &entry);
        }
    }
}

fn read_source(value: &Value<'_>, report: &mut Report) -> Option<TrustedSource> {
    match value.get() {
        DeValue::String(written) => match written.parse() {
            Ok(source) => Some(source),
            Err(error) => bad(&error, &value.place(), report),
        },
        DeValue::Table(_) => read_table(value.table(EXAMPLE, report)?, report),
        _ => {
            value.mismatch("a string or a table", EXAMPLE, report);
            None
        }
    }
}

fn bad<T>(error: &GrammarError, place: &Place, report: &mut Report) -> Option<T> {
    report.problem(place, error.to_string(), error.fix());
    None
}

fn read_table(mut table: Table<'_>, report: &mut Report) -> Option<TrustedSource> {
    let kind = table.require("type", r#"add type = "ip_addr""#, report);
    let kind = kind.and_then(|value| source_type(&value, report));
    let value = table.require("value", r#"add value = "192.0.2.10""#, report);
    let written = value.as_ref().and_then(|value| value.string(EXAMPLE, report));
    let description = table.take("description").map(|value| description(&value, report));
    let expires_at = table.take("expires_at").map(|value| expires_at(&value, report));
    let users = table.take("users").map(|value| users(&value, report)).unwrap_or_default();
    let place = value.map_or_else(|| table.place(), |value| value.place());
    table.finish(report);

    let mut source = match TrustedSource::new(kind?, written?) {
        Ok(source) => source,
        Err(error) => return bad(&error, &place, report),
    };
    source.description = description.flatten();
    source.users = users;
    // A bad expiry must not make a source that never expires.
    if expires_at == Some(None) {
        return None;
    }
    source.expires_at = expires_at.flatten().and_then(Expiry::moment);
    Some(source)
}

fn source_type(value: &Value<'_>, report: &mut Report) -> Option<SourceType> {
    let words = SourceType::ALL.iter().map(|kind| (kind.as_str(), *kind));
    value.word(&Vec::from_iter(words), "a type of trusted source", report)
}

fn description(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string("put quotes around it", report)?;
    if written.chars().any(char::is_control) {
        let message = format!("{} has a control character", quoted(written));
        report.problem(&value.place(), message, "write it on one line, without tabs");
        return None;
    }
    Some(written.to_owned())
}

/// Users that a source may have.
const MAX_USERS: usize = 64;
/// Bytes of a user's name: more than any database takes.
const MAX_USER: usize = 128;

fn users(value: &Value<'_>, report: &mut Report) -> Vec<String> {
    const FIX: &str = r#"write users = ["app"]"#;
    let mut users = Vec::new();
    for entry in value.array(FIX, report).into_iter().flatten() {
        let Some(user) = entry.string(FIX, report) else { continue };
        let misleads = user.chars().any(|c| c.is_control() || crate::misleads(c));
        let problem = if user.is_empty() || user.len() > MAX_USER || misleads {
            format!("{} is not the name of a user", quoted(user))
        } else if user.starts_with('/') {
            format!("{} would be a pattern in pg_hba.conf", quoted(user))
        } else if users.len() == MAX_USERS {
            format!("more than {MAX_USERS} users")
        } else {
            users.push(user.to_owned());
            continue;
        };
        report.problem(&entry.place(), problem, FIX);
    }
    users
}

fn expires_at(value: &Value<'_>, report: &mut Report) -> Option<Expiry> {
    let read = match value.get() {
        DeValue::String(written) => written.parse(),
        DeValue::Datetime(datetime) => of_toml(*datetime),
        _ => {
            value.mismatch("a date with time and offset", EXPIRES_FIX, report);
            return None;
        }
    };
    read.map_err(|error: ParseError| report.problem(&value.place(), error.to_string(), error.fix()))
        .ok()
}

/// A date of TOML 1.1, which needs no seconds.
fn of_toml(mut datetime: Datetime) -> Result<Expiry, ParseError> {
    if let Some(time) = &mut datetime.time {
        time.second.get_or_insert(0);
    }
    datetime.to_string().parse()
}
