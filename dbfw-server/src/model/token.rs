//! [`Token`]: what somebody may do, and the secret that proves it.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

/// The beginning of every secret. With 64 digits behind it it is as long as a token of
/// DigitalOcean, which doctl insists on.
const PREFIX: &str = "dodbfw_";

/// Hexadecimal digits behind it: 256 bits.
const DIGITS: usize = 64;

/// Digits of a secret that are shown later.
const SHOWN: usize = 6;

/// A token: who has its secret may do this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: Uuid,
    /// Its name, for people and the history.
    pub name: String,
    /// The first digits of its secret.
    pub begins_with: String,
    /// Its rights.
    pub scopes: BTreeSet<Scope>,
    /// To which databases.
    pub databases: Databases,
    /// The time from which on it counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The time of its making.
    pub created_at: Timestamp,
    /// The name of the token that made it.
    pub created_by: String,
    /// The time of its last use, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

impl Token {
    /// Whether it counts no more.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The databases that a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Databases {
    /// All, and those to come.
    All,
    /// These alone.
    Only(BTreeSet<Uuid>),
}

impl Databases {
    /// Whether a database is one of them.
    pub fn contains(&self, id: Uuid) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&id),
        }
    }
}

/// Something that a token may allow. The names are DigitalOcean's where it has the thing.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(const_into_str, parse_err_ty = UnknownScope, parse_err_fn = unknown)]
pub enum Scope {
    /// Reading databases and their lists.
    #[serde(rename = "database:read")]
    #[strum(serialize = "database:read")]
    DatabaseRead,
    /// Changing lists.
    #[serde(rename = "database:update")]
    #[strum(serialize = "database:update")]
    DatabaseUpdate,
    /// Adding databases.
    #[serde(rename = "database:create")]
    #[strum(serialize = "database:create")]
    DatabaseCreate,
    /// Removing databases.
    #[serde(rename = "database:delete")]
    #[strum(serialize = "database:delete")]
    DatabaseDelete,
    /// Reading who changed lists.
    #[serde(rename = "audit:read")]
    #[strum(serialize = "audit:read")]
    AuditRead,
    /// Reading which tokens there are.
    #[serde(rename = "token:read")]
    #[strum(serialize = "token:read")]
    TokenRead,
    /// Making tokens.
    #[serde(rename = "token:create")]
    #[strum(serialize = "token:create")]
    TokenCreate,
    /// Revoking tokens.
    #[serde(rename = "token:delete")]
    #[strum(serialize = "token:delete")]
    TokenDelete,
    /// Reading which hosts there are, and how they do.
    #[serde(rename = "host:read")]
    #[strum(serialize = "host:read")]
    HostRead,
    /// Letting hosts join.
    #[serde(rename = "host:create")]
    #[strum(serialize = "host:create")]
    HostCreate,
    /// Removing hosts, and taking back what lets them join.
    #[serde(rename = "host:delete")]
    #[strum(serialize = "host:delete")]
    HostDelete,
}

/// A text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope; there are {all}", all = Scope::names().join(", "))]
pub struct UnknownScope(String);

fn unknown(text: &str) -> UnknownScope {
    UnknownScope(text.chars().take(40).collect())
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|scope| scope.as_str()).collect()
    }
}

/// A usual set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Preset {
    /// Reads lists and their history.
    Viewer,
    /// Changes lists too.
    Editor,
    /// Does everything.
    Admin,
}

impl Preset {
    /// Every preset.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Its scopes.
    pub fn scopes(self) -> BTreeSet<Scope> {
        let scopes: &[Scope] = match self {
            Self::Viewer => &[Scope::DatabaseRead, Scope::AuditRead, Scope::HostRead],
            Self::Editor => {
                &[Scope::DatabaseRead, Scope::AuditRead, Scope::HostRead, Scope::DatabaseUpdate]
            }
            Self::Admin => Scope::ALL,
        };
        scopes.iter().copied().collect()
    }
}

/// The secret of a token, which only its owner keeps. Its text form shows nothing.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret of 256 random bits.
    pub fn of_random(bits: [u8; DIGITS / 2]) -> Self {
        let digits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{PREFIX}{digits}").into())
    }

    /// A text as a secret; `None` if it cannot be one of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_secret = digits.len() == DIGITS && digits.bytes().all(is_digit);
        is_secret.then(|| Self(text.into()))
    }

    /// The text, for its owner alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The digest that is stored in its place. It is as random as a key, so that a plain digest is enough.
    pub fn hash(&self) -> TokenHash {
        TokenHash(super::digest(self.expose().as_bytes()))
    }

    /// The digits that may be shown later.
    pub fn begins_with(&self) -> String {
        self.expose().chars().take(PREFIX.len() + SHOWN).collect()
    }
}

/// SHA-256 of a secret, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_as_long_as_doctl_wants_it_and_is_not_shown() {
        let secret = Secret::of_random([0xab; 32]);
        assert_eq!(secret.expose().len(), 71);
        assert!(secret.expose().starts_with("do"));
        assert!(!format!("{secret:?}").contains("abab"));
        assert_eq!(secret.begins_with(), "dodbfw_ababab");
        let again = Secret::parse(secret.expose()).unwrap();
        assert_eq!(again.hash(), secret.hash());
        assert_eq!(secret.hash().to_string().len(), 64);
        let long = format!("{}0", secret.expose());
        let upper = secret.expose().to_uppercase();
        for bad in ["", "dodbfw_", &secret.expose()[..70], &long, &upper, "dop_v1_abab"] {
            assert!(Secret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn scopes_have_one_name_each() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(*scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        let error = "database:write".parse::<Scope>().unwrap_err().to_string();
        assert!(error.contains("database:update"), "{error}");
        assert!(Preset::Viewer.scopes().is_subset(&Preset::Editor.scopes()));
        assert_eq!(Preset::Admin.scopes().len(), Scope::ALL.len());
    }
}
