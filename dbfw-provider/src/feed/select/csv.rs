//! Addresses in a column of a CSV table.

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use dbfw_core::source::{Column, Prefix, PrefixError};

use super::addresses::{Addresses, EntryError, UNUSED};
use crate::http::clean;

/// Characters of a column's name that go into an error.
const MAX_NAME: usize = 40;

/// Columns that an error names.
const MAX_COLUMNS: usize = 10;

/// The column's cells. Lines that begin with '#' are comments, empty ones are nothing.
///
/// # Errors
/// There is no such column, or a cell is no address.
pub(super) fn select(body: &[u8], column: &Column) -> Result<Vec<Prefix>, String> {
    let mut table = Table {
        reader: ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(Trim::All)
            .from_reader(body),
        record: ByteRecord::new(),
    };
    let index = match column {
        Column::Name(name) => table.column(name)?,
        Column::Number(number) => number.get() - 1,
    };
    let mut list = Addresses::default();
    while table.next()? {
        let line = table.line();
        let cell = table
            .record
            .get(index)
            .ok_or_else(|| format!("line {line}: has no column {}: {UNUSED}", index + 1))?;
        let cell = str::from_utf8(cell)
            .map_err(|_| format!("line {line}: the address is not UTF-8: {UNUSED}"))?;
        list.push(cell).map_err(|error| match (&error, column) {
            (EntryError::Entry(PrefixError::Address { .. }), Column::Number(_))
                if list.is_empty() =>
            {
                format!(
                    "line {line}: {:?} is not an address: if it is the column's name, write \
                     #csv:{0} for the column",
                    clean(cell, MAX_NAME)
                )
            }
            _ => error.at(&format!("line {line}")),
        })?;
    }
    if list.is_empty() && matches!(column, Column::Number(_)) {
        return Err(format!("has no line with a column {}: {UNUSED}", index + 1));
    }
    Ok(list.finish())
}

struct Table<'a> {
    reader: Reader<&'a [u8]>,
    record: ByteRecord,
}

impl Table<'_> {
    /// Reads a line; whether there was one.
    fn next(&mut self) -> Result<bool, String> {
        self.reader
            .read_byte_record(&mut self.record)
            .map_err(|error| format!("is not CSV, {error}: {UNUSED}"))
    }

    /// The number of the line at which the record begins, from 1.
    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    /// The place of the column with this name in the first line.
    fn column(&mut self, name: &str) -> Result<usize, String> {
        self.next()?;
        let is_named = |cell: &&[u8]| cell.eq_ignore_ascii_case(name.as_bytes());
        let mut named = self.record.iter().enumerate().filter(|(_, cell)| is_named(cell));
        match (named.next(), named.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some((first, _)), Some((second, _))) => Err(format!(
                "columns {} and {} are both named {name:?}: select one by its number, as in \
                 #csv:{0}",
                first + 1,
                second + 1,
            )),
            (None, _) => Err(self.no_column(name)),
        }
    }

    fn no_column(&self, name: &str) -> String {
        let names: Vec<String> = self
            .record
            .iter()
            .take(MAX_COLUMNS)
            .map(|cell| format!("{:?}", clean(&String::from_utf8_lossy(cell), MAX_NAME)))
            .collect();
        if names.is_empty() {
            return format!("has no line, so no column {name:?}: {UNUSED}");
        }
        format!("has no column {name:?}: its first line has {}", names.join(", "))
    }
}
