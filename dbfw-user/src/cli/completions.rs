//! `dbfw completions`: prints the completions for a shell.

use clap_complete::Shell;

use super::{args::command, context::print, exit::Exit};

pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "dbfw", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Ok)
}
