//! Kubernetes clusters and their node pools.

use axum::http::StatusCode;
use dbfw_wire::digitalocean::{Cluster, ClusterPage, NodePool, OneCluster, OneNodePool};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks, Page},
};

/// Nodes a pool may have here: more would be a mistake of the test.
const MAX_NODES: u64 = 10_000;

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    page::list(request, &account.clusters, NoLinks::Absent, |Page { items, links, meta }| {
        let page = ClusterPage { kubernetes_clusters: Some(items), links, meta };
        dress::each(page, "kubernetes_clusters", |cluster| dress::cluster(cluster, account))
    })
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match find(account, id) {
        Some(cluster) => {
            let cluster = OneCluster { kubernetes_cluster: cluster.clone() };
            let dress = |cluster| dress::cluster(cluster, account);
            Answer::json(dress::one(cluster, "kubernetes_cluster", dress))
        }
        None => Answer::not_found(),
    }
}

/// GET of a pool.
pub(super) fn pool(account: &Account, id: &str, pool: &str) -> Answer {
    match find_pool(account, id, pool) {
        Some(node_pool) => {
            let pool = OneNodePool { node_pool: node_pool.clone() };
            Answer::json(dress::one(pool, "node_pool", |pool| dress::node_pool(pool, id)))
        }
        None => Answer::not_found(),
    }
}

/// PUT of a pool: another number of nodes; 202, because they take their time.
pub(super) fn resize(request: &Request, account: &mut Account, id: &str, pool: &str) -> Answer {
    if find_pool(account, id, pool).is_none() {
        return Answer::not_found();
    }
    let Some(body) = request.json().filter(|body| body.is_object()) else {
        return Answer::error(StatusCode::BAD_REQUEST);
    };
    if let Some(count) = body.get("count") {
        match count.as_u64() {
            Some(count) if count <= MAX_NODES => account.resize_pool(id, pool, count as usize),
            _ => return Answer::unprocessable("count must be a number of nodes"),
        }
    }
    let mut answer = self::pool(account, id, pool);
    answer.status = StatusCode::ACCEPTED;
    answer
}

fn find<'a>(account: &'a Account, id: &str) -> Option<&'a Cluster> {
    account.clusters.iter().find(|cluster| cluster.id == id)
}

fn find_pool<'a>(account: &'a Account, id: &str, pool: &str) -> Option<&'a NodePool> {
    find(account, id)?.node_pools.iter().find(|known| known.id == pool)
}
