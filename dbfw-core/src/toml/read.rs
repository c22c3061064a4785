//! A TOML document read by hand.
//!
//! So everything wrong in it is found in one go, and each problem knows its line and key.

use std::{
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::Place,
    report::Report,
    text::{is_digits, nearest, quoted, shortened},
};
use crate::source::lines::foreign_encoding;

/// The text of a file; `None` with a problem if it is none.
pub fn utf8<'c>(file: &Path, content: &'c [u8], report: &mut Report) -> Option<&'c str> {
    if let Some(error) = foreign_encoding(content) {
        report.problem(&Place::file(file), error.to_string(), error.fix());
        return None;
    }
    match str::from_utf8(content) {
        Ok(text) => Some(text),
        Err(error) => {
            let before = &content[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            report.problem(&Place::line(file, line), "not UTF-8", "save the file as UTF-8");
            None
        }
    }
}

/// A TOML file that could be parsed.
#[derive(Debug)]
pub struct Document<'d> {
    file: Arc<Path>,
    /// Offset of every line feed.
    line_feeds: Vec<usize>,
    root: DeTable<'d>,
    /// Lines with a syntax error; what stands on one is not used.
    damaged: Vec<usize>,
}

impl<'d> Document<'d> {
    /// The document; `None` with a problem if it is not TOML.
    pub fn parse(file: &Path, text: &'d str, report: &mut Report) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line_feeds = line_feeds(text);
        match DeTable::parse(text) {
            Ok(root) => Some(Self {
                file: file.into(),
                line_feeds,
                root: root.into_inner(),
                damaged: Vec::new(),
            }),
            Err(error) => {
                let line = error.span().map_or(1, |span| error_line(text, &line_feeds, &span));
                report.problem(
                    &Place::line(file, line),
                    format!("not valid TOML: {}", error.message().trim().replace('\n', ", ")),
                    "correct the line (the syntax: https://toml.io)",
                );
                None
            }
        }
    }

    /// Parses as much of the document as is valid.
    pub fn parse_lenient(file: &Path, text: &'d str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line_feeds = line_feeds(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        let damaged = errors
            .iter()
            .filter_map(toml::de::Error::span)
            .map(|span| error_line(text, &line_feeds, &span))
            .collect();
        Self { file: file.into(), line_feeds, root: root.into_inner(), damaged }
    }

