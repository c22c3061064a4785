//! The Prometheus metrics: constant metrics made from one snapshot at each scrape.
//!
//! Nothing a packet carries becomes a label, and every label set is there from the start,
//! so that `increase()` sees the first event too.

mod catalogue;
pub mod http;
mod scrape;
mod sync;

pub use dbfw_metrics::{Durations, Format};

use self::catalogue::catalogue;

pub use scrape::{DatabaseScrape, PacketCounters, Scrape, SourceScrape};
pub use sync::{BUCKETS, DatabaseSync, Outcome, SyncCounters};

/// The metrics of a scrape as text.
pub fn render(scrape: Scrape, format: Format) -> String {
    dbfw_metrics::render(catalogue(), scrape, format)
}

#[cfg(test)]
mod tests;
