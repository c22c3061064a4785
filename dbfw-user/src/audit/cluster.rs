//! [`Cluster`]: the files of a running PostgreSQL.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    net::IpAddr,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
};

use dbfw_core::{
    audit::{Memberships, PostgresCatalog, Settings},
    hba::{Dialect, Facts, FileError, Files, Rules},
};
use nix::{
    ifaddrs::getifaddrs,
    unistd::{Gid, Uid, setfsgid, setfsuid},
};

use super::processes;

/// Bytes of a file that are read.
const MAX_FILE: u64 = 32 << 20;
/// Names in a directory that are read.
const MAX_NAMES: usize = 10_000;

/// The rules of a running PostgreSQL.
#[derive(Debug)]
pub(super) struct Cluster {
    /// "15".
    pub(super) version: String,
    /// The lines of its pg_hba.conf, or the reason why they are not known.
    pub(super) rules: Result<Rules, String>,
}

impl Cluster {
    /// The cluster of a server, by one of its processes. The server's user owns its files and could
    /// put others' in their place: they are read as that user.
    ///
    /// # Errors
    ///
    /// The files cannot be found: the reason.
    pub(super) fn of(pid: u32) -> Result<Self, String> {
        if !processes::shares_files(pid) {
            return Err("the server runs in a container, whose files are not read".to_owned());
        }
        let proc = |error: io::Error| format!("process {pid} cannot be looked at: {error}");
        let owner = fs::metadata(processes::of(pid, "")).map_err(proc)?;
        let data = fs::read_link(processes::of(pid, "cwd")).map_err(proc)?;
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        let read = thread::Builder::new()
            .spawn(move || {
                become_reader(uid, gid)?;
                Self::read(pid, &data)
            })
            .map_err(|error| format!("no thread can be started: {error}"))?;
        read.join().unwrap_or_else(|_| Err("reading its files failed".to_owned()))
    }

    fn read(pid: u32, data: &Path) -> Result<Self, String> {
        let mut files = Disk;
        let mut text = |name: &str| {
            let path = data.join(name);
            let text = files.read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(String::from_utf8_lossy(&text).into_owned())
        };
        let version = text("PG_VERSION")?.trim().to_owned();
        // Processes of connections change their command line.
        let postmaster = text("postmaster.pid")?;
        let postmaster = postmaster.lines().next().and_then(|line| line.trim().parse().ok());
        let arguments = processes::arguments(postmaster.unwrap_or(pid))
            .map_err(|error| format!("its command line cannot be read: {error}"))?;
        let options = Options::of(&arguments);
        let rules = rules(data, &options, dialect(&version));
        Ok(Self { version, rules })
    }
}

fn dialect(version: &str) -> Dialect {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 16) { Dialect::Before16 } else { Dialect::From16 }
}

fn rules(data: &Path, options: &Options, dialect: Dialect) -> Result<Rules, String> {
    let mut files = Disk;
    let directory = options.directory.as_deref().map_or(data.to_owned(), |named| data.join(named));
    let config = options.get("config_file");
    let config = config.map_or(directory.join("postgresql.conf"), |named| beside(data, named));
    let hba = match options.get("hba_file") {
        Some(named) => beside(data, named),
        None => {
            let settings =
                Settings::read(&config, &mut files).map_err(|error| error.to_string())?;
            let auto = data.join("postgresql.auto.conf");
            let auto = match Settings::read(&auto, &mut files) {
                Ok(settings) => settings,
                Err(dbfw_core::audit::SettingsError::File {
                    error: FileError::NotFound, ..
                }) => Settings::default(),
                Err(error) => return Err(error.to_string()),
            };
            match auto.get("hba_file").or_else(|| settings.get("hba_file")) {
                Some(named) => beside(data, named),
                None => directory.join("pg_hba.conf"),
            }
        }
    };
    let content = files.read(&hba).map_err(|error| format!("{}: {error}", hba.display()))?;
    Rules::parse(&hba, &content, dialect, &mut files).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("PostgreSQL would not load it as it is now: {first}")
    })
}

fn beside(directory: &Path, named: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(named))
}

/// Settings on a command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// Of `-D`.
    directory: Option<PathBuf>,
    settings: Vec<(String, Vec<u8>)>,
}

impl Options {
    fn of(arguments: &[Vec<u8>]) -> Self {
        let mut found = Self::default();
        let mut words = arguments.iter().skip(1);
        while let Some(word) = words.next() {
            let joined = |flag: &[u8]| word.strip_prefix(flag).filter(|rest| !rest.is_empty());
            if word == b"-D" {
                found.directory = words.next().map(|path| OsStr::from_bytes(path).into());
            } else if let Some(path) = joined(b"-D") {
                found.directory = Some(OsStr::from_bytes(path).into());
            } else if word == b"-c" {
                found.settings.extend(words.next().and_then(|word| setting(word)));
            } else if let Some(word) = joined(b"-c").or_else(|| joined(b"--")) {
                found.settings.extend(setting(word));
            }
        }
        found
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        let setting = self.settings.iter().rev().find(|(own, _)| own == name)?;
        Some(&setting.1)
    }
}

