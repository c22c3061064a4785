//! What of one database's trusted sources is in force, and the guards a change has to pass.
//!
//! What the operator wrote as an address counts at once. What a provider or a resolver says
//! is guarded: it counts as a whole or not at all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    config::{DatabaseConfig, OnEmpty},
    policy::{Guard, Refusal, check_shrink, check_width},
    source::{Origin, Prefix, Rule, SourceType, TrustedSource},
};

/// How long a source that was never asked for keeps everything else from being taken away:
/// what it stands for may be what is being taken away.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rules of one database.
#[derive(Clone, Debug, Default)]
pub(super) struct Enforced {
    /// Addresses from the configuration and from `dbfw trust`.
    plain: Vec<Rule>,
    /// The provider's rules and whatever had to be resolved.
    guarded: Vec<Rule>,
    /// When a list of the provider was last let through.
    pub(super) accepted_at: Option<Timestamp>,
    /// What a guard keeps out.
    pub(super) refused: Option<Refused>,
    waiting_since: Option<Timestamp>,
}

/// What would be in force if no guard minded.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate {
    pub(super) plain: Vec<Rule>,
    pub(super) guarded: Vec<Rule>,
    /// What the provider's list has to say.
    pub(super) list: ListPart,
    /// Sources nobody has asked for yet.
    pub(super) pending: bool,
    /// Sources that were asked for and never answered.
    pub(super) unanswered: bool,
    /// Prefixes that only `max_stale` takes away.
    pub(super) lapsed: Vec<Prefix>,
}

/// The part of the provider's list in a [`Candidate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ListPart {
    /// There is no provider.
    #[default]
    None,
    /// Nothing was ever read: what is in force stays.
    Unread,
    /// It was confirmed at this moment.
    Read(Timestamp),
    /// It was confirmed at this moment and is empty.
    Empty(Timestamp),
    /// The provider says that it does not exist any more.
    Gone,
    /// It is older than `max_stale`.
    Lapsed,
}

/// A change that a guard refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Eight hexadecimal digits of the change's content: who confirms it names it.
    pub(super) id: String,
    /// The guard.
    pub(super) guard: Guard,
    /// Why, and how to let it through.
    pub(super) message: String,
    /// The prefixes it would take away.
    pub(super) lost: Vec<Prefix>,
    /// What would be trusted instead.
    pub(super) kept: Arc<[Prefix]>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is in force from now on, and it differs from before.
    Accepted {
        /// A human had to say so: the id of the plan.
        confirmed: Option<String>,
    },
    /// It is what is in force already.
    Unchanged,
    /// A guard refused it; whether for the first time.
    Refused {
        /// The guard.
        guard: Guard,
        /// It is another change than the one refused before.
        new: bool,
    },
}

impl Enforced {
    /// As an earlier run left it.
    pub(super) fn restore(guarded: Vec<Rule>, accepted_at: Option<Timestamp>) -> Self {
        Self { guarded, accepted_at, ..Self::default() }
    }

    /// What an earlier agent left in the maps, where neither list nor snapshot can be read:
    /// nothing enforced is lost by that.
    pub(super) fn adopt(origin: &Origin, prefixes: Vec<Prefix>) -> Self {
        let rule = |prefix: Prefix| Rule {
            source: Arc::new(TrustedSource {
                kind: SourceType::IpAddr,
                value: prefix.to_string(),
                description: Some(ADOPTED.to_owned()),
                expires_at: None,
            }),
            origin: origin.clone(),
            prefixes: [prefix].into(),
        };
        Self { guarded: prefixes.into_iter().map(rule).collect(), ..Self::default() }
    }

