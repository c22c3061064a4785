//! `type:value`, and which values a type takes.

use std::{fmt, str::FromStr};

use super::{
    Prefix, PrefixError, SourceType, TrustedSource,
    prefix::{parse_address, shown},
    range_prefixes,
};

impl SourceType {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::IpAddr, Self::Droplet, Self::K8s, Self::Tag, Self::App];

    /// The name used in the configuration and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpAddr => "ip_addr",
            Self::Droplet => "droplet",
            Self::K8s => "k8s",
            Self::Tag => "tag",
            Self::App => "app",
        }
    }
}

impl fmt::Display for SourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SourceType {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| GrammarError::UnknownType { found: shown(text) })
    }
}

impl TrustedSource {
    /// Whether the value is one its type takes. A value of `ip_addr` must parse; of the
    /// others only the shape is known here.
    pub fn check(&self) -> Result<(), GrammarError> {
        if self.value.is_empty() {
            return Err(GrammarError::Empty { kind: self.kind });
        }
        if self.value.trim() != self.value || self.value.chars().any(char::is_control) {
            return Err(GrammarError::Untidy { kind: self.kind, value: shown(&self.value) });
        }
        self.literal_prefixes().map_or(Ok(()), |prefixes| prefixes.map(|_| ()))
    }

    /// The prefixes the value itself names; `None` if its type needs a resolver.
    pub fn literal_prefixes(&self) -> Option<Result<Vec<Prefix>, GrammarError>> {
        match self.kind {
            SourceType::IpAddr => Some(literal(&self.value).map_err(GrammarError::Address)),
            SourceType::Droplet | SourceType::K8s | SourceType::Tag | SourceType::App => None,
        }
    }
}

impl FromStr for TrustedSource {
    type Err = GrammarError;

    /// The short form, `type:value`, checked. An IPv6 address has colons of its own: the
    /// first one ends the type.
    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let split = text.split_once(':').and_then(|(kind, value)| {
            kind.parse().ok().map(|kind| Self {
                kind,
                value: value.to_owned(),
                description: None,
                expires_at: None,
            })
        });
        let Some(source) = split else {
            return Err(match text.split_once(':') {
                _ if looks_like_address(text) => GrammarError::BareAddress { text: shown(text) },
                Some((kind, _)) => GrammarError::UnknownType { found: shown(kind) },
                None => GrammarError::NoType { text: shown(text) },
            });
        };
        source.check()?;
        Ok(source)
    }
}

/// Why a text is not a trusted source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// An address where `type:value` belongs.
    #[error("{text} has no type; write ip_addr:{text}")]
    BareAddress {
        /// What was written.
        text: String,
    },
    /// No ':' in it.
    #[error("{text:?} has no type; write type:value, where type is one of {}", known())]
    NoType {
        /// What was written.
        text: String,
    },
    /// A type nobody knows.
    #[error("unknown type {found:?}; the types are {}", known())]
    UnknownType {
        /// What was written.
        found: String,
    },
    /// Nothing after the type.
    #[error("{kind}: the value is empty; {}", expected(*.kind))]
    Empty {
        /// Its type.
        kind: SourceType,
    },
    /// White space around the value, or control characters in it.
    #[error("{kind}: {value:?} has white space around it or control characters in it; remove them")]
    Untidy {
        /// Its type.
        kind: SourceType,
        /// What was written.
        value: String,
    },
    /// An `ip_addr` that is no address, CIDR or range.
    #[error("ip_addr: {0}")]
    Address(PrefixError),
}

/// `10.0.0.1`, `10.0.0.0/24` or `10.0.0.1-10.0.0.9`.
fn literal(text: &str) -> Result<Vec<Prefix>, PrefixError> {
    match text.split_once('-') {
        Some((first, last)) => {
            range_prefixes(parse_address(first.trim_end())?, parse_address(last.trim_start())?)
        }
        None => Ok(vec![text.parse()?]),
    }
}

