//! Any sequence of candidates, settings and confirmations, against what the guards promise.

mod offered;

use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;

use self::offered::{Confirm, Offered, Settings, Step, steps};
use super::*;
use crate::testing::cases;

/// What a plan puts in force.
type Content = Vec<(String, Vec<Prefix>)>;

struct Run {
    enforced: Enforced,
    settings: Settings,
    now: i64,
    pending_since: Option<i64>,
    /// What each plan that was refused so far would put in force.
    plans: BTreeMap<String, Content>,
}

/// Whether `by` together hold each address of `prefix`.
fn covered(prefix: &Prefix, by: &[Prefix]) -> bool {
    if by.iter().any(|one| one.covers(prefix)) {
        return true;
    }
    if prefix.is_host() || !by.iter().any(|one| prefix.covers(one)) {
        return false;
    }
    let (_, last) = prefix.bounds();
    let last = match u32::try_from(last) {
        Ok(last) if prefix.is_v4() => IpAddr::V4(last.into()),
        _ => IpAddr::V6(last.into()),
    };
    let half = |addr| Prefix::new(addr, prefix.len() + 1);
    covered(&half(prefix.addr()), by) && covered(&half(last), by)
}

fn content(rules: &[Rule]) -> Content {
    let rules = rules.iter();
    rules.map(|rule| (rule.kind.to_string(), rule.prefixes.to_vec())).collect()
}

fn is_same(one: &Rule, other: &Rule) -> bool {
    (&one.kind, &one.origin) == (&other.kind, &other.origin)
}

impl Run {
    fn new() -> Self {
        Self {
            enforced: Enforced::default(),
            settings: Settings::default(),
            now: 0,
            pending_since: None,
            plans: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Set(settings) => self.settings = *settings,
            Step::Restart => {
                let measure = self.enforced.measure().cloned();
                let Enforced { guarded, accepted_at, .. } = std::mem::take(&mut self.enforced);
                self.enforced = Enforced::restore(guarded, accepted_at, measure);
                self.pending_since = None;
            }
            Step::Decision(offered) => {
                self.now += offered.wait;
                self.decide(offered)?;
            }
        }
        Ok(())
    }

    fn decide(&mut self, offered: &Offered) -> Result<(), TestCaseError> {
        let (database, now) = (self.settings.database(), at(self.now));
        let candidate = offered.candidate(self.settings, &self.enforced, self.now);
        self.pending_since = offered.pending.then(|| self.pending_since.unwrap_or(self.now));
        let before = self.enforced.clone();
        let mut unasked = before.clone();
        let verdict = unasked.decide(&database, candidate.clone(), NONE, now);
        let shown = unasked.refused.as_ref().map(|refused| refused.id.clone());
        let confirmed: BTreeSet<String> = match offered.confirm {
            Confirm::Nothing => BTreeSet::new(),
            Confirm::Shown => shown.iter().cloned().collect(),
            Confirm::Others => {
                self.plans.keys().filter(|id| Some(*id) != shown.as_ref()).cloned().collect()
            }
        };
        let decision = self.enforced.decide(&database, candidate.clone(), &confirmed, now);
        let after = &self.enforced;
        let is_confirmed = match (&verdict, &shown) {
            (Decision::Refused { guard, .. }, Some(id)) if *guard != Guard::AllowAny => {
                confirmed.contains(id)
            }
            _ => false,
        };
        if is_confirmed {
            if !matches!(decision, Decision::Refused { guard: Guard::AllowAny, .. }) {
                let kept = &unasked.refused.as_ref().unwrap().kept;
                prop_assert_eq!(&prefixes(after.guarded.iter()), &kept.to_vec());
                prop_assert!(!matches!(decision, Decision::Refused { .. }), "{decision:?}");
            }
        } else {
            prop_assert_eq!(&decision, &verdict, "another plan's confirmation counted");
            prop_assert_eq!(&after.guarded, &unasked.guarded);
        }
        self.narrow(&before)?;
        self.by_hand(&before, &candidate)?;
        match &decision {
            Decision::Refused { .. } => self.kept(&before, &candidate)?,
            Decision::Accepted { .. } | Decision::Unchanged => {
                prop_assert!(after.refused.is_none());
                self.shrunk(&before, &candidate, is_confirmed)?;
            }
        }
        let same = (&before.guarded, &before.plain) == (&after.guarded, &after.plain);
        match decision {
            Decision::Accepted { .. } => prop_assert!(!same, "nothing changed"),
            Decision::Unchanged => {
                prop_assert!(same, "{:?} became {:?}", before.guarded, after.guarded);
            }
            Decision::Refused { .. } => {}
        }
        // A plan that somebody confirmed waits for nothing.
        if !is_confirmed {
            self.waited(&before, &candidate)?;
        }
        if let Some(refused) = &unasked.refused {
            // Confirmed, it would put exactly this in force.
            let mut open = before.clone();
            open.decide(&database, candidate.clone(), &[refused.id.clone()].into(), now);
            if open.refused.is_none() {
                let plan = content(&open.guarded);
                let known = self.plans.entry(refused.id.clone()).or_insert_with(|| plan.clone());
                prop_assert_eq!(&*known, &plan, "two plans of one id");
            }
        }
        self.again(&decision, candidate)
    }

