//! The binary the tests, the demo and `gen` run.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result};

use crate::cmd;

/// Builds `dbfw`, with cargo's options `options`, and says where it is.
pub(crate) fn dbfw(options: &[&str]) -> Result<PathBuf> {
    build("dbfw-user", "dbfw", options)
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

fn build(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command
        .args(["build", "--package", package, "--bin", binary])
        .arg("--message-format=json-render-diagnostics")
        .args(options)
        .stderr(Stdio::inherit());
    let messages = cmd::read(&mut command)?;
    executable(&messages, binary)
        .with_context(|| format!("cargo built {binary} and did not say where it is"))
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
