//! Records for journald: the facts as `DBFW_` fields, and message ids.

use std::io;

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Message ids of the events that matter, by the events' names.
const MESSAGE_IDS: [(&str, &str); 12] = [
    ("ready", "528a2711c39c477d8375aaea099833bc"),
    ("attachment_lost", "a10483ffd3894cc1bd5488fdd1fe4843"),
    ("degraded", "9ff5ec6c281a428c95a6e315142f8de6"),
    ("detached", "cdebc1474ce14e69890433e854ad1097"),
    ("opened", "587f4c322a9946b3a7ceaaba6e44d108"),
    ("policy_changed", "b894a115e74a44a3bb90b928597abd9e"),
    ("policy_not_applied", "c2ad8b955f3f4419b5a1b0c59ce1a140"),
    ("list_problem", "6165ed4f56f242b6a03246b997e4769b"),
    ("trial_began", "2e9beefdded35ba349cfaffccdc7f374"),
    ("trial_kept", "5843233da68ba5c69a9f6903ab6e98f2"),
    ("trial_ended", "8423c773250d01174acb1f4338761b45"),
    ("reload_failed", "3e4790a39b5a4825b0059f5abf890d5d"),
];

/// The layer that writes to journald.
pub(super) struct Journal {
    plain: tracing_journald::Layer,
    /// One layer for each message id: a layer adds the same fields to all its records.
    named: Vec<(&'static str, tracing_journald::Layer)>,
}

impl Journal {
    /// Connects to journald.
    ///
    /// # Errors
    ///
    /// There is no journald.
    pub(super) fn connect() -> io::Result<Self> {
        let named = |(name, id)| Ok((name, prefixed()?.with_custom_fields([("MESSAGE_ID", id)])));
        Ok(Self {
            plain: prefixed()?,
            named: MESSAGE_IDS.into_iter().map(named).collect::<io::Result<_>>()?,
        })
    }
}

fn prefixed() -> io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?.with_field_prefix(Some("DBFW".to_owned())))
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let of_event = self.named.iter().find(|(name, _)| *name == event.metadata().name());
        of_event.map_or(&self.plain, |(_, layer)| layer).on_event(event, context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_id_is_documented() {
        let documentation = include_str!("../../../docs/operations.md");
        for (event, id) in MESSAGE_IDS {
            assert!(documentation.contains(&format!("| `{event}` | `{id}` |")), "{event}");
        }
    }
}
