//! [`Settings`]: postgresql.conf, as far as it names other files.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::hba::{FileError, Files};

/// Files inside files, as PostgreSQL bounds it.
pub const MAX_SETTINGS_DEPTH: usize = 10;
/// Lines of all files.
const MAX_LINES: usize = 100_000;

/// A setting with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// In lower case.
    pub name: String,
    /// Without its quotes.
    pub value: Vec<u8>,
}

/// The settings of a file and of those that it includes, in the order in which they count: the last
/// of a name does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Vec<Setting>);

/// The reason why settings cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A file that is named cannot be read.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        error: FileError,
    },
    /// Files include each other too deep.
    #[error("{} is included more than {MAX_SETTINGS_DEPTH} deep", .0.display())]
    TooDeep(PathBuf),
    /// There are too many lines.
    #[error("the files have more than {MAX_LINES} lines")]
    TooMuch,
    /// A line is no setting.
    #[error("{}:{line} is no setting", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: usize,
    },
}

impl Settings {
    /// Reads a file and those that it includes. `path` is its own, which others are relative to.
    ///
    /// # Errors
    /// A file cannot be read, a line is no setting, or there is too much of them.
    pub fn read(path: &Path, files: &mut dyn Files) -> Result<Self, SettingsError> {
        let mut reader = Reader { files, lines: 0, found: Vec::new() };
        reader.file(path, 0, true)?;
        Ok(Self(reader.found))
    }

    /// The value that counts.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let setting = self.0.iter().rev().find(|setting| setting.name == name)?;
        Some(&setting.value)
    }
}

struct Reader<'a> {
    files: &'a mut dyn Files,
    lines: usize,
    found: Vec<Setting>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize, is_needed: bool) -> Result<(), SettingsError> {
        if depth > MAX_SETTINGS_DEPTH {
            return Err(SettingsError::TooDeep(path.to_owned()));
        }
        let content = match self.files.read(path) {
            Ok(content) => content,
            Err(FileError::NotFound) if !is_needed => return Ok(()),
            Err(error) => return Err(SettingsError::File { file: path.to_owned(), error }),
        };
        for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
            self.lines += 1;
            if self.lines > MAX_LINES {
                return Err(SettingsError::TooMuch);
            }
            let is_wrong = || SettingsError::Line { file: path.to_owned(), line: number + 1 };
            let Some(Setting { name, value }) = setting(line).map_err(|()| is_wrong())? else {
                continue;
            };
            let named = beside(path, &value);
            match &*name {
                "include" => self.file(&named, depth + 1, true)?,
                "include_if_exists" => self.file(&named, depth + 1, false)?,
                "include_dir" => self.directory(&named, depth + 1)?,
                _ => self.found.push(Setting { name, value }),
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), SettingsError> {
        let listed = self.files.list(path);
        let listed =
            listed.map_err(|error| SettingsError::File { file: path.to_owned(), error })?;
        let is_read = |name: &PathBuf| {
            let name = name.as_os_str().as_bytes();
            name.ends_with(b".conf") && !name.starts_with(b".")
        };
        let mut names: Vec<PathBuf> = listed.into_iter().filter(is_read).collect();
        names.sort();
        names.iter().try_for_each(|name| self.file(&path.join(name), depth, true))
    }
}

/// A file as it is named in another.
fn beside(path: &Path, named: &[u8]) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).join(OsStr::from_bytes(named))
}

/// The setting of a line, if it has one.
fn setting(line: &[u8]) -> Result<Option<Setting>, ()> {
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return Ok(None);
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte);
    let end = line.iter().position(|byte| !is_of_name(byte)).ok_or(())?;
    let name = String::from_utf8_lossy(&line[..end]).to_ascii_lowercase();
    if name.is_empty() {
        return Err(());
    }
    let rest = line[end..].trim_ascii_start();
    let rest = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii_start();
    let value = match rest {
        [b'\'', quoted @ ..] => unquoted(quoted)?,
        plain => {
            let end = plain.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'#');
            plain[..end.unwrap_or(plain.len())].to_vec()
        }
    };
    Ok(Some(Setting { name, value }))
}

/// The text up to the closing quote.
fn unquoted(text: &[u8]) -> Result<Vec<u8>, ()> {
    let mut value = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    loop {
        match bytes.next().ok_or(())? {
            b'\'' if bytes.next_if_eq(&b'\'').is_some() => value.push(b'\''),
            b'\'' => return Ok(value),
            b'\\' => value.push(bytes.next().ok_or(())?),
            byte => value.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::cases;

    struct Made(BTreeMap<PathBuf, Vec<u8>>);

    impl Made {
        fn of(files: &[(&str, &str)]) -> Self {
            let file =
                |(path, text): &(&str, &str)| (PathBuf::from(path), text.as_bytes().to_vec());
            Self(files.iter().map(file).collect())
        }
    }

    impl Files for Made {
        fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
            self.0.get(path).cloned().ok_or(FileError::NotFound)
        }

        fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
            let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
            Ok(inside.filter_map(|path| Some(path.file_name()?.into())).collect())
        }
    }

    fn read(files: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(Path::new("/c/postgresql.conf"), &mut Made::of(files))
    }

    #[test]
    fn the_last_setting_counts_wherever_it_is() {
        let settings = read(&[
            (
                "/c/postgresql.conf",
                "# a comment\nHBA_File = '/a/it''s' # why\nport 5433\nssl=on\ninclude_dir 'd'\n\
                 include_if_exists = 'none.conf'\nport = 5434\n",
            ),
            ("/c/d/2.conf", "hba_file = '/b/two\\''\n"),
            ("/c/d/1.conf", "hba_file = '/b/one'\n"),
            ("/c/d/.hidden.conf", "hba_file = '/no'\n"),
            ("/c/d/other", "hba_file = '/no'\n"),
        ])
        .unwrap();
        assert_eq!(settings.get("hba_file"), Some(&b"/b/two'"[..]));
        assert_eq!(settings.get("port"), Some(&b"5434"[..]));
        assert_eq!(settings.get("ssl"), Some(&b"on"[..]));
        assert_eq!(settings.get("none"), None);
    }

    #[test]
    fn files_that_cannot_be_followed() {
        let main = "/c/postgresql.conf";
        for (text, error) in [
            ("include 'postgresql.conf'", "/c/postgresql.conf is included more than 10 deep"),
            ("include '/none'", "/none: there is no such file"),
            ("ok = 1\n=x", "/c/postgresql.conf:2 is no setting"),
            ("a = 'x", "/c/postgresql.conf:1 is no setting"),
        ] {
            assert_eq!(read(&[(main, text)]).unwrap_err().to_string(), error);
        }
        let many = "\n".repeat(MAX_LINES + 1);
        assert_eq!(read(&[(main, &many)]), Err(SettingsError::TooMuch));
    }

    proptest! {
        #![proptest_config(cases(20_000))]

        #[test]
        fn no_file_panics(text in "([a-z_.]{0,8}[ =']{0,3}[ -~\\\\']{0,12}\n){0,6}") {
            let _ = read(&[("/c/postgresql.conf", &text), ("/c/a", "b = c")]);
        }
    }
}
