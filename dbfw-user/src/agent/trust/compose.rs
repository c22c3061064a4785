//! From the sources written anywhere to the rules before the guards, and to what workers are asked.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use dbfw_core::{
    answers::{Resolved, SourceState},
    source::{Origin, Rule, SourceKey, SourceType, TrustedSource},
    trust::{Candidate, Enforced, Guards, Limited, ListPart, OnEmpty, is_listed},
};
use dbfw_provider::worker::{Account, Demand};

use super::{Trust, with_provider};
use crate::config::{Config, DatabaseConfig};

impl Trust {
    /// The rules of a database before the guards.
    pub(super) fn compose(&self, config: &Config, database: &DatabaseConfig) -> Candidate {
        let mut candidate = Candidate::default();
        for source in &database.trusted_sources {
            self.add(&mut candidate, config, database, Arc::new(source.clone()), Origin::Config);
        }
        if database.provider.is_some() {
            candidate.list = self.add_list(&mut candidate, config, database);
        }
        for local in self.local.all().iter().filter(|local| local.database == database.name) {
            self.add(
                &mut candidate,
                config,
                database,
                Arc::new(local.source.clone()),
                Origin::Local,
            );
        }
        candidate
    }

    fn add_list(
        &self,
        candidate: &mut Candidate,
        config: &Config,
        database: &DatabaseConfig,
    ) -> ListPart {
        let now = self.now();
        let list = self.lists.get(&database.name);
        let Some((list, answer)) = list.and_then(|list| Some((list, list.answer()?))) else {
            return ListPart::Unread;
        };
        let origin = list.origin();
        if list.is_lapsed(config.agent.max_stale, now) {
            let enforced = self.enforced(&database.name).into_iter();
            let rules = enforced.flat_map(Enforced::guarded).filter(|rule| is_listed(rule));
            candidate.lapsed.extend(rules.flat_map(|rule| rule.prefixes.iter().copied()));
            return ListPart::Lapsed;
        }
        if list.is_gone() {
            return ListPart::Gone(list.gone_at().unwrap_or(now));
        }
        let read_at = list.read_at().unwrap_or(now);
        if answer.is_empty() {
            if database.on_empty == OnEmpty::Open {
                candidate.guarded.push(Rule::everybody(list.name()));
            }
            return ListPart::Empty(read_at);
        }
        if !answer.plain.is_empty() {
            candidate.guarded.push(Rule::plain_lines(origin.clone(), answer.plain.clone()));
        }
        for source in &answer.sources {
            self.add(candidate, config, database, Arc::clone(source), origin.clone());
        }
        if list.edition().is_some() {
            let guards = database.guards(config.server.as_ref());
            for rule in candidate.guarded.iter_mut().filter(|rule| rule.origin == origin) {
                rule.prefixes = guards.limit(&rule.prefixes).kept;
            }
        }
        ListPart::Read(read_at)
    }

    fn add(
        &self,
        candidate: &mut Candidate,
        config: &Config,
        database: &DatabaseConfig,
        source: Arc<TrustedSource>,
        origin: Origin,
    ) {
        if self.clock.has_ended(&database.name, &origin, &source) {
            return;
        }
        if let Some(prefixes) = source.key().prefixes().cloned() {
            let target = match origin {
                Origin::Provider(_) => &mut candidate.guarded,
                Origin::Config | Origin::Local => &mut candidate.plain,
            };
            return target.push(Rule::of_source(source, origin, prefixes));
        }
        if let Some(resolved) = self.resolved(&database.name, &origin, source.key()) {
            candidate.unanswered |= resolved.state == SourceState::Unresolvable;
            let prefixes = resolved.prefixes.clone();
            return candidate.guarded.push(Rule::of_source(source, origin, prefixes));
        }
        let resolution = self.answers.resolution(source.key());
        if source.expires_at.is_none_or(|at| at > self.now()) {
            candidate.pending |= !resolution.known && can_resolve(config, source.kind());
            candidate.unanswered |= resolution.never_answered;
        }
        candidate.lapsed.extend(resolution.lapsed.iter().copied());
        candidate.guarded.push(Rule::of_source(source, origin, resolution.prefixes));
    }

