//! Checks whether the agent may read the configuration's files.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use dbfw_core::toml::{Place, Problem};
use dbfw_datapath::GROUP;
use dbfw_wire::control::Finding;
use nix::unistd::{Group, geteuid};

use super::{
    access::{Obstacle, Rights},
    finding,
};
use crate::config::{self, Config, Purpose};

const CHECK: &str = "files";

/// Bits of a mode by which everybody may read or write a file.
const EVERYBODY: u32 = 0o006;

/// Files that the agent may not read, or does not for a secret that everybody may read, each with the
/// command that lets it.
///
/// # Errors
/// Only root can tell.
pub fn unreadable(config: &Config) -> io::Result<Unreadable> {
    if !geteuid().is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let rights = Rights { group: Group::from_name(GROUP)?.map(|group| group.gid) };
    let mut found = Unreadable::default();
    for (path, purpose) in config::files(config) {
        found.looked_at += 1;
        let path = path.as_path();
        let problem = match rights.obstacles(path) {
            Ok(obstacles) if obstacles.is_empty() => match public_secret(path, purpose) {
                Some(problem) => problem,
                None => continue,
            },
            Ok(obstacles) => denied(path, purpose, rights, &obstacles),
            Err(error) => Problem {
                place: Place::file(path),
                message: format!("cannot find out whether the agent may read it: {error}"),
                fix: "check the path and the file system".to_owned(),
            },
        };
        match purpose {
            Purpose::Configuration => found.configuration.push(problem),
            Purpose::Data | Purpose::Secret => found.others.push(problem),
        }
    }
    Ok(found)
}

/// Findings of [`unreadable`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Files of the configuration: the agent would not take it.
    pub configuration: Vec<Problem>,
    /// Other files: the agent goes on with what it read last.
    pub others: Vec<Problem>,
    looked_at: usize,
}

/// The findings for `dbfw doctor`.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let found = match unreadable(config) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let detail = "not checked: only root can find out which files the agent may read";
            return vec![finding::ok(CHECK, detail)];
        }
        Err(error) => {
            let detail = format!("not checked: {error}");
            return vec![finding::warn(CHECK, detail, "sudo dbfw doctor")];
        }
    };
    if found.configuration.is_empty() && found.others.is_empty() {
        let detail = match found.looked_at {
            1 => "the agent may read the one file there is".to_owned(),
            many => format!("the agent may read all {many} files that the configuration names"),
        };
        return vec![finding::ok(CHECK, detail)];
    }
    let told = |problem: &Problem| format!("{}: {}", problem.place.file.display(), problem.message);
    let fail = found.configuration.iter().map(|p| finding::fail(CHECK, told(p), p.fix.clone()));
    let warn = found.others.iter().map(|p| finding::warn(CHECK, told(p), p.fix.clone()));
    fail.chain(warn).collect()
}

/// The files that somebody besides root can write.
pub(super) fn check_writers(config: &Config) -> Vec<Finding> {
    let exposed = config::exposed_files(config);
    if exposed.is_empty() {
        return vec![finding::ok("writers", "nobody but root can write the configuration's files")];
    }
    exposed
        .iter()
        .map(|problem| {
            let shown = problem.place.file.display();
            finding::warn("writers", format!("{shown}: {}", problem.message), problem.fix.clone())
        })
        .collect()
}

/// The problem of a secret that everybody may read or write, which the agent refuses.
fn public_secret(path: &Path, purpose: Purpose) -> Option<Problem> {
    let mode = path.metadata().ok()?.mode() & 0o7777;
    (purpose == Purpose::Secret && mode & EVERYBODY != 0).then(|| Problem {
        place: Place::file(path),
        message: format!(
            "everybody may read or write it (mode {mode:04o}): the agent does not use it, and the secret \
             may be known to others, so renew it as well"
        ),
        fix: format!("chmod o-rw {}", quoted(path)),
    })
}

