//! [`Session`]: somebody who logged in to the panel.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{change::digest, token::TokenHash};

/// Hexadecimal digits of a secret: 256 bits.
const DIGITS: usize = 64;

/// A login of the panel. It may do what its token may, as long as the token counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The token that it was begun with.
    pub token: TokenHash,
    /// The time of the login.
    pub began_at: Timestamp,
    /// The time from which on it counts no more.
    pub ends_at: Timestamp,
}

/// The secret of a session, which only its browser keeps. Its text form shows nothing.
#[derive(Clone, Debug)]
pub struct SessionSecret(SecretString);

impl SessionSecret {
    /// The secret of 256 random bits.
    pub fn of_random(bits: [u8; DIGITS / 2]) -> Self {
        let digits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(digits.into())
    }

    /// A text as a secret; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_secret = text.len() == DIGITS && text.bytes().all(is_digit);
        is_secret.then(|| Self(text.into()))
    }

    /// The text, for its browser alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The digest that is stored in its place.
    pub fn hash(&self) -> SessionHash {
        SessionHash(digest(self.expose().as_bytes()))
    }
}

/// SHA-256 of a session's secret, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHash(String);

impl fmt::Display for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SessionSecret::of_random([0xab; 32]);
        assert!(!format!("{secret:?}").contains("abab"));
        let again = SessionSecret::parse(secret.expose()).unwrap();
        assert_eq!(again.hash(), secret.hash());
        let upper = secret.expose().to_uppercase();
        for bad in ["", "ab", &secret.expose()[1..], &upper] {
            assert!(SessionSecret::parse(bad).is_none(), "{bad}");
        }
    }
}
