//! A list of trusted sources as text. Pure.
//!
//! Plain: one source a line, an address, a CIDR, a range or `type:value`; `#` begins a
//! comment, and one behind a source becomes its description. A file whose name ends in
//! `.toml` has `trusted_sources = […]` as the configuration writes it.

use std::path::Path;

use crate::{
    config::{
        Problems,
        read::Document,
        report::{Place, Report},
        sources::{Bad, checked, parse_source, read_sources},
        utf8,
    },
    source::{SourceType, TrustedSource},
};

/// Sources a list may have.
pub const MAX_ENTRIES: usize = 2_000_000;

/// Bytes a line of a plain list may have.
pub const MAX_LINE: usize = 1024;

/// The sources in `text`, the content of `file`. A single problem rejects all of it.
pub fn parse(file: &Path, text: &[u8]) -> Result<Vec<TrustedSource>, Problems> {
    let mut report = Report::default();
    let sources = if file.extension().is_some_and(|extension| extension == "toml") {
        parse_toml(file, text, &mut report)
    } else {
        parse_plain(file, text, &mut report)
    };
    report.finish(file).map(|_| sources)
}

fn parse_toml(file: &Path, text: &[u8], report: &mut Report) -> Vec<TrustedSource> {
    let Some(document) = utf8(file, text, report).and_then(|t| Document::parse(file, t, report))
    else {
        return Vec::new();
    };
    let mut root = document.root();
    let fix = r#"add trusted_sources = ["ip_addr:10.0.0.0/8"], or [] for none"#;
    let mut sources = Vec::new();
    if let Some(value) = root.require("trusted_sources", fix, report) {
        if value.get().as_array().is_some_and(|array| array.len() > MAX_ENTRIES) {
            too_many(&value.place(), report);
        } else {
            read_sources(&value, report, |source, _| sources.push(source));
        }
    }
    root.finish(report);
    sources
}

fn parse_plain(file: &Path, text: &[u8], report: &mut Report) -> Vec<TrustedSource> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut sources = Vec::new();
    for (i, line) in text.split(|byte| *byte == b'\n').enumerate() {
        match parse_line(line.strip_suffix(b"\r").unwrap_or(line)) {
            Ok(None) => {}
            Ok(Some(source)) => sources.push(source),
            Err(Bad { message, fix }) => {
                report.problem(&Place::line(file, i + 1), message, fix);
            }
        }
        if sources.len() > MAX_ENTRIES {
            too_many(&Place::line(file, i + 1), report);
            break;
        }
    }
    sources
}

fn too_many(place: &Place, report: &mut Report) {
    report.problem(
        place,
        format!("more than {MAX_ENTRIES} sources"),
        "summarise addresses as CIDRs, or split the list",
    );
}

/// The source of a line; `None` if it has none.
fn parse_line(line: &[u8]) -> Result<Option<TrustedSource>, Bad> {
    let bad = |message: &str, fix: &str| Bad { message: message.to_owned(), fix: fix.to_owned() };
    if line.len() > MAX_LINE {
        return Err(bad(
            &format!("the line has {} bytes, more than {MAX_LINE}", line.len()),
            "write one source a line",
        ));
    }
    let line = str::from_utf8(line).map_err(|_| bad("not UTF-8", "save the file as UTF-8"))?;
    if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(bad(&format!("has the control character {c:?}"), "remove it"));
    }
    let (entry, comment) = match line.split_once('#') {
        Some((entry, comment)) => (entry.trim(), comment.trim()),
        None => (line.trim(), ""),
    };
    if entry.is_empty() {
        return Ok(None);
    }
    let source = parse_entry(entry)?;
    let description = (!comment.is_empty()).then(|| comment.to_owned());
    Ok(Some(TrustedSource { description, ..source }))
}

