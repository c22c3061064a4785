//! [`Digest`]: SHA-256, as both ends compute it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The text before the digits.
const ALGORITHM: &str = "sha256:";

/// SHA-256 of a list or a set; written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of lines, each with a line break behind it.
    pub(super) fn of_lines<T: AsRef<[u8]>>(lines: impl IntoIterator<Item = T>) -> Self {
        let mut hasher = Sha256::new();
        for line in lines {
            hasher.update(line);
            hasher.update(b"\n");
        }
        Self(hasher.finalize().into())
    }

    /// The 64 digits alone, for a path.
    pub fn digits(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The digest of 64 digits.
    ///
    /// # Errors
    /// They are other than that.
    pub fn from_digits(digits: &str) -> Result<Self, DigestError> {
        let digits = digits.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(DigestError);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [nibble(pair[0])?, nibble(pair[1])?];
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.digits())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::from_digits(text.strip_prefix(ALGORITHM).ok_or(DigestError)?)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The digest of a set: of its prefixes in order, one a line.
pub fn set_digest<T: fmt::Display>(prefixes: impl IntoIterator<Item = T>) -> Digest {
    Digest::of_lines(prefixes.into_iter().map(|prefix| prefix.to_string()))
}
