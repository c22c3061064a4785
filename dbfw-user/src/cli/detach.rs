//! `dbfw detach`: ends the protection, through the agent or by removing the pins.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use dbfw_datapath::DatapathError;
use dbfw_wire::control::{HistoryEntry, HistoryKind, Request, Text};
use jiff::Timestamp;
use nix::unistd::getuid;

use super::{context::Context, exit::Exit, message::warn};
use crate::{
    agent::history, config::AgentConfig, control::server::user, readers::offline,
    state::snapshot::Snapshot,
};

pub(super) fn detach(context: &Context, yes: bool) -> anyhow::Result<Exit> {
    if !yes && io::stdin().is_terminal() && !confirmed()? {
        anyhow::bail!("nothing was detached");
    }
    let done: Text = context.ask_or_look(
        |agent| Ok(agent.call(&Request::Detach {})?),
        |config, _| detach_pinned(config),
    )?;
    context.show(&done)?;
    Ok(Exit::Ok)
}

fn detach_pinned(agent: &AgentConfig) -> anyhow::Result<Text> {
    let mut detached = Vec::new();
    let result = dbfw_datapath::detach_pinned(&agent.pin_dir, &mut detached);
    detached.sort_by_key(|name| name == "backstop");
    if !detached.is_empty() {
        record(agent, &detached, result.as_ref().err());
    }
    result?;
    let text = if detached.is_empty() {
        if let Some(elsewhere) = offline::attached_elsewhere(agent)? {
            return Err(elsewhere.into());
        }
        "Nothing was attached.".to_owned()
    } else {
        format!(
            "Detached {}: nothing is filtered any more. The maps were removed with their pins, so \
             the counters begin at zero when the agent starts again.",
            detached.join(", ")
        )
    };
    Ok(Text { text })
}

/// Records in the history what no agent does: who detached what.
fn record(agent: &AgentConfig, detached: &[String], error: Option<&DatapathError>) {
    let mut message = format!("without the agent: {}", detached.join(", "));
    if let Some(error) = error {
        message.push_str(&format!("; then it failed: {error}"));
    }
    let entry = HistoryEntry {
        time: Timestamp::now(),
        kind: HistoryKind::Detached,
        // Unknown without a snapshot, as before the first policy.
        generation: Snapshot::load(&agent.state_dir).map_or(0, |snapshot| snapshot.generation),
        by: Some(user(getuid().as_raw())),
        message: Some(message),
        ..HistoryEntry::default()
    };
    if let Err(error) = history::append(&agent.state_dir, &entry) {
        let path = history::path(&agent.state_dir);
        warn(&format!("the history does not tell it: cannot write {}: {error}", path.display()));
    }
}

fn confirmed() -> io::Result<bool> {
    let mut terminal = anstream::stderr();
    write!(
        terminal,
        "This opens every protected port of this host to everyone, until `dbfw reload` or the \
         next start of the agent. Detach? [y/N] "
    )?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y\n", "Y\n", " yes \n", "YES"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n\n", "no\n", "yep\n", "yy\n"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