    /// A control plane's answer for a source of a database's list. A source of the same
    /// name that is written elsewhere is another's: this host resolves it.
    pub(super) fn resolved(
        &self,
        database: &str,
        origin: &Origin,
        key: &SourceKey,
    ) -> Option<&Resolved> {
        let list = self.lists.get(database)?;
        let edition = list.edition()?;
        if *origin == list.origin() { edition.resolved.get(key) } else { None }
    }

    /// The part of a rule that the host's own limits keep a control plane from granting.
    pub(super) fn limited(&self, guards: &Guards, source: &TrustedSource) -> Option<Limited> {
        let edition = self.lists.get(&guards.database)?.edition()?;
        let offered = match (source.key().prefixes(), edition.resolved.get(source.key())) {
            (Some(prefixes), _) => prefixes.clone(),
            (None, Some(resolved)) => resolved.prefixes.clone(),
            (None, None) => self.answers.resolution(source.key()).prefixes,
        };
        let limited = guards.limit(&offered);
        (limited.left_out() > 0).then_some(limited)
    }

    /// The sources of a database that this host reads or resolves itself: in the configuration, in
    /// its list, and added by hand.
    pub(super) fn sources<'a>(
        &'a self,
        database: &'a DatabaseConfig,
    ) -> impl Iterator<Item = &'a TrustedSource> {
        let list = self.lists.get(&database.name).into_iter();
        let listed = list.flat_map(|list| {
            let resolved = list.edition().map(|edition| &edition.resolved);
            let sources = list.sources().iter().map(|source| &**source);
            sources.filter(move |source| {
                !resolved.is_some_and(|resolved| resolved.contains_key(source.key()))
            })
        });
        let local = self.local.all().iter().filter(|local| local.database == database.name);
        database.trusted_sources.iter().chain(listed).chain(local.map(|local| &local.source))
    }

    /// The sources of all databases that have not expired.
    pub(super) fn unexpired_sources<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = &'a TrustedSource> {
        let now = self.now();
        let sources = config.databases.iter().flat_map(|database| self.sources(database));
        sources.filter(move |source| source.expires_at.is_none_or(|at| at > now))
    }

    /// The demand on each account. Answers that nobody asks for any more are forgotten.
    pub(in crate::agent) fn follow_demand(&mut self, config: &Config) -> BTreeMap<Account, Demand> {
        let mut demands: BTreeMap<Account, Demand> = BTreeMap::new();
        if config.digitalocean.is_some() {
            // Without anything to resolve as well: `dbfw suggest` asks for its inventory.
            demands.entry(Account::DigitalOcean).or_default();
        }
        for (_, list) in with_provider(config) {
            demands.entry(Account::listing(list)).or_default().lists.insert(list.clone());
        }
        for source in self.unexpired_sources(config) {
            let account = match Account::resolving(source.kind()) {
                Some(account) => account,
                None if config.digitalocean.is_some() && may_be_a_network(source) => {
                    Account::DigitalOcean
                }
                None => continue,
            };
            demands.entry(account).or_default().sources.insert(source.key().clone());
        }
        let wanted = demands.values().flat_map(|demand| demand.sources.iter().cloned());
        self.answers.retain(&wanted.collect());
        demands
    }

    /// The databases whose trusted sources depend on an account.
    pub(super) fn databases_of(&self, config: &Config, account: Account) -> Vec<String> {
        let is_resolved =
            |source: &TrustedSource| Account::resolving(source.kind()) == Some(account);
        let concerns = |database: &&DatabaseConfig| {
            database.provider.as_ref().map(Account::listing) == Some(account)
                || self.sources(database).any(is_resolved)
        };
        config.databases.iter().filter(concerns).map(|database| database.name.clone()).collect()
    }
}

/// Whether the configuration has what sources of this type are resolved with.
pub(in crate::agent) fn can_resolve(config: &Config, kind: SourceType) -> bool {
    Account::resolving(kind) != Some(Account::DigitalOcean) || config.digitalocean.is_some()
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