fn parse_entry(entry: &str) -> Result<TrustedSource, Bad> {
    let head = entry.split_once(':').map(|(head, _)| head);
    if head.is_some_and(|head| head.parse::<SourceType>().is_ok()) {
        return parse_source(entry);
    }
    let bare = checked(TrustedSource {
        kind: SourceType::IpAddr,
        value: entry.to_owned(),
        description: None,
        expires_at: None,
    });
    // An IPv6 address has colons too: only what cannot be a group of one is a type.
    match head {
        Some(head) if bare.is_err() && head.bytes().any(|byte| !byte.is_ascii_hexdigit()) => {
            parse_source(entry)
        }
        _ => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
        read("l", text)
    }

    fn toml(text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
        read("l.toml", text)
    }

    fn read(file: &str, text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
        parse(Path::new(file), text.as_ref())
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    fn shown(sources: &[TrustedSource]) -> Vec<String> {
        sources
            .iter()
            .map(|source| match &source.description {
                Some(description) => format!("{source} # {description}"),
                None => source.to_string(),
            })
            .collect()
    }

    #[test]
    fn reads_plain_lists() {
        let text = "\u{feff}# office\r\n\
                    10.0.0.1\r\n\
                    \r\n\
                    \t10.1.0.0/16   # the VPC\r\n\
                    10.2.0.1-10.2.0.9 #range\n\
                    10.2.1.1 - 10.2.1.9\n\
                    ip_addr:192.0.2.1# CI # runner\n\
                    2001:db8::/32\n\
                    ip_addr:2001:db8::1\n\
                    ::1 #\n\
                    0.0.0.0/0";
        assert_eq!(
            shown(&plain(text).unwrap()),
            [
                "ip_addr:10.0.0.1",
                "ip_addr:10.1.0.0/16 # the VPC",
                "ip_addr:10.2.0.1-10.2.0.9 # range",
                "ip_addr:10.2.1.1 - 10.2.1.9",
                "ip_addr:192.0.2.1 # CI # runner",
                "ip_addr:2001:db8::/32",
                "ip_addr:2001:db8::1",
                "ip_addr:::1",
                "ip_addr:0.0.0.0/0",
            ]
        );
        for empty in ["", "\n", "# nothing\n\n", "\u{feff}"] {
            assert_eq!(plain(empty), Ok(Vec::new()), "{empty:?}");
        }
    }

    #[test]
    fn reports_every_bad_line() {
        let text = b"10.0.0.1\n10.0.0.5/24\nnonsense\ntag:backend\n2001:db8::zz\n\
                     host:db.example\n10.0.0.1\0\n\xff\xfe\na\rb\nip_addr:\n10.0.0.1 10.0.0.2\n";
        assert_eq!(
            plain(text).unwrap_err(),
            [
                "l:2: ip_addr: 10.0.0.5/24 has host bits set: write 10.0.0.0/24, or 10.0.0.5 for \
                 the one address",
                "l:3: ip_addr: \"nonsense\" is not an IPv4 or IPv6 address: write an address, a \
                 CIDR or a range",
                "l:4: tag:backend needs the DigitalOcean provider, which this version does not \
                 have: list its addresses as ip_addr sources",
                "l:5: ip_addr: \"2001:db8::zz\" is not an IPv4 or IPv6 address: write an address, \
                 a CIDR or a range",
                "l:6: unknown type \"host\": the types are ip_addr, droplet, k8s, tag, app",
                "l:7: has the control character '\\0': remove it",
                "l:8: not UTF-8: save the file as UTF-8",
                "l:9: has the control character '\\r': remove it",
                "l:10: ip_addr: the value is empty: write an address, a CIDR or a range after \
                 ip_addr:",
                "l:11: ip_addr: \"10.0.0.1 10.0.0.2\" is not an IPv4 or IPv6 address: write an \
                 address, a CIDR or a range",
            ]
        );
    }

    #[test]
    fn lines_have_a_limit() {
        let longest = format!("10.0.0.1 #{}", "x".repeat(MAX_LINE - 10));
        assert_eq!(longest.len(), MAX_LINE);
        assert!(plain(format!("{longest}\r\n{longest}")).is_ok());
        assert_eq!(
            plain(format!("10.0.0.2\n{longest}x\n")).unwrap_err(),
            ["l:2: the line has 1025 bytes, more than 1024: write one source a line"]
        );
    }

    #[test]
    fn entries_have_a_limit() {
        let text = "10.0.0.1\n".repeat(MAX_ENTRIES + 1);
        assert_eq!(
            plain(text).unwrap_err(),
            ["l:2000001: more than 2000000 sources: summarise addresses as CIDRs, or split the \
                 list"]
        );
    }

    #[test]
    fn a_file_that_is_no_list_does_not_flood() {
        let problems = plain("x\n".repeat(5000)).unwrap_err();
        assert_eq!(problems.len(), 1001);
        assert!(problems[999].starts_with("l:1000: "));
        assert_eq!(problems[1000], "l: 4000 more problems: mend these first");
    }

    #[test]
    fn reads_toml_lists() {
        let text = "\u{feff}trusted_sources = [\r\n\
                    \x20 \"ip_addr:10.0.0.0/8\",\r\n\
                    \x20 { type = \"ip_addr\", value = \"192.0.2.7\", description = \"CI\", \
                    expires_at = 2026-12-01T00:00:00Z },\r\n]\r\n";
        let sources = toml(text).unwrap();
        assert_eq!(shown(&sources), ["ip_addr:10.0.0.0/8", "ip_addr:192.0.2.7 # CI"]);
        assert_eq!(sources[1].expires_at, Some("2026-12-01T00:00:00Z".parse().unwrap()));
        assert_eq!(toml("trusted_sources = []"), Ok(Vec::new()));
        let tables = "[[trusted_sources]]\ntype = \"ip_addr\"\nvalue = \"10.0.0.1\"\n";
        assert_eq!(shown(&toml(tables).unwrap()), ["ip_addr:10.0.0.1"]);
    }

    #[test]
    fn reports_everything_wrong_in_toml() {
        let text = "trusted_source = []\ntrusted_sources = [\n  \"10.0.0.1\",\n  7,\n  \
                    { type = \"ip_addr\" },\n  \"tag:a\",\n]\n";
        assert_eq!(
            toml(text).unwrap_err(),
            [
                "l.toml:1: trusted_source: unknown key: did you mean \"trusted_sources\"?",
                "l.toml:3: trusted_sources[0]: 10.0.0.1 has no type: write ip_addr:10.0.0.1",
                "l.toml:4: trusted_sources[1]: must be a string or a table, not an integer: write \
                 \"ip_addr:10.0.0.0/8\" or { type = \"ip_addr\", value = \"10.0.0.0/8\" }",
                "l.toml:5: trusted_sources[2].value: is missing: add value = \"10.0.0.0/8\"",
                "l.toml:6: trusted_sources[3]: tag:a needs the DigitalOcean provider, which this \
                 version does not have: list its addresses as ip_addr sources",
            ]
        );
        assert_eq!(
            toml("").unwrap_err(),
            ["l.toml:1: trusted_sources: is missing: add trusted_sources = \
                 [\"ip_addr:10.0.0.0/8\"], or [] for none"]
        );
        assert_eq!(
            toml(b"a = 1\n\xff").unwrap_err(),
            ["l.toml:2: not UTF-8: save the file as UTF-8"]
        );
        assert!(toml("trusted_sources = [\n").unwrap_err()[0].starts_with("l.toml:1: not valid"));
    }

    #[test]
    fn nothing_makes_it_panic() {
        let text = "10.0.0.1-10.0.0.9 # x\nip_addr:2001:db8::/32\r\n\u{fc}:1\n";
        for file in ["l", "l.toml"] {
            for end in 0..=text.len() {
                let _ = read(file, &text.as_bytes()[..end]);
            }
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut text = text.as_bytes().to_vec();
                    text[at] = byte;
                    let _ = read(file, text);
                }
            }
        }
    }
}