/// Whether somebody meant an address, right or not quite.
fn looks_like_address(text: &str) -> bool {
    !matches!(literal(text), Err(PrefixError::Address { .. }))
}

fn known() -> String {
    SourceType::ALL.map(SourceType::as_str).join(", ")
}

fn expected(kind: SourceType) -> &'static str {
    match kind {
        SourceType::IpAddr => "write an address, a CIDR or a range after ip_addr:",
        SourceType::Droplet => "write the droplet's id after droplet:",
        SourceType::K8s => "write the cluster's id after k8s:",
        SourceType::Tag => "write the tag's name after tag:",
        SourceType::App => "write the app's id after app:",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        text.parse::<TrustedSource>().unwrap_err().to_string()
    }

    fn prefixes(text: &str) -> String {
        let source: TrustedSource = text.parse().unwrap();
        let prefixes = source.literal_prefixes().unwrap().unwrap();
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_parses() {
        assert_eq!(prefixes("ip_addr:10.0.0.1"), "10.0.0.1/32");
        assert_eq!(prefixes("ip_addr:10.0.0.0/24"), "10.0.0.0/24");
        assert_eq!(prefixes("ip_addr:2001:db8::/32"), "2001:db8::/32");
        assert_eq!(prefixes("ip_addr:::1"), "::1/128");
        assert_eq!(prefixes("ip_addr:10.0.0.0-10.0.0.4"), "10.0.0.0/30 10.0.0.4/32");
        assert_eq!(prefixes("ip_addr:2001:db8:: - 2001:db8::1"), "2001:db8::/127");
        for text in ["tag:backend", "droplet:123", "k8s:a-b-c", "app:x", "tag:env:prod"] {
            let source: TrustedSource = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(source.literal_prefixes(), None);
        }
    }

    #[test]
    fn what_does_not() {
        let types = "ip_addr, droplet, k8s, tag, app";
        for (text, message) in [
            ("10.0.0.0/8", "10.0.0.0/8 has no type; write ip_addr:10.0.0.0/8"),
            ("10.0.0.1/8", "10.0.0.1/8 has no type; write ip_addr:10.0.0.1/8"),
            ("2001:db8::1", "2001:db8::1 has no type; write ip_addr:2001:db8::1"),
            ("::1", "::1 has no type; write ip_addr:::1"),
            ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9 has no type; write ip_addr:10.0.0.1-10.0.0.9"),
            (
                "backend",
                &format!("\"backend\" has no type; write type:value, where type is one of {types}"),
            ),
            ("ip:10.0.0.1", &format!("unknown type \"ip\"; the types are {types}")),
            (" tag:x", &format!("unknown type \" tag\"; the types are {types}")),
            ("", &format!("\"\" has no type; write type:value, where type is one of {types}")),
            ("tag:", "tag: the value is empty; write the tag's name after tag:"),
            (
                "tag: x",
                "tag: \" x\" has white space around it or control characters in it; remove them",
            ),
            (
                "tag:a\tb",
                "tag: \"a\\tb\" has white space around it or control characters in it; remove them",
            ),
            ("ip_addr:db1", "ip_addr: \"db1\" is not an IPv4 or IPv6 address"),
            ("ip_addr:10.0.0.1-9", "ip_addr: \"9\" is not an IPv4 or IPv6 address"),
            (
                "ip_addr:10.0.0.5/24",
                "ip_addr: 10.0.0.5/24 has host bits set; write 10.0.0.0/24, or 10.0.0.5 for the \
                 one address",
            ),
            (
                "ip_addr:10.0.0.0/24-10.0.1.0/24",
                "ip_addr: \"10.0.0.0/24\" is not an IPv4 or IPv6 address",
            ),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn type_names_are_those_of_serde() {
        for kind in SourceType::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    proptest! {
        #[test]
        fn text_round_trip(text in "(ip_addr|tag|app):[0-9a-f:./ -]{0,16}|\\PC{0,24}") {
            if let Ok(source) = text.parse::<TrustedSource>() {
                prop_assert_eq!(source.to_string(), text);
            }
        }
    }
}
