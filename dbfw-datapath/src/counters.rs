//! Resetting counters, and refilling the budget of events.

use std::ops::Range;

use aya::{
    Pod,
    maps::{MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use dbfw_common::{BUDGET, Budget};

use crate::{
    error::{DatapathError, map_io},
    maps::Maps,
};

/// Zeroes counters before they count for something else.
///
/// # Errors
/// The map cannot be written.
pub(crate) fn reset<T: Pod + Default>(
    counters: &mut PerCpuArray<MapData, T>,
    map: &'static str,
    slots: impl IntoIterator<Item = u32>,
) -> Result<(), DatapathError> {
    for slot in slots {
        let zero = nr_cpus()
            .map_err(|(_, error)| error)
            .and_then(|cpus| PerCpuValues::try_from(vec![T::default(); cpus]))
            .map_err(|error| DatapathError::map("size", map, error))?;
        counters
            .set(slot, zero, 0)
            .map_err(|error| DatapathError::map("reset", map, map_io(error)))?;
    }
    Ok(())
}

/// Gives counters the values of others: the slots `from`, to `to` in the same order.
///
/// # Errors
/// The map cannot be read or written.
pub(crate) fn copy<T: Pod>(
    counters: &mut PerCpuArray<MapData, T>,
    map: &'static str,
    from: Range<u32>,
    to: Range<u32>,
) -> Result<(), DatapathError> {
    for (from, to) in from.zip(to) {
        counters
            .get(&from, 0)
            .and_then(|values| counters.set(to, values, 0))
            .map_err(|error| DatapathError::map("copy", map, map_io(error)))?;
    }
    Ok(())
}

/// Gives every CPU `tokens` events to write; what it has skipped stays counted.
///
/// # Errors
/// The map cannot be read or written.
pub(crate) fn refill(maps: &mut Maps, tokens: u64) -> Result<(), DatapathError> {
    let held = maps
        .budget
        .get(&0, 0)
        .map_err(|error| DatapathError::map("read", BUDGET, map_io(error)))?;
    let values: Vec<Budget> =
        held.iter().map(|budget| Budget { tokens, skipped: budget.skipped }).collect();
    PerCpuValues::try_from(values)
        .and_then(|values| maps.budget.set(0, values, 0).map_err(map_io))
        .map_err(|error| DatapathError::map("refill", BUDGET, error))
}
