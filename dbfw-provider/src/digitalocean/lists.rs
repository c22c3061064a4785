//! Single things and whole lists of them, over as many requests as it takes.

use std::{collections::HashSet, sync::Arc};

use dbfw_core::answers::{Cause, FetchError};
use futures_util::future::try_join_all;
use tokio::task::spawn_blocking;
use url::form_urlencoded;

use super::{
    facts::Missed,
    listing::{self, Fetched, Flaw, Listing, MAX_PAGES, PER_PAGE, combined},
    resource::Resource,
    session::{Request, Session},
};

/// Lists of more pages are put together on another thread.
const SMALL: usize = 5;

/// The result of asking for a list.
#[derive(Debug)]
pub(crate) enum Asked<R: Resource> {
    /// All of it.
    Whole(Arc<Listing<R>>),
    /// Its first page said that it has so many, and that was too many.
    Declined(u64),
}

type Page<R> = Arc<Fetched<<R as Resource>::Page>>;

/// All pages of a list, or how many things it has.
enum Pages<R: Resource> {
    All(Vec<Page<R>>),
    Declined(u64),
}

impl Session<'_> {
    /// Asks for one thing.
    pub(crate) async fn one<R: Resource>(
        &self,
        id: &R::Id,
    ) -> Result<Arc<Fetched<R::One>>, Missed> {
        let path = format!("{}/{id}", R::PATH);
        let one = self.get(&Request { path, max_bytes: R::MAX_BYTES }).await?;
        let found = R::one(&one.value).id();
        if found == *id {
            return Ok(one);
        }
        let error = FetchError::new(
            Cause::Invalid,
            format!("DigitalOcean: GET {}/{id}: answered with another {}", R::PATH, R::NOUN),
        );
        self.count(&error);
        Err(Missed::Failed(error))
    }

    /// Asks for a list, all of it or nothing. Of a list that changes while it is read, once
    /// more. Once its first page told how many there are, `goes_on` decides.
    pub(crate) async fn list<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
        goes_on: impl Fn(Option<u64>) -> bool,
    ) -> Result<Asked<R>, Missed> {
        let first = self.try_list(filter, &goes_on).await;
        let again = match first {
            Err(Attempt::Flaw(Flaw::Moved(_))) => self.try_list(filter, &goes_on).await,
            other => other,
        };
        again.map_err(|attempt| match attempt {
            Attempt::Missed(missed) => missed,
            Attempt::Flaw(flaw) => {
                let error = flaw.into_error();
                self.count(&error);
                Missed::Failed(error)
            }
        })
    }

    /// Asks for a list however many pages it has.
    pub(crate) async fn whole_list<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
    ) -> Result<Arc<Listing<R>>, Missed> {
        match self.list(filter, |_| true).await? {
            Asked::Whole(list) => Ok(list),
            Asked::Declined(_) => Err(Missed::Failed(not_a_list(R::PATH, "was not read on"))),
        }
    }

    async fn try_list<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
        goes_on: &impl Fn(Option<u64>) -> bool,
    ) -> Result<Asked<R>, Attempt> {
        let from = format!("GET {}", path::<R>(filter, None));
        let pages = match self.pages::<R>(filter, &from, goes_on).await? {
            Pages::All(pages) => pages,
            Pages::Declined(total) => return Ok(Asked::Declined(total)),
        };
        let print = combined(pages.iter().map(|page| page.print));
        if let Some(list) = self.api().made(&from, print) {
            return Ok(Asked::Whole(list));
        }
        let list = if pages.len() > SMALL {
            let lost = not_a_list(&from, "was not put together");
            let name = from.clone();
            let made = spawn_blocking(move || Listing::new(pages, &name)).await;
            made.unwrap_or(Err(Flaw::Wrong(lost)))
        } else {
            Listing::new(pages, &from)
        };
        let list = Arc::new(list.map_err(Attempt::Flaw)?);
        self.api().keep(&from, print, None, &list);
        Ok(Asked::Whole(list))
    }

    async fn pages<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
        from: &str,
        goes_on: &impl Fn(Option<u64>) -> bool,
    ) -> Result<Pages<R>, Attempt> {
        let first = self.page::<R>(filter, 1).await?;
        let view = R::page(&first.value);
        let total = view.total();
        if !goes_on(total) {
            return Ok(Pages::Declined(total.unwrap_or_default()));
        }
        if let Some(count) = listing::first(&view, from).map_err(Attempt::Flaw)? {
            let others = try_join_all((2..=count).map(|page| self.page::<R>(filter, page)));
            let mut pages = vec![Arc::clone(&first)];
            pages.extend(others.await?);
            return Ok(Pages::All(pages));
        }
        self.walk(filter, from, first).await
    }

    /// Follows the links of a list that does not say how long it is.
    async fn walk<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
        from: &str,
        first: Page<R>,
    ) -> Result<Pages<R>, Attempt> {
        let own = self.url(&path::<R>(filter, Some(1))).map_err(Missed::of_digitalocean)?;
        let mut seen = HashSet::new();
        let mut pages = vec![first];
        for number in 1..=MAX_PAGES {
            let Some(page) = pages.last() else { break };
            let view = R::page(&page.value);
            let Some(next) = view.next() else { break };
            if !listing::brings_news(&mut seen, &view) {
                let text = format!("page {number} has nothing new, and a page after it");
                return Err(Attempt::Flaw(Flaw::Wrong(not_a_list(from, &text))));
            }
            let next = listing::next_page(next, &own, number, from).map_err(Attempt::Flaw)?;
            let next = self.page::<R>(filter, next).await?;
            pages.push(next);
        }
        Ok(Pages::All(pages))
    }

    async fn page<R: Resource>(
        &self,
        filter: Option<(&str, &str)>,
        page: u64,
    ) -> Result<Page<R>, Missed> {
        let path = path::<R>(filter, Some(page));
        let request = Request { path, max_bytes: R::MAX_BYTES };
        match self.get(&request).await {
            Err(Missed::Gone(message)) if page > 1 => {
                // A page of a list that exists cannot be gone.
                Err(Missed::Failed(FetchError::new(Cause::Invalid, message)))
            }
            answer => answer,
        }
    }
}

/// The reason why an attempt to read a list ended.
enum Attempt {
    Missed(Missed),
    Flaw(Flaw),
}

impl From<Missed> for Attempt {
    fn from(missed: Missed) -> Self {
        Self::Missed(missed)
    }
}

/// Path and query of a list, or of one of its pages.
fn path<R: Resource>(filter: Option<(&str, &str)>, page: Option<u64>) -> String {
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

fn not_a_list(from: &str, what: &str) -> FetchError {
    FetchError::new(Cause::Invalid, format!("DigitalOcean: {from}: {what}: it is asked again"))
}
