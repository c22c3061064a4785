//! A list of trusted sources as text. Pure.
//!
//! Plain: one source a line, an address, a CIDR, a range or `type:value`; `#` or `;` begins a
//! comment, and one behind a source becomes its description. Behind `feed:` only one after
//! white space does: both are in URLs. A comment may be in any encoding; nothing is read from
//! it. A file whose name ends in `.toml` has `trusted_sources = […]` as the configuration
//! writes it.
//!
//! Whether there is a provider that can resolve a source is not known here.
//!
//! In a long list the lines that say no more than an address are kept as prefixes: a million
//! of them as sources would take half a gigabyte, and no counter is left for each anyway.

use std::{path::Path, sync::Arc};

use dbfw_core::{
    answers::SourceList,
    source::{
        GrammarError, Prefix, PrefixError, SourceType, TrustedSource,
        lines::{comment_text, foreign_encoding, lines, split_comment},
    },
    toml::{Document, Place, Problems, Report, read_sources, utf8},
};

/// Sources a list may have.
pub(crate) const MAX_ENTRIES: usize = 2_000_000;

/// Bytes a line of a plain list may have: room for the longest feed URL and a comment.
pub(crate) const MAX_LINE: usize = 4096;

/// Addresses without a comment that a list may have before they are kept as prefixes: a
/// quarter of the counters there are for rules.
pub(crate) const MAX_NAMED: usize = 4096;

/// A list that is being read.
#[derive(Default)]
struct Collected {
    sources: Vec<TrustedSource>,
    plain: Vec<Prefix>,
    /// Sources that are no more than an address.
    bare: usize,
    all: usize,
}

impl Collected {
    /// Whether a source that is no more than an address is kept as its prefixes.
    fn keeps_prefixes(&self) -> bool {
        self.bare > MAX_NAMED
    }

    /// Adds a source that is no more than an address or a network, where
    /// [`Self::keeps_prefixes`].
    fn push_prefix(&mut self, prefix: Prefix) {
        self.all += 1;
        self.bare += 1;
        self.plain.push(prefix);
    }

    fn push(&mut self, source: TrustedSource) {
        self.all += 1;
        if !is_bare(&source) {
            return self.sources.push(source);
        }
        self.bare += 1;
        if !self.keeps_prefixes() {
            return self.sources.push(source);
        }
        if self.bare == MAX_NAMED + 1 {
            let named = self.sources.extract_if(.., |source| is_bare(source));
            named.for_each(|source| self.plain.extend(prefixes(&source)));
        }
        self.plain.extend(prefixes(&source));
    }

    fn finish(self) -> SourceList {
        SourceList { plain: self.plain.into(), ..SourceList::new(self.sources, Vec::new()) }
    }
}

fn prefixes(source: &TrustedSource) -> impl Iterator<Item = Prefix> {
    source.key().prefixes().into_iter().flat_map(|prefixes| prefixes.iter().copied())
}

fn is_bare(source: &TrustedSource) -> bool {
    source.kind() == SourceType::IpAddr
        && source.description.is_none()
        && source.expires_at.is_none()
        && source.users.is_empty()
}

/// The sources in `text`, the content of `file`.
///
/// # Errors
/// Every problem in it: a single one rejects the whole list.
pub fn parse(file: &Path, text: &[u8]) -> Result<SourceList, Problems> {
    parse_all(file, text, None)
}

/// As [`parse`], and shows each source with its place.
///
/// # Errors
/// As [`parse`].
pub fn parse_each(file: &Path, text: &[u8], each: Each<'_>) -> Result<SourceList, Problems> {
    parse_all(file, text, Some(each))
}

fn parse_all(file: &Path, text: &[u8], each: Option<Each<'_>>) -> Result<SourceList, Problems> {
    let mut report = Report::default();
    let list = if file.extension().is_some_and(|extension| extension == "toml") {
        parse_toml(file, text, &mut report, each)
    } else {
        parse_plain(file, text, &mut report, each)
    };
    report.finish(file).map(|_| list.finish())
}

/// Is shown each source of a list, and may ask for its place.
pub type Each<'a> = &'a mut dyn FnMut(&TrustedSource, &dyn Fn() -> Place);

