//! One metric: its name, type, labels, help and samples.

use std::fmt;

use prometheus_client::{metrics::MetricType, registry::Unit};

use super::samples::Samples;

/// One metric, whose values are in a snapshot.
#[derive(Debug)]
pub struct Metric<S> {
    /// As scraped, with `_total` and `_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Meaning and unit. No quotes, backslashes or line breaks: the encoder does
    /// not escape them.
    pub help: &'static str,
    /// Writes its samples.
    pub samples: fn(&S, &mut Samples<'_>) -> fmt::Result,
}

impl<S> Metric<S> {
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

    /// Its row in the Markdown table of the documentation.
    pub fn table_row(&self) -> String {
        let labels = self.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        format!(
            "| `{}` | {} | {} | {} |\n",
            self.name,
            self.kind.as_str(),
            labels.join(", "),
            self.help
        )
    }
}
