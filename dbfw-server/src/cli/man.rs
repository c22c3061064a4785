//! `dbfw-server man` and `completions`.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap_complete::Shell;

use super::{args::command, exit::Exit, output::print};

/// Prints the page, or writes that of every subcommand into `dir`.
pub(super) fn man(dir: Option<&Path>) -> anyhow::Result<Exit> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            print(&page)?;
        }
        Some(dir) => {
            let failed = || format!("cannot write manual pages into {}", dir.display());
            fs::create_dir_all(dir).with_context(failed)?;
            clap_mangen::generate_to(command(), dir).with_context(failed)?;
        }
    }
    Ok(Exit::Ok)
}

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "dbfw-server", &mut script);
    print(&script)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(Some(dir.path())).unwrap();
        for page in ["dbfw-server.1", "dbfw-server-init.1", "dbfw-server-database-add.1"] {
            let text = fs::read_to_string(dir.path().join(page)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}");
        }
    }
}
