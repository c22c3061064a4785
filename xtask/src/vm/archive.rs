//! Debian's packages, of releases that this machine may not have: apt with sources, lists and
//! a state of its own, from the mirror that this machine's apt is set up with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::cmd;

/// Signs every release of Debian; of the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The suites that have kernels, of the archive itself.
const SUITES: [&str; 4] = ["bookworm", "bookworm-backports", "trixie", "trixie-backports"];

/// The same of the archive of security updates.
const SECURITY_SUITES: [&str; 2] = ["bookworm-security", "trixie-security"];

/// Oldest age of the lists: kernels come out every few weeks.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Debian's packages.
#[derive(Debug)]
pub(super) struct Archive {
    directory: PathBuf,
    mirror: String,
}

impl Archive {
    /// Reads the lists of packages, unless those that are here are fresh.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let directory = directory.join("apt");
        let (mirror, security) = mirrors()?;
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        let archive = Self { directory, mirror };
        let mut sources: String = SUITES.map(|suite| archive.source(suite)).concat();
        if let Some(security) = security {
            sources.extend(SECURITY_SUITES.map(|suite| line(&security, suite)));
        }
        let changed = fs::read_to_string(archive.sources()).unwrap_or_default() != sources;
        write(&archive.sources(), &sources)?;
        // apt wants to know what is installed: nothing.
        write(&archive.directory.join("status"), "")?;
        if changed || !archive.is_fresh() {
            println!("vm: lists of packages from {}", archive.mirror);
            cmd::run(archive.apt("apt-get").args(["--quiet=2", "update"]))?;
            write(&archive.stamp(), "")?;
        }
        Ok(archive)
    }

    /// A line of apt's sources for a suite.
    pub(super) fn source(&self, suite: &str) -> String {
        line(&self.mirror, suite)
    }

    /// The names of packages that begin so.
    pub(super) fn names(&self, beginning: &str) -> Result<Vec<String>> {
        let names = cmd::read(self.apt("apt-cache").args(["pkgnames", beginning]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The packages that a package depends on, by name.
    pub(super) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let arguments = ["depends", "--no-recommends", "--no-suggests", package];
        let text = cmd::read(self.apt("apt-cache").args(arguments))?;
        Ok(text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
            .collect())
    }

    /// Fetches a package and checks it against the lists; where it is.
    pub(super) fn fetch(&self, package: &str) -> Result<PathBuf> {
        let debs = self.directory.join("debs");
        cmd::run(self.apt("apt-get").args(["--quiet=2", "download", package]).current_dir(&debs))?;
        let beginning = format!("{package}_");
        let entries = fs::read_dir(&debs).context("cannot list what was fetched")?;
        let found = entries.flatten().find(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with(&beginning))
        });
        let found =
            found.with_context(|| format!("apt-get fetched {package} and it is not there"))?;
        Ok(found.path())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        let at = |part: &str| self.directory.join(part).display().to_string();
        let options = [
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", "-".to_owned()),
            ("Dir::State", at("")),
            ("Dir::State::Lists", at("lists")),
            ("Dir::State::Status", at("status")),
            ("Dir::Cache", at("cache")),
            // Root's apt gives up its rights for the network, and could not write here.
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
        ];
        for (name, value) in options {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("sources.list")
    }

    fn stamp(&self) -> PathBuf {
        self.directory.join("updated")
    }

    fn is_fresh(&self) -> bool {
        let modified = self.stamp().metadata().and_then(|meta| meta.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < FRESH))
    }
}

fn line(mirror: &str, suite: &str) -> String {
    format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The mirrors from which this machine's apt takes Debian and its security updates.
fn mirrors() -> Result<(String, Option<String>)> {
    let mut found = own_mirrors()?;
    if found.0.is_none() {
        // A machine that has just been made has no lists, and apt does not know whose they are.
        cmd::run(cmd::as_root("apt-get")?.args(["update", "--quiet"]))?;
        found = own_mirrors()?;
    }
    match found {
        (Some(mirror), security) => Ok((mirror, security)),
        (None, _) => {
            bail!("kernels come from Debian, and this machine's apt knows no mirror of it")
        }
    }
}

fn own_mirrors() -> Result<(Option<String>, Option<String>)> {
    const FORMAT: &str = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
    let arguments = ["indextargets", "--format", FORMAT, "Created-By: Packages"];
    let text = cmd::read(Command::new("apt-get").args(arguments))
        .context("kernels come from Debian's mirrors, by apt")?;
    Ok(parse_mirrors(&text))
}

fn parse_mirrors(targets: &str) -> (Option<String>, Option<String>) {
    let of = |label: &str| {
        targets.lines().find_map(|line| {
            let mut fields = line.split('|');
            let found = fields.next() == Some("Debian") && fields.next() == Some(label);
            fields.next().filter(|_| found).map(str::to_owned)
        })
    };
    (of("Debian"), of("Debian-Security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_of_this_machine() {
        let targets = "Google|Cloud|http://a.example/\nDebian|Debian|http://b.example/debian/\n\
                       Debian|Debian-Security|http://b.example/security/\n";
        let mirror = |text: &str| Some(format!("http://b.example/{text}/"));
        assert_eq!(parse_mirrors(targets), (mirror("debian"), mirror("security")));
        assert_eq!(parse_mirrors("Ubuntu|Ubuntu|http://c.example/\n"), (None, None));
    }
}
