//! Counters that change hands, and the budget of events.

use std::ops::Range;

use aya::{maps::PerCpuValues, util::nr_cpus};
use dbfw_common::{Budget, Counter, RULE_STATS, RuleCounter, STATS};

use crate::{
    error::{DatapathError, map_io},
    maps::Maps,
};

/// Zeroes rule slots before they count for a rule.
///
/// # Errors
/// The map cannot be written.
pub(crate) fn reset_rules(maps: &mut Maps, slots: &[Range<u32>]) -> Result<(), DatapathError> {
    let zero = || per_cpu(RuleCounter::default(), RULE_STATS);
    for slot in slots.iter().flat_map(Clone::clone) {
        maps.rule_stats
            .set(slot, zero()?, 0)
            .map_err(|error| DatapathError::map("reset", RULE_STATS, map_io(&error)))?;
    }
    Ok(())
}

/// Zeroes counters before their database id counts for another database.
///
/// # Errors
/// The map cannot be written.
pub(crate) fn reset_counters(maps: &mut Maps, slots: Range<u32>) -> Result<(), DatapathError> {
    let zero = || per_cpu(Counter::default(), STATS);
    for slot in slots {
        maps.stats
            .set(slot, zero()?, 0)
            .map_err(|error| DatapathError::map("reset", STATS, map_io(&error)))?;
    }
    Ok(())
}

/// Gives every CPU `tokens` events to write; what it has skipped stays counted.
///
/// # Errors
/// The map cannot be read or written.
pub(crate) fn refill(maps: &mut Maps, tokens: u64) -> Result<(), DatapathError> {
    const BUDGET: &str = dbfw_common::BUDGET;
    let held = maps
        .budget
        .get(&0, 0)
        .map_err(|error| DatapathError::map("read", BUDGET, map_io(&error)))?;
    let values: Vec<Budget> =
        held.iter().map(|budget| Budget { tokens, skipped: budget.skipped }).collect();
    PerCpuValues::try_from(values)
        .and_then(|values| maps.budget.set(0, values, 0).map_err(|error| map_io(&error)))
        .map_err(|error| DatapathError::map("refill", BUDGET, error))
}

fn per_cpu<T: aya::Pod>(value: T, map: &'static str) -> Result<PerCpuValues<T>, DatapathError> {
    nr_cpus()
        .map_err(|(_, error)| error)
        .and_then(|cpus| PerCpuValues::try_from(vec![value; cpus]))
        .map_err(|error| DatapathError::map("size", map, error))
}
