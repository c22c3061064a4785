//! Trusted sources as the configuration and TOML lists write them.

use jiff::{
    civil::{Date, Time},
    tz::Offset,
};
use toml::{
    de::DeValue,
    value::{Datetime, Offset as TomlOffset},
};

use super::{
    read::{Table, Value},
    report::{Place, Report},
    text::quoted,
};
use crate::source::{Expiry, GrammarError, ParseError, SourceType, TrustedSource};

const EXAMPLE: &str = r#"write "ip_addr:10.0.0.0/8" or { type = "ip_addr", value = "10.0.0.0/8" }"#;
const EXPIRES_FIX: &str =
    r#"write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#;

/// Hands each entry of a `trusted_sources` array to `keep`, with its place in the file.
/// Those with a problem are reported and left out.
pub fn read_sources(
    value: &Value<'_>,
    report: &mut Report,
    mut keep: impl FnMut(TrustedSource, &Value<'_>),
) {
    let fix = r#"write trusted_sources = ["ip_addr:10.0.0.0/8"]"#;
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
    let value = table.require("value", r#"add value = "10.0.0.0/8""#, report);
    let written = value.as_ref().and_then(|value| value.string(EXAMPLE, report));
    let description = table.take("description").map(|value| description(&value, report));
    let expires_at = table.take("expires_at").map(|value| expires_at(&value, report));
    let place = value.map_or_else(|| table.place(), |value| value.place());
    table.finish(report);

    let mut source = match TrustedSource::new(kind?, written?) {
        Ok(source) => source,
        Err(error) => return bad(&error, &place, report),
    };
    source.description = description.flatten();
    // A bad expiry must not make a source that never expires.
    if expires_at == Some(None) {
        return None;
    }
    source.expires_at = expires_at.flatten().and_then(Expiry::moment);
    Some(source)
}

fn source_type(value: &Value<'_>, report: &mut Report) -> Option<SourceType> {
    let words = SourceType::ALL.map(|kind| (kind.as_str(), kind));
    value.word(&words, "a type of trusted source", report)
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

fn expires_at(value: &Value<'_>, report: &mut Report) -> Option<Expiry> {
    let read = match value.get() {
        DeValue::String(written) => written.parse(),
        DeValue::Datetime(datetime) => of_toml(datetime),
        _ => {
            value.mismatch("a date with time and offset", EXPIRES_FIX, report);
            return None;
        }
    };
    read.map_err(|error: ParseError| report.problem(&value.place(), error.to_string(), error.fix()))
        .ok()
}

/// A date of TOML, which has forms that RFC 3339 does not have.
fn of_toml(datetime: &Datetime) -> Result<Expiry, ParseError> {
    let text = datetime.to_string();
    let no_time = || Expiry::no_time(&text);
    let Datetime { date: Some(date), time, offset } = datetime else { return Err(no_time()) };
    let (year, month, day) = (date.year.try_into(), date.month.try_into(), date.day.try_into());
    let (Ok(year), Ok(month), Ok(day)) = (year, month, day) else { return Err(no_time()) };
    let date = Date::new(year, month, day).map_err(|_| no_time())?;
    let Some(time) = time else {
        return Err(Expiry::no_offset(&text, date.at(0, 0, 0, 0)));
    };
    // A leap second ends when the second before it does, as in jiff.
    let second = time.second.unwrap_or(0).min(59);
    let nanosecond = time.nanosecond.unwrap_or(0);
    let number = |n: u8| i8::try_from(n).unwrap_or(i8::MAX);
    let clock = Time::new(
        number(time.hour),
        number(time.minute),
        number(second),
        i32::try_from(nanosecond).unwrap_or(i32::MAX),
    );
    let time = date.to_datetime(clock.map_err(|_| no_time())?);
    let offset = match offset {
        Some(TomlOffset::Z) => Offset::UTC,
        Some(TomlOffset::Custom { minutes }) => {
            Offset::from_seconds(i32::from(*minutes) * 60).map_err(|_| no_time())?
        }
        None => return Err(Expiry::no_offset(&text, time)),
    };
    Expiry::of(time, offset)
}
