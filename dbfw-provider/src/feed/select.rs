//! From the body of a feed to its prefixes. Pure. All of a list or nothing of it.

mod csv;
mod json;
#[cfg(test)]
mod tests;

use dbfw_core::source::{
    Prefix, PrefixError, Selector,
    lines::{foreign_encoding, lines, split_comment},
    parse_prefixes,
};
use serde_json::Value;

use crate::list::{MAX_ENTRIES, MAX_LINE};

/// The prefixes that each selector takes from a document, in their order; sorted, unique. A JSON
/// document is parsed once.
///
/// The errors are words: where in the document, what is wrong there and what to do.
pub(super) fn select(body: &[u8], selectors: &[Selector]) -> Vec<Result<Vec<Prefix>, String>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let encoding = foreign_encoding(body);
    let mut document = None;
    let mut one = |selector: &Selector| {
        if let Some(error) = &encoding {
            return Err(format!("{error}: {UNUSED}"));
        }
        if is_markup(body) {
            return Err("is a page of HTML or XML, not a list: something else answers there, a \
                        login page or a proxy; check the address"
                .to_owned());
        }
        match selector {
            Selector::Plain => plain(body),
            Selector::Json(path) => {
                let document: &Result<Value, String> =
                    document.get_or_insert_with(|| json::parse(body));
                json::select(document.as_ref().map_err(String::clone)?, path)
            }
            Selector::Csv(column) => csv::select(body, column),
        }
    };
    selectors.iter().map(&mut one).collect()
}

/// Whether it is a page for people: no list begins like one.
fn is_markup(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// One entry a line; `#` or `;` begins a comment.
fn plain(body: &[u8]) -> Result<Vec<Prefix>, String> {
    if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Err("is JSON and not a plain list: select the addresses with a JSONPath behind \
                    '#', as in #$.addresses"
            .to_owned());
    }
    let mut list = Addresses::default();
    for (number, line) in lines(body) {
        let place = || format!("line {number}");
        if line.len() > MAX_LINE {
            return Err(format!("{}: is longer than {MAX_LINE} bytes: {UNUSED}", place()));
        }
        let (entry, _) = split_comment(line);
        let entry =
            str::from_utf8(entry).map_err(|_| format!("{}: is not UTF-8: {UNUSED}", place()))?;
        let entry = entry.trim();
        if !entry.is_empty() {
            list.push(entry).map_err(|error| error.at(&place()))?;
        }
    }
    Ok(list.finish())
}

/// The advice where no other can be given.
const UNUSED: &str = "the feed is not used until it is fixed";

/// The addresses of a document that is being read.
#[derive(Debug, Default)]
struct Addresses {
    /// At least one for every entry, for a range up to 254.
    prefixes: Vec<Prefix>,
}

/// The reason why an entry was not taken.
#[derive(Debug)]
enum Bad {
    Entry(PrefixError),
    TooMany,
}

impl Addresses {
    /// Takes an address, a CIDR or a range.
    fn push(&mut self, entry: &str) -> Result<(), Bad> {
        self.prefixes.extend(parse_prefixes(entry).map_err(Bad::Entry)?);
        if self.prefixes.len() > MAX_ENTRIES { Err(Bad::TooMany) } else { Ok(()) }
    }

    fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    fn finish(mut self) -> Vec<Prefix> {
        self.prefixes.sort_unstable();
        self.prefixes.dedup();
        self.prefixes
    }
}

impl Bad {
    /// In words, with the place.
    fn at(&self, place: &str) -> String {
        match self {
            Self::Entry(error @ PrefixError::Address { .. }) => {
                format!("{place}: {error}: {UNUSED}")
            }
            Self::Entry(error) => format!("{place}: {}: {UNUSED}", error.with_fix()),
            Self::TooMany => {
                format!("{place}: more than {MAX_ENTRIES} prefixes: use a shorter list")
            }
        }
    }
}