    /// Its top level.
    pub fn root(&'d self) -> Table<'d> {
        Table::new(self, &self.root, 0, String::new())
    }

    fn place(&self, offset: usize, key: String) -> Place {
        Place { file: self.file.clone(), line: Some(self.line(offset)), key }
    }

    fn line(&self, offset: usize) -> usize {
        line_at(&self.line_feeds, offset)
    }

    fn is_damaged(&self, span: &Range<usize>) -> bool {
        let lines = self.line(span.start)..=self.line(span.end);
        self.damaged.iter().any(|line| lines.contains(line))
    }
}

fn line_feeds(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

fn line_at(line_feeds: &[usize], offset: usize) -> usize {
    line_feeds.partition_point(|at| *at < offset) + 1
}

/// The line of a syntax error; one at the end of the file is on the last line, not behind it.
fn error_line(text: &str, line_feeds: &[usize], span: &Range<usize>) -> usize {
    line_at(line_feeds, span.start.min(text.trim_end().len()))
}

/// A table that is read key by key; whatever is left over is unknown.
#[derive(Debug)]
pub struct Table<'d> {
    doc: &'d Document<'d>,
    table: &'d DeTable<'d>,
    offset: usize,
    key: String,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'d> Table<'d> {
    fn new(doc: &'d Document<'d>, table: &'d DeTable<'d>, offset: usize, key: String) -> Self {
        Self { doc, table, offset, key, known: Vec::new(), refused: Vec::new() }
    }

    /// The value of a key; `None` if it is not there.
    pub fn take(&mut self, name: &'static str) -> Option<Value<'d>> {
        self.known.push(name);
        let value = self.table.get(name)?;
        if self.doc.is_damaged(&value.span()) {
            return None;
        }
        Some(Value::new(self.doc, value, join(&self.key, name)))
    }

    /// The value of a key that must not be there, for the caller to say why: it is not
    /// reported as unknown, nor listed among those that are known.
    pub fn refuse(&mut self, name: &'static str) -> Option<Value<'d>> {
        let value = self.take(name);
        self.refused.extend(self.known.pop());
        value
    }

    /// The value of a key that must be there.
    pub fn require(
        &mut self,
        name: &'static str,
        fix: &str,
        report: &mut Report,
    ) -> Option<Value<'d>> {
        let value = self.take(name);
        if value.is_none() {
            let place = self.doc.place(self.offset, join(&self.key, name));
            report.problem(&place, "is missing", fix);
        }
        value
    }

    /// Sets `setting` to the result of `read` for the value of a key, if the key is there and
    /// its value good. What an earlier file says of it, and the warnings about that, are gone.
    pub fn set<T>(
        &mut self,
        name: &'static str,
        setting: &mut T,
        report: &mut Report,
        read: impl FnOnce(&Value<'d>, &mut Report) -> Option<T>,
    ) {
        let Some(value) = self.take(name) else { return };
        report.reset(&value.key);
        if let Some(good) = read(&value, report) {
            *setting = good;
            report.set(value.place());
        }
    }

    /// The place of its beginning.
    pub fn place(&self) -> Place {
        self.doc.place(self.offset, self.key.clone())
    }

    /// Reports every key that was not asked for.
    pub fn finish(self, report: &mut Report) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            let place = self.doc.place(key.span().start, join(&self.key, name));
            let fix = match nearest(name, &self.known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("remove it (known here: {})", self.known.join(", ")),
            };
            report.problem(&place, "unknown key", fix);
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Value<'d> {
    doc: &'d Document<'d>,
    value: &'d DeValue<'d>,
    offset: usize,
    key: String,
}

impl<'d> Value<'d> {
    fn new(doc: &'d Document<'d>, value: &'d Spanned<DeValue<'d>>, key: String) -> Self {
        Self { doc, value: value.get_ref(), offset: value.span().start, key }
    }

    /// Place in its file.
    pub fn place(&self) -> Place {
        self.doc.place(self.offset, self.key.clone())
    }

    /// The same value under another key.
    pub fn renamed(self, key: String) -> Self {
        Self { key, ..self }
    }

    /// The parsed value itself.
    pub fn get(&self) -> &'d DeValue<'d> {
        self.value
    }

    /// Reports that the value is of another type than `expected` ("a string").
    pub fn mismatch(&self, expected: &str, fix: &str, report: &mut Report) {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        report.problem(&self.place(), format!("must be {expected}, not {found}"), fix);
    }

    /// The string it must be.
    pub fn string(&self, fix: &str, report: &mut Report) -> Option<&'d str> {
        let string = self.value.as_str();
        if string.is_none() {
            self.mismatch("a string", fix, report);
        }
        string
    }

    /// The address at which metrics are served, with a warning if others can reach it; `Some(None)` is
    /// "off". The fix names the usual port.
    pub fn metrics_listen(
        &self,
        usual_port: u16,
        report: &mut Report,
    ) -> Option<Option<SocketAddr>> {
        let fix = format!("write \"127.0.0.1:{usual_port}\", \"[::1]:{usual_port}\" or \"off\"");
        let written = self.string(&fix, report)?;
        if written == "off" {
            return Some(None);
        }
        let Ok(address) = written.parse::<SocketAddr>() else {
            let message = format!("{} is not an address with a port", quoted(written));
            report.problem(&self.place(), message, &fix);
            return None;
        };
        if !address.ip().to_canonical().is_loopback() {
            report.warning(
                &self.place(),
                format!("anyone who can reach {address} can read the metrics without a password"),
                "use 127.0.0.1, or make sure that only the scraper can reach it",
            );
        }
        Some(Some(address))
    }

    /// The truth value it must be.
    pub fn boolean(&self, report: &mut Report) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.mismatch("true or false", "write true or false without quotes", report);
        }
        boolean
    }

    /// The elements of the array it must be.
    pub fn array(
        &self,
        fix: &str,
        report: &mut Report,
    ) -> Option<impl ExactSizeIterator<Item = Value<'d>> + use<'d>> {
        let Some(array) = self.value.as_array() else {
            self.mismatch("an array", fix, report);
            return None;
        };
        let (doc, key) = (self.doc, self.key.clone());
        let element = move |(i, value)| Value::new(doc, value, format!("{key}[{i}]"));
        Some(array.iter().enumerate().map(element))
    }

    /// The array it must be, each element by `read`; `None`, with all their problems, if one has
    /// a problem.
    pub fn list<T>(
        &self,
        fix: &str,
        report: &mut Report,
        mut read: impl FnMut(&Value<'d>, &mut Report) -> Option<T>,
    ) -> Option<Vec<T>> {
        // In two steps: collecting into an Option would stop at the first problem.
        let list: Vec<_> = self.array(fix, report)?.map(|value| read(&value, report)).collect();
        list.into_iter().collect()
    }

    /// As [`Self::list`], where no element may be there twice.
    pub fn distinct<T: Clone + PartialEq>(
        &self,
        fix: &str,
        report: &mut Report,
        read: impl Fn(&Value<'d>, &mut Report) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen = Vec::new();
        self.list(fix, report, |value, report| {
            let element = read(value, report)?;
            if seen.contains(&element) {
                report.problem(&value.place(), "is listed twice", "remove one");
                return None;
            }
            seen.push(element.clone());
            Some(element)
        })
    }

    /// The table it must be.
    pub fn table(&self, fix: &str, report: &mut Report) -> Option<Table<'d>> {
        let Some(table) = self.value.as_table() else {
            self.mismatch("a table", fix, report);
            return None;
        };
        Some(Table::new(self.doc, table, self.offset, self.key.clone()))
    }

    /// The integer in `range` that it must be; `what` names the value in the problem.
    pub fn integer(
        &self,
        range: std::ops::RangeInclusive<u32>,
        what: &str,
        report: &mut Report,
    ) -> Option<u32> {
        let fix = format!("use {} to {}", range.start(), range.end());
        let DeValue::Integer(written) = self.value else {
            self.mismatch("an integer", &fix, report);
            return None;
        };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            let written = shortened(&written.to_string());
            report.problem(&self.place(), format!("{written} is not {what}"), fix);
        }
        number
    }

    /// Meaning of the word among `words`; `what` names the value in the problem ("a mode").
    pub fn word<T: Copy>(&self, words: &[(&str, T)], what: &str, report: &mut Report) -> Option<T> {
        let fix = format!("use {}", alternatives(words.iter().map(|(word, _)| *word)));
        let written = self.string(&fix, report)?;
        let found = words.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            report.problem(&self.place(), format!("{} is not {what}", quoted(written)), fix);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// The share of a list that may be lost at once, in percent; "off" is 100.
    pub fn max_shrink(&self, report: &mut Report) -> Option<u8> {
        const FIX: &str = r#"write "1%" to "100%", or "off" for no limit"#;

        let written = self.string(FIX, report)?;
        if written == "off" {
            return Some(100);
        }
        let percent = written
            .strip_suffix('%')
            .filter(|number| is_digits(number))
            .and_then(|number| number.parse().ok())
            .filter(|percent| (1..=100).contains(percent));
        if percent.is_none() {
            report.problem(&self.place(), format!("{} is not a percentage", quoted(written)), FIX);
        }
        percent
    }

    /// The absolute path it must be.
    pub fn path(&self, example: &str, report: &mut Report) -> Option<PathBuf> {
        let written = self.string(&format!("write {example:?}"), report)?;
        if written.starts_with('/') && !written.contains('\0') {
            return Some(PathBuf::from(written));
        }
        let (message, fix) = if written.contains('\0') {
            ("has a NUL byte, which no path can have", "remove it".to_owned())
        } else {
            ("is not an absolute path", format!("begin it with \"/\", as in {example:?}"))
        };
        report.problem(&self.place(), format!("{} {message}", quoted(written)), fix);
        None
    }
}

fn alternatives<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn join(path: &str, name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let name = if name.len() <= 80 && !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
