//! The provider's list of one database: the last good one, and what became of later ones.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    config::{DatabaseConfig, OnEmpty},
    policy::{Guard, Refusal, check_shrink, check_width},
    source::{Origin, Prefix, Rule, SourceType, TrustedSource},
};

/// The list in force and how its provider is.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The provider's name.
    pub(super) provider: String,
    /// What is in force, expired sources too.
    pub(super) rules: Vec<Rule>,
    /// When that was read; `None`: never.
    pub(super) last_success: Option<Timestamp>,
    /// Why the last try failed.
    pub(super) error: Option<String>,
    /// The last list was read, and a guard refused it.
    pub(super) refused: Option<Refused>,
    /// It is from the snapshot: nothing was read since the start.
    pub(super) from_snapshot: bool,
}

/// A list a guard refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of its content: a confirmation lets through this list and no other.
    fingerprint: [u8; 32],
    /// Why, and how to let it through.
    pub(super) message: String,
    guard: Guard,
}

/// What became of a list that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is in force from now on, and it differs from the last.
    Accepted,
    /// It is what is in force already.
    Unchanged,
    /// A guard refused it.
    Refused(Guard),
}

impl List {
    /// Nothing read yet.
    pub(super) fn new(provider: String) -> Self {
        Self {
            provider,
            rules: Vec::new(),
            last_success: None,
            error: None,
            refused: None,
            from_snapshot: false,
        }
    }

    /// As it was when the snapshot was written.
    pub(super) fn restore(provider: String, rules: Vec<Rule>, last_success: Timestamp) -> Self {
        Self { rules, last_success: Some(last_success), from_snapshot: true, ..Self::new(provider) }
    }

    /// What an earlier agent left in the maps, where neither the list nor the snapshot can
    /// be read: nothing enforced is lost by that.
    pub(super) fn adopt(provider: String, prefixes: Vec<Prefix>) -> Self {
        let origin = Origin::Provider(provider.clone());
        let rules = prefixes
            .into_iter()
            .map(|prefix| Rule {
                source: TrustedSource {
                    kind: SourceType::IpAddr,
                    value: prefix.to_string(),
                    description: Some(
                        "found in the maps at start, with no list to read".to_owned(),
                    ),
                    expires_at: None,
                },
                origin: origin.clone(),
                prefixes: vec![prefix],
            })
            .collect();
        Self { rules, from_snapshot: true, ..Self::new(provider) }
    }

    /// Follows the configuration to another provider: what is in force stays until the new
    /// one's list is read and passes the guards.
    pub(super) fn move_to(&mut self, provider: String) {
        if self.provider != provider {
            self.provider = provider;
            self.from_snapshot = true;
            self.refused = None;
        }
    }

