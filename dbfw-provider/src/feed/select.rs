//! From the body of a feed to its prefixes. Pure. All of a list or nothing of it.

mod addresses;
mod csv;
mod json;
#[cfg(test)]
mod tests;

use addresses::{Addresses, UNUSED};
use dbfw_core::source::{
    Prefix, Selector,
    lines::{foreign_encoding, lines, split_comment},
};
use serde_json::Value;

use crate::list::MAX_LINE;

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
