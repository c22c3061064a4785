//! The table `[digitalocean]` of the configuration: its keys, their checks and defaults.

use crate::digitalocean::{API_URL, AddressKinds, DigitalOceanConfig};
use dbfw_core::toml::{Report, Table, Value};

use super::http::{Api, ApiSettings};

/// The table's name and examples.
pub const DIGITALOCEAN: Api =
    Api { table: "digitalocean", url: API_URL, token_file: "/etc/dbfw/do-token" };

const ADDRESSES_FIX: &str = r#"write ["private", "public", "v6"]"#;

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub fn read_digitalocean(
    config: &mut DigitalOceanConfig,
    mut table: Table<'_>,
    report: &mut Report,
) {
    let DigitalOceanConfig { api_url: url, token, http, poll, addresses, pod_subnets, limits } =
        config;
    DIGITALOCEAN.read(ApiSettings { url, token, http, poll }, &mut table, report);
    table.set("addresses", addresses, report, address_kinds);
    table.set("pod_subnets", pod_subnets, report, Value::boolean);
    for (name, limit, most) in [
        ("requests_per_hour", &mut limits.per_hour, 1_000_000),
        ("requests_per_minute", &mut limits.per_minute, 100_000),
    ] {
        table.set(name, limit, report, |value, report| {
            value.integer(1..=most, "a possible number", report)
        });
    }
    table.finish(report);
}

fn address_kinds(value: &Value<'_>, report: &mut Report) -> Option<AddressKinds> {
    const WORDS: [(&str, &str); 3] = [("private", "private"), ("public", "public"), ("v6", "v6")];

    let kinds = value.distinct(ADDRESSES_FIX, report, |element, report| {
        element.word(&WORDS, "a kind of address", report)
    })?;
    if kinds.is_empty() {
        report.problem(&value.place(), "lists no kind of address", ADDRESSES_FIX);
        return None;
    }
    let [private, public, v6] = WORDS.map(|(word, _)| kinds.contains(&word));
    Some(AddressKinds { private, public, v6 })
}
