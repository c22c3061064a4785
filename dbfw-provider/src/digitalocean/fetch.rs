//! The requests that tell about things: the whole list of a kind, or one for each.
//!
//! The first page of a list says how many pages there are. The others are asked for if that
//! takes no more requests than asking for each thing alone. `docs/decisions` has the numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dbfw_core::answers::{Answer, Cause, FetchError, Outcome, Part};
use dbfw_wire::digitalocean::Droplet;
use futures_util::future::join_all;

use super::paging::{Filter, Listing, Resource, path};
use crate::api::{GetError, Session};

/// So many things of a kind are asked for one by one, however many there are: a page has 200,
/// and an app or a cluster on it takes many kilobytes.
const FEW: usize = 2;

/// The filter of the list that GPU droplets are in; the default list leaves them out.
pub(crate) const GPUS: (&str, &str) = ("type", "gpus");

/// The answers about things of one kind, from its list or one by one.
#[derive(Debug)]
pub(crate) enum Facts<R> {
    /// All of them.
    List(Result<Listing<R>, FetchError>),
    /// Those that were asked for one by one.
    Each(BTreeMap<String, Result<Arc<R>, GetError>>),
}

/// The answers about droplets and tags.
#[derive(Debug)]
pub(crate) struct Droplets {
    /// Those that lists show by default, and single ones of any kind.
    facts: Facts<Droplet>,
    /// Those with GPUs; an error too where that list was not needed.
    gpus: Result<Listing<Droplet>, FetchError>,
    /// Those with a tag, GPU droplets left out, where there is no list of all.
    tags: BTreeMap<String, Result<Listing<Droplet>, GetError>>,
}

/// A thing that was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sighting<R> {
    /// It, or why not.
    pub(crate) found: Result<Arc<R>, GetError>,
    /// The request that told: "GET /v2/droplets/123".
    pub(crate) from: String,
    /// Whether that was the request for a list.
    pub(crate) is_listed: bool,
}

impl<R> Sighting<R> {
    /// The outcome of a source that is this thing, with these parts.
    pub(crate) fn outcome(self, parts: impl FnOnce(&R) -> BTreeMap<String, Part>) -> Outcome {
        match self.found {
            Ok(found) => {
                Answer { parts: parts(&found), from: self.from, ..Answer::default() }.into()
            }
            Err(missed) => missed.into(),
        }
    }
}

/// The droplets with a tag.
#[derive(Debug)]
pub(crate) struct Tagged<'a> {
    /// GPU droplets left out.
    pub(crate) droplets: Vec<&'a Droplet>,
    /// Those that only the list of GPU droplets has.
    pub(crate) gpus: Result<Vec<&'a Droplet>, FetchError>,
    /// The requests that told.
    pub(crate) from: String,
}

impl Session<'_> {
    /// Finds out about things of one kind.
    pub(crate) async fn fetch<R: Resource>(&self, ids: &BTreeSet<String>) -> Facts<R> {
        match self.list_if_cheaper(ids.len()).await {
            Some(list) => Facts::List(list),
            None => Facts::Each(self.get_each(ids).await),
        }
    }

    /// Finds out about droplets and tags.
    pub(crate) async fn droplets(
        &self,
        ids: &BTreeSet<String>,
        tags: &BTreeSet<String>,
    ) -> Droplets {
        let list_gpus = async || self.list(Some(GPUS)).await.map_err(GetError::into_error);
        let gpus = async {
            match tags.is_empty() {
                true => Err(not_asked("the list of GPU droplets")),
                false => list_gpus().await,
            }
        };
        let others = async {
            match self.list_if_cheaper(ids.len() + tags.len()).await {
                Some(list) => (Facts::List(list), BTreeMap::new()),
                None => {
                    let of_tag = |tag: String| async move { self.list(with_tag(&tag)).await };
                    let path = |tag: &str| path::<Droplet>(with_tag(tag), Some(1));
                    let (ones, tags) =
                        tokio::join!(self.get_each(ids), self.each(tags, path, of_tag));
                    (Facts::Each(ones), tags)
                }
            }
        };
        let (mut gpus, (facts, by_tag)) = tokio::join!(gpus, others);
        if let Facts::List(Ok(list)) = &facts
            && tags.is_empty()
            && ids.iter().any(|id| list.get(id).is_none())
        {
            gpus = list_gpus().await;
        }
        Droplets { facts, gpus, tags: by_tag }
    }

    /// The whole list of a kind, unless `each` requests for single things are fewer.
    async fn list_if_cheaper<R: Resource>(
        &self,
        each: usize,
    ) -> Option<Result<Listing<R>, FetchError>> {
        if each <= FEW {
            return None;
        }
        let most = self.client().most_pages().min(each as u64 + 1);
        self.list_up_to(None, most).await.map_err(GetError::into_error).transpose()
    }

    async fn get_each<R: Resource>(
        &self,
        ids: &BTreeSet<String>,
    ) -> BTreeMap<String, Result<Arc<R>, GetError>> {
        self.each(ids, one_path::<R>, |id| self.one(id)).await
    }

    /// Asks for each of these, beginning with what was asked for longest ago.
    async fn each<T, F: Future<Output = Result<T, GetError>>>(
        &self,
        keys: &BTreeSet<String>,
        path: impl Fn(&str) -> String,
        ask: impl Fn(String) -> F,
    ) -> BTreeMap<String, Result<T, GetError>> {
        let keys = self.client().by_age(keys, |key| path(key));
        let answers = join_all(keys.iter().map(|key| ask((*key).clone()))).await;
        keys.into_iter().cloned().zip(answers).collect()
    }

    /// Asks for one thing.
    async fn one<R: Resource>(&self, id: String) -> Result<Arc<R>, GetError> {
        let path = one_path::<R>(&id);
        let one = self.get(&path, R::MAX_BYTES, R::one).await?;
        if one.id() == id {
            return Ok(one);
        }
        let text = format!("answered with another {}", R::NOUN);
        Err(self.unusable(FetchError::new(Cause::Invalid, text).about(self.name(&path))))
    }
}

