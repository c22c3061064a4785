//! `[feeds]`.

use std::time::Duration;

use super::http::read_http;
use crate::config::{
    toml::{
        read::{Table, replace},
        report::Report,
    },
    types::FeedsConfig,
};

impl FeedsConfig {
    /// Takes over what one file says; a later file's value replaces an earlier one's.
    pub(crate) fn read(&mut self, mut table: Table<'_>, report: &mut Report) {
        if let Some(value) = table.take("poll") {
            replace(&mut self.poll, value.interval(Duration::from_secs(86_400), report));
        }
        if let Some(value) = table.take("max_bytes") {
            let number = value.integer(1..=1 << 28, "a possible size", report);
            replace(&mut self.max_bytes, number.map(u64::from));
        }
        read_http(&mut self.http, &mut table, report);
        table.finish(report);
    }
}
