//! The requests that tell about things: the whole list of a kind, or one for each.
//!
//! The first page of a list says how many pages there are. The others are asked for if that
//! takes no more requests than asking for each thing alone. `docs/decisions` has the numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::identity,
    sync::Arc,
};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::digitalocean::Droplet;
use futures_util::future::join_all;

use super::{
    client::{Missed, Session},
    paging::{self, Filter, Listing},
    resource::Resource,
};

/// So many things of a kind are asked for one by one, however many there are: a page has 200,
/// and an app or a cluster on it takes many kilobytes.
const FEW: usize = 2;

/// The filter of the list that GPU droplets are in; the default list leaves them out.
pub(crate) const GPUS: (&str, &str) = ("type", "gpus");

/// The answers about things of one kind, from its list or one by one.
#[derive(Debug)]
pub(crate) enum Facts<R: Resource> {
    /// All of them.
    List(Result<Listing<R>, Missed>),
    /// Those that were asked for one by one.
    Each(BTreeMap<R::Id, Result<Arc<R::One>, Missed>>),
}

/// The answers about droplets and tags.
#[derive(Debug)]
pub(crate) struct Droplets {
    /// Those that lists show by default, and single ones of any kind.
    pub(crate) facts: Facts<Droplet>,
    /// Those with GPUs, if that was needed.
    pub(crate) gpus: Option<Result<Listing<Droplet>, Missed>>,
    /// Those with a tag, GPU droplets left out, where there is no list of all.
    pub(crate) tags: BTreeMap<String, Result<Listing<Droplet>, Missed>>,
}

/// A thing that was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sighting<'a, R> {
    /// It, or why not.
    pub(crate) found: Result<&'a R, Missed>,
    /// The request that told: "GET /v2/droplets/123".
    pub(crate) from: String,
    /// Whether that was the request for a list.
    pub(crate) is_listed: bool,
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
    pub(crate) async fn fetch<R: Resource>(&self, ids: &BTreeSet<R::Id>) -> Facts<R> {
        match self.list_if_cheaper(ids.len()).await {
            Some(list) => Facts::List(list),
            None => Facts::Each(self.each::<R>(ids).await),
        }
    }

    /// Finds out about droplets and tags.
    pub(crate) async fn droplets(&self, ids: &BTreeSet<u64>, tags: &BTreeSet<String>) -> Droplets {
        let gpus = async {
            match tags.is_empty() {
                true => None,
                false => Some(self.list(Some(GPUS)).await),
            }
        };
        let others = async {
            match self.list_if_cheaper(ids.len() + tags.len()).await {
                Some(list) => (Facts::List(list), BTreeMap::new()),
                None => {
                    let (ones, tags) = tokio::join!(self.each::<Droplet>(ids), self.tagged(tags));
                    (Facts::Each(ones), tags)
                }
            }
        };
        let (mut gpus, (facts, tags)) = tokio::join!(gpus, others);
        if let Facts::List(Ok(list)) = &facts
            && gpus.is_none()
            && ids.iter().any(|id| list.get(id).is_none())
        {
            gpus = Some(self.list(Some(GPUS)).await);
        }
        Droplets { facts, gpus, tags }
    }

    /// The whole list of a kind, unless `each` requests for single things are fewer.
    async fn list_if_cheaper<R: Resource>(
        &self,
        each: usize,
    ) -> Option<Result<Listing<R>, Missed>> {
        if each <= FEW {
            return None;
        }
        let most = self.client().most_pages().min(each as u64 + 1);
        self.list_up_to(None, most).await.transpose()
    }

    async fn each<R: Resource>(
        &self,
        ids: &BTreeSet<R::Id>,
    ) -> BTreeMap<R::Id, Result<Arc<R::One>, Missed>> {
        let ids = self.client().by_age(ids, |id| one_path::<R>(id));
        let ask = |id: &R::Id| {
            let id = id.clone();
            async move {
                let one = self.one::<R>(&id).await;
                (id, one)
            }
        };
        join_all(ids.into_iter().map(ask)).await.into_iter().collect()
    }

    /// Asks for one thing.
    async fn one<R: Resource>(&self, id: &R::Id) -> Result<Arc<R::One>, Missed> {
        let path = one_path::<R>(id);
        let one = self.get(&path, R::MAX_BYTES, identity).await?;
        if R::one(&one).id() == *id {
            return Ok(one);
        }
        let text = format!("DigitalOcean: GET {path}: answered with another {}", R::NOUN);
        Err(self.unusable(FetchError::new(Cause::Invalid, text)))
    }

    async fn tagged(
        &self,
        tags: &BTreeSet<String>,
    ) -> BTreeMap<String, Result<Listing<Droplet>, Missed>> {
        let tags =
            self.client().by_age(tags, |tag| paging::path::<Droplet>(with_tag(tag), Some(1)));
        let ask = |tag: &String| {
            let tag = tag.clone();
            async move {
                let list = self.list(with_tag(&tag)).await;
                (tag, list)
            }
        };
        join_all(tags.into_iter().map(ask)).await.into_iter().collect()
    }
}

