//! Facts about the account that a round learned, whichever request told.

use std::{collections::BTreeMap, sync::Arc};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::digitalocean::Droplet;

use super::{
    listing::{Fetched, Listing, combined},
    resource::Resource,
};

/// No answer to use.
#[derive(Clone, Debug)]
pub(crate) enum Missed {
    /// The provider says that there is no such thing, in words that name the request.
    Gone(String),
    /// There is no answer, or it is none.
    Failed(FetchError),
}

/// A thing that was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sighting<'a, R> {
    /// It, or why not.
    pub(crate) found: Result<&'a R, Missed>,
    /// The request that told: "GET /v2/droplets/123".
    pub(crate) from: String,
    /// Equal for equal answers.
    pub(crate) print: u128,
}

/// A whole list, if it was asked for.
pub(crate) type Listed<R> = Option<Result<Arc<Listing<R>>, Missed>>;

/// The result of asking for one thing.
pub(crate) type One<R> = Result<Arc<Fetched<<R as Resource>::One>>, Missed>;

/// The facts about things of one kind.
#[derive(Debug)]
pub(crate) struct Facts<R: Resource> {
    /// All of them.
    pub(crate) list: Listed<R>,
    /// Those that were asked for one by one.
    pub(crate) ones: BTreeMap<R::Id, One<R>>,
}

/// The facts about droplets.
#[derive(Debug, Default)]
pub(crate) struct Droplets {
    /// Those that lists show by default, and single ones of any kind.
    pub(crate) facts: Facts<Droplet>,
    /// Those with GPUs.
    pub(crate) gpus: Listed<Droplet>,
    /// Those with a tag, GPU droplets left out.
    pub(crate) tags: BTreeMap<String, Result<Arc<Listing<Droplet>>, Missed>>,
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
    /// Equal for equal answers; `None` if something was not answered.
    pub(crate) print: Option<u128>,
}

impl<R: Resource> Default for Facts<R> {
    fn default() -> Self {
        Self { list: None, ones: BTreeMap::new() }
    }
}

impl Missed {
    /// The same, in words that begin with the provider.
    pub(super) fn of_digitalocean(self) -> Self {
        let named = |message: String| format!("DigitalOcean: {message}");
        match self {
            Self::Gone(message) => Self::Gone(named(message)),
            Self::Failed(error) => {
                Self::Failed(FetchError { message: named(error.message), ..error })
            }
        }
    }

    /// As a failure: of what cannot be gone, such as a list.
    pub(crate) fn into_error(self) -> FetchError {
        match self {
            Self::Gone(message) => FetchError::new(Cause::NotFound, message),
            Self::Failed(error) => error,
        }
    }
}

impl<R> Sighting<'_, R> {
    /// The mark of the answer that has it.
    pub(crate) fn mark(&self) -> Option<u128> {
        self.found.is_ok().then_some(self.print)
    }
}

impl<R: Resource> Facts<R> {
    /// The facts about one thing: a whole list without it says that it is gone.
    pub(crate) fn find(&self, id: &R::Id) -> Sighting<'_, R> {
        if let Some(one) = self.ones.get(id) {
            return Sighting {
                found: one.as_ref().map(|one| R::one(&one.value)).map_err(Clone::clone),
                from: format!("GET {}/{id}", R::PATH),
                print: one.as_ref().map_or(0, |one| one.print),
            };
        }
        let (found, print) = match &self.list {
            Some(Ok(list)) => {
                let gone = || Missed::Gone(not_listed::<R>(&[&list.from], id));
                (list.get(id).ok_or_else(gone), list.print)
            }
            Some(Err(missed)) => (Err(Missed::Failed(missed.clone().into_error())), 0),
            None => (Err(Missed::Failed(not_asked::<R>(id))), 0),
        };
        Sighting { found, from: format!("GET {}", R::PATH), print }
    }
}

impl Droplets {
    /// Whether only the list of GPU droplets can tell whether this one exists.
    pub(crate) fn needs_gpus(&self, id: u64) -> bool {
        let unlisted = |list: &Arc<Listing<Droplet>>| list.get(&id).is_none();
        self.gpus.is_none()
            && !self.facts.ones.contains_key(&id)
            && matches!(&self.facts.list, Some(Ok(list)) if unlisted(list))
    }

