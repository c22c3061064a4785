//! Lines and words, and the files that they name.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    problem::{Fault, Place, shown},
    token::{Field, Token},
};

/// Files inside files. PostgreSQL 16 has the same bound; those before have none, and crash.
const MAX_DEPTH: usize = 10;
/// Bytes of a line with its continuations.
const MAX_LINE: usize = 64 * 1024;
/// Bytes of a word before PostgreSQL 16.
const MAX_TOKEN: usize = 10_239;
/// Bytes of all files, each as often as it is named.
const MAX_BYTES: usize = 32 << 20;
/// Lines of all files.
const MAX_LINES: usize = 500_000;
/// Words of all lines, with those of the files that they name.
const MAX_TOKENS: usize = 4_000_000;

/// The version of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Without regular expressions and include directives.
    Before16,
    /// PostgreSQL 16 and later.
    From16,
}

/// The files that a file names.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError>;

    /// The names of the files in a directory, in any order.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError>;
}

/// The reason why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// Any other.
    #[error("{0}")]
    Other(String),
}

/// No file besides the one that is read.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _: &Path) -> Result<Vec<u8>, FileError> {
        Err(FileError::Other("files that it names are not read".to_owned()))
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        self.read(directory).map(|_| Vec::new())
    }
}

/// A line in fields, or the reason why it has none.
pub(super) struct Split {
    pub(super) place: Place,
    pub(super) fields: Result<Vec<Field>, Fault>,
}

