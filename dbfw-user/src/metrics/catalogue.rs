//! The catalogue of all metrics, which also makes their documentation.

mod packets;
mod sources;

use std::fmt::{self, Write};

use super::{Samples, Scrape};

/// Prometheus's type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; the labels say it.
    Info,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// Its name in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric of dbfw.
#[derive(Clone, Copy)]
pub struct Metric {
    /// As scraped, with `_total` and `_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Meaning and unit. No quotes, backslashes or line breaks: the encoder does
    /// not escape them.
    pub help: &'static str,
    pub(super) samples: fn(&Scrape, &mut Samples<'_>) -> fmt::Result,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Every metric, in the order they are written.
pub fn catalogue() -> impl Iterator<Item = &'static Metric> {
    packets::METRICS.iter().chain(sources::METRICS)
}

/// The catalogue as the Markdown table of docs/metrics.md.
pub fn catalogue_table() -> String {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in catalogue() {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        // Writing to a String does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        );
    }
    table
}