    /// The state in a word, as `dbfw status` says it.
    pub(super) fn state(&self) -> &'static str {
        if self.refused.is_some() {
            "refused"
        } else if self.last_success.is_none() && self.rules.is_empty() {
            "never"
        } else if self.error.is_some() || self.from_snapshot {
            "stale"
        } else {
            "ok"
        }
    }

    /// Why the last try failed or was refused.
    pub(super) fn trouble(&self) -> Option<String> {
        self.error.clone().or_else(|| self.refused.as_ref().map(|refused| refused.message.clone()))
    }

    /// Follows a change of the configuration: what only `on_empty = "open"` let in goes when
    /// that is said no more.
    pub(super) fn follow(&mut self, database: &DatabaseConfig) {
        if database.on_empty != OnEmpty::Open && is_everybody(&self.rules) {
            self.rules.clear();
            self.last_success = None;
        }
    }

    /// Puts a list that was read in force, unless a guard of the database refuses it and
    /// `confirmed` does not say otherwise: a confirmation counts for the list that was
    /// refused before, not for one the human has not seen.
    pub(super) fn offer(
        &mut self,
        database: &DatabaseConfig,
        sources: Vec<TrustedSource>,
        now: Timestamp,
        confirmed: bool,
    ) -> Offer {
        self.error = None;
        let fingerprint = fingerprint(&sources);
        let rules = match self.resolve(database, sources) {
            Ok(rules) => rules,
            Err(error) => {
                self.error = Some(error);
                return Offer::Unchanged;
            }
        };
        let was_refused =
            self.refused.take().is_some_and(|refused| refused.fingerprint == fingerprint);
        if !(confirmed && was_refused)
            && let Err(refusal) = self.guard(database, &rules)
        {
            let (guard, message) = (refusal.guard, refusal.message);
            self.refused = Some(Refused { fingerprint, message, guard });
            return Offer::Refused(guard);
        }
        self.last_success = Some(now);
        self.from_snapshot = false;
        if rules == self.rules {
            return Offer::Unchanged;
        }
        self.rules = rules;
        Offer::Accepted
    }

    /// Keeps what is in force; says why.
    pub(super) fn failed(&mut self, error: String) {
        // A refusal is of a list that can be confirmed; this one cannot even be read.
        self.refused = None;
        self.error = Some(error);
    }

    fn resolve(
        &self,
        database: &DatabaseConfig,
        sources: Vec<TrustedSource>,
    ) -> Result<Vec<Rule>, String> {
        if sources.is_empty() && database.on_empty == OnEmpty::Open {
            return Ok(vec![self.everybody()]);
        }
        let origin = Origin::Provider(self.provider.clone());
        sources
            .into_iter()
            .map(|source| {
                let prefixes =
                    crate::resolve::resolve(&source).map_err(|error| error.to_string())?;
                Ok(Rule { source, origin: origin.clone(), prefixes })
            })
            .collect()
    }

    /// What an empty list means with `on_empty = "open"`.
    fn everybody(&self) -> Rule {
        Rule {
            source: TrustedSource {
                kind: SourceType::IpAddr,
                value: EVERYBODY.to_owned(),
                description: Some("the provider's list is empty and on_empty is open".to_owned()),
                expires_at: None,
            },
            origin: Origin::Provider(self.provider.clone()),
            prefixes: vec![Prefix::ANY4, Prefix::ANY6],
        }
    }

    fn guard(&self, database: &DatabaseConfig, rules: &[Rule]) -> Result<(), Refusal> {
        let new = prefixes(rules);
        if rules.is_empty() {
            return match database.on_empty {
                // An empty list is in force: it was confirmed, or empty was fine then.
                _ if self.rules.is_empty() && self.last_success.is_some() => Ok(()),
                OnEmpty::Close => Ok(()),
                OnEmpty::Keep | OnEmpty::Open => Err(self.empty(database)),
            };
        }
        if database.on_empty == OnEmpty::Open && new == [Prefix::ANY4, Prefix::ANY6] {
            return Ok(());
        }
        check_width(&new, database.allow_any)?;
        if is_everybody(&self.rules) {
            // Any list is less than everybody, and the reason to let them in has gone.
            return Ok(());
        }
        check_shrink(&prefixes(&self.rules), &new, database.max_shrink)
    }

    fn empty(&self, database: &DatabaseConfig) -> Refusal {
        let kept = match self.rules.len() {
            0 => "there is no earlier one to keep, so nobody of it is trusted".to_owned(),
            count => format!("the last good one with {count} sources stays in force"),
        };
        Refusal {
            guard: Guard::OnEmpty,
            prefixes: prefixes(&self.rules).into_iter().take(20).collect(),
            total: prefixes(&self.rules).len(),
            message: format!(
                "{} has an empty list, and {kept}: confirm it with dbfw reload --confirm, or set \
                 on_empty = \"close\" for database {}",
                self.provider, database.name
            ),
        }
    }
}

/// Value of the one source that an empty list means with `on_empty = "open"`; no list can
/// hold it, since it is no address.
const EVERYBODY: &str = "0.0.0.0/0, ::/0";

/// Whether this is what an empty list meant, whichever provider's it was.
fn is_everybody(rules: &[Rule]) -> bool {
    matches!(rules, [rule] if rule.source.value == EVERYBODY)
}

