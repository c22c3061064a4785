//! The table `[aptible]` of the configuration: its keys, their checks and defaults.

use crate::aptible::{API_URL, AptibleConfig};
use dbfw_core::toml::{Report, Table};

use super::http::{Api, ApiSettings};

/// The table's name and examples.
pub const APTIBLE: Api =
    Api { table: "aptible", url: API_URL, token_file: "/etc/dbfw/aptible-token" };

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub fn read_aptible(config: &mut AptibleConfig, mut table: Table<'_>, report: &mut Report) {
    let AptibleConfig { api_url: url, token, http, poll } = config;
    APTIBLE.read(ApiSettings { url, token, http, poll }, &mut table, report);
    table.finish(report);
}
