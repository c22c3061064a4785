//! States of the trusted sources, for `dbfw status`, `dbfw sources` and the metrics.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dbfw_core::{
    answers::{Cause, FetchError, Resolved, SourceReport, SourceState as State},
    source::{Origin, Rule, SourceKey, TrustedSource},
    trust::{Enforced, Limited, List, Refused, is_listed},
};
use dbfw_provider::worker::Account;
use dbfw_wire::control::{DatabaseStatus, ListState, ProviderStatus, RefusedPlan, UnconfirmedPlan};
use jiff::Timestamp;

use super::{Trust, can_resolve, with_provider};
use crate::{
    config::{Config, DatabaseConfig},
    metrics::SourceScrape,
};

/// Prefixes of a refused plan that are named.
const MAX_SHOWN: usize = 20;

impl Trust {
    /// The report about a source; of an address it has notes alone.
    pub(in crate::agent) fn report(&self, config: &Config, key: &SourceKey) -> SourceReport {
        if !can_resolve(config, key.kind()) {
            let error = "write [digitalocean] with a token_file in the configuration";
            return SourceReport {
                state: State::Unresolvable,
                error: Some(FetchError::new(Cause::Unauthorized, error)),
                ..SourceReport::default()
            };
        }
        self.answers.state(key)
    }

    /// The report about a rule of a database, with what the host's own limits keep out of it.
    pub(in crate::agent) fn report_of(
        &self,
        config: &Config,
        database: &str,
        rule: &Rule,
    ) -> SourceReport {
        let Some(source) = rule.source() else { return SourceReport::default() };
        let resolved = self.resolved(database, &rule.origin, source.key());
        let mut report = match resolved {
            Some(resolved) => self.resolved_report(database, &rule.origin, resolved),
            None => self.report(config, source.key()),
        };
        let mut databases = config.databases.iter();
        if let Some(database) = databases.find(|known| known.name == database)
            && is_listed(rule)
            && let Some(limited) = self.limited(&database.guards(config.server.as_ref()), source)
        {
            report.notes.extend(limited.message());
        }
        report
    }

    /// The report about a source that a control plane resolved: one that is current is as of when
    /// its list was last confirmed.
    fn resolved_report(
        &self,
        database: &str,
        origin: &Origin,
        resolved: &Resolved,
    ) -> SourceReport {
        let report = resolved.report(&origin.to_string());
        let is_current = resolved.state == State::Ok && resolved.at.is_none();
        let list = self.lists.get(database).filter(|_| is_current);
        let confirmed_at = list.and_then(List::read_at);
        SourceReport { answered_at: report.answered_at.or(confirmed_at), ..report }
    }

    /// The number of sources of a database's list that the host's own limits keep out, wholly or in
    /// part.
    pub(in crate::agent) fn left_out(&self, config: &Config, database: &DatabaseConfig) -> usize {
        let list = self.lists.get(&database.name).filter(|list| list.edition().is_some());
        let guards = database.guards(config.server.as_ref());
        let limited = |source: &&Arc<TrustedSource>| self.limited(&guards, source).is_some();
        list.map_or(&[][..], List::sources).iter().filter(limited).count()
    }

    /// Facts to report to a control plane about its list of a database: the edition that was
    /// judged, and the sources that the host's own limits keep out, `most` of them in full.
    pub(in crate::agent) fn judged(
        &self,
        config: &Config,
        database: &DatabaseConfig,
        most: usize,
    ) -> Option<Judged> {
        let list = self.lists.get(&database.name)?;
        // One from the snapshot does not say which it is.
        let edition = list.edition().filter(|edition| edition.epoch > 0)?;
        let guards = database.guards(config.server.as_ref());
        let mut left_out = Vec::new();
        let mut total = 0;
        for source in list.sources() {
            let Some(limited) = self.limited(&guards, source) else { continue };
            total += 1;
            if left_out.len() < most {
                left_out.push((source.key().clone(), limited));
            }
        }
        Some(Judged { epoch: edition.epoch, revision: edition.revision, left_out, total })
    }