fn setting(word: &[u8]) -> Option<(String, Vec<u8>)> {
    let at = word.iter().position(|byte| *byte == b'=')?;
    let name = String::from_utf8_lossy(&word[..at]).replace('-', "_").to_ascii_lowercase();
    Some((name, word[at + 1..].to_vec()))
}

/// Gives this thread the rights of a user over files, and no more.
fn become_reader(uid: Uid, gid: Gid) -> Result<(), String> {
    // SAFETY: with a size of 0 the kernel reads no list. The call itself, unlike the library's
    // function, changes this thread alone.
    let left = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
    if left != 0 {
        return Err(format!("its user cannot be taken: {}", io::Error::last_os_error()));
    }
    // Both return what it was before, also where they fail.
    setfsgid(gid);
    setfsuid(uid);
    if setfsuid(uid) != uid || setfsgid(gid) != gid {
        return Err("its user cannot be taken".to_owned());
    }
    Ok(())
}

/// Files of this host, each of a bounded size.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        let read = || {
            // A pipe would never end to open.
            let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            let mut content = Vec::new();
            file.take(MAX_FILE + 1).read_to_end(&mut content)?;
            if content.len() as u64 > MAX_FILE {
                return Err(io::Error::other("it is larger than 32 MiB"));
            }
            Ok(content)
        };
        read().map_err(|error| file_error(&error))
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let entries = fs::read_dir(directory).map_err(|error| file_error(&error))?;
        let names = entries.flatten().map(|entry| entry.file_name().into());
        let names: Vec<PathBuf> = names.take(MAX_NAMES + 1).collect();
        if names.len() > MAX_NAMES {
            return Err(FileError::Other(format!("it has more than {MAX_NAMES} files")));
        }
        Ok(names)
    }
}

fn file_error(error: &io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound,
        _ => FileError::Other(error.to_string()),
    }
}

/// The facts that lines may depend on.
#[derive(Debug)]
pub(super) struct HostFacts {
    own: Vec<(IpAddr, u8)>,
    /// `None`: nobody logged in.
    memberships: Option<Memberships>,
    /// The roles that may log in.
    roles: Option<Vec<Vec<u8>>>,
}

impl HostFacts {
    /// The addresses of this host's interfaces, with the lengths of their networks, and what the
    /// server says of its roles.
    pub(super) fn read(catalog: Option<&PostgresCatalog>) -> io::Result<Self> {
        let mut own = Vec::new();
        for interface in getifaddrs()? {
            let (Some(address), Some(mask)) = (interface.address, interface.netmask) else {
                continue;
            };
            let v4 = address.as_sockaddr_in().zip(mask.as_sockaddr_in());
            let v6 = address.as_sockaddr_in6().zip(mask.as_sockaddr_in6());
            own.extend(v4.map(|(address, mask)| {
                (IpAddr::V4(address.ip()), mask.ip().to_bits().count_ones() as u8)
            }));
            own.extend(v6.map(|(address, mask)| {
                (IpAddr::V6(address.ip()), mask.ip().to_bits().count_ones() as u8)
            }));
        }
        let memberships = catalog.and_then(|catalog| catalog.memberships.as_ref().ok()).cloned();
        let roles = catalog.and_then(|catalog| catalog.roles.as_ref().ok()).map(|roles| {
            let of_login = roles.iter().filter(|role| role.may_log_in);
            of_login.map(|role| role.name.clone().into_bytes()).collect()
        });
        Ok(Self { own, memberships, roles })
    }
}

impl Facts for HostFacts {
    fn own_addresses(&self) -> Option<&[(IpAddr, u8)]> {
        Some(&self.own)
    }

    fn is_member(&self, member: &[u8], group: &[u8]) -> Option<bool> {
        Some(self.memberships.as_ref()?.is_member(member, group))
    }

    fn login_roles(&self) -> Option<&[Vec<u8>]> {
        self.roles.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn settings_on_a_command_line() {
        let words = [
            "postgres",
            "-D",
            "/data",
            "-c",
            "config_file=/c",
            "--hba-file=/one",
            "-chba_file=/h",
            "-p",
            "5432",
            "-c",
        ];
        let arguments: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let options = Options::of(&arguments);
        assert_eq!(options.directory.as_deref(), Some(Path::new("/data")));
        assert_eq!(options.get("config_file"), Some(&b"/c"[..]));
        assert_eq!(options.get("hba_file"), Some(&b"/h"[..]));
        assert_eq!(Options::of(&[]), Options::default());
    }

    #[test]
    fn files_are_regular_ones() {
        assert_eq!(Disk.read(Path::new("/none")), Err(FileError::NotFound));
        let device = Disk.read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(device.to_string(), "it is not a regular file");
        assert_eq!(dialect("15"), Dialect::Before16);
        assert_eq!(dialect("9.6"), Dialect::Before16);
        assert_eq!(dialect("17"), Dialect::From16);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_command_line_panics(
            words in vec(
                prop_oneof!["-[-cD]{0,2}[a-z_-]{0,8}=?[a-z/]{0,4}".prop_map(String::into_bytes), vec(any::<u8>(), 0..12)],
                0..8,
            ),
            version in "\\PC{0,6}",
        ) {
            let options = Options::of(&words);
            let _ = (options.get("hba_file"), beside(Path::new("/data"), &words.concat()), dialect(&version));
        }
    }
}
