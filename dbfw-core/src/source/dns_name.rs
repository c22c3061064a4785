//! The value of a `dns` source: a host name. Pure.

use std::net::IpAddr;

use super::{HasFix, prefix::shown};

/// Characters of a name without its last dot (RFC 1035, 2.3.4: 255 bytes on the wire).
const MAX_NAME: usize = 253;

/// Characters of a label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// The reason for which a text is not a host name that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An address, which needs no resolver.
    #[error("{addr} is an address")]
    Address {
        /// The address.
        addr: IpAddr,
    },
    /// Longer than a name may be.
    #[error("the name has {length} characters, more than {MAX_NAME}")]
    TooLong {
        /// Its characters.
        length: usize,
    },
    /// Two dots in a row, one at the beginning, or nothing at all.
    #[error("{name:?} has an empty label")]
    EmptyLabel {
        /// The text as written.
        name: String,
    },
    /// A character that no host name has.
    #[error("{name:?} has the character {found:?}")]
    Character {
        /// The text as written.
        name: String,
        /// The character.
        found: char,
    },
    /// A label longer than it may be.
    #[error("the label {label:?} has more than {MAX_LABEL} characters")]
    LongLabel {
        /// The label.
        label: String,
    },
    /// Digits and dots alone.
    #[error("{name:?} has no letter")]
    NoLetter {
        /// The text as written.
        name: String,
    },
}

impl HasFix for NameError {
    fn fix(&self) -> String {
        match self {
            Self::Address { addr } => format!("write ip_addr:{addr}"),
            Self::Character { found, .. } if found.is_alphabetic() => {
                "write the name in its ASCII form, xn--…".to_owned()
            }
            Self::Character { .. } => {
                "a host name has letters, digits, '-', '_' and '.'".to_owned()
            }
            Self::TooLong { .. }
            | Self::EmptyLabel { .. }
            | Self::LongLabel { .. }
            | Self::NoLetter { .. } => "write a host name".to_owned(),
        }
    }
}

/// Whether `name` can be asked for: labels of letters, digits, `-` and `_`, at least one letter,
/// and not an address. Letters of other alphabets are written in their ASCII form (`xn--…`).
///
/// # Errors
/// The first thing wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    if let Ok(addr) = labels.parse::<IpAddr>() {
        return Err(NameError::Address { addr });
    }
    let length = labels.chars().count();
    if length > MAX_NAME {
        return Err(NameError::TooLong { length });
    }
    for label in labels.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel { name: shown(name) });
        }
        if let Some(found) = label.chars().find(|c| !is_allowed(*c)) {
            return Err(NameError::Character { name: shown(name), found });
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LongLabel { label: shown(label) });
        }
    }
    if !labels.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Err(NameError::NoLetter { name: shown(name) });
    }
    Ok(())
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        let label = "a".repeat(MAX_LABEL);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), MAX_NAME);
        let dotted = format!("{longest}.");
        for name in [
            "db.example.com",
            "DB.Example.com.",
            "localhost",
            "_sip._tcp.example.com",
            "a-1.b_2.c",
            "-odd-.example",
            "1.2.3.4.example",
            "xn--bcher-kva.example",
            &longest,
            &dotted,
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_is_no_name() {
        let label = "a".repeat(MAX_LABEL + 1);
        let long = "a.".repeat(127) + "aa";
        for (name, message) in [
            ("", "\"\" has an empty label; write a host name"),
            (".", "\".\" has an empty label; write a host name"),
            ("a..b", "\"a..b\" has an empty label; write a host name"),
            ("a..", "\"a..\" has an empty label; write a host name"),
            (".a", "\".a\" has an empty label; write a host name"),
            ("10.0.0.1", "10.0.0.1 is an address; write ip_addr:10.0.0.1"),
            ("10.0.0.1.", "10.0.0.1 is an address; write ip_addr:10.0.0.1"),
            ("2001:DB8::1", "2001:db8::1 is an address; write ip_addr:2001:db8::1"),
            ("10.1", "\"10.1\" has no letter; write a host name"),
            (
                "https://a.example",
                "\"https://a.example\" has the character ':'; a host name has letters, digits, \
                 '-', '_' and '.'",
            ),
            (
                "*.example",
                "\"*.example\" has the character '*'; a host name has letters, digits, '-', '_' \
                 and '.'",
            ),
            (
                "bücher.example",
                "\"bücher.example\" has the character 'ü'; write the name in its ASCII form, xn--…",
            ),
            (
                &label,
                &format!("the label {label:?} has more than 63 characters; write a host name"),
            ),
            (&long, "the name has 256 characters, more than 253; write a host name"),
        ] {
            assert_eq!(check_name(name).unwrap_err().with_fix(), message, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(name in "[a-z0-9.:_-]{0,40}|\\PC{0,40}") {
            if check_name(&name).is_ok() {
                prop_assert!(name.is_ascii() && name.len() <= MAX_NAME + 1);
                prop_assert!(name.parse::<IpAddr>().is_err());
            }
        }
    }
}