    /// Every rule in force, expired ones too.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.plain.iter().chain(&self.guarded)
    }

    /// The rules the guards watch over.
    pub(super) fn guarded(&self) -> &[Rule] {
        &self.guarded
    }

    /// What the operator wrote as addresses.
    pub(super) fn plain_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.plain.iter().flat_map(|rule| rule.prefixes.iter())
    }

    /// Whether something is kept only until a source was asked for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Puts a candidate in force unless a guard refuses it and none of the plans in
    /// `confirmed` is this one.
    pub(super) fn offer(
        &mut self,
        database: &DatabaseConfig,
        mut candidate: Candidate,
        confirmed: &BTreeSet<String>,
        now: Timestamp,
    ) -> Offer {
        self.follow(database, &candidate);
        self.wait(&mut candidate, now);
        let mut by_hand = None;
        if let Err(refusal) = self.guard(database, &candidate, now) {
            let id = plan_id(&database.name, &candidate.guarded);
            // What lets in everybody is a matter of the configuration, not of a plan.
            if refusal.guard == Guard::AllowAny || !confirmed.contains(&id) {
                return self.refuse(database, candidate, refusal, id);
            }
            by_hand = Some(id);
        }
        self.refused = None;
        match candidate.list {
            ListPart::Read(at) | ListPart::Empty(at) => self.accepted_at = Some(at),
            ListPart::Gone => self.accepted_at = Some(now),
            ListPart::None | ListPart::Unread | ListPart::Lapsed => {}
        }
        if self.plain == candidate.plain && self.guarded == candidate.guarded {
            return Offer::Unchanged;
        }
        (self.plain, self.guarded) = (candidate.plain, candidate.guarded);
        Offer::Accepted { confirmed: by_hand }
    }

    /// Takes out what the operator has taken out: that needs no guard.
    fn follow(&mut self, database: &DatabaseConfig, candidate: &Candidate) {
        let wanted: BTreeSet<_> =
            candidate.guarded.iter().map(|rule| (rule.source.key(), &rule.origin)).collect();
        self.guarded.retain(|rule| match &rule.origin {
            Origin::Provider(_) => database.provider.is_some(),
            Origin::Config | Origin::Local => {
                is_adopted(rule) || wanted.contains(&(rule.source.key(), &rule.origin))
            }
        });
        if database.on_empty != OnEmpty::Open && self.guarded.iter().any(is_everybody) {
            self.guarded.retain(|rule| !is_everybody(rule));
            self.accepted_at = None;
        }
    }

    /// Makes the candidate keep what is in force where what would replace it is not known
    /// yet.
    fn wait(&mut self, candidate: &mut Candidate, now: Timestamp) {
        let adopted = candidate.pending || candidate.unanswered;
        if adopted || candidate.list == ListPart::Unread {
            let kept = |rule: &&Rule| match rule.origin {
                Origin::Provider(_) if candidate.list == ListPart::Unread => true,
                _ => adopted && is_adopted(rule),
            };
            candidate.guarded.extend(self.guarded.iter().filter(kept).cloned());
        }
        // What a guard keeps out must not come in by waiting.
        if !candidate.pending || self.refused.is_some() {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(now);
        if Duration::try_from(now.duration_since(since)).is_ok_and(|waited| waited >= PATIENCE) {
            return;
        }
        keep(&self.guarded, &mut candidate.guarded);
        let written: Vec<Rule> =
            self.plain.iter().filter(|rule| rule.origin == Origin::Config).cloned().collect();
        keep(&written, &mut candidate.plain);
    }

    fn guard(
        &self,
        database: &DatabaseConfig,
        candidate: &Candidate,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let listed = candidate.guarded.iter().any(is_listed);
        let was_listed = self.guarded.iter().any(is_listed);
        // What has expired is in force neither before nor afterwards.
        let is_live = |rule: &&Rule| rule.source.expires_at.is_none_or(|at| at > now);
        let named = candidate.guarded.iter().filter(|rule| !is_everybody(rule));
        let new = prefixes(named.filter(is_live));
        // First: no confirmation of another guard's refusal may pass by this one.
        check_width(&new, database.allow_any, min_len(database))?;
        match candidate.list {
            // An empty list in force: it was confirmed, or empty was fine then.
            ListPart::Empty(_) | ListPart::Gone if !was_listed && self.accepted_at.is_some() => {}
            ListPart::Empty(_) if !listed && database.on_empty != OnEmpty::Close => {
                return Err(self.empty(database, "has an empty list"));
            }
            ListPart::Gone if database.on_empty != OnEmpty::Close => {
                return Err(self.empty(database, "says that there is no such list any more"));
            }
            _ => {}
        }
        let opened = candidate.guarded.iter().any(is_everybody);
        // Any list is less than everybody, and the reason to let them in has gone.
        if opened || self.guarded.iter().any(is_everybody) {
            return Ok(());
        }
        let lapsed: BTreeSet<&Prefix> = candidate.lapsed.iter().collect();
        // Where the configuration says that an empty list closes, it may.
        let closes = database.on_empty == OnEmpty::Close
            && matches!(candidate.list, ListPart::Empty(_) | ListPart::Gone);
        let in_force = self.guarded.iter().filter(is_live);
        let mut old = prefixes(in_force.filter(|rule| !(closes && is_listed(rule))));
        old.retain(|prefix| !lapsed.contains(prefix));
        if new.is_empty() && (database.on_empty == OnEmpty::Close || old.is_empty()) {
            return Ok(());
        }
        check_shrink(&old, &new, database.max_shrink)
    }

    fn refuse(
        &mut self,
        database: &DatabaseConfig,
        candidate: Candidate,
        refusal: Refusal,
        id: String,
    ) -> Offer {
        let new = self.refused.as_ref().is_none_or(|refused| refused.id != id);
        let kept = prefixes(candidate.guarded.iter());
        let lost = match refusal.guard {
            Guard::AllowAny => Vec::new(),
            Guard::MaxShrink | Guard::OnEmpty => {
                crate::policy::lost(&prefixes(self.guarded.iter()), &kept)
            }
        };
        // What the operator wrote does not wait for what the provider said.
        let written = candidate.guarded.into_iter().filter(|rule| {
            !is_listed(rule)
                && check_width(&rule.prefixes, database.allow_any, min_len(database)).is_ok()
        });
        keep(&Vec::from_iter(written), &mut self.guarded);
        self.plain = candidate.plain;
        let guard = refusal.guard;
        let message = match guard {
            Guard::AllowAny => refusal.message,
            Guard::MaxShrink | Guard::OnEmpty => {
                refusal.message.replace("--confirm", &format!("--confirm {id}"))
            }
        };
        self.refused = Some(Refused { id, guard, message, lost, kept: kept.into() });
        Offer::Refused { guard, new }
    }

    fn empty(&self, database: &DatabaseConfig, what: &str) -> Refusal {
        let listed: Vec<&Rule> = self.guarded.iter().filter(|rule| is_listed(rule)).collect();
        let kept = match listed.len() {
            0 => "there is no earlier one to keep, so nobody of it is trusted".to_owned(),
            count => format!("the last good one with {count} sources stays in force"),
        };
        let lost = prefixes(listed.into_iter());
        let provider = database.provider.as_ref().map(crate::provider::provider_name);
        Refusal {
            guard: Guard::OnEmpty,
            total: lost.len(),
            prefixes: lost.into_iter().take(20).collect(),
            message: format!(
                "{} {what}, and {kept}: confirm it with dbfw reload --confirm, or set \
                 on_empty = \"close\" for database {}",
                provider.unwrap_or_default(),
                database.name
            ),
        }
    }
}

