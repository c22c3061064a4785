//! Problems and warnings of a file, with their places.

use std::{collections::HashMap, path::Path};

use super::problem::{Place, Problem, Problems};

/// Problems and warnings kept; further ones are only counted, so that a file which is
/// something else altogether does not fill the memory.
const MAX_KEPT: usize = 1000;

/// Problems and warnings found while reading.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Problems beyond those kept.
    more: usize,
    /// Place of every setting by its key, in the last file that has it.
    set: HashMap<String, Place>,
}

impl Report {
    /// Adds a problem found at `place`.
    pub fn problem(&mut self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        if self.problems.len() < MAX_KEPT {
            let (place, message, fix) = (place.clone(), message.into(), fix.into());
            self.problems.push(Problem { place, message, fix });
        } else {
            self.more += 1;
        }
    }

    /// Something at `place` is legal but probably not meant.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        if self.warnings.len() < MAX_KEPT {
            let (place, message, fix) = (place.clone(), message.into(), fix.into());
            self.warnings.push(Problem { place, message, fix });
        }
    }

    /// Forgets the warnings about a setting, which a later file sets again.
    pub(super) fn reset(&mut self, key: &str) {
        let elements = format!("{key}[");
        self.warnings
            .retain(|Problem { place, .. }| place.key != key && !place.key.starts_with(&elements));
    }

    /// Takes note of where a setting was set.
    pub(super) fn set(&mut self, place: Place) {
        self.set.insert(place.key.clone(), place);
    }

    /// The place of a setting in the last file that has it.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.set.get(key).cloned()
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The warnings, or what is wrong; `file` is named where that is cut short.
    ///
    /// # Errors
    ///
    /// The problems, if there are any.
    pub fn finish(self, file: &Path) -> Result<Vec<Problem>, Problems> {
        if self.problems.is_empty() {
            return Ok(Problems::new(self.warnings).0);
        }
        let mut problems = Problems::new(self.problems);
        if self.more > 0 {
            problems.0.push(Problem {
                place: Place::file(file),
                message: format!("{} more problems", self.more),
                fix: "fix these first".to_owned(),
            });
        }
        Err(problems)
    }
}
