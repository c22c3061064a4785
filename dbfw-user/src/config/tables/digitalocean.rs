//! `[digitalocean]`.

use std::time::Duration;

use super::http::{Api, DIGITALOCEAN_TOKEN};
use crate::config::{
    toml::{
        read::{Table, Value},
        report::Report,
    },
    types::{AddressKinds, DigitalOceanConfig, RequestLimits},
};

const ADDRESSES_FIX: &str = r#"write ["private", "public", "v6"]"#;

/// `[digitalocean]` of all files: a later file's value replaces an earlier one's.
#[derive(Debug)]
pub(crate) struct DigitalOcean {
    /// Whether any file has the table, be it right or wrong.
    pub(crate) present: bool,
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
            present: false,
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
        self.present = true;
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

    /// The settings of all files together; `None`: no file has the table.
    pub(crate) fn finish(self, report: &mut Report) -> Option<DigitalOceanConfig> {
        if !self.present {
            return None;
        }
        let api_url = self.api.finish(report)?;
        let Self { api, addresses, pod_subnets, limits, .. } = self;
        let Api { token, http, poll, .. } = api;
        Some(DigitalOceanConfig { api_url, token, http, poll, addresses, pod_subnets, limits })
    }
}

fn addresses(value: &Value<'_>, report: &mut Report) -> Option<AddressKinds> {
    #[derive(Clone, Copy)]
    enum Kind {
        Private,
        Public,
        V6,
    }
    const WORDS: [(&str, Kind); 3] =
        [("private", Kind::Private), ("public", Kind::Public), ("v6", Kind::V6)];

    let elements = value.array(ADDRESSES_FIX, report)?;
    if elements.len() == 0 {
        report.problem(&value.place(), "lists no kind of address", ADDRESSES_FIX);
        return None;
    }
    let mut kinds = AddressKinds { private: false, public: false, v6: false };
    let mut good = true;
    for element in elements {
        let Some(kind) = element.word(&WORDS, "a kind of address", report) else {
            good = false;
            continue;
        };
        let listed = match kind {
            Kind::Private => &mut kinds.private,
            Kind::Public => &mut kinds.public,
            Kind::V6 => &mut kinds.v6,
        };
        if std::mem::replace(listed, true) {
            report.problem(&element.place(), "is listed twice", "remove one");
            good = false;
        }
    }
    good.then_some(kinds)
}
