//! Checks of a database behind the filter: their table, their findings, and those that are made
//! of files and lists alone.

mod accounts;
mod acl;
mod baseline;
mod check;
mod connection;
mod finding;
mod roles;
mod rules;
mod settings;
mod trusted;

pub use accounts::{AccountHosts, DbAccount, MySqlCatalog, Proof, judge_accounts};
pub use acl::{DefaultUser, RedisCatalog, judge_default_user};
pub use baseline::{Acceptance, AcceptanceError, Accepted};
pub use check::{CHECKS, Check, CheckId, Engine, Level, Severity, document};
pub use connection::{SeenConnection, judge_connections};
pub use finding::{Finding, State};
pub use roles::{DbRole, Memberships, PostgresCatalog, RolesAudit, StoredPassword, judge_roles};
pub use rules::{RulesAudit, judge_rules};
pub use settings::{MAX_SETTINGS_DEPTH, Setting, Settings, SettingsError};
pub use trusted::{Trusted, UNUSED_AFTER, judge_uses};
