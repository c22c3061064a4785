//! A store as lines of JSON: the backup, and the way from one store to another.
//!
//! A header, one line for each entry, and an end with the digest of all lines before it, so that a
//! dump that was cut short or damaged is refused.

use std::{
    io::{self, BufRead, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::txn::Snapshot;

/// The format of dumps.
const FORMAT: u32 = 1;

/// Bytes of a line: the largest list in one value, and more.
const MAX_LINE: u64 = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    dbfw_store: u32,
    revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    key: &'l str,
    /// As it is stored, byte for byte: the history's digests are over it.
    #[serde(borrow)]
    value: &'l RawValue,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    entries: usize,
    sha256: String,
}

/// The entries of a dump, by key.
pub type Dumped = Vec<(String, Arc<[u8]>)>;

/// Reason why a text is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It cannot be read.
    #[error("cannot read the dump: {0}")]
    Io(#[from] io::Error),
    /// A line is not one of a dump.
    #[error("line {line} of the dump: {reason}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The problem.
        reason: String,
    },
    /// It breaks off, or was changed.
    #[error("the dump is not whole: {0}; make another")]
    NotWhole(&'static str),
}

/// Writes a snapshot of a whole store.
///
/// # Errors
/// The output cannot be written, or an entry is not JSON.
pub fn dump(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut digest = Sha256::new();
    let mut line = |document: &dyn erased::Document| -> io::Result<()> {
        let mut text = document.to_json()?;
        text.push(b'\n');
        digest.update(&text);
        out.write_all(&text)
    };
    line(&Header { dbfw_store: FORMAT, revision: snapshot.revision.0 })?;
    for (key, entry) in &snapshot.entries {
        let value: &RawValue = serde_json::from_slice(&entry.value)?;
        line(&Line { key, value })?;
    }
    let sha256 = hex(&digest.finalize());
    let mut end = serde_json::to_vec(&End { entries: snapshot.entries.len(), sha256 })?;
    end.push(b'\n');
    out.write_all(&end)
}

/// Documents of different types behind one closure.
mod erased {
    pub(super) trait Document {
        fn to_json(&self) -> serde_json::Result<Vec<u8>>;
    }

    impl<T: serde::Serialize> Document for T {
        fn to_json(&self) -> serde_json::Result<Vec<u8>> {
            serde_json::to_vec(self)
        }
    }
}

/// Reads a dump: its entries, in its order.
///
/// # Errors
/// It is not one, or not all of one.
pub fn read_dump(input: &mut impl BufRead) -> Result<Dumped, DumpError> {
    let mut lines = Lines { input, digest: Sha256::new(), line: 0 };
    let first = lines.next()?;
    let header: Header = lines.parse(&first)?;
    if header.dbfw_store != FORMAT {
        let reason = format!("format {}, and this version knows {FORMAT}", header.dbfw_store);
        return Err(DumpError::Line { line: 1, reason });
    }
    let mut entries = Dumped::new();
    loop {
        let so_far = hex(&lines.digest.clone().finalize());
        let text = lines.next()?;
        if let Ok(end) = serde_json::from_slice::<End>(&text) {
            if end.entries != entries.len() || end.sha256 != so_far {
                return Err(DumpError::NotWhole("its digest is another"));
            }
            return Ok(entries);
        }
        let line: Line<'_> = lines.parse(&text)?;
        let is_next = entries.last().is_none_or(|(last, _)| last.as_str() < line.key);
        if !is_next {
            let reason = "its key is not behind the one before".to_owned();
            return Err(DumpError::Line { line: lines.line, reason });
        }
        entries.push((line.key.to_owned(), line.value.get().as_bytes().into()));
    }
}

struct Lines<'i, R> {
    input: &'i mut R,
    digest: Sha256,
    line: usize,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> Result<Vec<u8>, DumpError> {
        let mut text = Vec::new();
        io::Read::take(&mut *self.input, MAX_LINE).read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            return Err(DumpError::NotWhole("it has no end"));
        }
        self.line += 1;
        self.digest.update(&text);
        Ok(text)
    }

    fn parse<'t, T: Deserialize<'t>>(&self, text: &'t [u8]) -> Result<T, DumpError> {
        serde_json::from_slice(text)
            .map_err(|error| DumpError::Line { line: self.line, reason: error.to_string() })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
