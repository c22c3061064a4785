//! One database's rules in force, and the guards that a change has to pass.
//!
//! An address that the operator wrote counts at once. What a provider or a resolver says
//! is guarded: it counts as a whole or not at all.

mod rules;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

pub use self::rules::is_listed;
use self::rules::{change_id, is_adopted, is_everybody, is_live, keep, key, prefixes};
use super::guards::{Guards, OnEmpty};
use crate::{
    policy::{Guard, Refusal, check_shrink, check_width, narrowest},
    source::{Origin, Prefix, PrefixSet, PrefixUnion, Rule},
};

/// Time for which a source that was never asked for keeps everything else from being taken away:
/// what it stands for may be what is being taken away.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rules of one database.
#[derive(Clone, Debug, Default)]
pub struct Enforced {
    /// Addresses from the configuration and from `dbfw trust`.
    plain: Vec<Rule>,
    /// The provider's rules and whatever had to be resolved.
    guarded: Vec<Rule>,
    /// The time at which a list of the provider was last accepted.
    accepted_at: Option<Timestamp>,
    /// The change that a guard refused.
    refused: Option<Refused>,
    /// The prefixes a loss was measured by when it was first refused. What came in since makes it
    /// no smaller.
    measure: Option<PrefixSet>,
    waiting_since: Option<Timestamp>,
}

/// The rules before the guards.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    pub plain: Vec<Rule>,
    pub guarded: Vec<Rule>,
    /// The provider's list.
    pub list: ListPart,
    /// Sources nobody has asked for yet.
    pub pending: bool,
    /// Sources that were asked for and never answered.
    pub unanswered: bool,
    /// Prefixes that only `max_stale` takes away.
    pub lapsed: Vec<Prefix>,
}

/// The part of the provider's list in a [`Candidate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListPart {
    /// There is no provider.
    #[default]
    None,
    /// Nothing was ever read: what is in force stays.
    Unread,
    /// It was confirmed at this moment.
    Read(Timestamp),
    /// It was confirmed at this moment and is empty.
    Empty(Timestamp),
    /// The provider says, last at this moment, that it does not exist any more.
    Gone(Timestamp),
    /// It is older than `max_stale`.
    Lapsed,
}

/// A change that a guard refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Eight hexadecimal digits of the change's content: who confirms it names it.
    id: String,
    /// The reason.
    refusal: Refusal,
    /// The prefixes it would take away.
    lost: Vec<Prefix>,
    /// The prefixes it would bring.
    gained: Vec<Prefix>,
    /// The prefixes that would be trusted instead.
    kept: PrefixSet,
}

impl Refused {
    /// Its id: who confirms the change names it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The prefixes that the change would take away.
    pub fn lost(&self) -> &[Prefix] {
        &self.lost
    }

    /// The prefixes that the change would bring.
    pub fn gained(&self) -> &[Prefix] {
        &self.gained
    }

    /// The prefixes that would be trusted instead.
    pub fn kept(&self) -> &PrefixSet {
        &self.kept
    }

    /// The guard.
    pub fn guard(&self) -> Guard {
        self.refusal.guard()
    }

    /// The reason, and the way to let it through.
    pub fn message(&self) -> String {
        format!("{}; {}", self.refusal, self.refusal.fix(&self.id))
    }

    /// The command that lets it through; empty: only a change of the configuration.
    pub fn command(&self) -> String {
        match self.guard().can_be_confirmed() {
            true => format!("dbfw reload --confirm {}", self.id),
            false => String::new(),
        }
    }
}