    /// Whether any answer has, or rules out, this droplet.
    pub(crate) fn knows(&self, id: u64) -> bool {
        self.facts.list.is_some()
            || self.facts.ones.contains_key(&id)
            || self.listings().any(|list| list.get(&id).is_some())
    }

    /// The facts about one droplet.
    pub(crate) fn find(&self, id: u64) -> Sighting<'_, Droplet> {
        let sighting = self.facts.find(&id);
        if sighting.found.is_ok() || self.facts.ones.contains_key(&id) {
            return sighting;
        }
        for list in self.listings() {
            if let Some(droplet) = list.get(&id) {
                let (from, print) = (list.from.clone(), list.print);
                return Sighting { found: Ok(droplet), from, print };
            }
        }
        // Absent is only what both lists lack.
        let (Some(Ok(list)), Err(Missed::Gone(_))) = (&self.facts.list, &sighting.found) else {
            return sighting;
        };
        let missed = match &self.gpus {
            Some(Ok(gpus)) => Missed::Gone(not_listed::<Droplet>(&[&list.from, &gpus.from], &id)),
            Some(Err(missed)) => Missed::Failed(missed.clone().into_error()),
            None => Missed::Failed(not_asked::<Droplet>(&id)),
        };
        Sighting { found: Err(missed), ..sighting }
    }

    /// The mark of everything that tells of these droplets, and of `print`; `None` if one of
    /// them was not found.
    pub(crate) fn mark(&self, print: u128, ids: &[u64]) -> Option<u128> {
        let marks: Option<Vec<u128>> = ids.iter().map(|id| self.find(*id).mark()).collect();
        Some(combined(marks?.into_iter().chain([print])))
    }

    /// The droplets with a tag.
    pub(crate) fn tagged(&self, tag: &str) -> Result<Tagged<'_>, Missed> {
        let (droplets, list): (Vec<_>, _) = match (self.tags.get(tag), &self.facts.list) {
            (Some(Ok(list)), _) => (list.iter().collect(), list),
            (None, Some(Ok(list))) => (list.tagged(tag).collect(), list),
            (Some(Err(missed)), _) => return Err(missed.clone()),
            (None, Some(Err(missed))) => return Err(Missed::Failed(missed.clone().into_error())),
            (None, None) => return Err(Missed::Failed(not_asked_tag(tag))),
        };
        let (from, print, gpus) = match &self.gpus {
            Some(Ok(gpus)) => {
                let others = gpus.tagged(tag).filter(|droplet| list.get(&droplet.id).is_none());
                let from = format!("{}, {}", list.from, gpus.from);
                (from, Some(combined([list.print, gpus.print])), Ok(others.collect()))
            }
            Some(Err(missed)) => (list.from.clone(), None, Err(missed.clone().into_error())),
            None => (list.from.clone(), None, Err(not_asked_tag(tag))),
        };
        Ok(Tagged { droplets, gpus, from, print })
    }

    fn listings(&self) -> impl Iterator<Item = &Arc<Listing<Droplet>>> {
        let gpus = self.gpus.iter().filter_map(|list| list.as_ref().ok());
        gpus.chain(self.tags.values().filter_map(|list| list.as_ref().ok()))
    }
}

fn not_listed<R: Resource>(lists: &[&str], id: &R::Id) -> String {
    format!("DigitalOcean: there is no {} {id} in {}", R::NOUN, lists.join(" and "))
}

fn not_asked<R: Resource>(id: &R::Id) -> FetchError {
    let noun = R::NOUN;
    FetchError::new(
        Cause::Io,
        format!("DigitalOcean: {noun} {id} was not asked for: it is in the next round"),
    )
}

fn not_asked_tag(tag: &str) -> FetchError {
    FetchError::new(
        Cause::Io,
        format!("DigitalOcean: the tag {tag:?} was not asked for: it is in the next round"),
    )
}
