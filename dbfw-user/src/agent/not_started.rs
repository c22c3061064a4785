//! A start that failed, and what that means for the ports.

use crate::{causes::causes, config::AgentConfig, readers::offline};

/// The error, and as the last line of the log whether anything filters.
#[derive(Debug, thiserror::Error)]
#[error("{}\n{effect}; once this is fixed: systemctl start dbfw", causes(source))]
pub(super) struct NotStarted {
    source: anyhow::Error,
    effect: &'static str,
}

impl NotStarted {
    /// The failure of a start with these settings, as the pins show its effect.
    pub(super) fn new(source: anyhow::Error, agent: &AgentConfig) -> Self {
        let effect = match offline::is_filtering(agent) {
            Some(true) => {
                "The agent did not start. What an earlier agent attached goes on filtering by the \
                 last policy"
            }
            Some(false) => {
                "The agent did not start. Nothing is attached: the ports of the databases are OPEN \
                 to everyone"
            }
            None => {
                "The agent did not start. Whatever an earlier agent attached goes on filtering, \
                 which only root can see"
            }
        };
        Self { source, effect }
    }
}
