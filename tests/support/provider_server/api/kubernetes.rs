//! Kubernetes clusters and their node pools.

use axum::http::StatusCode;
use serde_json::json;

use super::{
    super::{
        account::{Account, Cluster},
        answer::Answer,
        request::Request,
    },
    dress,
    page::{self, NoLinks},
};

/// Nodes a pool may have here: more would be a mistake of the test.
const MAX_NODES: u64 = 10_000;

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    let show = |cluster: &Cluster| dress::cluster(cluster, account);
    page::list(request, "kubernetes_clusters", &account.clusters, NoLinks::Absent, show)
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match find(account, id) {
        Some(cluster) => {
            Answer::json(json!({ "kubernetes_cluster": dress::cluster(cluster, account) }))
        }
        None => Answer::not_found(),
    }
}

/// GET of a pool.
pub(super) fn pool(account: &Account, id: &str, pool: &str) -> Answer {
    let found = find(account, id).and_then(|cluster| Some((cluster, cluster.pool_index(pool)?)));
    match found {
        Some((cluster, at)) => Answer::json(json!({ "node_pool": dress::node_pool(cluster, at) })),
        None => Answer::not_found(),
    }
}

/// PUT of a pool: another number of nodes; 202, because they take their time.
pub(super) fn resize(request: &Request, account: &mut Account, id: &str, pool: &str) -> Answer {
    if find(account, id).and_then(|cluster| cluster.pool_index(pool)).is_none() {
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
    account.clusters.iter().find(|cluster| cluster.wire.id == id)
}
