//! The table `[feeds]` of the configuration: its keys, their checks and defaults.

use std::time::Duration;

use crate::feed::FeedsConfig;
use dbfw_core::toml::{Report, Table};

use super::http::read_http;

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub fn read_feeds(feeds: &mut FeedsConfig, mut table: Table<'_>, report: &mut Report) {
    read_feed_keys(feeds, &mut table, report);
    table.finish(report);
}

/// Reads the keys of a table that may have others.
pub fn read_feed_keys(feeds: &mut FeedsConfig, table: &mut Table<'_>, report: &mut Report) {
    table.set("poll", &mut feeds.poll, report, |value, report| {
        value.interval(Duration::from_secs(86_400), report)
    });
    table.set("max_bytes", &mut feeds.max_bytes, report, |value, report| {
        value.integer(1..=1 << 28, "a possible size", report).map(u64::from)
    });
    read_http(&mut feeds.http, table, report);
}
