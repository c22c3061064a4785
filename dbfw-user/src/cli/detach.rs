//! `dbfw detach`: ends the protection, through the agent or by removing the pins.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use dbfw_wire::control::{Request, Text};

use super::{context::Context, exit::Exit};
use crate::{config::AgentConfig, readers::offline};

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
    let mut detached = dbfw_datapath::detach_pinned(&agent.pin_dir)?;
    detached.sort_by_key(|name| name == "backstop");
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
