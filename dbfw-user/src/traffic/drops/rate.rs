//! The rate of drops over a sliding window.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Readings kept of one database.
const READINGS: usize = 64;

/// The rate at which each database drops packets, over a sliding window of its counter's readings.
#[derive(Clone, Debug)]
pub struct RateMeter {
    window: Duration,
    readings: HashMap<String, VecDeque<(Instant, u64)>>,
}

impl RateMeter {
    /// A meter over the last `window`.
    pub fn new(window: Duration) -> Self {
        Self { window, readings: HashMap::new() }
    }

    /// The counter of a database read `dropped` at `at`. Readings must not be older than
    /// those before; one that is lower means that the counter began again.
    pub fn record(&mut self, database: &str, at: Instant, dropped: u64) {
        let readings = self.readings.entry(database.to_owned()).or_default();
        if readings.back().is_some_and(|(_, last)| *last > dropped) {
            readings.clear();
        }
        readings.push_back((at, dropped));
        // The newest reading at or before the window's edge stays: it is where it begins.
        while readings.len() > READINGS
            || readings
                .get(1)
                .is_some_and(|(second, _)| at.saturating_duration_since(*second) >= self.window)
        {
            readings.pop_front();
        }
    }

    /// Drops a second of a database; `None` before two readings, or when the last one is
    /// older than the window.
    pub fn per_second(&self, database: &str, now: Instant) -> Option<f64> {
        let readings = self.readings.get(database)?;
        let ((begin, low), (end, high)) = (readings.front()?, readings.back()?);
        if now.saturating_duration_since(*end) > self.window {
            return None;
        }
        let seconds = end.saturating_duration_since(*begin).as_secs_f64();
        (seconds > 0.0).then(|| (high - low) as f64 / seconds)
    }

    /// Forgets every database that is not among `names`.
    pub fn retain<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut before = std::mem::take(&mut self.readings);
        self.readings = names.into_iter().filter_map(|name| before.remove_entry(name)).collect();
    }
}
