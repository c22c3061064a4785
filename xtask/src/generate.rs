//! `cargo xtask gen`: the shell completions and manual pages a package ships, from the same
//! definitions the command line is parsed with.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{artifact, cmd};

/// Shells, and what each expects the file to be called.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "dbfw.bash"), ("zsh", "_dbfw"), ("fish", "dbfw.fish")];

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("gen takes no arguments, and got {arg}");
    }
    let dbfw = artifact::dbfw(&[])?;
    let into = cmd::root().join("target/gen");
    let pages = into.join("man");
    fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
    for (shell, name) in COMPLETIONS {
        let path = into.join(name);
        let text = cmd::read(Command::new(&dbfw).args(["completions", shell]))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    cmd::run(Command::new(&dbfw).args(["man", "--dir"]).arg(&pages))?;
    println!("gen: completions in {}, manual pages in {}", into.display(), pages.display());
    Ok(())
}
