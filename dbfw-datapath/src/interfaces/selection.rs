//! The interfaces that a configuration names.

use glob::Pattern;
use strum::Display;

/// The interfaces that are protected.
///
/// ```
/// use dbfw_datapath::{Interface, Interfaces};
///
/// let named = Interfaces::Matching(vec!["eth*".parse().unwrap()]);
/// assert!(Interface::ethernet("eth0", 2).is_covered_by(&named));
/// // No hardware is behind this one.
/// assert!(!Interface::ethernet("docker0", 3).is_covered_by(&Interfaces::Auto));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Interfaces {
    /// Every one with hardware behind it.
    Auto,
    /// Those of which a name matches one of the globs.
    Matching(Vec<Pattern>),
}

impl Interfaces {
    /// The names and globs as written.
    pub fn patterns(&self) -> &[Pattern] {
        match self {
            Self::Auto => &[],
            Self::Matching(patterns) => patterns,
        }
    }

    /// The names among them that are no globs, each once: each is of one interface.
    pub fn exact_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.patterns().iter().map(Pattern::as_str).filter(|name| !is_glob(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Whether a name may stand for several interfaces, or for none.
pub fn is_glob(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The reason why a name that is no glob can never cover an interface.
#[derive(Clone, Debug, PartialEq, Eq, Display)]
pub enum Unmatchable {
    /// Loopback, which is never filtered.
    #[strum(to_string = "no program fits this kind of link, which is loopback")]
    Loopback,
    /// The label of an address, `eth0:1`.
    #[strum(to_string = "not an interface, but the label of an address of {interface}")]
    Label {
        /// The interface that has the address.
        interface: String,
    },
    /// An interface as `ip link` shows it, `eth0@if2`.
    #[strum(to_string = "not an interface, but how ip link shows {interface}")]
    Listing {
        /// The interface.
        interface: String,
    },
}

impl Unmatchable {
    /// The reason why `name` matches nothing, where the name itself tells.
    pub fn of(name: &str) -> Option<Self> {
        let before = |mark| name.split_once(mark).map(|(interface, _)| interface.to_owned());
        if is_glob(name) {
            None
        } else if name == "lo" {
            Some(Self::Loopback)
        } else if let Some(interface) = before('@') {
            Some(Self::Listing { interface })
        } else {
            before(':').map(|interface| Self::Label { interface })
        }
    }

    /// The text to write instead.
    pub fn fix(&self) -> String {
        match self {
            Self::Loopback => "leave it out: traffic within this host is not filtered".to_owned(),
            Self::Label { interface } | Self::Listing { interface } => {
                format!("write \"{interface}\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_glob_are_exact() {
        let globs = ["eth0", "enp*", "wg[01]", "tun?", "db.1", "eth0"];
        let matching = Interfaces::Matching(globs.map(|glob| Pattern::new(glob).unwrap()).into());
        assert_eq!(matching.exact_names(), ["db.1", "eth0"]);
        assert!(Interfaces::Auto.exact_names().is_empty());
    }

    #[test]
    fn names_that_match_nothing() {
        let label = |interface: &str| Unmatchable::Label { interface: interface.into() };
        let listing = |interface: &str| Unmatchable::Listing { interface: interface.into() };
        for (name, reason) in [
            ("lo", Some(Unmatchable::Loopback)),
            ("eth0:1", Some(label("eth0"))),
            ("bond0.7:vip", Some(label("bond0.7"))),
            ("eth0@if2", Some(listing("eth0"))),
            ("eth0.100@eth0", Some(listing("eth0.100"))),
            ("eth0", None),
            ("eth0.100", None),
            ("lo0", None),
            ("lo*", None),
            ("eth0:*", None),
            ("enx001122334455", None),
        ] {
            assert_eq!(Unmatchable::of(name), reason, "{name}");
        }
    }
}
