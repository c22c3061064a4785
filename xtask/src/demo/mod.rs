//! `cargo xtask demo`: a real PostgreSQL protected by dbfw, shown step by step on network
//! namespaces that stand for hosts, first with a list in a file, then with one from a
//! provider's API. Also a test: a step that does not show what it should ends it with an error.

mod api;
mod droplets;
mod hosts;
mod measure;
mod process;
mod program;
mod screen;
mod servers;
mod signals;
mod site;
mod story;

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use program::Built;
use site::Site;

use crate::{artifact, cmd, setup};

/// Name a `dbfw` and a `dbfw-provider-server` to show instead of those built from this tree;
/// with both, setup is left out.
const BINARY: &str = "DBFW_BIN";
const SERVER: &str = "DBFW_PROVIDER_SERVER";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    keep: bool,
    clean: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--keep" => options.keep = true,
                "--clean" => options.clean = true,
                _ => bail!("demo has no option {arg}: see cargo xtask help"),
            }
        }
        if options.keep && options.clean {
            bail!("--clean removes what --keep left: use one of them");
        }
        Ok(options)
    }
}

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    if !cmd::is_root() && cmd::find_program("sudo").is_none() {
        bail!("the demo makes network namespaces and loads kernel programs: run it as root");
    }
    if options.clean {
        return if cmd::is_root() { clean() } else { again_as_root(args, None) };
    }
    let built = built()?;
    if !cmd::is_root() {
        return again_as_root(args, Some(&built));
    }
    setup::ensure_bpffs()?;
    perform(options, built)
}

/// The programs that are shown: those named, and the others built.
fn built() -> Result<Built> {
    let (dbfw, api) = (named_binary(BINARY)?, named_binary(SERVER)?);
    if dbfw.is_none() || api.is_none() {
        setup::run(&[])?;
        println!("demo: building dbfw (the development profile, which is quicker to build)");
    }
    Ok(Built {
        dbfw: dbfw.map_or_else(|| artifact::dbfw(&[]), Ok)?,
        api: api.map_or_else(artifact::provider_server, Ok)?,
    })
}

fn named_binary(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(variable) else { return Ok(None) };
    let path = std::path::absolute(path).with_context(|| format!("{variable} is not a path"))?;
    if !cmd::is_executable(&path) {
        bail!("{variable} names {}, which is not a program: build it, or unset it", path.display());
    }
    Ok(Some(path))
}

/// Becomes sudo, which runs this task again. Root needs no toolchain then: setup and build
/// are done.
fn again_as_root(args: &[String], built: Option<&Built>) -> Result<()> {
    let this = std::env::current_exe().context("cannot tell where xtask is")?;
    let mut command = cmd::as_root("env")?;
    command.arg(format!("PATH={}", cmd::path_with_sbin()));
    if let Some(Built { dbfw, api }) = built {
        command.arg(format!("{BINARY}={}", dbfw.display()));
        command.arg(format!("{SERVER}={}", api.display()));
    }
    command.arg(this).arg("demo").args(args);
    println!("sudo     the demo needs root: {}", cmd::show(&command));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", cmd::show(&command)))
}

fn clean() -> Result<()> {
    signals::install()?;
    let mut site = Site::claim()?;
    let was_empty = site.is_empty();
    site.remove()?;
    println!("demo: {}", if was_empty { "there was nothing to remove" } else { "removed" });
    Ok(())
}

fn perform(options: Options, built: Built) -> Result<()> {
    let programs = program::Programs::find(built)?;
    signals::install()?;
    let mut site = Site::claim()?;
    if site.is_kept() {
        bail!(
            "a demo that was left standing is still there: `cargo xtask demo --clean` removes it"
        );
    }
    if !site.is_empty() {
        screen::line("demo: an earlier run was killed; removing what it left")?;
        site.remove()?;
        site = Site::claim()?;
    }

    let told = story::tell(&mut site, &programs);
    let interrupted = signals::check().is_err();
    if told.is_err() && !interrupted {
        // Gone once the site is removed.
        eprint!("{}", servers::last_words(&site));
    }
    if options.keep && !interrupted {
        site.keep()?;
        screen::line(&servers::guide(&site, &programs))?;
    } else {
        site.remove().context("the demo could not remove what it made")?;
        // The terminal may be gone, which is no reason to fail.
        let _ = screen::line("Everything the demo made is removed.");
    }
    told
}

/// A command that keeps nothing of the caller's environment but PATH.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", cmd::path_with_sbin())
        .env("LC_ALL", "C")
        .current_dir("/")
        // Ctrl-C reaches the demo alone, which then ends what it started.
        .process_group(0)
        .stdin(std::process::Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed() {
        let parse = |args: &[&str]| {
            Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]).expect("none"), Options::default());
        assert!(parse(&["--keep"]).expect("keep").keep);
        assert!(parse(&["--clean"]).expect("clean").clean);
        assert!(parse(&["--keep", "--clean"]).is_err());
        assert!(parse(&["now"]).is_err());
    }
}
