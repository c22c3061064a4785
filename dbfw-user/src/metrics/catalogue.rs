//! The catalogue of all metrics.

mod packets;
mod sources;

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::{samples::Samples, scrape::Scrape};

/// One metric of dbfw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// As scraped, with `_total` and `_info`.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: MetricType,
    /// Its labels.
    pub(super) labels: &'static [&'static str],
    /// Meaning and unit. No quotes, backslashes or line breaks: the encoder does
    /// not escape them.
    pub(super) help: &'static str,
    pub(super) samples: fn(&Scrape, &mut Samples<'_>) -> fmt::Result,
}

/// Every metric, in the order they are written.
pub(super) fn catalogue() -> impl Iterator<Item = &'static Metric> {
    packets::METRICS.iter().chain(sources::METRICS)
}
