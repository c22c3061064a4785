//! Checks of the state directory, the run directory and the group.

use std::{fs, io, path::Path};

use dbfw_datapath::GROUP;
use dbfw_wire::control::Finding;
use nix::unistd::Group;

use super::{finding, host::Host, kernel::unreadable};
use crate::{config::AgentConfig, exposure::Exposure, state::files};

pub(super) fn check(host: &Host, agent: &AgentConfig) -> Vec<Finding> {
    let mut findings = state_dir(host, &agent.state_dir);
    findings.extend(run_dir(host, &agent.run_dir));
    findings
}

/// Finds whether anybody but root can use dbfw.
pub(super) fn check_group() -> Finding {
    group(Group::from_name(GROUP).map(|group| group.is_some()))
}

/// Finds who could change what the agent knows of its earlier runs.
fn state_dir(host: &Host, directory: &Path) -> Vec<Finding> {
    const CHECK: &str = "state_dir";
    let shown = directory.display();
    match files::exposure(&host.path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![finding::ok(
                CHECK,
                format!("{shown} does not exist yet; the agent makes it"),
            )];
        }
        Err(error) => return vec![unreadable(CHECK, &directory.to_string_lossy(), &error)],
        Ok(Some(exposure)) => {
            let detail = format!(
                "{shown} {exposure}, who could let anybody in by what is in it; the agent refuses \
                 to use it"
            );
            let fix = format!("ls -la {shown}; {}", exposure.fix(directory));
            return vec![finding::fail(CHECK, detail, fix)];
        }
        Ok(None) => {}
    }
    let exposed: Vec<Finding> = host
        .names(directory)
        .into_iter()
        .filter_map(|name| exposed_file(host, &directory.join(name)))
        .collect();
    if exposed.is_empty() {
        return vec![finding::ok(CHECK, format!("nobody but root can write in {shown}"))];
    }
    exposed
}

/// The finding of a file in a good state directory that is not the agent's own.
fn exposed_file(host: &Host, path: &Path) -> Option<Finding> {
    let metadata = fs::symlink_metadata(host.path(path)).ok()?;
    let exposure = if metadata.is_symlink() {
        Exposure::Link
    } else if metadata.is_file() {
        Exposure::of(&metadata)?
    } else {
        return None;
    };
    let detail = format!("{} {exposure}; the agent does not use it", path.display());
    Some(finding::warn("state_dir", detail, exposure.fix(path)))
}

/// Finds who could put a socket of their own, or a copy of sources, in place of the agent's.
fn run_dir(host: &Host, directory: &Path) -> Option<Finding> {
    let exposure = files::exposure(&host.path(directory)).ok()?;
    let shown = directory.display();
    let Some(exposure) = exposure else {
        return Some(finding::ok("run_dir", format!("nobody but root can write in {shown}")));
    };
    let detail =
        format!("{shown} {exposure}, who could let anybody in; the agent refuses to use it");
    Some(finding::fail("run_dir", detail, exposure.fix(directory)))
}

fn group(exists: nix::Result<bool>) -> Finding {
    const CHECK: &str = "group";
    let fix = format!("groupadd --system {GROUP}; systemctl restart dbfw");
    match exists {
        Ok(true) => finding::ok(CHECK, format!("members of {GROUP} may read dbfw's state")),
        Ok(false) => {
            let detail = format!("there is no group {GROUP}: only root can use dbfw");
            finding::warn(CHECK, detail, fix)
        }
        Err(error) => {
            let detail = format!("the group {GROUP} cannot be looked up: {error}");
            finding::warn(CHECK, detail, format!("getent group {GROUP}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn states(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.state.as_str()).collect()
    }

    #[test]
    fn a_directory_and_files_that_others_can_write_are_found() {
        let root = tempfile::tempdir().unwrap();
        let (host, path) = (Host::at(root.path()), Path::new("/var/lib/dbfw"));
        assert_eq!(states(&state_dir(&host, path)), ["ok"], "the agent makes it");
        let directory = host.path(path);
        fs::create_dir_all(&directory).unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (bits, state) in [(0o750, "ok"), (0o755, "ok"), (0o770, "fail"), (0o1777, "fail")] {
            mode(&directory, bits);
            let findings = state_dir(&host, path);
            assert_eq!(states(&findings), [state], "{bits:o}");
            let fix = findings[0].fix.clone().unwrap_or_default();
            assert!(state == "ok" || fix.contains("chmod go-w /var/lib/dbfw"), "{fix}");
        }
        mode(&directory, 0o750);
        for name in ["trust.json", "snapshot.json"] {
            fs::write(directory.join(name), "").unwrap();
            mode(&directory.join(name), 0o640);
        }
        assert_eq!(states(&state_dir(&host, path)), ["ok"]);
        mode(&directory.join("trust.json"), 0o666);
        symlink("/etc/shadow", directory.join("history.log")).unwrap();
        let findings = state_dir(&host, path);
        assert_eq!(states(&findings), ["warn", "warn"]);
        assert!(findings[0].detail.contains("history.log is a symbolic link"), "{findings:?}");
        assert!(findings[1].detail.contains("trust.json is writable by others"), "{findings:?}");
    }

    #[test]
    fn a_run_directory_that_others_can_write_is_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let (host, path) = (Host::at(root.path()), Path::new("/run/dbfw"));
        assert_eq!(run_dir(&host, path), None);
        fs::create_dir_all(host.path(path)).unwrap();
        for (bits, state) in [(0o750, "ok"), (0o770, "fail"), (0o1777, "fail")] {
            fs::set_permissions(host.path(path), fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(run_dir(&host, path).unwrap().state.as_str(), state, "{bits:o}");
        }
    }

    #[test]
    fn the_group() {
        let state = |exists| group(exists).state.as_str();
        assert_eq!((state(Ok(true)), state(Ok(false))), ("ok", "warn"));
        assert_eq!(state(Err(nix::errno::Errno::EIO)), "warn");
    }
}
