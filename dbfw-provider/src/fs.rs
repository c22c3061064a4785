//! Files of others: bounded reads, and noticing changes.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use dbfw_core::answers::{Cause, FetchError};

/// Reason why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is a directory, a pipe, a device.
    #[error("is not a regular file")]
    NotRegular,
    /// It is larger than the limit.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The system refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl OpenError {
    /// The error about the `noun` in the file `about`. `missing` and `too_large` are the fixes
    /// where it does not exist, and where it is too large.
    pub(crate) fn of_list(
        &self,
        noun: &str,
        about: &str,
        missing: &str,
        too_large: &str,
    ) -> FetchError {
        let (cause, text) = match self {
            Self::NotRegular => {
                (Cause::Invalid, format!("{self}: name a file that holds the list"))
            }
            Self::TooLarge(_) => (Cause::TooLarge, format!("{self}: {too_large}")),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => (Cause::NotFound, format!("does not exist: {missing}")),
                io::ErrorKind::PermissionDenied => (
                    Cause::Permission,
                    "may not be read: `sudo dbfw doctor` names the command that fixes it"
                        .to_owned(),
                ),
                _ => (Cause::Io, format!("{self}: check the file system")),
            },
        };
        FetchError::new(cause, format!("the {noun} {text}")).about(about)
    }
}

/// Opens a file to read it, whatever kind of file it is.
///
/// # Errors
/// The system refused.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // O_NONBLOCK: opening a pipe would otherwise wait for its writer.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// It is no regular file, it is larger, or the system refused.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, OpenError> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(OpenError::NotRegular);
    }
    if metadata.len() > limit {
        return Err(OpenError::TooLarge(limit));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The size may have changed since, and is 0 in /proc: the limit holds for what is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(OpenError::TooLarge(limit));
    }
    Ok(content)
}

/// The state of a file at one look, to tell by that it was changed or replaced since. The default
/// is that of a file that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    state: Option<State>,
    /// Time of the look, since 1970.
    at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    length: u64,
    /// The last change of content, mode or owner (ctime), since 1970.
    changed: Duration,
}

impl Stamp {
    /// File systems stamp changes by a clock of this resolution or better.
    const RESOLUTION: Duration = Duration::from_millis(20);

    /// The stamp of the file at a path as it is now: device, inode, length and last change.
    pub(crate) fn of(path: &Path) -> Self {
        let at = now();
        Self { state: fs::metadata(path).ok().as_ref().map(State::of), at }
    }

    /// The state of a file of which this was just asked for.
    pub(crate) fn of_metadata(metadata: &Metadata) -> Self {
        Self { state: Some(State::of(metadata)), at: now() }
    }

    /// Whether the file looks the same at both looks.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.state == other.state
    }

    /// Whether nothing can have changed from this look to `later`: it is the same file, last
    /// changed so long before this look that a change since then would show.
    pub(crate) fn proves_unchanged(&self, later: &Self) -> bool {
        let settled =
            self.state.is_none_or(|state| self.at.abs_diff(state.changed) > Self::RESOLUTION);
        settled && self.is_same(later)
    }
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
        let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: Duration::new(seconds, nanoseconds),
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread::sleep};

    use super::*;

    #[test]
    fn a_fresh_file_never_counts_as_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let look = || Stamp::of(file.path());
        let fresh = look();
        assert!(!fresh.proves_unchanged(&look()), "it may change within a tick");
        assert!(fresh.is_same(&look()));
        sleep(2 * Stamp::RESOLUTION);
        let settled = look();
        assert!(settled.proves_unchanged(&look()));
        fs::write(file.path(), "x").unwrap();
        assert!(!settled.proves_unchanged(&look()) && !settled.is_same(&look()));
        sleep(2 * Stamp::RESOLUTION);
        let settled = look();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o604)).unwrap();
        assert!(!settled.proves_unchanged(&look()), "it may be read now");
        let gone = file.path().to_owned();
        drop(file);
        assert!(!settled.proves_unchanged(&Stamp::of(&gone)));
        assert!(Stamp::of(&gone).proves_unchanged(&Stamp::default()));
    }
}
