//! An account as DigitalOcean's API shows it, and the task that asks it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::source::SourceKey;
use dbfw_wire::digitalocean::{
    Address, App, AppPage, AppSpec, Cluster, ClusterPage, DedicatedIp, Droplet, DropletPage,
    Firewall, FirewallRule, Meta, Networks, Node, NodePool, NodeStatus, OneApp, OneCluster,
    OneDroplet, OneVpc, Vpc, VpcPage,
};
use serde::Serialize;
use tempfile::TempDir;

use super::{
    ALL,
    server::{Asked, Reply, Server},
};
use crate::{
    budget::{Budget, RequestLimits},
    digitalocean::{DigitalOcean, DigitalOceanConfig},
    http::HttpConfig,
    poller::bench::{Bench, list_id},
    stats::Stats,
    token::TokenSource,
    worker::Demand,
};

pub(crate) const UUID: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
pub(crate) const LIST: &str = "digitalocean:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
pub(crate) const CLUSTER: &str = "bd5f5959-5e1e-4205-a714-a914373942af";
pub(crate) const APP: &str = "c2a93513-8d9b-4223-9d61-5e7272c81cf5";
pub(crate) const VPC: &str = "5a4981aa-9653-4bd1-bef5-d6bff52042e4";
pub(crate) const TOKEN: &str = "dop_v1_0123456789abcdef";

/// The things in an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) rules: Vec<FirewallRule>,
    pub(crate) droplets: Vec<Droplet>,
    pub(crate) gpus: Vec<Droplet>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) apps: Vec<App>,
    pub(crate) vpcs: Vec<Vpc>,
}

pub(crate) fn rule(kind: &str, value: &str) -> FirewallRule {
    FirewallRule { kind: kind.to_owned(), value: value.to_owned(), ..FirewallRule::default() }
}

/// A droplet with the address 10.0.x.y.
pub(crate) fn droplet(id: u64, tags: &[&str]) -> Droplet {
    let address = Address {
        ip_address: format!("10.0.{}.{}", id / 256, id % 256),
        kind: "private".to_owned(),
    };
    Droplet {
        id,
        name: format!("web-{id}"),
        status: "active".to_owned(),
        networks: Some(Networks { v4: vec![address], v6: Vec::new() }),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Droplet::default()
    }
}

/// A node with its droplet, or one that has none yet.
pub(crate) fn node(id: &str, droplet: Option<u64>) -> Node {
    let state = if droplet.is_some() { "running" } else { "provisioning" };
    Node {
        id: id.to_owned(),
        droplet_id: droplet.map(|id| id.to_string()).unwrap_or_default(),
        status: NodeStatus { state: state.to_owned() },
        ..Node::default()
    }
}

/// A cluster with one pool.
pub(crate) fn cluster(id: &str, nodes: Vec<Node>) -> Cluster {
    let node_pools = vec![NodePool { nodes, ..NodePool::default() }];
    Cluster { id: id.to_owned(), node_pools, ..Cluster::default() }
}

pub(crate) fn vpc(id: &str, range: &str) -> Vpc {
    Vpc { id: id.to_owned(), ip_range: range.to_owned(), ..Vpc::default() }
}

/// The page of these droplets that is asked for.
pub(crate) fn droplet_page(asked: &Asked, droplets: &[Droplet]) -> Reply {
    let (droplets, links, meta) = asked.page(droplets);
    Reply::json(&DropletPage { droplets, links, meta })
}

fn one<T: Clone, D: Serialize>(item: Option<&T>, document: impl Fn(T) -> D) -> Reply {
    item.map_or_else(Reply::not_found, |item| Reply::json(&document(item.clone())))
}

impl Fleet {
    /// One of everything: droplets 1 to 3, of which 1 and 2 are web and 3 is a node, and the
    /// GPU droplet 9, which is web too.
    pub(crate) fn small() -> Self {
        let dedicated = DedicatedIp {
            ip: "192.0.2.1".to_owned(),
            id: "d1".to_owned(),
            status: "ASSIGNED".to_owned(),
        };
        Self {
            rules: vec![
                FirewallRule {
                    uuid: "u1".to_owned(),
                    description: Some("the web".to_owned()),
                    ..rule("tag", "web")
                },
                FirewallRule { uuid: "u2".to_owned(), ..rule("gopher", "x") },
            ],
            droplets: vec![droplet(1, &["web"]), droplet(2, &["web", "two"]), droplet(3, &[])],
            gpus: vec![droplet(9, &["web"])],
            clusters: vec![Cluster {
                name: "prod".to_owned(),
                cluster_subnet: "10.244.0.0/16".to_owned(),
                ..cluster(CLUSTER, vec![node("n1", Some(3)), node("n2", None)])
            }],
            apps: vec![App {
                id: APP.to_owned(),
                spec: AppSpec { name: "shop".to_owned() },
                dedicated_ips: vec![dedicated],
                vpc: None,
            }],
            vpcs: vec![Vpc { name: "default-fra1".to_owned(), ..vpc(VPC, "10.116.0.0/20") }],
        }
    }

    /// Answers as if the list of all droplets were too long to be worth reading.
    pub(crate) fn answer_of_many(&self, asked: &Asked) -> Reply {
        let filtered = asked.query("tag_name").or_else(|| asked.query("type")).is_some();
        if asked.path() != "/v2/droplets" || filtered {
            return self.answer(asked);
        }
        let droplets = Some((1000..1200).map(|id| droplet(id, &[])).collect());
        let meta = Some(Meta { total: Some(90_000) });
        Reply::json(&DropletPage { droplets, links: None, meta })
    }

    /// The API's answer to a request.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let parts: Vec<_> = asked.path().trim_start_matches("/v2/").split('/').collect();
        match parts.as_slice() {
            ["databases", UUID, "firewall"] => Reply::json(&Firewall { rules: self.rules.clone() }),
            ["droplets"] if asked.query("type").as_deref() == Some("gpus") => {
                droplet_page(asked, &self.gpus)
            }
            ["droplets"] => match asked.query("tag_name") {
                Some(tag) => {
                    let has = |item: &&Droplet| item.tags.contains(&tag);
                    let tagged: Vec<_> = self.droplets.iter().filter(has).cloned().collect();
                    droplet_page(asked, &tagged)
                }
                None => droplet_page(asked, &self.droplets),
            },
            ["droplets", id] => {
                let mut all = self.droplets.iter().chain(&self.gpus);
                one(all.find(|it| it.id.to_string() == *id), |droplet| OneDroplet { droplet })
            }
            ["kubernetes", "clusters"] => {
                let (kubernetes_clusters, links, meta) = asked.page(&self.clusters);
                Reply::json(&ClusterPage { kubernetes_clusters, links, meta })
            }
            ["kubernetes", "clusters", id] => {
                let found = self.clusters.iter().find(|it| it.id == *id);
                one(found, |kubernetes_cluster| OneCluster { kubernetes_cluster })
            }
            ["apps"] => {
                let (apps, links, meta) = asked.page(&self.apps);
                Reply::json(&AppPage { apps, links, meta })
            }
            ["apps", id] => one(self.apps.iter().find(|it| it.id == *id), |app| OneApp { app }),
            ["vpcs"] => {
                let (vpcs, links, meta) = asked.page(&self.vpcs);
                Reply::json(&VpcPage { vpcs, links, meta })
            }
            ["vpcs", id] => one(self.vpcs.iter().find(|it| it.id == *id), |vpc| OneVpc { vpc }),
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
