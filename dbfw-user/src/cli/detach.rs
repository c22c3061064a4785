//! `dbfw detach`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::{context::Context, exit::Exit, note, offline};
use crate::control::wire::{Request, Text};

pub(super) fn detach(context: &Context, yes: bool) -> anyhow::Result<Exit> {
    if !yes && io::stdin().is_terminal() && !confirmed()? {
        note("nothing was detached");
        return Ok(Exit::Failure);
    }
    let done: Text = context.ask_or_look(
        |agent| Ok(agent.call(&Request::Detach {})?),
        |config| Ok(Text { text: offline::detach(config)? }),
    )?;
    context.show(&done)?;
    Ok(Exit::Ok)
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