/// Reads files into lines.
pub(super) struct Lexer<'a> {
    files: &'a mut dyn Files,
    dialect: Dialect,
    bytes: usize,
    lines: usize,
    tokens: usize,
    /// The bound that was exceeded: nothing is read after it.
    exceeded: Option<&'static str>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(dialect: Dialect, files: &'a mut dyn Files) -> Self {
        Self { files, dialect, bytes: 0, lines: 0, tokens: 0, exceeded: None }
    }

    /// The lines of a file in order, with those of the files it includes in their places.
    pub(super) fn file(&mut self, path: &Path, content: &[u8], depth: usize, out: &mut Vec<Split>) {
        let file: Arc<Path> = path.into();
        let mut rest = content;
        let mut number = 1;
        self.bytes = self.bytes.saturating_add(content.len());
        while !rest.is_empty() {
            let place = Place { file: Arc::clone(&file), line: number };
            self.lines += 1;
            if self.bytes > MAX_BYTES {
                self.exceeded = Some("32 MiB");
            } else if self.lines > MAX_LINES {
                self.exceeded = Some("500,000 lines");
            }
            if let Some(limit) = self.exceeded {
                return out.push(Split { place, fields: Err(Fault::TooMuch { limit }) });
            }
            let (line, taken) = whole_line(&mut rest);
            number += taken;
            let fields = line.and_then(|line| self.fields(&line, path, depth));
            match fields {
                Ok(fields) if fields.is_empty() => {}
                Ok(fields) => match self.include(&fields, path, depth, out) {
                    Ok(true) => {}
                    Ok(false) => out.push(Split { place, fields: Ok(fields) }),
                    Err(fault) => out.push(Split { place, fields: Err(fault) }),
                },
                Err(fault) => out.push(Split { place, fields: Err(fault) }),
            }
        }
    }

    /// Reads what an include directive names; whether the line is one.
    fn include(
        &mut self,
        fields: &[Field],
        outer: &Path,
        depth: usize,
        out: &mut Vec<Split>,
    ) -> Result<bool, Fault> {
        let [first, second] = fields else { return Ok(false) };
        if self.dialect == Dialect::Before16 {
            return Ok(false);
        }
        let (directive, path) = (&first[0], beside(outer, &second[0].text));
        match &*directive.text {
            b"include" => self.included(&path, depth, false, out)?,
            b"include_if_exists" => self.included(&path, depth, true, out)?,
            b"include_dir" => {
                let unreadable = |error| unreadable(&path, &error);
                let mut names = self.files.list(&path).map_err(unreadable)?;
                names.retain(|name| {
                    let name = name.as_os_str().as_bytes();
                    name.ends_with(b".conf") && !name.starts_with(b".")
                });
                names.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
                for name in names {
                    self.included(&path.join(name), depth, false, out)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn included(
        &mut self,
        path: &Path,
        depth: usize,
        may_lack: bool,
        out: &mut Vec<Split>,
    ) -> Result<(), Fault> {
        match self.open(path, depth + 1) {
            Ok(content) => self.file(path, &content, depth + 1, out),
            Err(Unopened::NotFound) if may_lack => {}
            Err(error) => return Err(error.fault(path)),
        }
        Ok(())
    }

    fn open(&mut self, path: &Path, depth: usize) -> Result<Vec<u8>, Unopened> {
        if depth > MAX_DEPTH {
            return Err(Unopened::TooDeep);
        }
        if let Some(limit) = self.exceeded {
            return Err(Unopened::TooMuch(limit));
        }
        self.files.read(path).map_err(|error| match error {
            FileError::NotFound => Unopened::NotFound,
            FileError::Other(why) => Unopened::Other(why),
        })
    }

    fn fields(&mut self, line: &[u8], file: &Path, depth: usize) -> Result<Vec<Field>, Fault> {
        let mut words = Words { rest: line, limit: self.token_limit() };
        let mut fields = Vec::new();
        while !words.rest.is_empty() {
            let field = self.field(&mut words, file, depth)?;
            if !field.is_empty() {
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn token_limit(&self) -> usize {
        match self.dialect {
            Dialect::Before16 => MAX_TOKEN,
            Dialect::From16 => MAX_LINE,
        }
    }

    /// The words up to one that no comma follows, with those of the files that `@` names.
    fn field(&mut self, words: &mut Words<'_>, file: &Path, depth: usize) -> Result<Field, Fault> {
        let mut field = Field::new();
        while let Some((token, more)) = words.next()? {
            match token.text.strip_prefix(b"@") {
                Some(name) if !token.quoted && !name.is_empty() => {
                    self.listed(&beside(file, name), depth + 1, &mut field)?;
                }
                _ => self.keep(token, &mut field)?,
            }
            if !more {
                break;
            }
        }
        Ok(field)
    }

    fn keep(&mut self, token: Token, field: &mut Field) -> Result<(), Fault> {
        self.tokens += 1;
        if self.tokens > MAX_TOKENS {
            self.exceeded = Some("4,000,000 words");
            return Err(Fault::TooMuch { limit: "4,000,000 words" });
        }
        field.push(token);
        Ok(())
    }

    /// Adds every word of a file to a field.
    fn listed(&mut self, path: &Path, depth: usize, field: &mut Field) -> Result<(), Fault> {
        let content = self.open(path, depth).map_err(|error| error.fault(path))?;
        let mut lines = Vec::new();
        self.file(path, &content, depth, &mut lines);
        for line in lines {
            for token in line.fields?.into_iter().flatten() {
                self.keep(token, field)?;
            }
        }
        Ok(())
    }
}

/// The reason why a named file is not read.
enum Unopened {
    NotFound,
    TooDeep,
    TooMuch(&'static str),
    Other(String),
}

impl Unopened {
    fn fault(self, path: &Path) -> Fault {
        match self {
            Self::NotFound => unreadable(path, &FileError::NotFound),
            Self::TooDeep => Fault::TooDeep { limit: MAX_DEPTH },
            Self::TooMuch(limit) => Fault::TooMuch { limit },
            Self::Other(why) => unreadable(path, &FileError::Other(why)),
        }
    }
}

fn unreadable(path: &Path, error: &FileError) -> Fault {
    let file = shown(path.as_os_str().as_bytes());
    Fault::Unreadable { file, why: error.to_string() }
}

/// The path that a file names: relative to its own directory.
fn beside(outer: &Path, name: &[u8]) -> PathBuf {
    outer.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(name))
}

/// Takes the next line with those that continue it; also their number.
fn whole_line(rest: &mut &[u8]) -> (Result<Vec<u8>, Fault>, usize) {
    let mut line = Vec::new();
    let mut continued_at = 0;
    let mut taken = 0;
    let mut fault = None;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        *rest = after.get(1..).unwrap_or_default();
        taken += 1;
        if part.contains(&0) {
            fault = fault.or(Some(Fault::Nul));
        }
        if line.len() + part.len() > MAX_LINE {
            fault = fault.or(Some(Fault::LongLine { limit: MAX_LINE }));
        }
        if fault.is_none() {
            line.extend_from_slice(part);
            while line.pop_if(|last| matches!(last, b'\r' | b'\n')).is_some() {}
            // Two backslashes before two ends of lines are one continuation, not two.
            if line.len() > continued_at && line.last() == Some(&b'\\') {
                line.pop();
                continued_at = line.len();
                continue;
            }
        }
        break;
    }
    (fault.map_or(Ok(line), Err), taken)
}

/// The words of a line.
struct Words<'a> {
    rest: &'a [u8],
    limit: usize,
}

impl Words<'_> {
    /// The next word, and whether a comma directly after it says that its field goes on.
    fn next(&mut self) -> Result<Option<(Token, bool)>, Fault> {
        let mut text = Vec::new();
        let (mut quoted, mut saw_quote) = (false, false);
        let (mut in_quote, mut was_quote, mut comma) = (false, false, false);
        let start = self.rest.iter().position(|byte| !is_blank(*byte) && *byte != b',');
        self.rest = &self.rest[start.unwrap_or(self.rest.len())..];
        while let [byte, after @ ..] = self.rest
            && (in_quote || !is_blank(*byte))
        {
            let byte = *byte;
            if byte == b'#' && !in_quote {
                self.rest = &[];
                break;
            }
            if text.len() >= self.limit {
                return Err(Fault::LongToken { limit: self.limit });
            }
            self.rest = after;
            if byte == b',' && !in_quote {
                comma = true;
                break;
            }
            if byte != b'"' || was_quote {
                text.push(byte);
            }
            was_quote = byte == b'"' && in_quote && !was_quote;
            if byte == b'"' {
                in_quote = !in_quote;
                saw_quote = true;
                quoted |= text.is_empty();
            }
        }
        let found = saw_quote || !text.is_empty();
        Ok(found.then_some((Token { text, quoted }, comma)))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
