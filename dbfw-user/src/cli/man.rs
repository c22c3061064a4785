//! `dbfw man`: prints manual pages.

use std::{fs, path::Path};

use anyhow::Context as _;

use super::{args::command, context::print, exit::Exit};

/// Prints the page of `dbfw`, or writes that of every subcommand into `dir`.
pub(super) fn man(dir: Option<&Path>) -> anyhow::Result<Exit> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            print(&String::from_utf8(page)?)?;
        }
        Some(dir) => {
            let failed = || format!("cannot write manual pages into {}", dir.display());
            fs::create_dir_all(dir).with_context(failed)?;
            clap_mangen::generate_to(command(), dir).with_context(failed)?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("man1");
        man(Some(&into)).unwrap();
        for page in ["dbfw.1", "dbfw-status.1", "dbfw-map-dump.1", "dbfw-trust-add.1"] {
            let text = fs::read_to_string(into.join(page)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}");
        }
    }
}
