//! `[aptible]`.

use std::time::Duration;

use dbfw_core::toml::{Report, Table};
use dbfw_provider::aptible::AptibleConfig;

use super::http::{APTIBLE_TOKEN, Api};

/// `[aptible]` of all files: a later file's value replaces an earlier one's.
#[derive(Debug)]
pub(crate) struct Aptible {
    api: Api,
}

impl Default for Aptible {
    fn default() -> Self {
        let api = Api::new(
            "https://api.aptible.com",
            "aptible-token",
            APTIBLE_TOKEN,
            Duration::from_secs(60),
        );
        Self { api }
    }
}

impl Aptible {
    /// Reads the table of one file.
    pub(crate) fn read(&mut self, mut table: Table<'_>, report: &mut Report) {
        self.api.read(&mut table, report);
        table.finish(report);
    }

    /// The settings of all files together; `None`: they have a problem.
    pub(crate) fn finish(self, report: &mut Report) -> Option<AptibleConfig> {
        let api_url = self.api.finish(report)?;
        let Api { token, http, poll, .. } = self.api;
        Some(AptibleConfig { api_url, token, http, poll })
    }
}
