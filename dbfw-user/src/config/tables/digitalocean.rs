//! The table `[digitalocean]` of the configuration: its keys, their checks and defaults.

use dbfw_core::toml::{Report, Table, Value};
use dbfw_provider::digitalocean::{API_URL, AddressKinds, DigitalOceanConfig};

use super::http::{Api, ApiSettings};

pub(crate) const DIGITALOCEAN: Api =
    Api { table: "digitalocean", url: API_URL, token_file: "/etc/dbfw/do-token" };

const ADDRESSES_FIX: &str = r#"write ["private", "public", "v6"]"#;

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub(crate) fn read_digitalocean(
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
    type Listed = fn(&mut AddressKinds) -> &mut bool;
    const KINDS: [(&str, Listed); 3] = [
        ("private", |kinds| &mut kinds.private),
        ("public", |kinds| &mut kinds.public),
        ("v6", |kinds| &mut kinds.v6),
    ];

    let elements = value.array(ADDRESSES_FIX, report)?;
    if elements.len() == 0 {
        report.problem(&value.place(), "lists no kind of address", ADDRESSES_FIX);
        return None;
    }
    let mut kinds = AddressKinds { private: false, public: false, v6: false };
    let mut good = true;
    for element in elements {
        let Some(listed) = element.word(&KINDS, "a kind of address", report) else {
            good = false;
            continue;
        };
        if std::mem::replace(listed(&mut kinds), true) {
            report.problem(&element.place(), "is listed twice", "remove one");
            good = false;
        }
    }
    good.then_some(kinds)
}
