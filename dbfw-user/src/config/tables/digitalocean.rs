//! `[digitalocean]`.

use std::time::Duration;

use dbfw_core::toml::{Report, Table, Value};
use dbfw_provider::{
    budget::RequestLimits,
    digitalocean::{AddressKinds, DigitalOceanConfig},
};

use super::http::{Api, DIGITALOCEAN_TOKEN};

const ADDRESSES_FIX: &str = r#"write ["private", "public", "v6"]"#;

/// `[digitalocean]` of all files: a later file's value replaces an earlier one's.
#[derive(Debug)]
pub(crate) struct DigitalOcean {
    api: Api,
    addresses: AddressKinds,
    pod_subnets: bool,
    limits: RequestLimits,
}

impl Default for DigitalOcean {
    fn default() -> Self {
        let api = Api::new(
            "https://api.digitalocean.com",
            "do-token",
            DIGITALOCEAN_TOKEN,
            Duration::from_secs(15),
        );
        Self {
            api,
            addresses: AddressKinds { private: true, public: true, v6: true },
            pod_subnets: false,
            // What DigitalOcean allows a token.
            limits: RequestLimits { per_hour: 5000, per_minute: 250 },
        }
    }
}

impl DigitalOcean {
    /// Reads the table of one file.
    pub(crate) fn read(&mut self, mut table: Table<'_>, report: &mut Report) {
        self.api.read(&mut table, report);
        table.set("addresses", &mut self.addresses, report, addresses);
        table.set("pod_subnets", &mut self.pod_subnets, report, Value::boolean);
        for (name, limit, most) in [
            ("requests_per_hour", &mut self.limits.per_hour, 1_000_000),
            ("requests_per_minute", &mut self.limits.per_minute, 100_000),
        ] {
            table.set(name, limit, report, |value, report| {
                value.integer(1..=most, "a possible number", report)
            });
        }
        table.finish(report);
    }

    /// The settings of all files together; `None`: they have a problem.
    pub(crate) fn finish(self, report: &mut Report) -> Option<DigitalOceanConfig> {
        let api_url = self.api.finish(report)?;
        let Self { api, addresses, pod_subnets, limits, .. } = self;
        let Api { token, http, poll, .. } = api;
        Some(DigitalOceanConfig { api_url, token, http, poll, addresses, pod_subnets, limits })
    }
}

fn addresses(value: &Value<'_>, report: &mut Report) -> Option<AddressKinds> {
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
