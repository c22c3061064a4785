//! Finding out what a round wants to know, by the cheapest requests that tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
};

use dbfw_wire::digitalocean::{Droplet, Vpc};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::{
    Account,
    api::lock,
    facts::{Droplets, Facts, Listed, Missed},
    listing::Listing,
    lists::Asked,
    plan::{self, Count, Known, Want, Way},
    resource::Resource,
    session::Session,
};

/// The count in [`Known`] of one kind of thing.
type Part = fn(&mut Known) -> &mut Count;

/// The filter of the list that GPU droplets are in; the default list leaves them out.
pub(crate) const GPUS: (&str, &str) = ("type", "gpus");

impl Account {
    /// Finds out about things of one kind.
    pub(crate) async fn fetch<R: Resource>(
        &self,
        session: &Session<'_>,
        ids: &BTreeSet<R::Id>,
        count: Part,
    ) -> Facts<R> {
        let mut facts = Facts::default();
        if !ids.is_empty() {
            facts.list = self.list_if_cheaper(session, ids.len() as u64, count).await;
        }
        if facts.list.is_none() {
            self.singles(session, ids, &mut facts).await;
        }
        facts
    }

    /// Finds out about droplets and tags.
    pub(crate) async fn droplets(&self, session: &Session<'_>, want: &Want) -> Droplets {
        let each = want.each_droplet(&lock(&self.known));
        let gpus =
            async { if want.tags.is_empty() { None } else { Some(self.gpus(session).await) } };
        let rest = async {
            let mut droplets = Droplets::default();
            if each > 0 {
                let count: Part = |known| &mut known.droplets;
                droplets.facts.list = self.list_if_cheaper(session, each, count).await;
            }
            if droplets.facts.list.is_none() {
                let tags = self.each("tags", &want.tags, |tag| self.tag(session, tag));
                let singles = self.singles(session, &want.droplets, &mut droplets.facts);
                (droplets.tags, ()) = tokio::join!(tags, singles);
            }
            droplets
        };
        let (gpus, mut droplets) = tokio::join!(gpus, rest);
        droplets.gpus = gpus;
        self.gpus_if_needed(session, &mut droplets, &want.droplets).await;
        let mut known = lock(&self.known);
        for tag in &want.tags {
            if let Ok(tagged) = droplets.tagged(tag) {
                known.tags.insert(tag.clone(), tagged.droplets.len() as u64);
            }
        }
        droplets
    }

    /// Finds out about nodes' droplets, those that no answer told of yet.
    pub(crate) async fn nodes(
        &self,
        session: &Session<'_>,
        droplets: &mut Droplets,
        ids: &BTreeSet<u64>,
    ) {
        let missing: BTreeSet<u64> =
            ids.iter().copied().filter(|id| !droplets.knows(*id)).collect();
        if !missing.is_empty() {
            let count: Part = |known| &mut known.droplets;
            droplets.facts.list = self.list_if_cheaper(session, missing.len() as u64, count).await;
            if droplets.facts.list.is_none() {
                self.singles(session, &missing, &mut droplets.facts).await;
            }
        }
        self.gpus_if_needed(session, droplets, ids).await;
    }

    /// The VPC networks, for comparing addresses with them; at most once an hour.
    pub(crate) async fn networks(
        &self,
        session: Option<&Session<'_>>,
        facts: &Facts<Vpc>,
    ) -> Option<Arc<Listing<Vpc>>> {
        let now = Timestamp::now();
        if let Some(Ok(list)) = &facts.list {
            lock(&self.networks).set(list, now);
        }
        let due = lock(&self.networks).is_due(now);
        if let (true, Some(session)) = (due, session) {
            match session.whole_list::<Vpc>(None).await {
                Ok(list) => lock(&self.networks).set(&list, now),
                Err(_) => lock(&self.networks).put_off(now),
            }
        }
        lock(&self.networks).list.clone()
    }

    /// The whole list, if that costs less than `each` single requests.
    async fn list_if_cheaper<R: Resource>(
        &self,
        session: &Session<'_>,
        each: u64,
        count: Part,
    ) -> Listed<R> {
        let now = Timestamp::now();
        let most = u64::from(self.api.config.limits.per_minute) * 4 / 5;
        let way = plan::way(each, count(&mut lock(&self.known)).get(now), most);
        if way == Way::Each {
            return None;
        }
        let goes_on = |total| way == Way::List || plan::goes_on(each, total, most);
        let (total, listed) = match session.list::<R>(None, goes_on).await {
            Ok(Asked::Whole(list)) => (list.len(), Some(Ok(list))),
            Ok(Asked::Declined(total)) => (total, None),
            Err(missed) => return Some(Err(missed)),
        };
        count(&mut lock(&self.known)).set(total, now);
        listed
    }

    async fn singles<R: Resource>(
        &self,
        session: &Session<'_>,
        ids: &BTreeSet<R::Id>,
        facts: &mut Facts<R>,
    ) {
        facts.ones.extend(self.each(R::PATH, ids, |id| session.one::<R>(id)).await);
    }

    /// Asks for each, first for those that the last round did not come to.
    async fn each<'k, K: Ord + Clone + Display, T, F: Future<Output = Result<T, Missed>>>(
        &self,
        kind: &'static str,
        keys: &'k BTreeSet<K>,
        ask: impl Fn(&'k K) -> F,
    ) -> BTreeMap<K, Result<T, Missed>> {
        let order = lock(&self.cursor).order(kind, keys);
        let answers = join_all(order.iter().copied().map(ask)).await;
        lock(&self.cursor).came(kind, order.iter().zip(&answers));
        order.into_iter().cloned().zip(answers).collect()
    }

    async fn tag(&self, session: &Session<'_>, tag: &str) -> Result<Arc<Listing<Droplet>>, Missed> {
        session.whole_list(Some(("tag_name", tag))).await
    }

    async fn gpus(&self, session: &Session<'_>) -> Result<Arc<Listing<Droplet>>, Missed> {
        session.whole_list(Some(GPUS)).await
    }

    async fn gpus_if_needed(
        &self,
        session: &Session<'_>,
        droplets: &mut Droplets,
        ids: &BTreeSet<u64>,
    ) {
        if ids.iter().any(|id| droplets.needs_gpus(*id)) {
            droplets.gpus = Some(self.gpus(session).await);
        }
    }
}
