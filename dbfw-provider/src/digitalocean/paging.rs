//! Kinds of things, and lists of them: whole, or an error.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::digitalocean::{
    App, AppPage, Cluster, ClusterPage, Droplet, DropletPage, Links, Meta, OneApp, OneCluster,
    OneDroplet, OneVpc, Vpc, VpcPage,
};
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use url::form_urlencoded;

use crate::api::{GetError, Session};

/// Things on a page, the most the API gives.
pub(crate) const PER_PAGE: u64 = 200;

/// Pages of a list: 100,000 things.
const MAX_PAGES: u64 = 500;

/// Name and value by which a list is narrowed down.
pub(crate) type Filter<'a> = Option<(&'a str, &'a str)>;

/// A kind of thing, asked for by id or as a whole list.
pub(crate) trait Resource: Debug + Sized + Send + Sync + 'static {
    /// The answer for one.
    type One: DeserializeOwned + 'static;
    /// A page of a list.
    type Page: DeserializeOwned + 'static;

    /// Path of the list; of one, with its id behind.
    const PATH: &'static str;
    /// For people.
    const NOUN: &'static str;
    /// Bytes an answer may have: a page of 200 as large as is plausible, several times over
    /// (a droplet takes 4 KiB, a cluster of 500 nodes 130 KiB).
    const MAX_BYTES: u64;

    /// The id of one, as requests name it.
    fn id(&self) -> String;
    fn one(one: Self::One) -> Self;
    fn page(page: Self::Page) -> Page<Self>;
}

/// The shapes of a kind's answers.
macro_rules! answers {
    ($one:ident.$field:ident, $page:ident.$list:ident) => {
        type One = $one;
        type Page = $page;

        fn one(one: $one) -> Self {
            one.$field
        }

        fn page(page: $page) -> Page<Self> {
            Page::new(page.$list, page.links, page.meta)
        }
    };
}

impl Resource for Droplet {
    const PATH: &'static str = "/v2/droplets";
    const NOUN: &'static str = "droplet";
    const MAX_BYTES: u64 = 8 << 20;
    answers!(OneDroplet.droplet, DropletPage.droplets);

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for Cluster {
    const PATH: &'static str = "/v2/kubernetes/clusters";
    const NOUN: &'static str = "Kubernetes cluster";
    const MAX_BYTES: u64 = 32 << 20;
    answers!(OneCluster.kubernetes_cluster, ClusterPage.kubernetes_clusters);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}

impl Resource for App {
    const PATH: &'static str = "/v2/apps";
    const NOUN: &'static str = "app";
    const MAX_BYTES: u64 = 32 << 20;
    answers!(OneApp.app, AppPage.apps);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}

impl Resource for Vpc {
    const PATH: &'static str = "/v2/vpcs";
    const NOUN: &'static str = "VPC network";
    const MAX_BYTES: u64 = 8 << 20;
    answers!(OneVpc.vpc, VpcPage.vpcs);

