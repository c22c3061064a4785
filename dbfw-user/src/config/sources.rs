//! Trusted sources as the configuration and TOML lists write them.

use jiff::Timestamp;
use toml::de::DeValue;

use super::{
    read::{Table, Value},
    report::{Place, Report},
    text::quoted,
};
use crate::source::{GrammarError, SourceType, TrustedSource};

const EXAMPLE: &str = r#"write "ip_addr:10.0.0.0/8" or { type = "ip_addr", value = "10.0.0.0/8" }"#;
const EXPIRES_FIX: &str = r#"write a time with its offset, as in "2026-12-01T00:00:00Z""#;

/// Hands each entry of a `trusted_sources` array to `keep`, with its place in the file.
/// Those with a problem are reported and left out.
pub(crate) fn read_sources(
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
    let (message, fix) = error.parts();
    report.problem(place, message, fix);
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

    let source = TrustedSource {
        kind: kind?,
        value: written?.to_owned(),
        description: description.flatten(),
        expires_at: None,
    };
    if let Err(error) = source.check() {
        return bad(&error, &place, report);
    }
    // A bad expiry must not make a source that never expires.
    match expires_at {
        Some(None) => None,
        expires_at => Some(TrustedSource { expires_at: expires_at.flatten(), ..source }),
    }
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

fn expires_at(value: &Value<'_>, report: &mut Report) -> Option<Timestamp> {
    let written = match value.get() {
        DeValue::String(written) => written.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => {
            value.mismatch("a date with time and offset", EXPIRES_FIX, report);
            return None;
        }
    };
    let timestamp = if is_rfc3339(&written) { written.parse::<Timestamp>().ok() } else { None };
    if timestamp.is_none() {
        let message = format!("{} is not an RFC 3339 time", quoted(&written));
        report.problem(&value.place(), message, EXPIRES_FIX);
    }
    timestamp
}

/// Whether `text` has the shape of RFC 3339's date-time: jiff also reads ISO 8601 forms
/// that other tools refuse. Whether the numbers are possible is left to jiff.
fn is_rfc3339(text: &str) -> bool {
    fn shaped(text: &str, shape: &str) -> bool {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                b'+' => matches!(byte, b'+' | b'-'),
                _ => byte == shape,
            })
    }
    let shape = "0000-00-00T00:00:00";
    let Some((start, mut rest)) = text.split_at_checked(shape.len()) else { return false };
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
    }
    shaped(start, shape) && (matches!(rest, "Z" | "z") || shaped(rest, "+00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_and_nothing_else() {
        for good in [
            "2026-12-01T00:00:00Z",
            "2026-12-01t00:00:00z",
            "2026-12-01 00:00:00+01:00",
            "2026-12-01T00:00:00.123456789-11:30",
        ] {
            assert!(is_rfc3339(good), "{good}");
            assert!(good.parse::<Timestamp>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T00:00Z",
            "2026-12-01T00:00:00",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00+0100",
            "2026-12-01T00:00:00+01",
            "20261201T000000Z",
            "2026-12-01T00:00:00Z[UTC]",
            "+002026-12-01T00:00:00Z",
            "2026-12-01T00:00:0\u{fc}Z",
            "tomorrow",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
