//! Lists in pages.

use std::num::IntErrorKind;

use dbfw_wire::digitalocean::{Links, Meta, Pages};
use serde_json::Value;

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

/// A page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) links: Option<Links>,
    pub(super) meta: Option<Meta>,
}

/// The page of `items` that a request asks for, as `show` writes it.
pub(super) fn list<T: Clone>(
    request: &Request,
    items: &[T],
    no_links: NoLinks,
    show: impl FnOnce(Page<T>) -> Value,
) -> Answer {
    let page = number(request, "page", 1, u64::MAX);
    let size = number(request, "per_page", DEFAULT_SIZE, MAX_SIZE);
    let (page, size) = match (page, size) {
        (Ok(page), Ok(size)) => (page, size),
        (Err(wrong), _) | (_, Err(wrong)) => return Answer::unprocessable(&wrong),
    };
    let total = items.len() as u64;
    let start = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let links = match (links(request, page, total.div_ceil(size)), no_links) {
        (Some(pages), _) => Some(Links { pages: Some(pages) }),
        (None, NoLinks::NoPages) => Some(Links { pages: Some(Pages::default()) }),
        (None, NoLinks::Empty) => Some(Links::default()),
        (None, NoLinks::Absent) => None,
    };
    let items = items.iter().skip(start).take(size as usize).cloned().collect();
    Answer::json(show(Page { items, links, meta: Some(Meta { total: Some(total) }) }))
}

/// The links that make sense on this page; none where there is one page.
fn links(request: &Request, page: u64, last: u64) -> Option<Pages> {
    if last <= 1 {
        return None;
    }
    let link = |exists: bool, page| exists.then(|| request.url_of_page(page));
    Some(Pages {
        first: link(page > 1, 1),
        prev: link(page > 1, page.min(last + 1) - 1),
        next: link(page < last, page.saturating_add(1)),
        last: link(page < last, last),
    })
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
