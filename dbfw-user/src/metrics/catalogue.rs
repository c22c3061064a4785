//! The catalogue of all metrics.

mod audit;
mod packets;
mod sources;

use dbfw_metrics::Metric;

use super::Scrape;

/// Every metric, in the order they are written.
pub(super) fn catalogue() -> impl Iterator<Item = &'static Metric<Scrape>> {
    packets::METRICS.iter().chain(sources::METRICS).chain(audit::METRICS)
}