fn prefixes(rules: &[Rule]) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> =
        rules.iter().flat_map(|rule| rule.prefixes.iter().copied()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn fingerprint(sources: &[TrustedSource]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for source in sources {
        digest.update(source.to_string());
        digest.update([0]);
        digest.update(source.expires_at.map(|at| at.to_string()).unwrap_or_default());
        digest.update([0]);
    }
    digest.finalize().into()
}

impl Refused {
    /// The guard that refused.
    pub(super) fn guard(&self) -> Guard {
        self.guard
    }
}

#[cfg(test)]
mod tests {
    use dbfw_common::Mode;

    use super::*;

    fn database(on_empty: OnEmpty) -> DatabaseConfig {
        DatabaseConfig {
            name: "orders".to_owned(),
            ports: vec![],
            mode: Mode::Enforce,
            trusted_sources: vec![],
            provider: None,
            on_empty,
            max_shrink: 50,
            allow_any: false,
        }
    }

    fn sources(values: &[&str]) -> Vec<TrustedSource> {
        values.iter().map(|value| format!("ip_addr:{value}").parse().unwrap()).collect()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_empty_list_is_confirmed_once() {
        let database = database(OnEmpty::Keep);
        let mut list = List::new("file:x".to_owned());
        let refused = Offer::Refused(Guard::OnEmpty);
        assert_eq!(list.offer(&database, vec![], now(), false), refused, "none to keep");
        let one = sources(&["10.0.0.1"]);
        assert_eq!(list.offer(&database, one, now(), false), Offer::Accepted);
        assert_eq!(list.offer(&database, vec![], now(), false), refused);
        assert_eq!(list.offer(&database, vec![], now(), true), Offer::Accepted);
        assert_eq!(list.offer(&database, vec![], now(), false), Offer::Unchanged);
        assert_eq!(list.state(), "ok");
    }

    #[test]
    fn a_confirmation_lets_one_list_through_and_no_other() {
        let database = database(OnEmpty::Keep);
        let mut list = List::new("file:x".to_owned());
        let full = sources(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        assert_eq!(list.offer(&database, full.clone(), now(), false), Offer::Accepted);
        let one = sources(&["10.0.0.1"]);
        let refused = Offer::Refused(Guard::MaxShrink);
        assert_eq!(list.offer(&database, one.clone(), now(), false), refused);
        assert_eq!(list.rules.len(), 4);
        assert_eq!(list.state(), "refused");
        let other = sources(&["10.0.0.2"]);
        assert_eq!(list.offer(&database, other, now(), true), refused, "not the one refused");
        assert_eq!(list.offer(&database, one.clone(), now(), false), refused);
        assert_eq!(list.offer(&database, one.clone(), now(), true), Offer::Accepted);
        assert_eq!(list.rules.len(), 1);
        assert_eq!(list.offer(&database, one, now(), false), Offer::Unchanged);
        assert_eq!(list.state(), "ok");
    }

    #[test]
    fn an_empty_list_means_what_the_configuration_says() {
        for (on_empty, expected, rules) in [
            (OnEmpty::Keep, Offer::Refused(Guard::OnEmpty), 1),
            (OnEmpty::Close, Offer::Accepted, 0),
            (OnEmpty::Open, Offer::Accepted, 1),
        ] {
            let database = database(on_empty);
            let mut list = List::new("file:x".to_owned());
            list.offer(&database, sources(&["10.0.0.1"]), now(), false);
            assert_eq!(list.offer(&database, vec![], now(), false), expected);
            assert_eq!(list.rules.len(), rules);
        }
    }

    #[test]
    fn a_list_ends_what_an_empty_one_opened() {
        let database = database(OnEmpty::Open);
        let mut list = List::new("file:x".to_owned());
        assert_eq!(list.offer(&database, vec![], now(), false), Offer::Accepted);
        let one = sources(&["10.0.0.1"]);
        assert_eq!(list.offer(&database, one, now(), false), Offer::Accepted);
        assert_eq!(prefixes(&list.rules).len(), 1);
    }

    #[test]
    fn open_ends_with_the_configuration_that_said_so() {
        let mut list = List::new("file:x".to_owned());
        assert_eq!(list.offer(&database(OnEmpty::Open), vec![], now(), false), Offer::Accepted);
        let keep = database(OnEmpty::Keep);
        list.follow(&keep);
        assert!(list.rules.is_empty());
        assert_eq!(list.offer(&keep, vec![], now(), false), Offer::Refused(Guard::OnEmpty));
    }

    #[test]
    fn everybody_is_refused_unless_allowed() {
        let mut database = database(OnEmpty::Keep);
        let mut list = List::new("file:x".to_owned());
        let any = sources(&["0.0.0.0/0"]);
        let refused = Offer::Refused(Guard::AllowAny);
        assert_eq!(list.offer(&database, any.clone(), now(), false), refused);
        database.allow_any = true;
        assert_eq!(list.offer(&database, any, now(), false), Offer::Accepted);
    }
}
