//! [`Durations`]: a histogram.

use std::time::Duration;

/// Durations, counted by how long they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Durations {
    /// None yet. `bounds` are the upper bounds of the buckets in seconds, the least first; a bucket
    /// without a bound follows.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds one.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// Their number.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Upper bound and count of each bucket, not cumulated; the last is unbounded.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_once_up_to_its_bound() {
        let mut durations = Durations::new(&[0.001, 0.5]);
        for ms in [1, 2, 500, 501, 60_000] {
            durations.observe(Duration::from_millis(ms));
        }
        assert_eq!(durations.buckets(), [(0.001, 1), (0.5, 2), (f64::INFINITY, 2)]);
        assert_eq!(durations.count(), 5);
        assert!((durations.sum() - 61.004).abs() < 1e-9);
    }
}
