//! The samples of one metric, as the catalogue writes them.

use std::fmt;

use prometheus_client::encoding::{EncodeGaugeValue, MetricEncoder, NoLabelSet};

use super::{durations::Durations, format::Format};

/// Writes the samples of one metric.
#[expect(missing_debug_implementations, reason = "the encoder it writes to has none")]
pub struct Samples<'a> {
    family: MetricEncoder<'a>,
    labels: &'static [&'static str],
    format: Format,
}

impl<'a> Samples<'a> {
    /// A writer of samples for a metric that has these labels.
    pub(super) fn new(
        family: MetricEncoder<'a>,
        labels: &'static [&'static str],
        format: Format,
    ) -> Self {
        Self { family, labels, format }
    }

    /// Writes the value of a counter with these labels.
    ///
    /// # Errors
    /// The text cannot be written.
    pub fn counter(&mut self, values: &[&str], count: u64) -> fmt::Result {
        // The encoder would append `_total` to a name that has it.
        if self.format == Format::Prometheus {
            return self.gauge(values, count);
        }
        if self.labels.is_empty() {
            return self.family.encode_counter::<NoLabelSet, _, u64>(&count, None);
        }
        let labels = self.pairs(values);
        self.family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    /// Writes the value of a gauge with these labels.
    ///
    /// # Errors
    /// The text cannot be written.
    pub fn gauge(&mut self, values: &[&str], value: impl EncodeGaugeValue) -> fmt::Result {
        if self.labels.is_empty() {
            return self.family.encode_gauge(&value);
        }
        let labels = self.pairs(values);
        self.family.encode_family(&labels)?.encode_gauge(&value)
    }

    /// Writes these labels.
    ///
    /// # Errors
    /// The text cannot be written.
    pub fn info(&mut self, values: &[&str]) -> fmt::Result {
        if self.format == Format::Prometheus {
            return self.gauge(values, 1_u64);
        }
        let labels = self.pairs(values);
        self.family.encode_info(&labels)
    }

    /// Writes a histogram with these labels.
    ///
    /// # Errors
    /// The text cannot be written.
    pub fn histogram(&mut self, values: &[&str], durations: &Durations) -> fmt::Result {
        let (sum, count, buckets) = (durations.sum(), durations.count(), durations.buckets());
        if self.labels.is_empty() {
            return self.family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None);
        }
        let labels = self.pairs(values);
        self.family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn pairs<'v>(&self, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
        debug_assert_eq!(self.labels.len(), values.len());
        self.labels.iter().copied().zip(values.iter().copied()).collect()
    }
}
