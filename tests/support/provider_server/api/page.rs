//! Lists in pages.

use std::num::IntErrorKind;

use serde_json::{Map, Value, json};

use super::super::{answer::Answer, request::Request};

const DEFAULT_SIZE: u64 = 20;
const MAX_SIZE: u64 = 200;

/// How an answer with a single page writes its links; the API's own examples differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoLinks {
    /// `"links": {"pages": {}}`
    NoPages,
    /// `"links": {}`
    Empty,
    /// no `links`
    Absent,
}

/// The page of `items` that a request asks for, under `key`, with `links` and `meta.total`.
pub(super) fn list<T>(
    request: &Request,
    key: &str,
    items: &[T],
    no_links: NoLinks,
    show: impl Fn(&T) -> Value,
) -> Answer {
    let page = number(request, "page", 1, u64::MAX);
    let size = number(request, "per_page", DEFAULT_SIZE, MAX_SIZE);
    let (page, size) = match (page, size) {
        (Ok(page), Ok(size)) => (page, size),
        (Err(wrong), _) | (_, Err(wrong)) => return Answer::unprocessable(&wrong),
    };
    let total = items.len() as u64;
    let start = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let shown = items.iter().skip(start).take(size as usize).map(show).collect();
    let mut answer = Map::new();
    answer.insert(key.to_owned(), Value::Array(shown));
    match (links(request, page, total.div_ceil(size)), no_links) {
        (Some(pages), _) => _ = answer.insert("links".to_owned(), json!({ "pages": pages })),
        (None, NoLinks::NoPages) => _ = answer.insert("links".to_owned(), json!({ "pages": {} })),
        (None, NoLinks::Empty) => _ = answer.insert("links".to_owned(), json!({})),
        (None, NoLinks::Absent) => {}
    }
    answer.insert("meta".to_owned(), json!({ "total": total }));
    Answer::json(Value::Object(answer))
}

/// The links that make sense on this page; none where there is one page.
fn links(request: &Request, page: u64, last: u64) -> Option<Value> {
    if last <= 1 {
        return None;
    }
    let mut pages = Map::new();
    let mut link = |name: &str, page| {
        pages.insert(name.to_owned(), Value::String(request.url_of_page(page)));
    };
    if page > 1 {
        link("first", 1);
        link("prev", page.min(last + 1) - 1);
    }
    if page < last {
        link("next", page + 1);
        link("last", last);
    }
    Some(Value::Object(pages))
}

/// A parameter that is a number from 1 to `max`.
fn number(request: &Request, name: &str, default: u64, max: u64) -> Result<u64, String> {
    let Some(text) = request.parameter(name) else { return Ok(default) };
    match text.parse::<u64>() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow && max == u64::MAX => Ok(max),
        _ => Err(format!("{name} must be a number from 1 to {max}")),
    }
}
