//! Reading a file whole, whatever it turns out to be.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
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

/// The content of a regular file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, OpenError> {
    // O_NONBLOCK: opening a pipe would otherwise wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
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