    /// The same once more changes nothing.
    fn again(&mut self, decision: &Decision, candidate: Candidate) -> Result<(), TestCaseError> {
        let before = (self.enforced.guarded.clone(), self.enforced.plain.clone());
        let again = self.enforced.decide(&self.settings.database(), candidate, NONE, at(self.now));
        let settled = match (decision, &again) {
            (Decision::Refused { guard, .. }, Decision::Refused { guard: same, new: false }) => {
                guard == same
            }
            (Decision::Accepted { .. } | Decision::Unchanged, Decision::Unchanged) => true,
            _ => false,
        };
        prop_assert!(settled, "{decision:?}, then {again:?}");
        prop_assert_eq!(before, (self.enforced.guarded.clone(), self.enforced.plain.clone()));
        Ok(())
    }

    /// Nobody but the configuration lets in everybody.
    fn narrow(&self, before: &Enforced) -> Result<(), TestCaseError> {
        let open = self.enforced.guarded.iter().any(is_everybody);
        prop_assert!(!open || self.settings.on_empty == OnEmpty::Open);
        if self.settings.allow_any {
            return Ok(());
        }
        let guarded = self.enforced.guarded.iter().filter(|rule| !is_everybody(rule));
        for prefix in prefixes(guarded) {
            let min = if prefix.is_v4() { self.settings.min } else { 19 };
            prop_assert!(
                prefix.len() >= min,
                "{prefix} is in force, before: {:?}",
                prefixes(before.guarded.iter())
            );
        }
        Ok(())
    }

    /// Whether the operator took a rule out.
    fn is_withdrawn(&self, rule: &Rule, candidate: &Candidate) -> bool {
        if is_everybody(rule) {
            return self.settings.on_empty != OnEmpty::Open || !self.settings.provider;
        }
        match rule.origin {
            Origin::Provider(_) => !self.settings.provider,
            Origin::Config | Origin::Local => {
                !candidate.guarded.iter().any(|other| is_same(other, rule))
            }
        }
    }

    /// The prefixes of rules before that the operator now takes back: `allow_any` and
    /// `min_prefix` are his words too.
    fn is_too_wide(&self, prefix: &Prefix) -> bool {
        let min = if prefix.is_v4() { self.settings.min } else { 19 };
        !self.settings.allow_any && prefix.len() < min
    }

    /// What the operator took out is out, what he wrote as an address is in.
    fn by_hand(&self, before: &Enforced, candidate: &Candidate) -> Result<(), TestCaseError> {
        for rule in before.guarded.iter().filter(|rule| self.is_withdrawn(rule, candidate)) {
            let is_in_force = self.enforced.guarded.iter().any(|other| is_same(other, rule));
            prop_assert!(!is_in_force, "{rule:?} is still in force");
        }
        for rule in &candidate.plain {
            prop_assert!(self.enforced.plain.contains(rule), "{rule:?} is not in force");
        }
        for rule in &self.enforced.plain {
            let waits = candidate.pending && rule.origin == Origin::Config;
            prop_assert!(waits || candidate.plain.contains(rule), "{rule:?} is still in force");
        }
        Ok(())
    }

