//! The Prometheus metrics: constant metrics made from one snapshot at each scrape.
//!
//! Nothing a packet carries becomes a label, and every label set is there from the start,
//! so that `increase()` sees the first event too.

mod catalogue;
pub mod http;
mod sync;

use std::fmt;

use dbfw_common::Family;
use dbfw_provider::stats::StatsValues;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

#[cfg(doc)]
use crate::traffic::drops::NO_DATABASE;
use catalogue::{Metric, catalogue};
use dbfw_datapath::Totals;
use dbfw_wire::control::{InterfaceStatus, Protection};
pub use sync::{BUCKETS, DatabaseSync, Durations, Outcome, SyncCounters};

/// Media type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything one scrape shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Version of the running program.
    pub version: String,
    /// Commit it was built from; empty if unknown.
    pub revision: String,
    /// The maps could be read for this scrape.
    pub up: bool,
    /// Whether the host is protected.
    pub protection: Protection,
    /// Covered interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// Counters of [`NO_DATABASE`] and of every database.
    pub packets: Vec<PacketCounters>,
    /// Prefixes in force per database.
    pub prefixes: Vec<PrefixCount>,
    /// Fill of the maps that can run full.
    pub maps: Vec<MapFill>,
    /// Outcomes of the syncs.
    pub sync: SyncCounters,
    /// Whether the last reload of the configuration succeeded.
    pub reload_ok: bool,
    /// States of the trusted sources, by database.
    pub sources: Vec<SourceScrape>,
    /// Services that are asked over the network.
    pub providers: Vec<ProviderScrape>,
    /// Entries of the history that were not written.
    pub history_errors: u64,
}

/// States of the trusted sources of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceScrape {
    /// Its name.
    pub database: String,
    /// Sources that could not be refreshed.
    pub stale: u64,
    /// Sources that stand for no address, though they should.
    pub unresolved: u64,
    /// Seconds since the source that waits longest for an answer had its last good one; 0 if
    /// none was asked for.
    pub oldest_age_seconds: f64,
    /// A guard refuses a change of them.
    pub refused: bool,
}

/// One account of a provider, or another service that is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderScrape {
    /// digitalocean, aptible, feeds, dns.
    pub name: String,
    /// Its counters.
    pub stats: StatsValues,
    /// It has a request budget.
    pub limits_known: bool,
}

/// The counters of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketCounters {
    /// Its name, or [`NO_DATABASE`].
    pub database: String,
    /// In the order of [`Family::ALL`].
    pub totals: [Totals; Family::ALL.len()],
}

/// Prefixes in force for one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixCount {
    /// Its name.
    pub database: String,
    /// In the order of [`Family::ALL`].
    pub prefixes: [u64; Family::ALL.len()],
}

/// Fill of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name, as in `dbfw_common::MAPS`.
    pub map: String,
    /// Entries it holds.
    pub entries: u64,
    /// Entries it can hold.
    pub max_entries: u64,
}

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
            (metric.samples)(self, &mut Samples { family, labels: metric.labels })?;
        }
        Ok(())
    }
}

/// Writes the samples of one metric.
pub(crate) struct Samples<'a> {
    family: MetricEncoder<'a>,
    labels: &'static [&'static str],
}

impl Samples<'_> {
    fn counter(&mut self, values: &[&str], count: u64) -> fmt::Result {
        if self.labels.is_empty() {
            return self.family.encode_counter::<NoLabelSet, _, u64>(&count, None);
        }
        let labels = self.pairs(values);
        self.family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn gauge(&mut self, values: &[&str], value: impl EncodeGaugeValue) -> fmt::Result {
        if self.labels.is_empty() {
            return self.family.encode_gauge(&value);
        }
        let labels = self.pairs(values);
        self.family.encode_family(&labels)?.encode_gauge(&value)
    }

    fn info(&mut self, values: &[&str]) -> fmt::Result {
        let labels = self.pairs(values);
        self.family.encode_info(&labels)
    }

    fn histogram(&mut self, durations: &Durations) -> fmt::Result {
        self.family.encode_histogram::<NoLabelSet>(
            durations.sum(),
            durations.count(),
            &durations.buckets(),
            None,
        )
    }

    fn pairs<'v>(&self, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
        debug_assert_eq!(self.labels.len(), values.len());
        self.labels.iter().copied().zip(values.iter().copied()).collect()
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
