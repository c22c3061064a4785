//! A list of trusted sources in a file.

use std::path::PathBuf;

use super::{
    ProviderError,
    list::{self, FileList},
};
use crate::fs::{OpenError, read_file};

/// Bytes a list may have.
pub const MAX_BYTES: u64 = 64 << 20;

/// A list in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProvider {
    /// The file.
    pub path: PathBuf,
}

impl FileProvider {
    /// The list as it is now: all of it, or an error.
    pub fn read(&self) -> Result<FileList, ProviderError> {
        let path = || self.path.clone();
        let text = read_file(&self.path, MAX_BYTES).map_err(|error| match error {
            OpenError::NotRegular => ProviderError::NotRegular { path: path() },
            OpenError::TooLarge(limit) => ProviderError::TooLarge { path: path(), limit },
            OpenError::Io(source) => ProviderError::io(path(), source),
        })?;
        Ok(list::parse(&self.path, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        io,
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use super::*;

    fn list_in(dir: &Path) -> PathBuf {
        let path = dir.join("orders.list");
        fs::write(&path, "10.0.0.1\n").unwrap();
        path
    }

    #[test]
    fn reads_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = list_in(dir.path());
        let FileList { sources, .. } = FileProvider { path }.read().unwrap();
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].to_string(), "ip_addr:10.0.0.1");
    }

    #[test]
    fn says_why_it_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &Path| FileProvider { path: path.to_path_buf() }.read().unwrap_err();

        let missing = dir.path().join("missing");
        let error = read(&missing);
        assert_eq!(error.cause(), crate::answers::Cause::NotFound);
        assert_eq!(
            error.to_string(),
            format!(
                "{} does not exist: create it, or change the path of the provider",
                missing.display()
            )
        );

        let error = read(dir.path());
        assert_eq!(error.cause(), crate::answers::Cause::Invalid);
        assert!(error.to_string().contains("is not a regular file"), "{error}");

        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read(&pipe).cause(), crate::answers::Cause::Invalid);
        assert_eq!(read(Path::new("/dev/zero")).cause(), crate::answers::Cause::Invalid);

        let path = list_in(dir.path());
        let below = path.join("below");
        assert_eq!(read(&below).cause(), crate::answers::Cause::Io);

        fs::write(&path, "10.0.0.1\nnonsense\n").unwrap();
        let error = read(&path);
        assert_eq!(error.cause(), crate::answers::Cause::Invalid);
        assert!(error.to_string().contains("orders.list:2: "), "{error}");

        fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path);
        assert_eq!(error.cause(), crate::answers::Cause::TooLarge);
        assert!(error.to_string().contains("is larger than 67108864 bytes"), "{error}");

        fs::write(&path, "10.0.0.1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        // Root reads it all the same.
        if fs::File::open(&path).is_err() {
            assert_eq!(read(&path).cause(), crate::answers::Cause::Permission);
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(ProviderError::io(path, denied).cause(), crate::answers::Cause::Permission);
    }
}
