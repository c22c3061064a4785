//! The value of a `dns` source: a host name.

use std::net::IpAddr;

use super::error::{ParseError, excerpt};

/// Characters of a name without its last dot (RFC 1035, 2.3.4: 255 bytes on the wire).
const MAX_NAME: usize = 253;

/// Characters of a label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Checks that `name` can be resolved: labels of letters, digits, `-` and `_`, at least one
/// letter, and not an address. Letters of other alphabets are written in ASCII (`xn--…`).
///
/// # Errors
/// The first thing wrong with it.
pub(super) fn check_name(name: &str) -> Result<(), ParseError> {
    const FIX: &str = "write a host name";
    let labels = name.strip_suffix('.').unwrap_or(name);
    if let Ok(addr) = labels.parse::<IpAddr>() {
        return Err(ParseError::new(
            format!("{addr} is an address"),
            format!("write ip_addr:{addr}"),
        ));
    }
    let length = labels.chars().count();
    if length > MAX_NAME {
        let message = format!("the name has {length} characters, more than {MAX_NAME}");
        return Err(ParseError::new(message, FIX));
    }
    for label in labels.split('.') {
        if label.is_empty() {
            let message = format!("{:?} has an empty label", excerpt(name));
            return Err(ParseError::new(message, FIX));
        }
        if let Some(found) = label.chars().find(|c| !is_allowed(*c)) {
            let fix = if found.is_alphabetic() {
                "write the name in its ASCII form, xn--…"
            } else {
                "a host name has letters, digits, '-', '_' and '.'"
            };
            let message = format!("{:?} has the character {found:?}", excerpt(name));
            return Err(ParseError::new(message, fix));
        }
        if label.len() > MAX_LABEL {
            let message =
                format!("the label {:?} has more than {MAX_LABEL} characters", excerpt(label));
            return Err(ParseError::new(message, FIX));
        }
    }
    if !labels.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Err(ParseError::new(format!("{:?} has no letter", excerpt(name)), FIX));
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
