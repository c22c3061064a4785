//! An account as DigitalOcean's API shows it, and the task that asks it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::source::SourceKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ALL,
    server::{Asked, Reply, Server},
};
use crate::{
    budget::{Budget, RequestLimits},
    digitalocean::{DigitalOcean, DigitalOceanConfig},
    http::HttpConfig,
    rounds::bench::{Bench, list_id},
    secret::TokenSource,
    stats::Stats,
    worker::Demand,
};

pub(crate) const UUID: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
pub(crate) const LIST: &str = "digitalocean:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
pub(crate) const CLUSTER: &str = "bd5f5959-5e1e-4205-a714-a914373942af";
pub(crate) const APP: &str = "c2a93513-8d9b-4223-9d61-5e7272c81cf5";
pub(crate) const VPC: &str = "5a4981aa-9653-4bd1-bef5-d6bff52042e4";
pub(crate) const TOKEN: &str = "dop_v1_0123456789abcdef";

/// What the account has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) rules: Vec<Value>,
    pub(crate) droplets: Vec<Value>,
    pub(crate) gpus: Vec<Value>,
    pub(crate) clusters: Vec<Value>,
    pub(crate) apps: Vec<Value>,
    pub(crate) vpcs: Vec<Value>,
}

/// A droplet with the address 10.0.x.y.
pub(crate) fn droplet(id: u64, tags: &[&str]) -> Value {
    json!({
        "id": id, "name": format!("web-{id}"), "status": "active", "tags": tags,
        "networks": {"v4": [{"ip_address": format!("10.0.{}.{}", id / 256, id % 256),
                             "netmask": "255.255.0.0", "gateway": "nil", "type": "private"}],
                     "v6": []},
    })
}

impl Fleet {
    /// One of everything: droplets 1 to 3, of which 1 and 2 are web and 3 is a node, and the
    /// GPU droplet 9, which is web too.
    pub(crate) fn small() -> Self {
        Self {
            rules: vec![
                json!({"uuid": "u1", "type": "tag", "value": "web", "description": "the web"}),
                json!({"uuid": "u2", "type": "gopher", "value": "x"}),
            ],
            droplets: vec![droplet(1, &["web"]), droplet(2, &["web", "two"]), droplet(3, &[])],
            gpus: vec![droplet(9, &["web"])],
            clusters: vec![json!({
                "id": CLUSTER, "name": "prod", "cluster_subnet": "10.244.0.0/16",
                "node_pools": [{"nodes": [
                    {"id": "n1", "droplet_id": "3", "status": {"state": "running"}},
                    {"id": "n2", "droplet_id": "", "status": {"state": "provisioning"}},
                ]}],
            })],
            apps: vec![json!({
                "id": APP, "spec": {"name": "shop"},
                "dedicated_ips": [{"ip": "192.0.2.1", "id": "d1", "status": "ASSIGNED"}],
            })],
            vpcs: vec![json!({"id": VPC, "name": "default-fra1", "ip_range": "10.116.0.0/20"})],
        }
    }

    /// Answers as if the list of all droplets were too long to be worth reading.
    pub(crate) fn answer_of_many(&self, asked: &Asked) -> Reply {
        let filtered = asked.query("tag_name").or_else(|| asked.query("type")).is_some();
        if asked.path() != "/v2/droplets" || filtered {
            return self.answer(asked);
        }
        let droplets: Vec<_> = (1000..1200).map(|id| droplet(id, &[])).collect();
        Reply::json(&json!({"droplets": droplets, "meta": {"total": 90_000}}))
    }

