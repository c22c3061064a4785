//! `cargo xtask vm`: boots kernels of Debian in qemu, with the release binary and the checks of
//! `tests/vm` inside, and compares what they report with `tests/vm/checks.txt`.
//!
//! Kernels and root file systems come from the mirror that this machine's apt uses, with lists
//! of packages that are this task's own. Everything is kept in `target/vm`.

mod archive;
mod checks;
mod image;
mod kernel;
mod qemu;
mod systemd;
mod table;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail};

use crate::{artifact, cmd, setup};
use archive::Archive;
use checks::{Checks, List, Verdict};
use image::Payload;
use qemu::{Machine, Threads};

/// The machines of a full run: the kernels that the README names, the newest there is, and one
/// that systemd starts.
const ALL: [Target; 5] = [
    Target::Kernel(Series::Named(6, 1)),
    Target::Kernel(Series::Named(6, 12)),
    Target::Kernel(Series::Named(6, 18)),
    Target::Kernel(Series::Newest),
    Target::Systemd,
];

/// The machines of a quick run.
const QUICK: [Target; 2] =
    [Target::Kernel(Series::Named(6, 1)), Target::Kernel(Series::Named(6, 12))];

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    setup::ensure_vm()?;
    let lists: &[List] = if options.quick { &[List::Quick] } else { &[List::Quick, List::Full] };
    let is_full = !options.quick && options.checks.is_empty();
    let all = Checks::read()?;
    let on_kernels = all.select(lists, &options.checks)?;
    let on_systemd = all.select(&[List::Systemd], &[])?;
    let commit = table::commit();
    let dbfw = artifact::dbfw(&["--release"])?;
    let program = artifact::vm_checks()?;

    let directory = cmd::root().join("target/vm");
    let _alone = alone(&directory)?;
    let archive = Archive::open(&directory)?;
    let root = image::root(&archive, &directory)?;
    let mut payload = Payload::new(&directory)?;
    payload.init(&cmd::root().join("tests/vm/init.sh"))?;
    payload.program(&dbfw, "usr/local/bin/dbfw")?;
    payload.program(&program, "opt/dbfw/checks")?;
    let has_kernel = options.targets.iter().any(|target| matches!(target, Target::Kernel(_)));
    let names = on_kernels.names();
    if has_kernel && names.lines().any(|name| name.starts_with(checks::KERNEL_TESTS)) {
        payload.program(&artifact::kernel_tests()?, "opt/dbfw/it")?;
    }
    payload.text("opt/dbfw/list", &names)?;

    let mut verdicts = Vec::new();
    for target in options.targets {
        let (reports, checks) = match target {
            Target::Kernel(series) => {
                (boot(series, &archive, &directory, &root, &payload), &on_kernels)
            }
            Target::Systemd => (systemd::run(&archive, &directory, &dbfw), &on_systemd),
        };
        let verdict = match reports {
            Ok(reports) => {
                if is_full {
                    table::keep(&directory, target, &commit, &reports)?;
                }
                checks.judge(&reports)
            }
            Err(error) => Verdict::failed(format!("{error:#}")),
        };
        verdicts.push((target, verdict));
    }
    if is_full {
        table::write(&directory, &on_kernels, &on_systemd)?;
    }
    conclude(&verdicts)
}

/// A lock that keeps a second run out: it would change what the machines of the first boot.
fn alone(directory: &Path) -> Result<fs::File> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join("lock");
    let lock =
        fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    lock.try_lock().context("another cargo xtask vm is running here: wait until it has ended")?;
    Ok(lock)
}

/// Boots one kernel; what its machine reported.
fn boot(
    series: Series,
    archive: &Archive,
    directory: &Path,
    root: &Path,
    payload: &Payload,
) -> Result<checks::Reports> {
    let kernel = kernel::provide(archive, directory, series)
        .with_context(|| format!("the kernel {series} cannot be had"))?;
    println!("\nvm {series}: {}", kernel.release);
    let run: PathBuf = directory.join("run").join(series.to_string());
    let initrd = payload.initrd(&run, root, &kernel.modules)?;
    let threads = Threads::of(&kernel.release);
    Machine { run: &run, kernel: &kernel.image, initrd: &initrd, threads }.boot()
}

/// Prints what failed, and fails if anything did.
fn conclude(verdicts: &[(Target, Verdict)]) -> Result<()> {
    println!();
    let mut failed = 0;
    let mut passed = 0;
    for (target, verdict) in verdicts {
        passed += verdict.passed;
        failed += verdict.failures.len();
        for failure in &verdict.failures {
            println!("FAIL {target}: {failure}");
        }
    }
    println!("vm: {passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} checks failed or are missing: see target/vm/run");
    }
    Ok(())
}

/// A machine of a run, by what is under test on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Kernel(Series),
    Systemd,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(series) => series.fmt(f),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "systemd" => Ok(Self::Systemd),
            kernel => kernel.parse().map(Self::Kernel),
        }
    }
}

/// A series of kernels, as `6.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    Named(u32, u32),
    /// Whatever is the newest in Debian's backports.
    Newest,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(major, minor) => write!(f, "{major}.{minor}"),
            Self::Newest => f.write_str("newest"),
        }
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let numbers = text.split_once('.');
        let numbers =
            numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match numbers {
            Some((major, minor)) => Ok(Self::Named(major, minor)),
            None => bail!("{text} is no machine: name a kernel as 6.12, newest, or systemd"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    quick: bool,
    /// Of a kernel's checks only these; all, if none is named.
    checks: Vec<String>,
    targets: Vec<Target>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { quick: false, checks: Vec::new(), targets: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--check" => {
                    options.checks.push(args.next().context("--check needs a name")?.clone());
                }
                option if option.starts_with('-') => {
                    bail!("vm has no option {option}: see cargo xtask help")
                }
                target => options.targets.push(target.parse()?),
            }
        }
        if options.targets.is_empty() {
            options.targets = if options.quick { QUICK.to_vec() } else { ALL.to_vec() };
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn machines_are_named_by_series_or_as_systemd() {
        let quick = parse(&["--quick"]).expect("valid");
        assert_eq!((quick.quick, &quick.targets[..]), (true, &QUICK[..]));
        assert_eq!(parse(&[]).expect("valid").targets, ALL);
        let named = parse(&["6.12", "newest", "systemd"]).expect("valid").targets;
        let [six, newest] = [Series::Named(6, 12), Series::Newest].map(Target::Kernel);
        assert_eq!(named, [six, newest, Target::Systemd]);
        assert_eq!(parse(&["--check", "vlan", "6.12"]).expect("valid").checks, ["vlan"]);
        for wrong in [&["--slow"][..], &["--check"], &["6"], &["6.x"], &["latest"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for target in ALL {
            assert_eq!(target.to_string().parse::<Target>().expect("its own name"), target);
        }
    }
}
