//! The binary the tests, the demo and `gen` run.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::cmd;

/// Builds `dbfw`, with cargo's options `options`, and says where it is.
pub(crate) fn dbfw(options: &[&str]) -> Result<PathBuf> {
    build("dbfw-user", "dbfw", options)
}

/// Builds the control plane's server, with cargo's options `options`, and says where it is.
pub(crate) fn dbfw_server(options: &[&str]) -> Result<PathBuf> {
    build("dbfw-server", "dbfw-server", options)
}

/// Builds the measuring program, for release, and says where it is.
pub(crate) fn bench() -> Result<PathBuf> {
    build("dbfw-tests", "dbfw-bench", &["--release"])
}

/// Builds the tests' own DigitalOcean, and says where it is.
pub(crate) fn provider_server() -> Result<PathBuf> {
    build("dbfw-tests", "dbfw-provider-server", &[])
}

/// Builds the checks that run in virtual machines, and says where they are.
pub(crate) fn vm_checks() -> Result<PathBuf> {
    build("dbfw-tests", "dbfw-vm-checks", &[])
}

/// Builds the tests that need a kernel, and says where they are.
pub(crate) fn kernel_tests() -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command.args(["test", "--no-run", "--package", "dbfw-tests", "--test", "it"]);
    built(command, "it")
}

fn build(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command.args(["build", "--package", package, "--bin", binary]).args(options);
    built(command, binary)
}

/// Runs cargo, and says where the target called `name` is.
fn built(mut command: Command, name: &str) -> Result<PathBuf> {
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let messages = cmd::read(&mut command)?;
    executable(&messages, name)
        .with_context(|| format!("cargo built {name} and did not say where it is"))
}

/// The executable of the target called `name`, from cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_binary_is_read_from_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"aya\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"dbfw\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"dbfw\"},",
            "\"executable\":\"/t/debug/dbfw\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(messages, "dbfw").as_deref(), Some(Path::new("/t/debug/dbfw")));
        assert_eq!(executable("not JSON\n", "dbfw"), None);
    }
}
