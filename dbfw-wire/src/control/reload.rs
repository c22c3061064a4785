//! Documents of `dbfw reload`, as the agent sends them and `--output json` prints them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::words::words;

/// The change that a reload made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Number of the policy now in force.
    pub generation: u64,
    /// Prefixes added.
    pub added: usize,
    /// Prefixes removed.
    pub removed: usize,
    /// Changes of the configuration that open or close something.
    #[serde(default)]
    pub changes: Vec<ConfigChange>,
    /// Sources that could connect to a database and cannot any more: those that observe mode let in
    /// during the last day, and those with open connections. Most connections first.
    #[serde(default)]
    pub cut_off: Vec<CutOff>,
    /// The reason why open connections are not known.
    #[serde(default)]
    pub connections_error: Option<String>,
    /// Changes a guard refuses, in words; `dbfw status` shows what each would take away.
    pub refused: Vec<String>,
    /// Ids of the refused changes that can be confirmed now.
    #[serde(default)]
    pub confirmable: Vec<String>,
    /// Refused changes that were named to confirm them and are still refused, with the reason.
    #[serde(default)]
    pub unconfirmed: Vec<UnconfirmedPlan>,
    /// Lists that could not be read, and why; what they held before stays in force.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Sources that were not asked for before and have no answer yet.
    #[serde(default)]
    pub pending: Vec<String>,
    /// Keys whose values are not those that the agent started with, and take effect only when it is
    /// started again: "agent.metrics_listen".
    #[serde(default)]
    pub restart: Vec<String>,
    /// The trial of the configuration in force.
    #[serde(default)]
    pub trial: Option<Trial>,
}

/// A refused change that was named to confirm it, and is still refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnconfirmedPlan {
    /// Its id.
    pub id: String,
    /// The database.
    pub database: String,
    /// The reason why it was not confirmed.
    pub message: String,
}

/// A reload that did not confirm what was named: the document of the command, not of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The change that the reload made.
    #[serde(flatten)]
    pub reloaded: Reloaded,
    /// The reason why something named was not confirmed.
    pub error: Failure,
}

/// The trial of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The time at which the configuration before is in force again.
    pub ends_at: Timestamp,
    /// The command that keeps the configuration on trial.
    pub keep: String,
    /// The command that goes back at once.
    pub revert: String,
    /// The time since when the configuration before was in force.
    pub restores_since: Timestamp,
    /// The files of the configuration before, the main file first.
    pub restores: Vec<ConfigFileStatus>,
    /// The changes that going back makes: what it opens and closes.
    pub changes: Vec<ConfigChange>,
}

/// A file of the configuration in force, or of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFileStatus {
    /// Its path.
    pub path: String,
    /// The SHA-256 of its content when it was loaded, as `sha256sum` prints it.
    pub sha256: String,
}

/// A change of the configuration that opens or closes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The effect on sources that are not trusted.
    pub effect: ChangeEffect,
    /// The database that it is about; absent: a setting of `[agent]`.
    pub database: Option<String>,
    /// The change in words, "shop: enforce → observe: tcp/5432 is open to everyone".
    pub text: String,
}

words! {
    /// The effect of a change of the configuration on sources that are not trusted.
    pub enum ChangeEffect {
        /// They can connect now, and could not before.
        Opens = "opens",
        /// They can connect no more.
        Closes = "closes",
        /// It is as it was, or the change alone does not tell.
        Other = "other",
    }
}

/// A source that could connect to a database and cannot any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// The database.
    pub database: String,
    /// Its address.
    pub source: IpAddr,
    /// Connections that it had open, and that are cut.
    pub connections: usize,
    /// Connections that it has open and that go on: by an interface that is not covered, where only
    /// new connections are judged.
    #[serde(default)]
    pub going_on: usize,
    /// The last time that observe mode saw it, if it did.
    pub last_seen: Option<Timestamp>,
}