    /// What the API says to a request.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let parts: Vec<_> = asked.path().trim_start_matches("/v2/").split('/').collect();
        let one = |name: &str, items: &[Value], id: &str| {
            let is_it = |item: &&Value| item["id"].to_string().trim_matches('"') == id;
            match items.iter().find(is_it) {
                Some(item) => Reply::json(&json!({name: item})),
                None => Reply::not_found(),
            }
        };
        let list = |name: &str, items: &[Value]| Reply::json(&asked.page(name, items));
        match parts.as_slice() {
            ["databases", UUID, "firewall"] => Reply::json(&json!({"rules": self.rules})),
            ["droplets"] if asked.query("type").as_deref() == Some("gpus") => {
                list("droplets", &self.gpus)
            }
            ["droplets"] => match asked.query("tag_name") {
                Some(tag) => {
                    let has = |item: &&Value| {
                        item["tags"].as_array().unwrap().contains(&Value::from(tag.as_str()))
                    };
                    let tagged: Vec<_> = self.droplets.iter().filter(has).cloned().collect();
                    list("droplets", &tagged)
                }
                None => list("droplets", &self.droplets),
            },
            ["droplets", id] => {
                let all = [self.droplets.as_slice(), &self.gpus].concat();
                one("droplet", &all, id)
            }
            ["kubernetes", "clusters"] => list("kubernetes_clusters", &self.clusters),
            ["kubernetes", "clusters", id] => one("kubernetes_cluster", &self.clusters, id),
            ["apps"] => list("apps", &self.apps),
            ["apps", id] => one("app", &self.apps, id),
            ["vpcs"] => list("vpcs", &self.vpcs),
            ["vpcs", id] => one("vpc", &self.vpcs, id),
            _ => Reply::not_found(),
        }
    }

    /// Is on show from now on.
    pub(crate) fn shown_by(self, server: &Server) {
        server.set(move |asked| self.answer(asked));
    }
}

/// A server with a fleet, and the task.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) bench: Bench,
    pub(crate) stats: Arc<Stats>,
    pub(crate) token: std::path::PathBuf,
    _dir: TempDir,
}

/// What [`Site::start`] may have otherwise.
pub(crate) fn config(server: &Server, token: &std::path::Path) -> DigitalOceanConfig {
    DigitalOceanConfig {
        api_url: server.url.clone(),
        token: TokenSource::File(token.to_owned()),
        http: HttpConfig { timeout: Duration::from_secs(10), ..HttpConfig::default() },
        // Rounds are ordered.
        poll: Duration::from_secs(3600),
        addresses: ALL,
        pod_subnets: true,
        limits: RequestLimits { per_hour: 5000, per_minute: 250 },
    }
}

impl Site {
    pub(crate) async fn start(fleet: Fleet, demand: Demand) -> Self {
        Self::with(fleet, demand, |_| ()).await
    }

    pub(crate) async fn with(
        fleet: Fleet,
        demand: Demand,
        change: impl FnOnce(&mut DigitalOceanConfig),
    ) -> Self {
        let server = Server::start(move |asked| fleet.answer(asked)).await;
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        write_token(&token, TOKEN);
        let mut config = config(&server, &token);
        change(&mut config);
        let budget = Arc::new(Mutex::new(Budget::new(config.limits)));
        let stats = Arc::new(Stats::default());
        let task = DigitalOcean::new(config, budget, Arc::clone(&stats));
        let bench = Bench::new(demand, |mailbox| task.run(mailbox));
        Self { server, bench, stats, token, _dir: dir }
    }
}

/// A token nobody else can read.
pub(crate) fn write_token(path: &std::path::Path, token: &str) {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let new = path.with_extension("new");
    fs::write(&new, token).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

/// A demand for the list and these sources.
pub(crate) fn demand(sources: &[&str]) -> Demand {
    let key = |text: &&str| {
        let (kind, value) = text.split_once(':').unwrap();
        SourceKey::new(kind.parse().unwrap(), value).unwrap()
    };
    Demand { lists: [list_id(LIST)].into(), sources: sources.iter().map(key).collect() }
}

/// A demand for everything [`Fleet::small`] has.
pub(crate) fn everything() -> Demand {
    demand(&[
        "droplet:1",
        "tag:web",
        &format!("k8s:{CLUSTER}"),
        &format!("app:{APP}"),
        &format!("vpc:{VPC}"),
        "ip_addr:10.116.0.0",
    ])
}
