//! An account written down, as `dbfw-provider-server --state` reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::account::Account;

/// What an account begins with. Everything may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Initial {
    databases: Vec<Database>,
    vpcs: Vec<Vpc>,
    droplets: Vec<Droplet>,
    clusters: Vec<Cluster>,
    apps: Vec<App>,
    vhosts: BTreeMap<u64, Vec<String>>,
    feeds: BTreeMap<String, Feed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    uuid: String,
    name: String,
    /// Each as `type:value`.
    #[serde(default)]
    rules: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vpc {
    id: Option<String>,
    name: String,
    range: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Droplet {
    id: Option<u64>,
    name: String,
    /// Without any it gets some.
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    gpu: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    id: Option<String>,
    name: String,
    /// Addresses of the nodes of every pool.
    #[serde(default)]
    pools: BTreeMap<String, Vec<Vec<String>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    id: Option<String>,
    name: String,
    #[serde(default)]
    dedicated: Vec<String>,
    #[serde(default)]
    egress: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feed {
    content_type: String,
    body: String,
}

impl Initial {
    /// Reads it. The error says where the text is wrong, or which rule or address is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let initial: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for database in &initial.databases {
            for rule in &database.rules {
                if !rule.contains(':') {
                    return Err(format!("rule {rule} of {} is not type:value", database.name));
                }
            }
        }
        let nodes = initial.clusters.iter().flat_map(|cluster| cluster.pools.values().flatten());
        let machines = initial.droplets.iter().map(|droplet| &droplet.addresses).chain(nodes);
        for address in machines.flatten() {
            if address.parse::<std::net::IpAddr>().is_err() {
                return Err(format!("{address} is not an address of a machine"));
            }
        }
        Ok(initial)
    }

    /// Puts all of it into an account. VPCs take the place of the default one.
    pub fn fill(self, account: &mut Account) {
        if !self.vpcs.is_empty() {
            account.vpcs.clear();
        }
        for vpc in self.vpcs {
            let id = account.add_vpc(&vpc.name, &vpc.range);
            if let Some(known) = account.vpcs.iter_mut().find(|known| known.id == id) {
                known.id = vpc.id.unwrap_or(id);
            }
        }
        for database in self.databases {
            account.add_database_as(&database.uuid, &database.name, &refs(&database.rules));
        }
        for droplet in self.droplets {
            let (tags, addresses) = (refs(&droplet.tags), refs(&droplet.addresses));
            let made = match droplet.gpu {
                true => account.add_gpu_droplet(&droplet.name, &tags, &addresses),
                false => account.add_droplet(&droplet.name, &tags, &addresses),
            };
            account.droplet_mut(made).id = droplet.id.unwrap_or(made);
        }
        for cluster in self.clusters {
            let made = account.add_cluster(&cluster.name);
            let id = cluster.id.unwrap_or_else(|| made.clone());
            if let Some(known) = account.clusters.iter_mut().find(|known| known.id == made) {
                known.id.clone_from(&id);
            }
            for (pool, nodes) in cluster.pools {
                for addresses in &nodes {
                    account.reserve(&refs(addresses));
                }
                account.add_pool(&id, &pool, nodes.len());
            }
        }
        for app in self.apps {
            let made = account.add_app(&app.name, &refs(&app.dedicated), &refs(&app.egress));
            if let Some(known) = account.apps.iter_mut().find(|known| known.id == made) {
                known.id = app.id.unwrap_or(made);
            }
        }
        account.vhosts.extend(self.vhosts);
        for (name, feed) in self.feeds {
            account.set_feed(&name, &feed.content_type, feed.body);
        }
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
