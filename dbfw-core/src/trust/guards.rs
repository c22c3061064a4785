//! Settings of the guards of a database, as the configuration has them.

use serde::{Deserialize, Serialize};

use crate::{
    answers::ListId,
    policy::is_narrow,
    source::{Prefix, PrefixSet, PrefixUnion},
};

/// Prefixes that a text names of those left out.
const MAX_NAMED: usize = 5;

/// Settings of the guards of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// The database's name.
    pub database: String,
    /// The list that is guarded, if there is a provider.
    pub provider: Option<ListId>,
    /// The meaning of an empty list.
    pub on_empty: OnEmpty,
    /// The largest part of the prefixes in force that a change may take away, in percent.
    pub max_shrink: u8,
    /// Whether a list may trust everybody.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes that a list may hold, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
    /// The networks that the list may not leave; `None`: there is no such limit.
    pub within: Option<PrefixSet>,
}

/// The part of a source's prefixes that a host's own limits let a control plane grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// The prefixes that pass.
    pub kept: PrefixSet,
    /// Those outside `within`, sorted.
    pub outside: Vec<Prefix>,
    /// Those that are too wide, sorted.
    pub wide: Vec<Prefix>,
}

impl Guards {
    /// Takes out of `prefixes` what no list of a control plane may grant on this host: each prefix
    /// is judged alone, and the others count.
    pub fn limit(&self, prefixes: &PrefixSet) -> Limited {
        let within: Option<PrefixUnion> =
            self.within.as_ref().map(|within| [within].into_iter().collect());
        let is_outside = |prefix: &Prefix| within.as_ref().is_some_and(|w| !w.holds(prefix));
        let is_wide = |prefix: &Prefix| !self.allow_any && !is_narrow(prefix, self.min_prefix);
        if !prefixes.iter().any(|prefix| is_outside(prefix) || is_wide(prefix)) {
            return Limited { kept: prefixes.clone(), ..Limited::default() };
        }
        let (mut kept, mut limited) = (Vec::new(), Limited::default());
        for prefix in prefixes.iter().copied() {
            match (is_outside(&prefix), is_wide(&prefix)) {
                (true, _) => limited.outside.push(prefix),
                (false, true) => limited.wide.push(prefix),
                (false, false) => kept.push(prefix),
            }
        }
        Limited { kept: kept.into(), ..limited }
    }
}

impl Limited {
    /// The number of prefixes that are left out.
    pub fn left_out(&self) -> usize {
        self.outside.len() + self.wide.len()
    }

    /// The setting that keeps the most of them out; `None`: none is left out.
    pub fn guard(&self) -> Option<&'static str> {
        match (self.outside.len(), self.wide.len()) {
            (0, 0) => None,
            (outside, wide) if outside >= wide => Some("within"),
            _ => Some("min_prefix"),
        }
    }

    /// The prefixes that are left out and the reason, in words; `None`: none is.
    pub fn message(&self) -> Option<String> {
        let told = |prefixes: &[Prefix], why: &str| {
            let named: Vec<String> =
                prefixes.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            let more = match prefixes.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            (!prefixes.is_empty()).then(|| format!("{}{more} {why}", named.join(", ")))
        };
        let parts = [
            told(&self.outside, "outside `within` of [server]"),
            told(&self.wide, "wider than min_prefix of the database"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| {
            format!(
                "not trusted on this host: {}; if it is meant, change the setting here",
                parts.join(", and ")
            )
        })
    }
}

/// Meaning of an empty list from a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// A mistake: keep the last good list.
    Keep,
    /// Nobody.
    Close,
    /// Everybody.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::USUAL_MIN_LEN;

    fn set(prefixes: &[&str]) -> PrefixSet {
        prefixes.iter().map(|text| text.parse::<Prefix>().unwrap()).collect()
    }

    fn guards(within: Option<&[&str]>, allow_any: bool) -> Guards {
        Guards {
            database: "orders".to_owned(),
            provider: None,
            on_empty: OnEmpty::Close,
            max_shrink: 100,
            allow_any,
            min_prefix: USUAL_MIN_LEN,
            within: within.map(set),
        }
    }

    #[test]
    fn each_prefix_is_judged_alone() {
        // The halves of 10.0.0.0/8 together are all of it.
        let within: &[&str] = &["10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32"];
        let offered = set(&[
            "10.0.0.0/8",
            "10.1.2.3",
            "11.0.0.0/16",
            "0.0.0.0/0",
            "2001:db8:7::/48",
            "2001:db9::1",
            "::/0",
        ]);
        let limited = guards(Some(within), false).limit(&offered);
        assert_eq!(limited.kept, set(&["10.0.0.0/8", "10.1.2.3", "2001:db8:7::/48"]));
        assert_eq!(limited.left_out(), 4);
        assert_eq!(limited.guard(), Some("within"));

        let limited = guards(None, false).limit(&set(&["10.0.0.1", "128.0.0.0/1", "12.0.0.0/7"]));
        assert_eq!(
            (limited.kept.clone(), limited.guard()),
            (set(&["10.0.0.1"]), Some("min_prefix"))
        );
        let message = limited.message().unwrap();
        assert!(message.contains("12.0.0.0/7, 128.0.0.0/1 wider than min_prefix"), "{message}");

        let all = guards(None, true).limit(&offered);
        assert_eq!((all.kept, all.outside.len(), all.wide.len()), (offered.clone(), 0, 0));
        // A ceiling holds also where any width is allowed.
        assert_eq!(guards(Some(within), true).limit(&offered).left_out(), 4);
    }
}
