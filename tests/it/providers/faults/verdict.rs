//! Whether the agent tells what is wrong, and that all is well again.

use std::time::Instant;

use dbfw_tests::provider_server::Resource;
use serde_json::Value;

use super::{table::Trouble, told::Counters, world::World};

/// What is asked for by a target, where an error names it.
fn request(target: Resource) -> &'static str {
    match target {
        Resource::Firewall => "/firewall",
        Resource::Vhost => "/vhosts/123",
        Resource::Feed => "/feed/office",
        Resource::Droplet => "/v2/droplets/",
        Resource::Droplets => "/v2/droplets",
        Resource::TaggedDroplets => "tag_name=backend",
        Resource::GpuDroplets => "type=gpus",
        Resource::Cluster => "/v2/kubernetes/clusters/",
        Resource::Clusters => "/v2/kubernetes/clusters",
        Resource::App => "/v2/apps/",
        Resource::Apps => "/v2/apps",
        Resource::Vpc => "/v2/vpcs/",
        Resource::Vpcs => "/v2/vpcs",
        other => panic!("the agent does not ask for {}", other.name()),
    }
}

impl World<'_> {
    /// Whether the agent met the trouble in several polls, by its metrics.
    pub(super) fn is_met(&self, trouble: &Trouble, before: &Counters, causes: &[&str]) -> bool {
        if self.hits() < self.polls {
            return false;
        }
        let now = self.told.counters(&self.host);
        let provider = match self.setting.target {
            Resource::Vhost => "aptible",
            Resource::Feed => "feeds",
            _ => "digitalocean",
        };
        let requests = now.requests(provider, causes) - before.requests(provider, causes);
        let syncs = now.syncs("orders", causes) - before.syncs("orders", causes);
        let stale = now.gauge("dbfw_stale_sources", "orders").unwrap_or_default();
        // The request with a 404 was answered; the sync failed all the same.
        (requests >= self.polls as f64 || trouble.is_not_found())
            && syncs >= 1.0
            && (self.is_list() || stale >= self.estate.subject().len() as f64)
    }

    /// Whether status or sources name the trouble.
    pub(super) fn tells(&self, trouble: &Trouble) -> bool {
        let names = |text: &str| {
            let is_everybodys = matches!(trouble, Trouble::Certificate(_) | Trouble::Down)
                || !trouble.spares_others();
            trouble.is_named_in(text)
                && (is_everybodys || text.contains(request(self.setting.target)))
        };
        let status = self.told.status(&self.host);
        if !status.has_a_problem() {
            return false;
        }
        if self.is_list() {
            let provider = &status.orders()["provider"];
            let error = provider["error"].as_str().unwrap_or_default();
            return provider["state"] == "stale" && !error.is_empty() && names(error);
        }
        self.all_subjects(|row, why| row["state"] == "stale" && names(why))
    }

    pub(super) fn tells_gone(&self, trouble: &Trouble) -> bool {
        if self.is_list() {
            let status = self.told.status(&self.host);
            let error = status.orders()["provider"]["error"].as_str();
            return error.is_some_and(|error| trouble.is_named_in(error));
        }
        let unresolved = self.told.counters(&self.host).gauge("dbfw_unresolved_sources", "orders");
        unresolved == Some(self.estate.subject().len() as f64)
            && self.all_subjects(|row, why| {
                row["state"] == "unresolvable" && !why.is_empty() && trouble.is_named_in(why)
            })
    }

    /// Whether something holds of every source of the target, and of why it is as it is.
    fn all_subjects(&self, holds: impl Fn(&Value, &str) -> bool) -> bool {
        let sources = self.told.sources(&self.host);
        let mut subjects = self.estate.subject().keys();
        subjects.all(|source| sources.get(source).is_some_and(|row| holds(row, &why(row))))
    }

    pub(super) fn is_fine(&self) -> bool {
        if !self.is_list() {
            return self.all_subjects(|row, why| row["state"] == "ok" && why.is_empty());
        }
        let status = self.told.status(&self.host);
        let database = status.orders();
        database["provider"]["state"] == "ok"
            && database["provider"]["error"].is_null()
            && database["refused"].is_null()
    }

    /// Whether it is a while since the agent was asked last: a process each time.
    pub(super) fn is_time_to_ask(&mut self) -> bool {
        let is_time = self.asked.elapsed() >= self.patience / 100;
        if is_time {
            self.asked = Instant::now();
        }
        is_time
    }
}

/// Why a source is not what it should be.
fn why(row: &Value) -> String {
    let unresolved = row["unresolved"].as_array().into_iter().flatten();
    let parts = unresolved.filter_map(|part| part["why"].as_str());
    row["error"].as_str().into_iter().chain(parts).collect::<Vec<_>>().join("; ")
}
