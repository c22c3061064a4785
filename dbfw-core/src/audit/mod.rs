//! Checks of a database behind the filter: their table, their findings, and those that are made
//! of files and lists alone.

mod baseline;
mod check;
mod connection;
mod finding;
mod rules;
mod settings;
mod trusted;

pub use baseline::{Acceptance, AcceptanceError, Accepted};
pub use check::{CHECKS, Check, CheckId, Engine, Level, Severity, document};
pub use connection::SeenConnection;
pub use finding::{Finding, State};
pub use rules::{RulesAudit, judge_rules};
pub use settings::{MAX_SETTINGS_DEPTH, Setting, Settings, SettingsError};
pub use trusted::{Trusted, UNUSED_AFTER, judge_uses};
