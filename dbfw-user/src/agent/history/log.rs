//! The file of the history: one line of JSON for each entry, only ever appended to.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{Entry, files};
use crate::state::files::give_to_group;

/// The group `dbfw` may read it.
const MODE: u32 = 0o640;

/// Bytes of one text: reasons and messages are written by others.
const MAX_TEXT: usize = 4096;

/// The file, opened for the first entry and again when it was moved away.
#[derive(Debug)]
pub(super) struct HistoryLog {
    path: PathBuf,
    file: Option<fs::File>,
}

impl HistoryLog {
    /// The file in a state directory.
    pub(super) fn open(state_dir: &Path) -> Self {
        Self { path: files::path(state_dir), file: None }
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
            _ => open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    let is_new = !path.exists();
    let file = fs::OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    // The umask may have narrowed it, here or in an earlier agent.
    if let Err(error) = file.set_permissions(fs::Permissions::from_mode(MODE)) {
        tracing::debug!(path = %path.display(), %error, "cannot let the group read the file");
    }
    give_to_group(path);
    if is_new && let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

/// Whether the file is still the one of that name: logrotate moves it away.
fn is_named(file: &fs::File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
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