    /// A refused change takes nothing and gives only what the operator wrote.
    fn kept(&self, before: &Enforced, candidate: &Candidate) -> Result<(), TestCaseError> {
        let of = |rules: &[Rule], rule: &Rule| {
            prefixes(rules.iter().filter(|other| is_same(other, rule)))
        };
        let after = &self.enforced.guarded;
        for rule in before.guarded.iter().filter(|rule| !self.is_withdrawn(rule, candidate)) {
            let now = of(after, rule);
            let stays = rule.prefixes.iter().filter(|prefix| !self.is_too_wide(prefix));
            let lost: Vec<_> = stays.filter(|prefix| !now.contains(prefix)).collect();
            prop_assert!(lost.is_empty(), "{lost:?} of {rule:?} is lost");
        }
        for rule in after {
            let (was, said) = (of(&before.guarded, rule), of(&candidate.guarded, rule));
            let mut new = rule.prefixes.iter().filter(|prefix| !was.contains(prefix));
            // What the configuration had may be the provider's from now on.
            let had = prefixes(before.rules().filter(|other| {
                is_listed(rule) && other.origin == Origin::Config && other.kind == rule.kind
            }));
            prop_assert!(
                new.all(|prefix| had.contains(prefix) || !is_listed(rule) && said.contains(prefix)),
                "{rule:?} became of {was:?}"
            );
        }
        Ok(())
    }

    /// A change takes no more than it may.
    fn shrunk(
        &self,
        before: &Enforced,
        candidate: &Candidate,
        is_confirmed: bool,
    ) -> Result<(), TestCaseError> {
        let was_open = before.guarded.iter().any(is_everybody);
        if is_confirmed || was_open || self.enforced.guarded.iter().any(is_everybody) {
            return Ok(());
        }
        let closes = self.settings.on_empty == OnEmpty::Close;
        let is_empty = matches!(candidate.list, ListPart::Empty(_) | ListPart::Gone(_));
        let old = before.guarded.iter().filter(|rule| {
            let closed = closes && is_empty && is_listed(rule);
            !closed && !self.is_withdrawn(rule, candidate)
        });
        // What the configuration had and the provider has now is in force, and counts.
        let taken_over = self.enforced.guarded.iter().filter(|rule| {
            let was_written =
                |other: &Rule| other.origin == Origin::Config && other.kind == rule.kind;
            is_listed(rule) && before.rules().any(was_written)
        });
        let mut old = prefixes(old.chain(taken_over));
        old.retain(|prefix| !candidate.lapsed.contains(prefix) && !self.is_too_wide(prefix));
        let new = prefixes(self.enforced.guarded.iter());
        let lost: Vec<_> = old.iter().filter(|prefix| !covered(prefix, &new)).collect();
        if new.is_empty() {
            prop_assert!(closes || old.is_empty(), "nothing is left of {old:?}");
            return Ok(());
        }
        let most = old.len() * usize::from(self.settings.max_shrink);
        let is_few = lost.len() <= 3;
        prop_assert!(is_few || lost.len() * 100 <= most, "{lost:?} of {old:?} is lost");
        let stays = |rule: &Rule| rule.prefixes.iter().any(|prefix| !self.is_too_wide(prefix));
        let was_listed = before.guarded.iter().any(|rule| is_listed(rule) && stays(rule));
        let emptied = is_empty && was_listed && !self.enforced.guarded.iter().any(is_listed);
        prop_assert!(!emptied || closes || !self.settings.provider, "an empty list was believed");
        Ok(())
    }

    /// What may replace something is waited for.
    fn waited(&self, before: &Enforced, candidate: &Candidate) -> Result<(), TestCaseError> {
        let waits = self.pending_since.is_some_and(|since| self.now - since < 30);
        // What a guard keeps out does not come in by waiting.
        if !waits || before.refused.is_some() {
            return Ok(());
        }
        let after = prefixes(self.enforced.guarded.iter());
        let stays = before.guarded.iter().filter(|rule| !self.is_withdrawn(rule, candidate));
        for prefix in prefixes(stays).iter().filter(|prefix| !self.is_too_wide(prefix)) {
            prop_assert!(covered(prefix, &after), "{prefix} did not wait");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_guards_hold(steps in steps()) {
        let mut run = Run::new();
        for (number, step) in steps.iter().enumerate() {
            run.step(step).map_err(|error| {
                TestCaseError::fail(format!("step {number}, {step:?}: {error}"))
            })?;
        }
    }
}
