//! From lists and resolutions to what would be in force, and what has to be asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    enforced::{Candidate, ListPart},
    lists::List,
    state::{Agent, with_provider},
};
use crate::{
    config::{DatabaseConfig, OnEmpty},
    provider::worker::{Account, Demand},
    source::{Origin, Rule, SourceKey, SourceType, TrustedSource},
};

impl Agent {
    /// The rules of a database before the guards.
    pub(super) fn compose(&self, database: &DatabaseConfig, now: Timestamp) -> Candidate {
        let mut candidate = Candidate::default();
        for source in &database.trusted_sources {
            self.add(&mut candidate, database, Arc::new(source.clone()), Origin::Config, now);
        }
        if database.provider.is_some() {
            candidate.list = self.add_list(&mut candidate, database, now);
        }
        for local in self.local.all().iter().filter(|local| local.database == database.name) {
            self.add(&mut candidate, database, Arc::new(local.source.clone()), Origin::Local, now);
        }
        candidate
    }

    fn add_list(
        &self,
        candidate: &mut Candidate,
        database: &DatabaseConfig,
        now: Timestamp,
    ) -> ListPart {
        let list = self.lists.get(&database.name);
        let Some((list, answer)) = list.and_then(|list| Some((list, list.answer()?))) else {
            return ListPart::Unread;
        };
        let origin = Origin::Provider(Arc::clone(&list.provider));
        if list.is_lapsed(self.config.agent.max_stale, now) {
            let listed = self.enforced.get(&database.name);
            let rules = listed.into_iter().flat_map(|enforced| enforced.guarded());
            let rules = rules.filter(|rule| matches!(rule.origin, Origin::Provider(_)));
            candidate.lapsed.extend(rules.flat_map(|rule| rule.prefixes.iter().copied()));
            return ListPart::Lapsed;
        }
        if list.is_gone {
            return ListPart::Gone;
        }
        let read_at = list.read_at.unwrap_or(now);
        if answer.is_empty() {
            if database.on_empty == OnEmpty::Open {
                candidate.guarded.push(Rule::everybody(Arc::clone(&list.provider)));
            }
            return ListPart::Empty(read_at);
        }
        if !answer.plain.is_empty() {
            candidate.guarded.push(Rule::plain_lines(origin.clone(), Arc::clone(&answer.plain)));
        }
        for source in &answer.sources {
            self.add(candidate, database, Arc::clone(source), origin.clone(), now);
        }
        ListPart::Read(read_at)
    }

    fn add(
        &self,
        candidate: &mut Candidate,
        database: &DatabaseConfig,
        source: Arc<TrustedSource>,
        origin: Origin,
        now: Timestamp,
    ) {
        if self.expiry.has_ended(&database.name, &origin, &source) {
            return;
        }
        if let Some(prefixes) = source.key().prefixes().map(Arc::clone) {
            let target = match origin {
                Origin::Provider(_) => &mut candidate.guarded,
                Origin::Config | Origin::Local => &mut candidate.plain,
            };
            return target.push(Rule::of_source(source, origin, prefixes));
        }
        let resolution = self.cache.resolution(source.key());
        if source.expires_at.is_none_or(|at| at > now) {
            candidate.pending |= !resolution.known && self.can_ask(source.kind());
            candidate.unanswered |= resolution.never_answered;
        }
        candidate.lapsed.extend(resolution.lapsed.iter().copied());
        candidate.guarded.push(Rule::of_source(source, origin, resolution.prefixes));
    }

    /// Every source that is written anywhere and not expired.
    pub(super) fn written(&self, now: Timestamp) -> impl Iterator<Item = &TrustedSource> {
        let databases = &self.config.databases;
        let config = databases.iter().flat_map(|database| &database.trusted_sources);
        let listed = self.lists.values().flat_map(List::sources);
        let local = self.local.all().iter().map(|local| &local.source);
        let live = move |source: &&TrustedSource| source.expires_at.is_none_or(|at| at > now);
        config.chain(listed.map(|source| &**source)).chain(local).filter(live)
    }

    /// Whether there is somebody to ask for sources of this type.
    pub(super) fn can_ask(&self, kind: SourceType) -> bool {
        Account::resolving(kind) != Some(Account::DigitalOcean)
            || self.config.digitalocean.is_some()
    }

    /// The demand on each account.
    pub(super) fn demands(&self, now: Timestamp) -> BTreeMap<Account, Demand> {
        let mut demands: BTreeMap<Account, Demand> = BTreeMap::new();
        if self.config.digitalocean.is_some() {
            // Also with nothing to resolve: what it holds is asked for by `dbfw suggest`.
            demands.entry(Account::DigitalOcean).or_default();
        }
        for (_, list) in with_provider(&self.config) {
            demands.entry(Account::listing(list)).or_default().lists.insert(list.clone());
        }
        for source in self.written(now) {
            let account = match Account::resolving(source.kind()) {
                Some(account) => account,
                None if self.config.digitalocean.is_some() && may_be_a_network(source) => {
                    Account::DigitalOcean
                }
                None => continue,
            };
            demands.entry(account).or_default().sources.insert(source.key().clone());
        }
        demands
    }

    /// Asks for what is wanted now, and forgets what is not.
    pub(super) fn follow_demand(&mut self) {
        let now = self.expiry.now();
        let demands = self.demands(now);
        let wanted: BTreeSet<SourceKey> =
            demands.values().flat_map(|demand| demand.sources.iter().cloned()).collect();
        self.cache.retain(&wanted);
        self.workers.follow(&self.config, &demands);
    }

    /// The databases whose trusted sources depend on an account.
    pub(super) fn databases_of(&self, account: Account) -> Vec<String> {
        let asks = |list: &List| {
            let mut kinds = list.sources().iter().map(|source| source.kind());
            kinds.any(|kind| Account::resolving(kind) == Some(account))
        };
        let concerns = |database: &&DatabaseConfig| {
            let provider = database.provider.as_ref().map(Account::listing);
            let mut written = database.trusted_sources.iter();
            let mut local = self.local.all().iter().filter(|l| l.database == database.name);
            provider == Some(account)
                || written.any(|source| Account::resolving(source.kind()) == Some(account))
                || local.any(|local| Account::resolving(local.source.kind()) == Some(account))
                || self.lists.get(&database.name).is_some_and(asks)
        };
        self.config.databases.iter().filter(concerns).map(|d| d.name.clone()).collect()
    }
}

/// Whether an address could be a private network's, typed without its mask.
fn may_be_a_network(source: &TrustedSource) -> bool {
    match source.key().prefixes().map(|prefixes| &**prefixes) {
        Some([prefix]) if prefix.is_host() => {
            matches!(prefix.addr(), IpAddr::V4(v4) if v4.is_private() && v4.octets()[3] == 0)
        }
        _ => false,
    }
}
