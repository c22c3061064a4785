//! A list of which every page was read: whole, or an error. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use dbfw_core::answers::{Cause, FetchError};
use twox_hash::XxHash3_128;
use url::Url;

use super::resource::{PageView, Resource};

/// Things on a page, the most the API gives.
pub(crate) const PER_PAGE: u64 = 200;

/// Pages of a list: 100,000 things.
pub(crate) const MAX_PAGES: u64 = 500;

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Fetched<T> {
    pub(crate) value: T,
    /// Equal for equal bodies.
    pub(crate) print: u128,
}

/// A whole list.
#[derive(Debug)]
pub(crate) struct Listing<R: Resource> {
    pages: Vec<Arc<Fetched<R::Page>>>,
    /// Equal for equal lists.
    pub(crate) print: u128,
    /// The request, for people: "GET /v2/droplets?tag_name=backend".
    pub(crate) from: String,
    index: HashMap<R::Id, Place>,
    by_tag: HashMap<String, Vec<Place>>,
}

type Place = (usize, usize);

/// The reason why pages make no list.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// Something was made or deleted while they were read: worth another try.
    Moved(FetchError),
    /// They contradict each other or the answer's own count.
    Wrong(FetchError),
}

impl Flaw {
    pub(crate) fn into_error(self) -> FetchError {
        match self {
            Self::Moved(error) | Self::Wrong(error) => error,
        }
    }
}

/// Number of requests that a list of `total` takes.
pub(crate) fn pages(total: u64) -> u64 {
    total.div_ceil(PER_PAGE).max(1)
}

/// One mark for what several answers say.
pub(crate) fn combined(prints: impl IntoIterator<Item = u128>) -> u128 {
    let bytes: Vec<u8> = prints.into_iter().flat_map(u128::to_le_bytes).collect();
    XxHash3_128::oneshot(&bytes)
}

/// The number of pages, if the first page tells.
pub(crate) fn first<R: Resource>(view: &PageView<'_, R>, from: &str) -> Result<Option<u64>, Flaw> {
    let Some(total) = view.total() else { return Ok(None) };
    let found = view.items.map_or(0, <[R]>::len) as u64;
    if found < total.min(PER_PAGE) {
        return Err(wrong(from, &format!("page 1 has {found} of {total}, fewer than asked for")));
    }
    match pages(total) {
        many if many > MAX_PAGES => Err(wrong(from, &format!("has more than {MAX_PAGES} pages"))),
        some => Ok(Some(some)),
    }
}

/// Whether a page that has a page behind it brings anything; a list without a count would
/// otherwise go on for as long as the server likes.
pub(crate) fn brings_news<R: Resource>(seen: &mut HashSet<R::Id>, view: &PageView<'_, R>) -> bool {
    let before = seen.len();
    seen.extend(view.items.unwrap_or_default().iter().map(R::id));
    seen.len() > before
}

/// The number of the page behind `page`, from its link. Nothing else of the link is used: a
/// server that sends dbfw elsewhere is not followed.
pub(crate) fn next_page(link: &str, own: &Url, page: u64, from: &str) -> Result<u64, Flaw> {
    let bad = |what: &str| wrong(from, &format!("links.pages.next of page {page} {what}"));
    let next = own.join(link).map_err(|_| bad("is not a URL"))?;
    if next.origin() != own.origin() || next.path() != own.path() {
        return Err(bad("leads to another place than the list's own"));
    }
    let number = next.query_pairs().find(|(name, _)| name == "page").map(|(_, value)| value);
    match number.and_then(|value| value.parse().ok()) {
        Some(number) if number != page + 1 => Err(bad("is not the page after it")),
        Some(number) if number > MAX_PAGES => {
            Err(wrong(from, &format!("has more than {MAX_PAGES} pages")))
        }
        Some(number) => Ok(number),
        None => Err(bad("names no page")),
    }
}

impl<R: Resource> Listing<R> {
    /// The list of `pages`, in order; an error unless that is certainly everything.
    pub(crate) fn new(pages: Vec<Arc<Fetched<R::Page>>>, from: &str) -> Result<Self, Flaw> {
        let mut index = HashMap::new();
        let mut by_tag: HashMap<String, Vec<Place>> = HashMap::new();
        let mut total = None;
        for (number, page) in pages.iter().enumerate() {
            let view = R::page(&page.value);
            if let Some(said) = view.total()
                && *total.get_or_insert(said) != said
            {
                let text = format!(
                    "page {} counts {said}, a page before it {}: the list changed meanwhile",
                    number + 1,
                    total.unwrap_or_default()
                );
                return Err(Flaw::Moved(error(from, &text)));
            }
            // A server may leave an empty list out, but then it says that it is empty.
            if view.items.is_none() && view.total() != Some(0) {
                return Err(wrong(from, &format!("page {} has no list", number + 1)));
            }
            for (at, item) in view.items.unwrap_or_default().iter().enumerate() {
                let id = item.id();
                if index.contains_key(&id) {
                    return Err(wrong(from, &format!("lists {} {id} twice", R::NOUN)));
                }
                index.insert(id, (number, at));
                for tag in item.tags() {
                    by_tag.entry(tag.clone()).or_default().push((number, at));
                }
            }
        }
        let found = index.len() as u64;
        if let Some(total) = total.filter(|total| found < *total) {
            return Err(wrong(from, &format!("its pages have {found} of {total}")));
        }
        if pages.last().is_some_and(|page| R::page(&page.value).next().is_some()) {
            let last = pages.len();
            return Err(wrong(from, &format!("page {last} is not the last, as the count says")));
        }
        for places in by_tag.values_mut() {
            places.dedup();
        }
        let print = combined(pages.iter().map(|page| page.print));
        Ok(Self { pages, print, from: from.to_owned(), index, by_tag })
    }

    /// The number of things.
    pub(crate) fn len(&self) -> u64 {
        self.index.len() as u64
    }

    /// The one of this id.
    pub(crate) fn get(&self, id: &R::Id) -> Option<&R> {
        self.index.get(id).and_then(|place| self.at(*place))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.pages.iter().flat_map(|page| R::page(&page.value).items.unwrap_or_default())
    }

    /// Those with a tag, by its exact name.
    pub(crate) fn tagged(&self, tag: &str) -> impl Iterator<Item = &R> {
        let places = self.by_tag.get(tag).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.at(*place))
    }

    fn at(&self, (page, at): Place) -> Option<&R> {
        R::page(&self.pages.get(page)?.value).items?.get(at)
    }
}

fn wrong(from: &str, what: &str) -> Flaw {
    Flaw::Wrong(error(from, what))
}

fn error(from: &str, what: &str) -> FetchError {
    FetchError::new(
        Cause::Invalid,
        format!("DigitalOcean: {from}: {what}: nothing of the list is used"),
    )
}

#[cfg(test)]
mod tests;
