//! Problems of a file: place, message and fix.

use std::{fmt, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

/// Place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1; `None`: the whole file.
    pub line: Option<usize>,
    /// The key with its path, as in `database.orders.ports[0]`; empty: no key.
    pub key: String,
}

impl Place {
    /// A whole file.
    pub fn file(file: &Path) -> Self {
        Self { file: file.into(), line: None, key: String::new() }
    }

    /// A line of a file.
    pub fn line(file: &Path, line: usize) -> Self {
        Self { file: file.into(), line: Some(line), key: String::new() }
    }
}

impl fmt::Display for Place {
    /// The file and the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// One thing wrong in a file. The order is the one they are shown in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// Its place.
    #[serde(flatten)]
    pub place: Place,
    /// Message.
    pub message: String,
    /// Fix; empty: the message says it.
    pub fix: String,
}

impl Problem {
    /// The problem without its file, which the reader knows.
    pub fn within_file(&self) -> String {
        match self.place.line {
            Some(line) => format!("line {line}: {}", self.words()),
            None => self.words(),
        }
    }

    /// Key, message and fix.
    fn words(&self) -> String {
        let words = [&self.place.key, &self.message, &self.fix];
        let said: Vec<&str> =
            words.into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        said.join(": ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.words())
    }
}

/// Everything that is wrong, one line each, sorted by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts them and drops those that say the same of the same place.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
