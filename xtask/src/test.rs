//! `cargo xtask test`: every test, with setup before it. The tests that need a kernel run as
//! root, through sudo where this is not root.
//!
//! Options become variables of the tests' environment; everything named `DBFW_*` is passed
//! on, so a variable set by hand does the same.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{artifact, cmd, setup};

/// Environment variables that reach the tests through sudo, by how they begin.
const PASSED_ON: [&str; 4] = ["DBFW_", "INSTA_", "PROPTEST_", "RUST_"];

/// An option that takes a count, and the variable that carries it to the tests.
const COUNTS: [(&str, &str); 2] =
    [("--fuzz-packets", "DBFW_FUZZ_PACKETS"), ("--hba-files", "DBFW_HBA_FILES")];

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    if !cmd::is_root() && cmd::find_program("sudo").is_none() {
        bail!(
            "the tests on a real kernel need root, and sudo is not installed: run \
             `cargo xtask test` as root, or plain `cargo test` for those that need no kernel"
        );
    }
    setup::run(&[])?;

    println!("test: what needs no kernel");
    cmd::run(cmd::cargo().arg("test").arg("--").args(&options.passed))?;

    println!("test: on this kernel, as root");
    let (dbfw, server) = (artifact::dbfw(&[])?, artifact::dbfw_server(&[])?);
    setup::ensure_bpffs()?;
    kernel_tests(&options, &dbfw, &server)?;

    // stdout ends with cargo's own summary.
    eprintln!(
        "ran: cargo test, then dbfw-tests as root with {}{}",
        dbfw.display(),
        options.describe()
    );
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// Variables for the tests.
    variables: Vec<(&'static str, String)>,
    /// The arguments after `--`.
    passed: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                options.passed = args.cloned().collect();
                break;
            }
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let Some((_, variable)) = COUNTS.iter().find(|(option, _)| *option == name) else {
                bail!("test has no option {arg}: see cargo xtask help");
            };
            let value = inline.or_else(|| args.next().cloned());
            let count = value.with_context(|| format!("{name} needs a number"))?;
            let digits = count.replace('_', "");
            digits
                .parse::<u64>()
                .with_context(|| format!("{name} needs a number, and got {count}"))?;
            options.variables.push((variable, digits));
        }
        Ok(options)
    }

    fn describe(&self) -> String {
        self.variables.iter().map(|(name, value)| format!(", {name}={value}")).collect()
    }
}

/// Cargo builds the tests as the user it runs as, and starts them through a runner that
/// makes them root.
fn kernel_tests(options: &Options, dbfw: &Path, server: &Path) -> Result<()> {
    let tests = cmd::root().join("tests");
    let mut environment: Vec<String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| PASSED_ON.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    environment.extend([
        format!("PATH={}", cmd::path_with_sbin()),
        format!("DBFW_BIN={}", dbfw.display()),
        format!("DBFW_SERVER_BIN={}", server.display()),
        format!("CARGO_MANIFEST_DIR={}", tests.display()),
        // Else insta asks cargo, which root may not have.
        format!("INSTA_WORKSPACE_ROOT={}", cmd::root().display()),
    ]);
    environment.extend(options.variables.iter().map(|(name, value)| format!("{name}={value}")));
    let mut command = cmd::cargo();
    command
        .args(["test", "--package", "dbfw-tests", "--config"])
        .arg(runner(cmd::is_root(), &environment))
        .arg("--")
        .args(&options.passed);
    cmd::run(&mut command)
}

/// The cargo setting that starts test binaries as root with these variables.
fn runner(is_root: bool, environment: &[String]) -> String {
    let words = if is_root { &["env"][..] } else { &["sudo", "env"][..] };
    let quoted: Vec<String> = words
        .iter()
        .map(|word| (*word).to_owned())
        .chain(environment.iter().cloned())
        .map(|word| serde_json::Value::String(word).to_string())
        .collect();
    format!("target.'cfg(all())'.runner = [{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn counts_become_variables_and_the_rest_goes_to_the_tests() {
        let options = parse(&["--fuzz-packets=1_000_000", "--", "corpus"]).expect("valid options");
        assert_eq!(options.variables, [("DBFW_FUZZ_PACKETS", "1000000".to_owned())]);
        assert_eq!(options.passed, ["corpus"]);
        for wrong in [&["--fuzz-packets"][..], &["--fuzz-packets", "many"], &["corpus"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_runner_keeps_values_with_spaces_and_quotes_whole() {
        assert_eq!(
            runner(false, &["A=b \"c\"".to_owned()]),
            r#"target.'cfg(all())'.runner = ["sudo", "env", "A=b \"c\""]"#
        );
        assert_eq!(runner(true, &[]), r#"target.'cfg(all())'.runner = ["env"]"#);
    }
}