    /// The problems of a database's sources, in words. `rules` are those in the maps.
    pub(in crate::agent) fn problems(
        &self,
        config: &Config,
        database: &DatabaseConfig,
        rules: &[Rule],
    ) -> Vec<String> {
        let name = &database.name;
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.list_problem(name).map(|problem| format!("{name}: {problem}")));
        let counts = self.counts(database, rules);
        if counts.stale + counts.unresolved > 0 {
            let told = |count: usize, what: &str| {
                let noun = if count == 1 { "source" } else { "sources" };
                (count > 0).then(|| format!("{count} {noun} {what}"))
            };
            let parts: Vec<String> = [
                told(counts.stale, "could not be confirmed"),
                told(counts.unresolved, "without an address"),
            ]
            .into_iter()
            .flatten()
            .collect();
            problems
                .push(format!("{name}: {}: dbfw sources shows which and why", parts.join(", ")));
        }
        let left_out = self.left_out(config, database);
        if left_out > 0 {
            let noun = if left_out == 1 { "source" } else { "sources" };
            problems.push(format!(
                "{name}: {left_out} {noun} of the list beyond this host's own limits: dbfw sources \
                 shows which and why"
            ));
        }
        if let Some(list) = self.lists.get(name) {
            problems.extend(
                list.answer()
                    .into_iter()
                    .flat_map(|list| &list.problems)
                    .map(|problem| format!("{name}: {problem}")),
            );
        }
        problems
    }

    /// The sources of a database by state. `rules` are those in the maps.
    pub(in crate::agent) fn counts(
        &self,
        database: &DatabaseConfig,
        rules: &[Rule],
    ) -> SourceScrape {
        let mut counts = SourceScrape {
            database: database.name.clone(),
            refused: self.enforced(&database.name).is_some_and(|e| e.refused().is_some()),
            ..SourceScrape::default()
        };
        let sources = rules.iter().filter_map(|rule| Some((rule, rule.source()?)));
        let has_to_be_asked = |(_, source): &(&Rule, &Arc<TrustedSource>)| {
            Account::resolving(source.kind()).is_some()
        };
        for (rule, source) in sources.filter(has_to_be_asked) {
            let resolved = self.resolved(&database.name, &rule.origin, source.key());
            let state = match resolved {
                Some(resolved) => resolved.report(""),
                None => self.answers.state(source.key()),
            };
            match state.state {
                State::Stale | State::Gone | State::Expired => counts.stale += 1,
                State::Unresolvable => counts.unresolved += 1,
                State::Pending | State::Ok => {}
            }
            counts.oldest = counts.oldest.max(state.answered_at.map(age));
        }
        // A file is watched all the time: its age says nothing.
        let is_asked =
            database.provider.as_ref().is_some_and(|list| Account::listing(list) != Account::Files);
        let list = self.lists.get(&database.name).filter(|_| is_asked);
        counts.oldest = counts.oldest.max(list.and_then(List::read_at).map(age));
        counts
    }

    /// Fills in the states of a database's sources. `rules` are those in the maps.
    pub(in crate::agent) fn fill_status(
        &self,
        status: &mut DatabaseStatus,
        database: &DatabaseConfig,
        rules: &[Rule],
    ) {
        let counts = self.counts(database, rules);
        status.stale_sources = counts.stale;
        status.unresolved_sources = counts.unresolved;
        status.oldest_age_seconds = counts.oldest.map(|age| age.as_secs());
        status.provider = self.provider_status(database);
        let refused = self.enforced(&database.name).and_then(Enforced::refused);
        status.refused = refused.map(refused_plan);
    }

    fn provider_status(&self, database: &DatabaseConfig) -> Option<ProviderStatus> {
        let name = database.provider.as_ref()?.to_string();
        let list = self.lists.get(&database.name);
        let enforced = self.enforced(&database.name);
        let last_success = enforced.and_then(Enforced::accepted_at);
        let is_in_force = enforced.is_some_and(|e| e.guarded().iter().any(is_listed));
        let state = if enforced.is_some_and(|enforced| enforced.refused().is_some()) {
            ListState::Refused
        } else if last_success.is_none() && !is_in_force {
            ListState::Never
        } else if list.is_none_or(|list| list.error().is_some() || list.is_restored())
            || last_success.is_none()
        {
            ListState::Stale
        } else {
            ListState::Ok
        };
        Some(ProviderStatus {
            name,
            state,
            last_success,
            age_seconds: last_success.map(|at| age(at).as_secs()),
            error: self.list_problem(&database.name),
        })
    }

    /// The error of an account that answered nothing of what it was asked.
    pub(in crate::agent) fn account_error(
        &self,
        config: &Config,
        account: Account,
    ) -> Option<String> {
        let sources = self.unexpired_sources(config);
        let asked = sources.filter(|source| Account::resolving(source.kind()) == Some(account));
        let lists = with_provider(config)
            .filter(|(_, provider)| Account::listing(provider) == account)
            .filter_map(|(database, _)| self.lists.get(&database.name));
        let of_lists = lists.map(|list| list.error().map(|(_, error)| error.clone()));
        let of_sources = asked.map(|source| self.answers.problem(source.key()));
        let mut errors: Vec<Option<String>> = of_lists.chain(of_sources).collect();
        if errors.iter().any(Option::is_none) { None } else { errors.pop().flatten() }
    }

    /// The refused changes, one text a database.
    pub(in crate::agent) fn refusals(&self) -> Vec<String> {
        let refused =
            self.enforced.iter().filter_map(|(name, enforced)| Some((name, enforced.refused()?)));
        refused
            .map(|(name, refused)| {
                format!("{name} ({}): {}", refused.guard().as_str(), refused.message())
            })
            .collect()
    }

    /// The errors of lists, one text a database.
    pub(in crate::agent) fn list_errors(&self) -> Vec<String> {
        let error = |(name, list): (&String, &List)| {
            let error = || list.error().map(|(_, error)| error.clone());
            Some(format!("{name}: {}", self.unread(name).or_else(error)?))
        };
        self.lists.iter().filter_map(error).collect()
    }

    /// The lists that could not be read, each with its database.
    pub(in crate::agent) fn failed_lists(&self) -> Vec<String> {
        let failed = self
            .lists
            .iter()
            .filter(|(database, list)| list.error().is_some() || self.unread(database).is_some());
        failed.map(|(database, list)| format!("{database} ({})", list.name())).collect()
    }

    /// The ids of the refused changes that can be confirmed: not by a guard that only the
    /// configuration satisfies, and not while the list cannot be read.
    pub(in crate::agent) fn confirmable(&self) -> Vec<String> {
        let id = |(database, enforced): (&String, &Enforced)| {
            let refused = enforced.refused()?;
            let can_be = refused.guard().can_be_confirmed() && self.unread(database).is_none();
            can_be.then(|| refused.id().to_owned())
        };
        self.enforced.iter().filter_map(id).collect()
    }

    /// The plans among those named that are refused still, because the list could not be read.
    pub(in crate::agent) fn unconfirmed(&self, named: &BTreeSet<String>) -> Vec<UnconfirmedPlan> {
        let plan = |(database, enforced): (&String, &Enforced)| {
            let refused = enforced.refused().filter(|refused| named.contains(refused.id()))?;
            let message = format!(
                "the list could not be read, and may say something else by now ({}); fix it, and \
                 dbfw status shows what is refused then",
                self.unread(database)?
            );
            Some(UnconfirmedPlan {
                id: refused.id().to_owned(),
                database: database.clone(),
                message,
            })
        };
        self.enforced.iter().filter_map(plan).collect()
    }

    /// The sources that have no answer yet.
    pub(in crate::agent) fn unanswered(&self, config: &Config) -> Vec<String> {
        let pending: BTreeSet<String> = self
            .unexpired_sources(config)
            .filter(|source| Account::resolving(source.kind()).is_some())
            .filter(|source| !self.answers.resolution(source.key()).known)
            .map(ToString::to_string)
            .collect();
        pending.into_iter().collect()
    }
}

/// The state of a control plane's list.
#[derive(Debug)]
pub(in crate::agent) struct Judged {
    pub(in crate::agent) epoch: u64,
    pub(in crate::agent) revision: u64,
    /// The sources that the host's own limits keep out, wholly or in part; the first of them.
    pub(in crate::agent) left_out: Vec<(SourceKey, Limited)>,
    /// The number of all such sources.
    pub(in crate::agent) total: usize,
}

/// A refused plan, without the connections that it would cut.
fn refused_plan(refused: &Refused) -> RefusedPlan {
    RefusedPlan {
        id: refused.id().to_owned(),
        guard: refused.guard().into(),
        message: refused.message(),
        lost: refused.lost().iter().take(MAX_SHOWN).map(ToString::to_string).collect(),
        lost_total: refused.lost().len(),
        gained: refused.gained().iter().take(MAX_SHOWN).map(ToString::to_string).collect(),
        gained_total: refused.gained().len(),
        connections: Vec::new(),
        connections_total: 0,
        connections_error: None,
        command: refused.command(),
    }
}

fn age(at: Timestamp) -> Duration {
    Timestamp::now().duration_since(at).try_into().unwrap_or_default()
}
