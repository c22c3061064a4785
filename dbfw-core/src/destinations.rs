//! The addresses that a database is bound to.

use std::{fmt, net::IpAddr};

use crate::source::Prefix;

/// The destinations whose packets a database judges: every one, or those it is bound to.
///
/// ```
/// use dbfw_core::Destinations;
///
/// let bound = Destinations::new(false, vec!["192.0.2.5".parse().unwrap()]);
/// assert!(bound.include("192.0.2.5".parse().unwrap(), false));
/// assert!(!bound.include("192.0.2.6".parse().unwrap(), true));
/// assert!(bound.overlap(&Destinations::default()), "every destination");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destinations {
    local: bool,
    /// Sorted, none within another.
    prefixes: Vec<Prefix>,
}

impl Destinations {
    /// This host's own addresses if `local`, and those of `prefixes`; neither: every destination.
    pub fn new(local: bool, mut prefixes: Vec<Prefix>) -> Self {
        // A prefix sorts before those inside it.
        prefixes.sort_unstable();
        prefixes.dedup_by(|inner, outer| outer.covers(inner));
        Self { local, prefixes }
    }

    /// Whether every packet to its ports is judged, whoever it is for.
    pub fn is_every(&self) -> bool {
        !self.local && self.prefixes.is_empty()
    }

    /// Whether this host's own addresses are among them by that name.
    pub fn has_local(&self) -> bool {
        self.local
    }

    /// The addresses and networks that are written out.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Each by name, or as written; none: every destination.
    pub fn texts(&self) -> Vec<String> {
        let local = self.local.then(|| "local".to_owned());
        let written = self.prefixes.iter().map(|prefix| match prefix.is_host() {
            true => prefix.addr().to_string(),
            false => prefix.to_string(),
        });
        local.into_iter().chain(written).collect()
    }

    /// Whether `address` is one of them; `is_local`: it is this host's own.
    pub fn include(&self, address: IpAddr, is_local: bool) -> bool {
        self.is_every()
            || (self.local && is_local)
            || self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether a destination may be one of both.
    pub fn overlap(&self, other: &Self) -> bool {
        // Any address may become this host's own.
        self.is_every()
            || other.is_every()
            || self.local
            || other.local
            || self.prefixes.iter().any(|prefix| {
                other.prefixes.iter().any(|other| prefix.covers(other) || other.covers(prefix))
            })
    }

    /// Whether each is surely one of `other`.
    pub fn are_within(&self, other: &Self) -> bool {
        let covered = |prefix: &Prefix| other.prefixes.iter().any(|outer| outer.covers(prefix));
        other.is_every()
            || (!self.is_every()
                && (!self.local || other.local)
                && self.prefixes.iter().all(covered))
    }
}

impl fmt::Display for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_every() {
            return f.write_str("every address");
        }
        f.write_str(&self.texts().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(texts: &[&str]) -> Destinations {
        let written = texts.iter().filter(|text| **text != "local");
        Destinations::new(
            texts.contains(&"local"),
            written.map(|text| text.parse().unwrap()).collect(),
        )
    }

    #[test]
    fn what_is_within_another_is_not_written_twice() {
        assert_eq!(to(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"]), to(&["10.0.0.0/8"]));
        assert_eq!(to(&["10.0.0.9", "local", "10.0.0.9"]).to_string(), "local, 10.0.0.9");
        assert_eq!(to(&["2001:db8::/32", "10.0.0.9"]).to_string(), "10.0.0.9, 2001:db8::/32");
        assert_eq!(to(&[]).to_string(), "every address");
    }

    #[test]
    fn destinations_that_may_meet_overlap() {
        for (one, other, overlap) in [
            (&[][..], &["10.0.0.1"][..], true),
            (&["local"], &["10.0.0.1"], true),
            (&["local"], &["local"], true),
            (&["10.0.0.1"], &["10.0.0.2"], false),
            (&["10.0.0.0/8"], &["10.9.0.0/16", "2001:db8::1"], true),
            (&["2001:db8::1"], &["10.0.0.1"], false),
        ] {
            assert_eq!(to(one).overlap(&to(other)), overlap, "{one:?} {other:?}");
            assert_eq!(to(other).overlap(&to(one)), overlap, "{one:?} {other:?}");
        }
    }

    #[test]
    fn narrower_destinations_are_within_wider_ones() {
        for (inner, outer, within) in [
            (&["10.0.0.1"][..], &[][..], true),
            (&[], &["10.0.0.1"], false),
            (&["local"], &["local", "10.0.0.1"], true),
            (&["local", "10.0.0.1"], &["local"], false),
            (&["10.0.0.1"], &["10.0.0.0/30"], true),
            (&["10.0.0.0/30"], &["10.0.0.1"], false),
            (&[], &[], true),
        ] {
            assert_eq!(to(inner).are_within(&to(outer)), within, "{inner:?} {outer:?}");
        }
    }

    #[test]
    fn an_address_is_included_by_name_or_as_written() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let bound = to(&["local", "172.17.0.0/16"]);
        assert!(bound.include(address("192.0.2.1"), true));
        assert!(!bound.include(address("192.0.2.1"), false));
        assert!(bound.include(address("172.17.0.9"), false));
        assert!(to(&[]).include(address("::1"), false));
    }
}
