//! One metric: its name, type, labels, help and samples.

use std::fmt;

use prometheus_client::{metrics::MetricType, registry::Unit};

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

impl Metric {
    /// For OpenMetrics, where the encoder appends the unit and `_total` or `_info` itself.
    pub(super) fn name_and_unit(&self) -> (&'static str, Option<Unit>) {
        let name = match self.kind {
            MetricType::Counter => self.name.strip_suffix("_total"),
            MetricType::Info => self.name.strip_suffix("_info"),
            MetricType::Gauge | MetricType::Histogram | MetricType::Unknown => None,
        };
        let name = name.unwrap_or(self.name);
        if let Some(base) = name.strip_suffix("_bytes") {
            (base, Some(Unit::Bytes))
        } else if let Some(base) = name.strip_suffix("_seconds") {
            (base, Some(Unit::Seconds))
        } else {
            (name, None)
        }
    }
}