fn parse_toml(
    file: &Path,
    text: &[u8],
    report: &mut Report,
    mut each: Option<Each<'_>>,
) -> Collected {
    let Some(document) = utf8(file, text, report).and_then(|t| Document::parse(file, t, report))
    else {
        return Collected::default();
    };
    let mut root = document.root();
    let fix = r#"add trusted_sources = ["ip_addr:192.0.2.10"], or [] for none"#;
    let mut list = Collected::default();
    if let Some(value) = root.require("trusted_sources", fix, report) {
        if value.get().as_array().is_some_and(|array| array.len() > MAX_ENTRIES) {
            too_many(&value.place(), report);
        } else {
            read_sources(&value, report, |source, value| {
                if let Some(each) = &mut each {
                    each(&source, &|| value.place());
                }
                list.push(source);
            });
        }
    }
    root.finish(report);
    list
}

fn parse_plain(
    file: &Path,
    text: &[u8],
    report: &mut Report,
    mut each: Option<Each<'_>>,
) -> Collected {
    let mut list = Collected::default();
    let shared: Arc<Path> = file.into();
    if let Some(error) = foreign_encoding(text) {
        report.problem(&Place::file(file), error.to_string(), error.fix());
        return list;
    }
    for (number, line) in lines(text) {
        let prefix = if each.is_none() && list.keeps_prefixes() { prefix_of(line) } else { None };
        match prefix.map_or_else(|| parse_line(line), |_| Ok(None)) {
            Ok(None) => prefix.into_iter().for_each(|prefix| list.push_prefix(prefix)),
            Ok(Some(source)) => {
                if let Some(each) = &mut each {
                    each(&source, &|| Place {
                        file: Arc::clone(&shared),
                        line: Some(number),
                        key: String::new(),
                    });
                }
                list.push(source);
            }
            Err(BadLine { message, fix }) => {
                report.problem(&Place::line(file, number), message, fix);
            }
        }
        if list.all > MAX_ENTRIES {
            too_many(&Place::line(file, number), report);
            break;
        }
    }
    list
}

fn too_many(place: &Place, report: &mut Report) {
    report.problem(
        place,
        format!("more than {MAX_ENTRIES} sources"),
        "summarise addresses as CIDRs, or split the list",
    );
}

/// The reason why a line has no source, and the fix.
struct BadLine {
    message: String,
    fix: String,
}

impl From<GrammarError> for BadLine {
    fn from(error: GrammarError) -> Self {
        Self { message: error.to_string(), fix: error.fix() }
    }
}

/// The prefix of a line that is an address or a CIDR and nothing else. Takes a fraction of
/// [`parse_line`], which says the same of such a line and reads all others.
fn prefix_of(line: &[u8]) -> Option<Prefix> {
    if line.len() > MAX_LINE {
        return None;
    }
    let entry = str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
    if type_of(entry).is_some() { None } else { entry.parse().ok() }
}

/// The type before the first colon of an entry. An IPv6 address has colons too.
fn type_of(entry: &str) -> Option<SourceType> {
    entry.split_once(':')?.0.parse().ok()
}

/// The source of a line; `None` if it has none.
fn parse_line(line: &[u8]) -> Result<Option<TrustedSource>, BadLine> {
    let bad =
        |message: &str, fix: &str| BadLine { message: message.to_owned(), fix: fix.to_owned() };
    if line.len() > MAX_LINE {
        return Err(bad(
            &format!("the line has {} bytes, more than {MAX_LINE}", line.len()),
            "write one source a line",
        ));
    }
    let (entry, comment) = split_comment(line);
    let entry = str::from_utf8(entry).map_err(|_| bad("not UTF-8", "save the file as UTF-8"))?;
    if let Some(c) = entry.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(bad(&format!("has the control character {c:?}"), "remove it"));
    }
    let entry = entry.trim();
    if entry.is_empty() {
        return Ok(None);
    }
    let mut source = parse_entry(entry)?;
    source.description = comment_text(comment);
    Ok(Some(source))
}

fn parse_entry(entry: &str) -> Result<TrustedSource, GrammarError> {
    if type_of(entry).is_some() {
        return entry.parse();
    }
    let head = entry.split_once(':').map(|(head, _)| head);
    match (TrustedSource::new(SourceType::IpAddr, entry), head) {
        (Ok(bare), _) => Ok(bare),
        // An IPv6 address has colons too: only what cannot be a group of one is a type.
        (Err(GrammarError::Address(PrefixError::Address { .. })), Some(head))
            if head.bytes().any(|byte| !byte.is_ascii_hexdigit()) =>
        {
            entry.parse()
        }
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests;
