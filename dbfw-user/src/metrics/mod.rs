//! The Prometheus metrics: constant metrics made from one snapshot at each scrape.
//!
//! Nothing a packet carries becomes a label, and every label set is there from the start,
//! so that `increase()` sees the first event too.

mod catalogue;
mod format;
pub mod http;
mod metric;
mod samples;
mod scrape;
mod sync;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

use self::{catalogue::catalogue, samples::Samples};

pub use format::Format;
pub use scrape::{DatabaseScrape, PacketCounters, Scrape, SourceScrape};
pub use sync::{BUCKETS, DatabaseSync, Durations, Outcome, SyncCounters};

/// The metrics of a scrape as text.
pub fn render(scrape: Scrape, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { scrape, format }));
    let mut text = String::new();
    let encode = match format {
        Format::Prometheus => text::encode_registry,
        Format::OpenMetrics => text::encode,
    };
    encode(&mut text, &registry).expect("a String takes everything");
    text
}

/// A scrape, and the format it is written in.
#[derive(Debug)]
struct Exposition {
    scrape: Scrape,
    format: Format,
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in catalogue() {
            let (name, unit, kind) = match (self.format, metric.kind) {
                (Format::OpenMetrics, kind) => {
                    let (name, unit) = metric.name_and_unit();
                    (name, unit, kind)
                }
                // It has neither units nor infos, and its names are whole.
                (Format::Prometheus, MetricType::Info) => (metric.name, None, MetricType::Gauge),
                (Format::Prometheus, kind) => (metric.name, None, kind),
            };
            let family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
            let mut samples = Samples::new(family, metric.labels, self.format);
            (metric.samples)(&self.scrape, &mut samples)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
