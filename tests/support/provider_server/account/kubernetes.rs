//! Kubernetes clusters: pools of nodes, which are droplets once they run.

use std::time::Duration;

use dbfw_wire::digitalocean::{Cluster, Node, NodePool, NodeStatus};
use jiff::{SignedDuration, Timestamp};

use super::{Account, expect_index};

const PROVISIONING: &str = "provisioning";
const RUNNING: &str = "running";

/// A node without a droplet.
#[derive(Debug)]
pub(super) struct Pending {
    node: String,
    /// When it gets one by itself.
    due: Option<Timestamp>,
}

impl Account {
    /// Adds a cluster without nodes, with a pod network of its own; returns its id.
    pub fn add_cluster(&mut self, name: &str) -> String {
        let id = self.uuid();
        self.clusters.push(Cluster {
            id: id.clone(),
            name: name.to_owned(),
            cluster_subnet: format!("10.{}.0.0/16", 244 - self.clusters.len() % 100),
            node_pools: Vec::new(),
        });
        id
    }

    /// Adds a pool with running nodes; returns its id.
    pub fn add_pool(&mut self, cluster: &str, name: &str, count: usize) -> String {
        let id = self.uuid();
        let at = self.cluster_index(cluster);
        let pool = NodePool { id: id.clone(), name: name.to_owned(), nodes: Vec::new() };
        self.clusters[at].node_pools.push(pool);
        let usual = self.provisioning.replace(Duration::ZERO);
        self.resize_pool(cluster, &id, count);
        self.provisioning = usual;
        id
    }

    /// Sets the number of nodes of a pool, as a PUT does: new ones are provisioned first, the
    /// last ones go with their droplets.
    pub fn resize_pool(&mut self, cluster: &str, pool: &str, count: usize) {
        while self.pool_mut(cluster, pool).nodes.len() > count {
            if let Some(node) = self.pool_mut(cluster, pool).nodes.pop() {
                self.pending.retain(|pending| pending.node != node.id);
                self.droplets.retain(|droplet| droplet.id.to_string() != node.droplet_id);
            }
        }
        let due = self.provisioning.map(|after| {
            let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
            self.now.checked_add(after).unwrap_or(Timestamp::MAX)
        });
        while self.pool_mut(cluster, pool).nodes.len() < count {
            let id = self.uuid();
            let pool = self.pool_mut(cluster, pool);
            pool.nodes.push(Node {
                id: id.clone(),
                name: format!("{}-{}", pool.name, pool.nodes.len() + 1),
                status: NodeStatus { state: PROVISIONING.to_owned() },
                droplet_id: String::new(),
            });
            self.pending.push(Pending { node: id, due });
        }
        self.finish_due_provisioning(self.now);
    }

    /// Lets every node that is being provisioned run.
    pub fn finish_provisioning(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.run_node(&pending.node);
        }
    }

    /// Droplet ids of a cluster's running nodes.
    pub fn nodes(&self, cluster: &str) -> Vec<u64> {
        let pools = &self.clusters[self.cluster_index(cluster)].node_pools;
        let nodes = pools.iter().flat_map(|pool| &pool.nodes);
        nodes.filter_map(|node| node.droplet_id.parse().ok()).collect()
    }

    /// Destroys a cluster and its nodes.
    pub fn remove_cluster(&mut self, cluster: &str) {
        let nodes = self.nodes(cluster);
        self.droplets.retain(|droplet| !nodes.contains(&droplet.id));
        self.clusters.retain(|known| known.id != cluster);
    }

    pub(super) fn finish_due_provisioning(&mut self, now: Timestamp) {
        let is_due = |pending: &mut Pending| pending.due.is_some_and(|due| due <= now);
        let due: Vec<_> = self.pending.extract_if(.., is_due).collect();
        for pending in due {
            self.run_node(&pending.node);
        }
    }

    /// Gives a node its droplet, with the tags DigitalOcean gives worker nodes.
    fn run_node(&mut self, id: &str) {
        let place = self.clusters.iter().enumerate().find_map(|(c, cluster)| {
            cluster.node_pools.iter().enumerate().find_map(|(p, pool)| {
                Some((c, p, pool.nodes.iter().position(|node| node.id == id)?))
            })
        });
        let Some((c, p, n)) = place else { return };
        let of_cluster = format!("k8s:{}", self.clusters[c].id);
        let name = self.clusters[c].node_pools[p].nodes[n].name.clone();
        let droplet = self.add_droplet(&name, &["k8s", &of_cluster, "k8s:worker"], &[]);
        let node = &mut self.clusters[c].node_pools[p].nodes[n];
        node.droplet_id = droplet.to_string();
        node.status = NodeStatus { state: RUNNING.to_owned() };
    }

    fn cluster_index(&self, cluster: &str) -> usize {
        expect_index(&self.clusters, "cluster", cluster, |known| known.id == cluster)
    }

    fn pool_mut(&mut self, cluster: &str, pool: &str) -> &mut NodePool {
        let at = self.cluster_index(cluster);
        let cluster = &mut self.clusters[at];
        let at = expect_index(&cluster.node_pools, "node pool", pool, |known| known.id == pool);
        &mut cluster.node_pools[at]
    }
}
