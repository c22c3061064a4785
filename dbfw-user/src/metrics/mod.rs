//! The Prometheus metrics: constant metrics made from one snapshot at each scrape.
//!
//! Nothing a packet carries becomes a label, and every label set is there from the start,
//! so that `increase()` sees the first event too.

mod catalogue;
pub mod http;
mod samples;
mod scrape;
mod sync;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use self::{
    catalogue::{Metric, catalogue},
    samples::Samples,
};

pub use scrape::{MapFill, PacketCounters, PrefixCount, ProviderScrape, Scrape, SourceScrape};
pub use sync::{BUCKETS, DatabaseSync, Durations, Outcome, SyncCounters};

/// Media type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics in the OpenMetrics text format; to be sent as [`CONTENT_TYPE`].
///
/// # Errors
///
/// The encoder fails.
pub fn render(scrape: &Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape.clone()));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in catalogue() {
            let (name, unit) = metric.name_and_unit();
            let family =
                encoder.encode_descriptor(name, metric.help, unit.as_ref(), metric.kind)?;
            (metric.samples)(self, &mut Samples::new(family, metric.labels))?;
        }
        Ok(())
    }
}

impl Metric {
    /// The encoder appends the unit and `_total` or `_info` itself.
    fn name_and_unit(&self) -> (&'static str, Option<Unit>) {
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

#[cfg(test)]
mod tests;