impl<R: Resource> Facts<R> {
    /// The facts about one thing: a whole list without it says that it is gone.
    pub(crate) fn find(&self, id: &R::Id) -> Sighting<'_, R> {
        match self {
            Self::Each(ones) => Sighting {
                found: match ones.get(id) {
                    Some(one) => one.as_ref().map(|one| R::one(one)).map_err(Clone::clone),
                    None => Err(not_asked(&format!("{} {id}", R::NOUN))),
                },
                from: format!("GET {}", one_path::<R>(id)),
                is_listed: false,
            },
            Self::List(list) => Sighting {
                found: match list {
                    Ok(list) => list.get(id).ok_or_else(|| not_listed::<R>(&list.from, id)),
                    Err(missed) => Err(Missed::Failed(missed.clone().into_error())),
                },
                from: format!("GET {}", R::PATH),
                is_listed: true,
            },
        }
    }
}

impl Droplets {
    /// The facts about one droplet.
    pub(crate) fn find(&self, id: u64) -> Sighting<'_, Droplet> {
        let sighting = self.facts.find(&id);
        let (Facts::List(Ok(list)), Err(Missed::Gone(_))) = (&self.facts, &sighting.found) else {
            return sighting;
        };
        // Gone is only what both lists lack.
        let (found, from) = match &self.gpus {
            Some(Ok(gpus)) => {
                let both =
                    || not_listed::<Droplet>(&format!("{} and {}", list.from, gpus.from), &id);
                (gpus.get(&id).ok_or_else(both), gpus.from.clone())
            }
            Some(Err(missed)) => (Err(Missed::Failed(missed.clone().into_error())), sighting.from),
            None => (Err(not_asked(&format!("droplet {id}"))), sighting.from),
        };
        Sighting { found, from, is_listed: true }
    }

    /// The droplets with a tag.
    ///
    /// # Errors
    /// The list of those that have no GPU was not answered.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Tagged<'_>, Missed> {
        let not_asked = || not_asked(&format!("the tag {tag:?}"));
        let (droplets, list): (Vec<_>, _) = match (self.tags.get(tag), &self.facts) {
            (Some(Ok(list)), _) => (list.iter().collect(), list),
            (Some(Err(missed)), _) => return Err(missed.clone()),
            (None, Facts::List(Ok(list))) => (list.tagged(tag).collect(), list),
            (None, Facts::List(Err(missed))) => {
                return Err(Missed::Failed(missed.clone().into_error()));
            }
            (None, Facts::Each(_)) => return Err(not_asked()),
        };
        let (gpus, from) = match &self.gpus {
            Some(Ok(gpus)) => {
                let others = gpus.tagged(tag).filter(|droplet| list.get(&droplet.id).is_none());
                (Ok(others.collect()), format!("{}, {}", list.from, gpus.from))
            }
            Some(Err(missed)) => (Err(missed.clone().into_error()), list.from.clone()),
            None => (Err(not_asked().into_error()), list.from.clone()),
        };
        Ok(Tagged { droplets, gpus, from })
    }
}

/// The filter of the list of droplets with a tag.
fn with_tag(tag: &str) -> Filter<'_> {
    Some(("tag_name", tag))
}

fn one_path<R: Resource>(id: &R::Id) -> String {
    format!("{}/{id}", R::PATH)
}

fn not_listed<R: Resource>(lists: &str, id: &R::Id) -> Missed {
    Missed::Gone(format!("DigitalOcean: there is no {} {id} in {lists}", R::NOUN))
}

fn not_asked(what: &str) -> Missed {
    let text =
        format!("DigitalOcean: {what} was not requested in this round: it will be in the next");
    Missed::Failed(FetchError::new(Cause::Io, text))
}
