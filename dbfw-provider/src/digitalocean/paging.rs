//! Lists of several pages: whole, or an error.

use std::{
    collections::{HashMap, HashSet},
    convert::identity,
    sync::Arc,
};

use dbfw_core::answers::{Cause, FetchError};
use futures_util::future::try_join_all;
use tokio::task::spawn_blocking;
use url::{Url, form_urlencoded};

use super::{
    client::{Missed, Session},
    resource::{PageView, Resource},
};

/// Things on a page, the most the API gives.
pub(crate) const PER_PAGE: u64 = 200;

/// Pages of a list: 100,000 things.
const MAX_PAGES: u64 = 500;

/// Lists of more pages are put together on another thread.
const SMALL: usize = 5;

/// Name and value by which a list is narrowed down.
pub(crate) type Filter<'a> = Option<(&'a str, &'a str)>;

/// A whole list.
#[derive(Debug)]
pub(crate) struct Listing<R: Resource> {
    pages: Vec<Arc<R::Page>>,
    /// The request, for people: "GET /v2/droplets?tag_name=backend".
    pub(crate) from: String,
    index: HashMap<R::Id, Place>,
    by_tag: HashMap<String, Vec<Place>>,
}

/// A page, and the place on it.
type Place = (usize, usize);

/// The reason why there is no list.
#[derive(Debug)]
enum Flaw {
    /// A page was not answered.
    Missed(Missed),
    /// Something was made or deleted while the pages were read: worth another try.
    Moved(FetchError),
    /// The pages contradict each other or the answer's own count.
    Wrong(FetchError),
}

impl From<Missed> for Flaw {
    fn from(missed: Missed) -> Self {
        Self::Missed(missed)
    }
}

impl<R: Resource> Listing<R> {
    /// The list of `pages`, in order; an error unless that is certainly everything.
    fn new(pages: Vec<Arc<R::Page>>, from: &str) -> Result<Self, Flaw> {
        let mut index = HashMap::new();
        let mut by_tag: HashMap<String, Vec<Place>> = HashMap::new();
        let mut total = None;
        for (number, page) in pages.iter().enumerate() {
            let view = R::page(page);
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
        if pages.last().is_some_and(|page| R::page(page).next().is_some()) {
            let last = pages.len();
            return Err(wrong(from, &format!("page {last} is not the last, as the count says")));
        }
        for places in by_tag.values_mut() {
            places.dedup();
        }
        Ok(Self { pages, from: from.to_owned(), index, by_tag })
    }

    /// The one of this id.
    pub(crate) fn get(&self, id: &R::Id) -> Option<&R> {
        self.index.get(id).and_then(|place| self.at(*place))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.pages.iter().flat_map(|page| R::page(page).items.unwrap_or_default())
    }

    /// Those with a tag, by its exact name.
    pub(crate) fn tagged(&self, tag: &str) -> impl Iterator<Item = &R> {
        let places = self.by_tag.get(tag).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.at(*place))
    }

    fn at(&self, (page, at): Place) -> Option<&R> {
        R::page(self.pages.get(page)?).items?.get(at)
    }
}

