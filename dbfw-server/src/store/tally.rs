//! The operations of a store: how long they took, and how many failed.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dbfw_metrics::Durations;

/// Upper bounds in seconds of the durations of operations.
const BUCKETS: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Operation {
    /// A key or a prefix was read.
    Read,
    /// A transaction was committed, or its condition did not hold.
    Commit,
}

impl Operation {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The operations of one kind so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Operations {
    /// The time that they took.
    pub durations: Durations,
    /// Those that the store did not answer.
    pub errors: u64,
}

/// The operations of all kinds so far.
#[derive(Debug)]
pub(super) struct Tally {
    read: Mutex<Operations>,
    commit: Mutex<Operations>,
}

impl Default for Tally {
    fn default() -> Self {
        let none = || Mutex::new(Operations { durations: Durations::new(&BUCKETS), errors: 0 });
        Self { read: none(), commit: none() }
    }
}

impl Tally {
    fn of(&self, operation: Operation) -> MutexGuard<'_, Operations> {
        let operations = match operation {
            Operation::Read => &self.read,
            Operation::Commit => &self.commit,
        };
        operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an operation that began then and ended now.
    pub(super) fn add(&self, operation: Operation, began: Instant, is_error: bool) {
        let took = began.elapsed();
        let mut operations = self.of(operation);
        operations.durations.observe(took);
        operations.errors += u64::from(is_error);
    }

    pub(super) fn values(&self) -> [(Operation, Operations); 2] {
        [Operation::Read, Operation::Commit]
            .map(|operation| (operation, self.of(operation).clone()))
    }
}