impl<R: Resource> Facts<R> {
    /// The facts about one thing: a whole list without it says that it is gone.
    pub(crate) fn find(&self, id: &str) -> Sighting<R> {
        match self {
            Self::Each(ones) => Sighting {
                found: ones.get(id).cloned().unwrap_or_else(|| {
                    Err(GetError::Failed(not_asked(&format!("{} {id}", R::NOUN))))
                }),
                from: format!("GET {}", one_path::<R>(id)),
                is_listed: false,
            },
            Self::List(list) => Sighting {
                found: match list {
                    Ok(list) => {
                        list.get(id).cloned().ok_or_else(|| not_listed::<R>(&list.from, id))
                    }
                    Err(error) => Err(GetError::Failed(error.clone())),
                },
                from: format!("GET {}", R::PATH),
                is_listed: true,
            },
        }
    }
}

impl Droplets {
    /// The facts about one droplet.
    pub(crate) fn find(&self, id: &str) -> Sighting<Droplet> {
        let sighting = self.facts.find(id);
        let (Facts::List(Ok(list)), Err(GetError::Gone(_))) = (&self.facts, &sighting.found) else {
            return sighting;
        };
        // Gone is only what both lists lack.
        let (found, from) = match &self.gpus {
            Ok(gpus) => {
                let both =
                    || not_listed::<Droplet>(&format!("{} and {}", list.from, gpus.from), id);
                (gpus.get(id).cloned().ok_or_else(both), gpus.from.clone())
            }
            Err(error) => (Err(GetError::Failed(error.clone())), sighting.from),
        };
        Sighting { found, from, is_listed: true }
    }

    /// The droplets with a tag.
    ///
    /// # Errors
    /// The list of those that have no GPU was not answered.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Tagged<'_>, GetError> {
        let (droplets, list): (Vec<_>, _) = match (self.tags.get(tag), &self.facts) {
            (Some(Ok(list)), _) => (list.iter().collect(), list),
            (Some(Err(missed)), _) => return Err(missed.clone()),
            (None, Facts::List(Ok(list))) => (list.tagged(tag).collect(), list),
            (None, Facts::List(Err(error))) => return Err(GetError::Failed(error.clone())),
            (None, Facts::Each(_)) => {
                return Err(GetError::Failed(not_asked(&format!("the tag {tag:?}"))));
            }
        };
        let (gpus, from) = match &self.gpus {
            Ok(gpus) => {
                let others = gpus.tagged(tag).filter(|droplet| list.get(&droplet.id()).is_none());
                (Ok(others.collect()), format!("{}, {}", list.from, gpus.from))
            }
            Err(error) => (Err(error.clone()), list.from.clone()),
        };
        Ok(Tagged { droplets, gpus, from })
    }
}

/// The filter of the list of droplets with a tag.
fn with_tag(tag: &str) -> Filter<'_> {
    Some(("tag_name", tag))
}

fn one_path<R: Resource>(id: &str) -> String {
    format!("{}/{id}", R::PATH)
}

fn not_listed<R: Resource>(lists: &str, id: &str) -> GetError {
    GetError::Gone(format!("there is no {} {id} in {lists} of DigitalOcean", R::NOUN))
}

fn not_asked(what: &str) -> FetchError {
    FetchError::new(Cause::Io, "was not requested in this round: it will be in the next")
        .about(format!("DigitalOcean: {what}"))
}
