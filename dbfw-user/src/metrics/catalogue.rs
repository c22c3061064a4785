//! The catalogue of all metrics.

mod packets;
mod sources;

use super::metric::Metric;

/// Every metric, in the order they are written.
pub(super) fn catalogue() -> impl Iterator<Item = &'static Metric> {
    packets::METRICS.iter().chain(sources::METRICS)
}
