//! The files of the history in the state directory: the one that is written, and rotated ones.
//!
//! An entry is one line of JSON, and files are only ever appended to. Earlier versions called them
//! `audit.log`. The agent renames those when it starts; whoever reads before that, or may not
//! rename, finds them under either name.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use dbfw_wire::control::HistoryEntry as Entry;

use crate::state::files;

/// Name of the file that is written.
const LOG: &str = "history.log";

/// Its name in earlier versions.
const FORMER_LOG: &str = "audit.log";

/// Tries to open files that are renamed meanwhile.
const ATTEMPTS: usize = 5;

/// Bytes of one text: reasons and messages are written by others.
const MAX_TEXT: usize = 4096;

/// Path of the file that is written.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(LOG)
}

/// Renames the files that an earlier version wrote, so that the history goes on in the same file.
/// One whose new name is taken stays as it is. Failures are logged: nothing is lost by them.
pub(super) fn rename_former(state_dir: &Path) {
    let mut former = match list(state_dir) {
        Ok(names) => names,
        Err(error) => {
            tracing::warn!(%error, "cannot look for {FORMER_LOG} in {}", state_dir.display());
            return;
        }
    };
    former.retain(|name| name.log == FORMER_LOG);
    // The one that is written is the last: after a crash in between, all that is left is renamed
    // by the next start, since no new file has taken a name yet.
    former.sort_by_key(|name| !name.is_rotated());
    for name in former {
        let (from, to) = (name.path(state_dir), state_dir.join(format!("{LOG}{}", name.rotation)));
        // Nobody creates a file of that name meanwhile: there is one agent, and logrotate moves
        // files of one name only.
        if to.symlink_metadata().is_ok() {
            tracing::info!("{} is not renamed: {} is there", from.display(), to.display());
        } else if let Err(error) = fs::rename(&from, &to) {
            tracing::warn!(%error, "cannot rename {} to {}", from.display(), to.display());
        } else {
            tracing::info!("renamed {} to {}", from.display(), to.display());
        }
    }
}

/// The files of the history that there are, open for reading.
#[derive(Debug, Default)]
pub(crate) struct HistoryFiles {
    text: Vec<(PathBuf, fs::File)>,
    compressed: Vec<PathBuf>,
    failed: Vec<(PathBuf, io::Error)>,
}

impl HistoryFiles {
    /// Opens every file of the history in a state directory, rotated ones first.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a file that is no rotated one.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let (files, moved) = Self::try_open(state_dir)?;
            if !moved || attempts.next().is_none() {
                return Ok(files);
            }
        }
    }

    /// The files, and whether one of them was renamed meanwhile.
    fn try_open(state_dir: &Path) -> io::Result<(Self, bool)> {
        let (mut names, mut moved) = (Vec::new(), false);
        let mut was_listed = true;
        match list(state_dir) {
            Ok(listed) => names = listed,
            // Files of a directory that may not be listed can still be opened by name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                was_listed = false;
                names.extend([FORMER_LOG, LOG].iter().filter_map(|name| Name::parse(name)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        names.sort_by_key(|name| !name.is_rotated());
        let mut found = Self::default();
        let mut seen = HashSet::new();
        for name in names {
            let path = name.path(state_dir);
            if name.is_compressed() {
                found.compressed.push(path);
                continue;
            }
            let opened = files::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            match opened {
                Ok((metadata, file)) if seen.insert((metadata.dev(), metadata.ino())) => {
                    found.text.push((path, file));
                }
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => moved |= was_listed,
                Err(error) if name.is_rotated() => found.failed.push((path, error)),
                Err(error) => return Err(error),
            }
        }
        Ok((found, moved))
    }

    /// The files of text.
    pub(crate) fn text(&self) -> &[(PathBuf, fs::File)] {
        &self.text
    }

    /// Rotated files that are compressed.
    pub(crate) fn compressed(&self) -> &[PathBuf] {
        &self.compressed
    }

    /// Rotated files that cannot be read, with the reason.
    pub(crate) fn failed(&self) -> &[(PathBuf, io::Error)] {
        &self.failed
    }
}

/// Name of a file of the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    /// [`LOG`] or [`FORMER_LOG`].
    log: &'static str,
    /// The part that logrotate adds, ".1" or "-20260301.gz"; empty: the file is written.
    rotation: String,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let (log, rotation) =
            [LOG, FORMER_LOG].into_iter().find_map(|log| Some((log, name.strip_prefix(log)?)))?;
        let number = rotation.strip_prefix(['.', '-']);
        let is_rotated =
            number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        (rotation.is_empty() || is_rotated).then(|| Self { log, rotation: rotation.to_owned() })
    }

    fn path(&self, state_dir: &Path) -> PathBuf {
        state_dir.join(format!("{}{}", self.log, self.rotation))
    }

    fn is_rotated(&self) -> bool {
        !self.rotation.is_empty()
    }

    fn is_compressed(&self) -> bool {
        self.rotation.contains(|c: char| c.is_ascii_alphabetic())
    }
}

/// The names of the history's files in a directory, sorted.
fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

/// Appends one entry where no agent writes the history, or beside one that hangs: an entry is one
/// call, so that those of two writers do not mix.
///
/// # Errors
///
/// The system's reason, or the file is another than one that dbfw made.
pub(crate) fn append(state_dir: &Path, entry: &Entry) -> io::Result<()> {
    rename_former(state_dir);
    HistoryLog::open(state_dir).append(entry)
}

/// The file, opened for the first entry and again when it was moved away.
#[derive(Debug)]
pub(super) struct HistoryLog {
    path: PathBuf,
    file: Option<fs::File>,
}

impl HistoryLog {
    /// The file in a state directory.
    pub(super) fn open(state_dir: &Path) -> Self {
        Self { path: path(state_dir), file: None }
    }

    /// Appends an entry and waits until it is on disk, a few milliseconds.
    ///
    /// # Errors
    ///
    /// The system's reason. Some of the entry may be there; the next begins a line of its own.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let text = serde_json::to_vec(&bounded(entry.clone())).map_err(io::Error::other)?;
        let file = self.current()?;
        let mut line = Vec::with_capacity(text.len() + 2);
        if !ends_with_a_line(file)? {
            line.push(b'\n');
        }
        line.extend(text);
        line.push(b'\n');
        let written = write_line(file, &line);
        if written.is_err() {
            // A file that cannot be written is opened anew the next time.
            self.file = None;
        }
        written
    }

    /// The file that has the name now.
    fn current(&mut self) -> io::Result<&fs::File> {
        let file = match self.file.take() {
            Some(file) if is_named(&file, &self.path)? => file,
            _ => files::open_to_append(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

/// Whether the file is still the one of that name: logrotate moves it away.
fn is_named(file: &fs::File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the next byte begins a line: a crash may have left half of one.
fn ends_with_a_line(file: &fs::File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

fn write_line(mut file: &fs::File, line: &[u8]) -> io::Result<()> {
    // In one call: lines of two writers would not mix.
    let written = file.write(line)?;
    if written < line.len() {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("only {written} of {} bytes of an entry were written", line.len()),
        ));
    }
    file.sync_data()
}

fn bounded(mut entry: Entry) -> Entry {
    for text in [&mut entry.source, &mut entry.origin, &mut entry.why, &mut entry.message] {
        if let Some(text) = text.as_mut().filter(|text| text.len() > MAX_TEXT) {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push('…');
        }
    }
    entry
}

#[cfg(test)]
mod tests;
