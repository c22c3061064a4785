//! `cargo xtask gen`: the shell completions and manual pages a package ships, from the same
//! definitions the command line is parsed with.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{artifact, cmd};

/// Shells, and what each expects before and after a program's name in that of the file.
const COMPLETIONS: [(&str, &str, &str); 3] =
    [("bash", "", ".bash"), ("zsh", "_", ""), ("fish", "", ".fish")];

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("gen takes no arguments, and got {arg}");
    }
    let programs = [("dbfw", artifact::dbfw(&[])?), ("dbfw-server", artifact::dbfw_server(&[])?)];
    let into = cmd::root().join("target/gen");
    let pages = into.join("man");
    fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
    for (name, program) in &programs {
        for (shell, before, after) in COMPLETIONS {
            let path = into.join(format!("{before}{name}{after}"));
            let text = cmd::read(Command::new(program).args(["completions", shell]))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        cmd::run(Command::new(program).args(["man", "--dir"]).arg(&pages))?;
    }
    println!("gen: completions in {}, manual pages in {}", into.display(), pages.display());
    Ok(())
}
