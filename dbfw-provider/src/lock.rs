//! Locks whose state is whole at every moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. State that a panic elsewhere left behind is whole: nothing stops half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
