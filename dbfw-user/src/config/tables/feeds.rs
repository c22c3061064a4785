//! `[feeds]`.

use std::time::Duration;

use super::http::read_http;
use crate::config::{
    toml::{read::Table, report::Report},
    types::FeedsConfig,
};

impl FeedsConfig {
    /// Reads the table of one file; a later file's value replaces an earlier one's.
    pub(crate) fn read(&mut self, mut table: Table<'_>, report: &mut Report) {
        table.set("poll", &mut self.poll, report, |value, report| {
            value.interval(Duration::from_secs(86_400), report)
        });
        table.set("max_bytes", &mut self.max_bytes, report, |value, report| {
            value.integer(1..=1 << 28, "a possible size", report).map(u64::from)
        });
        read_http(&mut self.http, &mut table, report);
        table.finish(report);
    }
}