/// The decision about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is in force from now on, and it differs from before.
    Accepted {
        /// A human had to say so: the id of the change.
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
    pub fn restore(
        guarded: Vec<Rule>,
        accepted_at: Option<Timestamp>,
        measure: Option<PrefixSet>,
    ) -> Self {
        Self { guarded, accepted_at, measure, ..Self::default() }
    }

    /// The prefixes that the loss of the refused change is measured by, for the next run.
    pub fn measure(&self) -> Option<&PrefixSet> {
        self.measure.as_ref()
    }

    /// The rules of what an earlier agent left in the maps, if neither list nor snapshot can be read:
    /// nothing enforced is lost by that.
    pub fn adopt(origin: &Origin, prefixes: Vec<Prefix>) -> Self {
        let rule = |prefix| Rule::adopted(origin.clone(), prefix);
        Self { guarded: prefixes.into_iter().map(rule).collect(), ..Self::default() }
    }

    /// The time at which a list of the provider was last accepted.
    pub fn accepted_at(&self) -> Option<Timestamp> {
        self.accepted_at
    }

    /// The change that a guard refused.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Notes that the list in force was confirmed at `read_at`.
    pub fn confirm(&mut self, read_at: Timestamp) {
        if self.refused.is_none() && self.accepted_at.is_some() {
            self.accepted_at = Some(read_at);
        }
    }

    /// Moves every moment it remembers, after the clock was stepped.
    pub fn adjust_times(&mut self, adjust: &dyn Fn(&mut Timestamp)) {
        self.accepted_at.iter_mut().for_each(adjust);
        self.waiting_since.iter_mut().for_each(adjust);
    }

    /// Every rule in force, expired ones too.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.plain.iter().chain(&self.guarded)
    }

    /// The rules the guards watch over.
    pub fn guarded(&self) -> &[Rule] {
        &self.guarded
    }

    /// The prefixes that the operator wrote as addresses, and that have not expired by `now`.
    pub fn plain_prefixes(&self, now: Timestamp) -> impl Iterator<Item = &Prefix> {
        let live = self.plain.iter().filter(move |rule| is_live(rule, now));
        live.flat_map(|rule| rule.prefixes.iter())
    }

    /// Whether something is kept only until a source was asked for.
    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Puts a candidate in force unless a guard refuses it and its id is not among
    /// those in `confirmed`.
    pub fn decide(
        &mut self,
        guards: &Guards,
        mut candidate: Candidate,
        confirmed: &BTreeSet<String>,
        now: Timestamp,
    ) -> Decision {
        let withdrawn = self.withdrawn(guards, &candidate);
        // What is taken over may be taken out again, by a guard or by who confirms that.
        let before = (!withdrawn.is_empty()).then(|| (self.plain.clone(), self.guarded.clone()));
        let taken_out = self.follow(guards, &candidate, withdrawn);
        self.keep_unknown(&mut candidate);
        let asked = candidate.pending.then(|| candidate.guarded.clone());
        self.wait(&mut candidate, now);
        let mut by_hand = None;
        if let Err(mut refusal) = self.guard(guards, &candidate, now) {
            if let Some(asked) = asked {
                // What somebody can confirm is the change without what is kept only by waiting.
                candidate.guarded = asked;
                refusal = self.guard(guards, &candidate, now).err().unwrap_or(refusal);
            }
            let id = change_id(&guards.database, &candidate.guarded);
            if !refusal.guard().can_be_confirmed() || !confirmed.contains(&id) {
                return self.refuse(guards, candidate, refusal, id, now);
            }
            by_hand = Some(id);
        }
        self.refused = None;
        self.measure = None;
        match candidate.list {
            ListPart::Read(at) | ListPart::Empty(at) | ListPart::Gone(at) => {
                self.accepted_at = Some(at);
            }
            ListPart::None | ListPart::Unread | ListPart::Lapsed => {}
        }
        let after = (candidate.plain, candidate.guarded);
        let is_same = match &before {
            Some(before) => *before == after,
            None => !taken_out && self.plain == after.0 && self.guarded == after.1,
        };
        (self.plain, self.guarded) = after;
        match is_same {
            true => Decision::Unchanged,
            false => Decision::Accepted { confirmed: by_hand },
        }
    }

    /// Takes out what the operator has taken out, or permits no more: that needs no guard. Takes over
    /// what is withdrawn. Whether anything changed.
    fn follow(&mut self, guards: &Guards, candidate: &Candidate, withdrawn: Vec<Rule>) -> bool {
        if guards.provider.is_none() {
            self.accepted_at = None;
        }
        let before = self.guarded.len();
        let own = candidate.guarded.iter().filter(|rule| !is_listed(rule));
        let wanted: BTreeSet<_> = own.map(|rule| (key(rule), &rule.origin)).collect();
        self.guarded.retain(|rule| match &rule.origin {
            Origin::Provider(_) => guards.provider.is_some(),
            Origin::Config | Origin::Local => {
                is_adopted(rule) || wanted.contains(&(key(rule), &rule.origin))
            }
        });
        if guards.on_empty != OnEmpty::Open && self.guarded.iter().any(is_everybody) {
            self.guarded.retain(|rule| !is_everybody(rule));
            self.accepted_at = None;
        }
        let limited = self.limit(guards);
        let changed = self.narrow(guards) || limited || self.guarded.len() != before;
        self.take_over(guards, withdrawn) || changed
    }

    /// The rules that the configuration had, and has a provider for instead, of whose list there is
    /// nothing to put in force: as that list's.
    fn withdrawn(&self, guards: &Guards, candidate: &Candidate) -> Vec<Rule> {
        let is_missing = match candidate.list {
            ListPart::Unread => true,
            ListPart::Empty(_) | ListPart::Gone(_) => guards.on_empty == OnEmpty::Keep,
            ListPart::None | ListPart::Read(_) | ListPart::Lapsed => false,
        };
        let Some(provider) = guards.provider.as_ref().filter(|_| is_missing) else {
            return Vec::new();
        };
        let is_written = |rule: &&Rule| rule.origin == Origin::Config;
        let stay = candidate.plain.iter().chain(&candidate.guarded).filter(is_written);
        let stay: BTreeSet<_> = stay.filter_map(key).collect();
        let goes = |rule: &&Rule| key(rule).is_none_or(|key| !stay.contains(key));
        let origin = Origin::Provider(provider.to_string().into());
        let gone = self.rules().filter(is_written).filter(goes);
        gone.map(|rule| Rule { origin: origin.clone(), ..rule.clone() }).collect()
    }

    /// Puts withdrawn rules in force as the last list, unless there is one; whether that changed
    /// anything. They are not what the configuration does not permit.
    fn take_over(&mut self, guards: &Guards, withdrawn: Vec<Rule>) -> bool {
        let has_list = self.accepted_at.is_some() || self.guarded.iter().any(is_listed);
        if withdrawn.is_empty() || has_list {
            return false;
        }
        let before = self.guarded.clone();
        self.guarded.retain(|rule| !(is_adopted(rule) && rule.origin == Origin::Config));
        self.guarded.extend(withdrawn);
        self.limit(guards);
        self.narrow(guards);
        self.guarded != before
    }

    /// Takes out of the list's rules what is outside the networks that it may not leave; whether
    /// anything was.
    fn limit(&mut self, guards: &Guards) -> bool {
        if guards.within.is_none() {
            return false;
        }
        let mut limited = false;
        for rule in self.guarded.iter_mut().filter(|rule| is_listed(rule) && !is_everybody(rule)) {
            let kept = guards.limit(&rule.prefixes);
            if !kept.outside.is_empty() {
                limited = true;
                rule.prefixes = kept.kept;
            }
        }
        limited
    }

    /// Takes out what is wider than the configuration permits now; whether anything was.
    fn narrow(&mut self, guards: &Guards) -> bool {
        let named = || self.guarded.iter().filter(|rule| !is_everybody(rule));
        let all = prefixes(named());
        if check_width(&all, guards.allow_any, guards.min_prefix).is_ok() {
            return false;
        }
        let kept = narrowest(&all.flatten(), guards.min_prefix);
        for rule in self.guarded.iter_mut().filter(|rule| !is_everybody(rule)) {
            let stays = |prefix: &&Prefix| kept.contains(prefix);
            rule.prefixes = rule.prefixes.iter().filter(stays).copied().collect();
        }
        self.guarded.retain(|rule| !rule.prefixes.is_empty() || !is_listed(rule));
        true
    }

    /// Makes the candidate keep what is in force of what nobody answered for.
    fn keep_unknown(&self, candidate: &mut Candidate) {
        let adopted = candidate.pending || candidate.unanswered;
        if !adopted && candidate.list != ListPart::Unread {
            return;
        }
        let kept = |rule: &&Rule| match rule.origin {
            Origin::Provider(_) if candidate.list == ListPart::Unread => true,
            _ => adopted && is_adopted(rule),
        };
        let kept: Vec<Rule> = self.guarded.iter().filter(kept).cloned().collect();
        candidate.guarded.extend(kept);
    }

    /// Makes the candidate keep what is in force while what may replace it is not known yet.
    fn wait(&mut self, candidate: &mut Candidate, now: Timestamp) {
        if !candidate.pending {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(now);
        if Duration::try_from(now.duration_since(since)).is_ok_and(|waited| waited >= PATIENCE) {
            return;
        }
        // What a guard keeps out must not come in by waiting.
        if self.refused.is_none() {
            keep(&self.guarded, &mut candidate.guarded);
        }
        let written: Vec<Rule> =
            self.plain.iter().filter(|rule| rule.origin == Origin::Config).cloned().collect();
        keep(&written, &mut candidate.plain);
    }

    fn guard(&self, guards: &Guards, candidate: &Candidate, now: Timestamp) -> Result<(), Refusal> {
        let listed = candidate.guarded.iter().any(is_listed);
        let was_listed = self.guarded.iter().any(is_listed);
        let named = candidate.guarded.iter().filter(|rule| !is_everybody(rule));
        let new = prefixes(named.filter(|rule| is_live(rule, now)));
        // First: no confirmation of another guard's refusal may pass by this one.
        check_width(&new, guards.allow_any, guards.min_prefix)?;
        match candidate.list {
            // An empty list in force: it was confirmed, or empty was fine then.
            ListPart::Empty(_) | ListPart::Gone(_) if !was_listed && self.accepted_at.is_some() => {
            }
            ListPart::Empty(_) if !listed && guards.on_empty != OnEmpty::Close => {
                return Err(self.empty(guards, "has an empty list"));
            }
            ListPart::Gone(_) if guards.on_empty != OnEmpty::Close => {
                return Err(self.empty(guards, "says that the list no longer exists"));
            }
            _ => {}
        }
        let opened = candidate.guarded.iter().any(is_everybody);
        // Any list is less than everybody, and the reason to let them in has gone.
        if opened || self.guarded.iter().any(is_everybody) {
            return Ok(());
        }
        if new.is_empty() && guards.on_empty == OnEmpty::Close {
            return Ok(());
        }
        let old = self.losable(guards, candidate, now);
        let lapsed: PrefixSet = candidate.lapsed.iter().copied().collect();
        let is_meant = |prefix: &Prefix| lapsed.has(prefix);
        let measured = |prefix: &Prefix| self.is_measured(prefix);
        check_shrink(&old, |prefix| !is_meant(prefix), measured, &new, guards.max_shrink)
    }

    /// The prefixes in force whose loss counts, unless they lapsed.
    fn losable(&self, guards: &Guards, candidate: &Candidate, now: Timestamp) -> PrefixUnion {
        // Where the configuration says that an empty list closes, it may.
        let closes = guards.on_empty == OnEmpty::Close
            && matches!(candidate.list, ListPart::Empty(_) | ListPart::Gone(_));
        let in_force = self.guarded.iter().filter(|rule| is_live(rule, now));
        prefixes(in_force.filter(|rule| !(closes && is_listed(rule))))
    }

    /// Whether a loss is measured by this prefix, among others.
    fn is_measured(&self, prefix: &Prefix) -> bool {
        self.measure.as_ref().is_none_or(|measure| measure.has(prefix))
    }

    fn refuse(
        &mut self,
        guards: &Guards,
        candidate: Candidate,
        refusal: Refusal,
        id: String,
        now: Timestamp,
    ) -> Decision {
        let new = self.refused.as_ref().is_none_or(|refused| refused.id != id);
        // What has expired is not in force, and is neither kept nor lost.
        let live = |rules: &[Rule]| prefixes(rules.iter().filter(|rule| is_live(rule, now)));
        let kept = live(&candidate.guarded);
        let guard = refusal.guard();
        let lost = match guard {
            Guard::AllowAny => Vec::new(),
            Guard::MaxShrink | Guard::OnEmpty => live(&self.guarded).lost_in(&kept),
        };
        if guard == Guard::MaxShrink {
            let losable = self.losable(guards, &candidate, now).flatten();
            let lapsed: PrefixSet = candidate.lapsed.iter().copied().collect();
            let is_measured = |prefix: &&Prefix| !lapsed.has(prefix) && self.is_measured(prefix);
            self.measure = Some(losable.iter().filter(is_measured).copied().collect());
        }
        // What the operator wrote does not wait for what the provider said.
        let permits = |rules: &[Rule]| {
            check_width(&prefixes(rules.iter()), guards.allow_any, guards.min_prefix).is_ok()
        };
        let written = candidate.guarded.into_iter();
        let written =
            written.filter(|rule| !is_listed(rule) && permits(std::slice::from_ref(rule)));
        let mut with_written = self.guarded.clone();
        keep(&Vec::from_iter(written), &mut with_written);
        let is_open = self.guarded.iter().any(is_everybody);
        if is_open || permits(&with_written) {
            self.guarded = with_written;
        }
        self.plain = candidate.plain;
        let gained = kept.lost_in(&prefixes(self.rules().filter(|rule| is_live(rule, now))));
        self.refused = Some(Refused { id, refusal, lost, gained, kept: kept.flatten() });
        Decision::Refused { guard, new }
    }

    fn empty(&self, guards: &Guards, what: &str) -> Refusal {
        let kept = match self.guarded.iter().filter(|rule| is_listed(rule)).count() {
            0 => "there is no earlier one to keep, so it lets in nobody".to_owned(),
            count => format!("the last good one with {count} sources stays in force"),
        };
        let provider = guards.provider.as_ref().map(ToString::to_string);
        Refusal::new(
            Guard::OnEmpty,
            format!("{} {what}, and {kept}", provider.unwrap_or_default()),
            format!("set on_empty = \"close\" for database {}", guards.database),
        )
    }
}

#[cfg(test)]
mod tests;
