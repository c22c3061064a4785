//! A token in a file, read again when the file changes.

use std::{
    env,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use dbfw_core::answers::{Cause, FetchError};
use secrecy::{SecretString, zeroize::Zeroizing};

use crate::fs::{Stamp, open};

/// Bytes a token may have.
const MAX_BYTES: usize = 4096;

/// Place of a token. Its content is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file.
    File(PathBuf),
    /// In a systemd credential (`LoadCredential=`), by name: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A token and where it is. Never shows what it is.
#[derive(Debug)]
pub struct Token {
    source: TokenSource,
    /// The word for it in errors.
    word: &'static str,
    /// `$CREDENTIALS_DIRECTORY`.
    credentials: Option<PathBuf>,
    /// The file when it was last read.
    seen: Stamp,
    /// Its content then.
    content: Option<SecretString>,
}

impl Token {
    /// A token that was not read yet.
    pub fn new(source: TokenSource) -> Self {
        Self::with_credentials(source, env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from))
    }

    fn with_credentials(source: TokenSource, credentials: Option<PathBuf>) -> Self {
        Self { source, word: "token", credentials, seen: Stamp::default(), content: None }
    }

    /// A password in a file, which is taken as a token is.
    pub fn password(path: PathBuf) -> Self {
        let token = Self::with_credentials(TokenSource::File(path), None);
        Self { word: "password", ..token }
    }

    /// The token as it is in the file now.
    ///
    /// # Errors
    /// [`Cause::Unauthorized`] if there is no file, or what is in it cannot be a token, or
    /// anybody may read it. The error names the file, and nothing that is in it.
    pub fn read(&mut self) -> Result<SecretString, FetchError> {
        let path = self.path()?;
        let shown = path.display();
        let word = self.word;
        let refuse = |text: &str| {
            let text = format!("the {word} file {}", text.replace("token", word));
            FetchError::new(Cause::Unauthorized, text).about(shown.to_string())
        };
        let (seen, content) = (std::mem::take(&mut self.seen), self.content.take());
        let opened = open(&path);
        let failed = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => match &self.source {
                TokenSource::File(_) => refuse("does not exist: write the token into it"),
                TokenSource::Credential(name) => no_credential(name),
            },
            io::ErrorKind::PermissionDenied => {
                refuse("may not be read: `sudo dbfw doctor` names the command that fixes it")
            }
            _ => refuse(&format!("cannot be read: {error}: check the file system")),
        };
        if opened.is_err() {
            // Not to be taken for another file at every look.
            self.seen = Stamp::of(&path);
        }
        let file = opened.map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        self.seen = Stamp::of_metadata(&metadata);
        if !metadata.is_file() {
            return Err(refuse("is not a regular file: name a file that holds the token"));
        }
        if metadata.mode() & 0o006 != 0 {
            return Err(refuse(
                "may be read or written by everybody: chmod 600, and renew the token",
            ));
        }
        if let Some(content) = content.filter(|_| seen.proves_unchanged(&self.seen)) {
            self.content = Some(content.clone());
            return Ok(content);
        }
        // As large as it will be: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 3));
        file.take(MAX_BYTES as u64 + 3).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let content = parse(&bytes).map_err(refuse)?;
        self.content = Some(content.clone());
        Ok(content)
    }

    /// Whether the file is another than when it was last read, or has come or gone. Looks at
    /// it without reading it; the same until [`Token::read`].
    pub fn changed(&self) -> bool {
        let now = self.path().map_or_else(|_| Stamp::default(), |path| Stamp::of(&path));
        !self.seen.is_same(&now)
    }

    fn path(&self) -> Result<PathBuf, FetchError> {
        let refuse = |text| Err(FetchError::new(Cause::Unauthorized, text));
        match (&self.source, &self.credentials) {
            (TokenSource::File(path), _) => Ok(path.clone()),
            (TokenSource::Credential(name), Some(directory)) => {
                if name.is_empty() || name.contains('/') || name == "." || name == ".." {
                    return refuse(format!(
                        "{name:?} is not the name of a credential: use the one in LoadCredential="
                    ));
                }
                Ok(directory.join(name))
            }
            (TokenSource::Credential(name), None) => Err(no_credential(name)),
        }
    }
}

/// Both ways to give a token.
fn no_credential(name: &str) -> FetchError {
    FetchError::new(
        Cause::Unauthorized,
        format!(
            "there is no token: systemd passed no credential {name:?}: put \
             LoadCredential={name}:/path/to/the/token into the unit and restart it, or name a \
             file with token_file in the configuration"
        ),
    )
}

/// The token in a file of one line; the errors never tell what is there.
fn parse(bytes: &[u8]) -> Result<SecretString, &'static str> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err("is empty: write the token into it");
    }
    if line.len() > MAX_BYTES {
        return Err("has more than 4096 bytes: it must hold the token and nothing else");
    }
    let text =
        line.iter().all(u8::is_ascii_graphic).then(|| str::from_utf8(line).ok()).flatten().ok_or(
            "has spaces, line breaks or other characters that no token has: it must hold the \
                token and nothing else",
        )?;
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests;
