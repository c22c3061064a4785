//! Metrics as text for Prometheus: constant metrics, made from one snapshot at each scrape.
//!
//! The metrics of a program are a catalogue of its own: [`Metric`]s over a snapshot of its own.

mod durations;
mod format;
mod metric;
mod samples;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

pub use prometheus_client::metrics::MetricType;

pub use self::{durations::Durations, format::Format, metric::Metric, samples::Samples};

/// The metrics of a catalogue as text, with the values of a snapshot.
pub fn render<S>(
    catalogue: impl IntoIterator<Item = &'static Metric<S>>,
    snapshot: S,
    format: Format,
) -> String
where
    S: fmt::Debug + Send + Sync + 'static,
{
    let catalogue = catalogue.into_iter().collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { catalogue, snapshot, format }));
    let mut text = String::new();
    let encode = match format {
        Format::Prometheus => text::encode_registry,
        Format::OpenMetrics => text::encode,
    };
    encode(&mut text, &registry).expect("a String takes everything");
    text
}

/// A snapshot, and the format it is written in.
#[derive(Debug)]
struct Exposition<S: 'static> {
    catalogue: Vec<&'static Metric<S>>,
    snapshot: S,
    format: Format,
}

impl<S: fmt::Debug + Send + Sync + 'static> Collector for Exposition<S> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.catalogue {
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
            (metric.samples)(&self.snapshot, &mut samples)?;
        }
        Ok(())
    }
}