/// Description of what was found in the maps.
const ADOPTED: &str = "found in the maps at start, with no list to read";

/// Value of the one source that an empty list means with `on_empty = "open"`; no list can
/// hold it, since it is no address.
const EVERYBODY: &str = "0.0.0.0/0, ::/0";

/// What an empty list means with `on_empty = "open"`.
pub(super) fn everybody(provider: Arc<str>) -> Rule {
    Rule {
        source: Arc::new(TrustedSource {
            kind: SourceType::IpAddr,
            value: EVERYBODY.to_owned(),
            description: Some("the provider's list is empty and on_empty is open".to_owned()),
            expires_at: None,
        }),
        origin: Origin::Provider(provider),
        prefixes: [Prefix::ANY4, Prefix::ANY6].into(),
    }
}

/// Whether this is what an empty list meant, whichever provider's it was.
pub(super) fn is_everybody(rule: &Rule) -> bool {
    rule.source.value == EVERYBODY
}

fn min_len(database: &DatabaseConfig) -> [u8; 2] {
    [database.min_prefix.ipv4, database.min_prefix.ipv6]
}

/// Whether it is of the provider's list.
pub(super) fn is_listed(rule: &Rule) -> bool {
    matches!(rule.origin, Origin::Provider(_))
}

fn is_adopted(rule: &Rule) -> bool {
    rule.source.description.as_deref() == Some(ADOPTED)
}

/// Adds to `new` what of `old` it does not hold: rules, or prefixes of rules.
fn keep(old: &[Rule], new: &mut Vec<Rule>) {
    let places: HashMap<_, usize> = new
        .iter()
        .enumerate()
        .map(|(at, rule)| ((rule.source.clone(), rule.origin.clone()), at))
        .collect();
    for rule in old {
        match places.get(&(rule.source.clone(), rule.origin.clone())) {
            Some(at) if new[*at].prefixes != rule.prefixes => {
                new[*at].prefixes = prefixes([&new[*at], rule].into_iter()).into();
            }
            Some(_) => {}
            None => new.push(rule.clone()),
        }
    }
}

fn prefixes<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = rules.flat_map(|rule| rule.prefixes.iter().copied()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn plan_id(database: &str, rules: &[Rule]) -> String {
    let mut digest = Sha256::new();
    digest.update(database);
    digest.update([0]);
    // What somebody adds by hand meanwhile makes no other plan of it.
    for rule in rules.iter().filter(|rule| rule.origin != Origin::Local) {
        digest.update(rule.source.to_string());
        digest.update([0]);
        digest.update(rule.source.expires_at.map(|at| at.to_string()).unwrap_or_default());
        digest.update([0]);
        for prefix in rule.prefixes.iter() {
            digest.update(prefix.to_string());
            digest.update([0]);
        }
    }
    digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