impl Session<'_> {
    /// Asks for a list: all of it or nothing. One that changes while it is read is read once
    /// more.
    ///
    /// # Errors
    /// A page is missing, or the pages are not certainly everything.
    pub(crate) async fn list<R: Resource>(&self, filter: Filter<'_>) -> Result<Listing<R>, Missed> {
        match self.list_up_to(filter, MAX_PAGES).await? {
            Some(list) => Ok(list),
            None => {
                let from = format!("GET {}", path::<R>(filter, None));
                Err(self.unusable(too_long(&from)))
            }
        }
    }

    /// The same; `None` if its first page says that there are more than `most` pages.
    ///
    /// # Errors
    /// Those of [`Session::list`].
    pub(crate) async fn list_up_to<R: Resource>(
        &self,
        filter: Filter<'_>,
        most: u64,
    ) -> Result<Option<Listing<R>>, Missed> {
        let from = format!("GET {}", path::<R>(filter, None));
        let list = match self.read::<R>(filter, &from, most).await {
            Err(Flaw::Moved(_)) => self.read(filter, &from, most).await,
            other => other,
        };
        list.map_err(|flaw| match flaw {
            Flaw::Missed(missed) => missed,
            Flaw::Moved(error) | Flaw::Wrong(error) => self.unusable(error),
        })
    }

    async fn read<R: Resource>(
        &self,
        filter: Filter<'_>,
        from: &str,
        most: u64,
    ) -> Result<Option<Listing<R>>, Flaw> {
        let first = self.page::<R>(filter, 1).await?;
        let all = match count(&R::page(&first), from)? {
            Some(count) if count > most => return Ok(None),
            Some(count) => {
                let others = (2..=count).map(|page| self.page::<R>(filter, page));
                [vec![first], try_join_all(others).await?].concat()
            }
            None => self.follow_links::<R>(filter, from, first).await?,
        };
        if all.len() <= SMALL {
            return Listing::new(all, from).map(Some);
        }
        let lost = wrong(from, "was not put together");
        let from = from.to_owned();
        let list = spawn_blocking(move || Listing::new(all, &from)).await;
        list.unwrap_or(Err(lost)).map(Some)
    }

    /// The pages of a list that does not say how long it is.
    async fn follow_links<R: Resource>(
        &self,
        filter: Filter<'_>,
        from: &str,
        first: Arc<R::Page>,
    ) -> Result<Vec<Arc<R::Page>>, Flaw> {
        let own = self.url(&path::<R>(filter, Some(1))).map_err(Flaw::Wrong)?;
        let mut seen = HashSet::new();
        let mut pages = vec![first];
        for number in 1..=MAX_PAGES {
            let Some(page) = pages.last() else { break };
            let view = R::page(page);
            let Some(next) = view.next() else { break };
            if !has_news(&mut seen, &view) {
                let text = format!("page {number} has nothing new, and a page after it");
                return Err(wrong(from, &text));
            }
            let next = next_page(next, &own, number, from)?;
            pages.push(self.page::<R>(filter, next).await?);
        }
        Ok(pages)
    }

    async fn page<R: Resource>(
        &self,
        filter: Filter<'_>,
        page: u64,
    ) -> Result<Arc<R::Page>, Missed> {
        match self.get(&path::<R>(filter, Some(page)), R::MAX_BYTES, identity).await {
            Err(Missed::Gone(message)) if page > 1 => {
                // A page of a list that exists cannot be gone.
                Err(Missed::Failed(FetchError::new(Cause::Invalid, message)))
            }
            answer => answer,
        }
    }
}

/// Path and query of a list, or of one of its pages.
pub(crate) fn path<R: Resource>(filter: Filter<'_>, page: Option<u64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filter);
    if let Some(page) = page {
        query.append_pair("page", &page.to_string());
        query.append_pair("per_page", &PER_PAGE.to_string());
    }
    match query.finish().as_str() {
        "" => R::PATH.to_owned(),
        query => format!("{}?{query}", R::PATH),
    }
}

/// The number of pages, if the first page tells.
fn count<R: Resource>(first: &PageView<'_, R>, from: &str) -> Result<Option<u64>, Flaw> {
    let Some(total) = first.total() else { return Ok(None) };
    let found = first.items.map_or(0, <[R]>::len) as u64;
    if found < total.min(PER_PAGE) {
        return Err(wrong(from, &format!("page 1 has {found} of {total}, fewer than asked for")));
    }
    Ok(Some(total.div_ceil(PER_PAGE).max(1)))
}

/// Whether a page that has a page behind it brings anything; a list without a count would
/// otherwise go on for as long as the server likes.
fn has_news<R: Resource>(seen: &mut HashSet<R::Id>, view: &PageView<'_, R>) -> bool {
    let before = seen.len();
    seen.extend(view.items.unwrap_or_default().iter().map(R::id));
    seen.len() > before
}

/// The number of the page behind `page`, from its link. Nothing else of the link is used: a
/// server that sends dbfw elsewhere is not followed.
fn next_page(link: &str, own: &Url, page: u64, from: &str) -> Result<u64, Flaw> {
    let bad = |what: &str| wrong(from, &format!("links.pages.next of page {page} {what}"));
    let next = own.join(link).map_err(|_| bad("is not a URL"))?;
    if next.origin() != own.origin() || next.path() != own.path() {
        return Err(bad("leads to another place than the list's own"));
    }
    let number = next.query_pairs().find(|(name, _)| name == "page").map(|(_, value)| value);
    match number.and_then(|value| value.parse().ok()) {
        Some(number) if number != page + 1 => Err(bad("is not the page after it")),
        Some(number) if number > MAX_PAGES => Err(Flaw::Wrong(too_long(from))),
        Some(number) => Ok(number),
        None => Err(bad("names no page")),
    }
}

fn too_long(from: &str) -> FetchError {
    error(from, &format!("has more than {MAX_PAGES} pages"))
}

fn wrong(from: &str, what: &str) -> Flaw {
    Flaw::Wrong(error(from, what))
}

fn error(from: &str, what: &str) -> FetchError {
    FetchError::new(Cause::Invalid, format!("DigitalOcean: {from}: {what}: the list is not used"))
}

#[cfg(test)]
mod tests;