    fn id(&self) -> String {
        self.id.to_ascii_lowercase()
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page<R> {
    /// `None`: the answer has no such field.
    items: Option<Vec<Arc<R>>>,
    /// The number of things on the whole list.
    total: Option<u64>,
    /// Whether it links to a page after it.
    has_next: bool,
}

impl<R> Page<R> {
    fn new(items: Option<Vec<R>>, links: Option<Links>, meta: Option<Meta>) -> Self {
        let next = links.and_then(|links| links.pages?.next);
        Self {
            items: items.map(|items| items.into_iter().map(Arc::new).collect()),
            total: meta.and_then(|meta| meta.total),
            has_next: next.is_some_and(|next| !next.is_empty()),
        }
    }
}

/// A whole list.
#[derive(Debug)]
pub(crate) struct Listing<R> {
    /// By their ids.
    items: BTreeMap<String, Arc<R>>,
    /// The request, for people: "GET /v2/droplets?tag_name=backend".
    pub(crate) from: String,
}

/// The reason why there is no list.
#[derive(Debug)]
enum PagingError {
    /// A page was not answered.
    GetError(GetError),
    /// Something was made or deleted while the pages were read: worth another try.
    Moved(FetchError),
    /// The pages contradict each other or the answer's own count.
    Wrong(FetchError),
}

impl From<GetError> for PagingError {
    fn from(missed: GetError) -> Self {
        Self::GetError(missed)
    }
}

impl<R: Resource> Listing<R> {
    /// The list of `pages`, in order; an error unless that is certainly everything.
    fn new(pages: &[Arc<Page<R>>], from: &str) -> Result<Self, PagingError> {
        let mut items = BTreeMap::new();
        let mut total = None;
        for (number, page) in (1..).zip(pages) {
            if let Some(said) = page.total
                && *total.get_or_insert(said) != said
            {
                let text = format!(
                    "page {number} counts {said}, a page before it {}: the list changed meanwhile",
                    total.unwrap_or_default()
                );
                return Err(PagingError::Moved(error(from, &text)));
            }
            // A server may leave an empty list out, but then it says that it is empty.
            if page.items.is_none() && page.total != Some(0) {
                return Err(wrong(from, &format!("page {number} has no list")));
            }
            for item in page.items.iter().flatten() {
                if items.insert(item.id(), Arc::clone(item)).is_some() {
                    return Err(wrong(from, &format!("lists {} {} twice", R::NOUN, item.id())));
                }
            }
        }
        let found = items.len() as u64;
        if let Some(total) = total.filter(|total| found < *total) {
            return Err(wrong(from, &format!("its pages have {found} of {total}")));
        }
        if pages.last().is_some_and(|page| page.has_next) {
            let last = pages.len();
            return Err(wrong(from, &format!("page {last} is not the last, as the count says")));
        }
        Ok(Self { items, from: from.to_owned() })
    }

    /// The one of this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<R>> {
        self.items.get(id)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        self.items.values().map(|item| &**item)
    }
}

impl Listing<Droplet> {
    /// Those with a tag, by its exact name.
    pub(crate) fn tagged(&self, tag: &str) -> impl Iterator<Item = &Droplet> {
        self.iter().filter(move |droplet| droplet.tags.iter().any(|name| name == tag))
    }
}

impl Session<'_> {
    /// Asks for a list: all of it or nothing. One that changes while it is read is read once
    /// more.
    ///
    /// # Errors
    /// A page is missing, or the pages are not certainly everything.
    pub(crate) async fn list<R: Resource>(
        &self,
        filter: Filter<'_>,
    ) -> Result<Listing<R>, GetError> {
        match self.list_up_to(filter, MAX_PAGES).await? {
            Some(list) => Ok(list),
            None => {
                let from = format!("GET {}", path::<R>(filter, None));
                let text = format!("has more than {MAX_PAGES} pages");
                Err(self.unusable(error(&from, &text)))
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
    ) -> Result<Option<Listing<R>>, GetError> {
        let from = format!("GET {}", path::<R>(filter, None));
        let list = match self.read::<R>(filter, &from, most).await {
            Err(PagingError::Moved(_)) => self.read(filter, &from, most).await,
            other => other,
        };
        list.map_err(|flaw| match flaw {
            PagingError::GetError(missed) => missed,
            PagingError::Moved(error) | PagingError::Wrong(error) => self.unusable(error),
        })
    }

    async fn read<R: Resource>(
        &self,
        filter: Filter<'_>,
        from: &str,
        most: u64,
    ) -> Result<Option<Listing<R>>, PagingError> {
        let first = self.page::<R>(filter, 1).await?;
        let count = count(&first, from)?;
        if count > most {
            return Ok(None);
        }
        let others = (2..=count).map(|page| self.page::<R>(filter, page));
        let pages = [vec![first], try_join_all(others).await?].concat();
        let lost = wrong(from, "was not put together");
        let from = from.to_owned();
        // A long one would hold up the agent's loop, whose thread this is.
        let list = spawn_blocking(move || Listing::new(&pages, &from)).await;
        list.unwrap_or(Err(lost)).map(Some)
    }

    async fn page<R: Resource>(
        &self,
        filter: Filter<'_>,
        page: u64,
    ) -> Result<Arc<Page<R>>, GetError> {
        let path = path::<R>(filter, Some(page));
        match self.get(&path, R::MAX_BYTES, R::page).await {
            Err(GetError::Gone(_)) if page > 1 => {
                let text = "answered 404 for a page of a list that exists: the list is not used";
                Err(GetError::Failed(FetchError::new(Cause::Invalid, text).about(self.name(&path))))
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

/// The number of pages, by the first one.
fn count<R>(first: &Page<R>, from: &str) -> Result<u64, PagingError> {
    let Some(total) = first.total else {
        return match first.has_next {
            true => Err(wrong(from, "page 1 is not the last, and does not count all (meta.total)")),
            false => Ok(1),
        };
    };
    let found = first.items.as_ref().map_or(0, Vec::len) as u64;
    if found < total.min(PER_PAGE) {
        return Err(wrong(from, &format!("page 1 has {found} of {total}, fewer than asked for")));
    }
    Ok(total.div_ceil(PER_PAGE).max(1))
}

fn wrong(from: &str, what: &str) -> PagingError {
    PagingError::Wrong(error(from, what))
}

fn error(from: &str, what: &str) -> FetchError {
    FetchError::new(Cause::Invalid, format!("{what}: the list is not used"))
        .about(format!("DigitalOcean: {from}"))
}

#[cfg(test)]
mod tests;
