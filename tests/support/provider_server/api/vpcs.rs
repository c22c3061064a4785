//! VPCs and what is in them.

use dbfw_wire::digitalocean::{OneVpc, VpcPage};
use serde_json::{Value, json};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks, Page},
};

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    page::list(request, &account.vpcs, NoLinks::Empty, |Page { items, links, meta }| {
        dress::each(VpcPage { vpcs: Some(items), links, meta }, "vpcs", dress::vpc)
    })
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match account.vpcs.iter().find(|vpc| vpc.id == id) {
        Some(vpc) => Answer::json(dress::one(OneVpc { vpc: vpc.clone() }, "vpc", dress::vpc)),
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
    let clusters = clusters.map(|cluster| member("kubernetes", &cluster.id, &cluster.name));
    let members: Vec<Value> = droplets.chain(clusters).collect();
    page::list(
        request,
        &members,
        NoLinks::Empty,
        |Page { items, links, meta }| json!({ "members": items, "links": links, "meta": meta }),
    )
}

fn member(kind: &str, id: &str, name: &str) -> Value {
    json!({
        "urn": format!("do:{kind}:{id}"),
        "name": name,
        "created_at": "2020-03-13T19:30:16Z",
    })
}