fn denied(path: &Path, purpose: Purpose, rights: Rights, obstacles: &[Obstacle]) -> Problem {
    let told: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    let fixes: Vec<String> =
        obstacles.iter().map(|obstacle| fix(obstacle, purpose, rights)).collect();
    Problem {
        place: Place::file(path),
        message: format!(
            "the agent may not read it: it is root without the right to read other users' files{}, and \
             {}",
            if rights.group.is_some() { ", in the group dbfw" } else { "" },
            told.join(", ")
        ),
        fix: fixes.join(" && "),
    }
}

/// The command that lets the agent past one obstacle and takes nothing from anybody else.
fn fix(obstacle: &Obstacle, purpose: Purpose, rights: Rights) -> String {
    let path = quoted(&obstacle.path);
    let bit = if obstacle.is_directory { 'x' } else { 'r' };
    let group = rights.group.map(nix::unistd::Gid::as_raw);
    let in_group = match group {
        Some(group) => group == obstacle.group,
        None => obstacle.group == 0,
    };
    if obstacle.owner == 0 {
        format!("chmod u+{bit} {path}")
    } else if in_group {
        format!("chmod g+{bit} {path}")
    } else if obstacle.is_directory {
        format!("chmod o+x {path}")
    } else if purpose == Purpose::Secret || group.is_none() {
        format!("chown root {path} && chmod u+r {path}")
    } else {
        format!("chgrp {GROUP} {path} && chmod g+r {path}")
    }
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@,=%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use nix::unistd::Gid;

    use super::*;

    #[test]
    fn a_secret_that_everybody_may_read_or_write_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "secret").unwrap();
        for (mode, purpose, is_told) in [
            (0o600, Purpose::Secret, false),
            (0o640, Purpose::Secret, false),
            (0o644, Purpose::Secret, true),
            (0o602, Purpose::Secret, true),
            (0o644, Purpose::Data, false),
            (0o644, Purpose::Configuration, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = public_secret(&path, purpose);
            assert_eq!(found.is_some(), is_told, "{mode:o} {purpose:?}");
            if let Some(problem) = found {
                assert_eq!(problem.fix, format!("chmod o-rw {}", path.display()));
                assert!(problem.message.contains(&format!("{mode:04o}")), "{}", problem.message);
            }
        }
        assert_eq!(public_secret(&directory.path().join("none"), Purpose::Secret), None);
    }

    #[test]
    fn the_command_takes_nothing_from_anybody() {
        let obstacle = |path: &str, is_directory, owner, group| Obstacle {
            path: path.into(),
            is_directory,
            owner,
            group,
            mode: 0o700,
        };
        let with = Rights { group: Some(Gid::from_raw(4711)) };
        let without = Rights { group: None };
        for (obstacle, purpose, rights, wanted) in [
            (
                obstacle("/a/l", false, 7, 7),
                Purpose::Data,
                with,
                "chgrp dbfw /a/l && chmod g+r /a/l",
            ),
            (
                obstacle("/a/l", false, 7, 7),
                Purpose::Data,
                without,
                "chown root /a/l && chmod u+r /a/l",
            ),
            (
                obstacle("/a/t", false, 7, 7),
                Purpose::Secret,
                with,
                "chown root /a/t && chmod u+r /a/t",
            ),
            (obstacle("/a/l", false, 7, 4711), Purpose::Data, with, "chmod g+r /a/l"),
            (obstacle("/a/l", false, 7, 0), Purpose::Data, without, "chmod g+r /a/l"),
            (obstacle("/a/l", false, 0, 7), Purpose::Configuration, with, "chmod u+r /a/l"),
            (obstacle("/a", true, 7, 7), Purpose::Secret, with, "chmod o+x /a"),
            (obstacle("/a", true, 7, 4711), Purpose::Data, with, "chmod g+x /a"),
            (obstacle("/it's", true, 0, 0), Purpose::Data, with, r"chmod u+x '/it'\''s'"),
        ] {
            assert_eq!(fix(&obstacle, purpose, rights), wanted);
        }
    }
}
