//! Parts of answers that several requests share.

use dbfw_wire::control::{self as wire, ChangeEffect, ConfigFileStatus};

use crate::{
    agent::Agent,
    config::{self, ConfigChange, ConfigFile, Effect},
    state::{checked::sha256, expiry::Reading},
};

/// A file of a configuration.
pub(super) fn config_file(file: &ConfigFile) -> ConfigFileStatus {
    let path = file.path.display().to_string();
    ConfigFileStatus { path, sha256: sha256(&file.text) }
}

/// A change of the configuration.
pub(super) fn config_change(change: &ConfigChange) -> wire::ConfigChange {
    wire::ConfigChange {
        effect: match change.effect() {
            Effect::Opens => ChangeEffect::Opens,
            Effect::Closes => ChangeEffect::Closes,
            Effect::Other => ChangeEffect::Other,
        },
        database: change.database().map(str::to_owned),
        text: change.to_string(),
    }
}

/// The trial under way, with what its end opens and closes.
pub(super) fn trial(agent: &Agent) -> Option<wire::Trial> {
    let trial = agent.files.trial()?;
    let before = trial.before();
    Some(wire::Trial {
        ends_at: trial.ends_at(Reading::now()),
        keep: "dbfw reload --keep".to_owned(),
        revert: "dbfw reload --revert".to_owned(),
        restores_since: trial.before_since(),
        restores: before.files.iter().map(config_file).collect(),
        changes: agent
            .kernel
            .changes(&agent.config, &agent.kernel.attached(), before)
            .iter()
            .chain(&config::source_changes(&agent.config, before))
            .map(config_change)
            .collect(),
    })
}
