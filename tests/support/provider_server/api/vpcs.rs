//! VPCs and what is in them.

use serde_json::{Value, json};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks},
};

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    page::list(request, "vpcs", &account.vpcs, NoLinks::Empty, dress::vpc)
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match account.vpcs.iter().find(|vpc| vpc.id == id) {
        Some(vpc) => Answer::json(json!({ "vpc": dress::vpc(vpc) })),
        None => Answer::not_found(),
    }
}

/// GET of the members: droplets and Kubernetes clusters.
pub(super) fn members(request: &Request, account: &Account, id: &str) -> Answer {
    if !account.vpcs.iter().any(|vpc| vpc.id == id) {
        return Answer::not_found();
    }
    let droplets = account.droplets.iter().chain(&account.gpu_droplets);
    let droplets = droplets
        .filter(|droplet| droplet.vpc_uuid == id)
        .map(|droplet| member("droplet", &droplet.id.to_string(), &droplet.name));
    let clusters = account.clusters.iter().filter(|_| account.default_vpc() == id);
    let clusters =
        clusters.map(|cluster| member("kubernetes", &cluster.wire.id, &cluster.wire.name));
    let members: Vec<Value> = droplets.chain(clusters).collect();
    page::list(request, "members", &members, NoLinks::Empty, Value::clone)
}

fn member(kind: &str, id: &str, name: &str) -> Value {
    json!({
        "urn": format!("do:{kind}:{id}"),
        "name": name,
        "created_at": "2020-03-13T19:30:16Z",
    })
}
