//! What the client does not read of a resource, as the API's published examples have it: the
//! wire types are laid over those.

use std::sync::LazyLock;

use dbfw_provider::digitalocean::wire::{App, Droplet, Vpc};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::account::{Account, Cluster};

/// An example's part, read once.
macro_rules! example {
    ($name:ident, $file:literal, $pointer:literal) => {
        static $name: LazyLock<Value> = LazyLock::new(|| {
            let text = include_str!(concat!(
                "../../../../dbfw-provider/src/digitalocean/fixtures/",
                $file
            ));
            let document: Value = serde_json::from_str(text).expect(concat!($file, " is JSON"));
            document.pointer($pointer).expect(concat!($file, " has ", $pointer)).clone()
        });
    };
}

example!(DROPLET, "droplets_all.json", "/droplets/0");
example!(GPU_DROPLET, "gpu_droplets.json", "/droplets/0");
example!(CLUSTER, "kubernetes_single.json", "/kubernetes_cluster");
example!(APP, "app.json", "/app");
example!(LISTED_APP, "apps.json", "/apps/0");
example!(VPC, "vpcs_all.json", "/vpcs/0");

/// A droplet.
pub(super) fn droplet(droplet: &Droplet, gpu: bool) -> Value {
    let mut value = laid_over(if gpu { &GPU_DROPLET } else { &DROPLET }, droplet);
    let networks = &mut value["networks"];
    for (family, netmask) in [("v4", json!("255.255.240.0")), ("v6", json!(64))] {
        for address in networks.get_mut(family).and_then(Value::as_array_mut).into_iter().flatten()
        {
            let gateway = if address["type"] == "private" { "nil" } else { gateway(family) };
            address["netmask"] = netmask.clone();
            address["gateway"] = json!(gateway);
        }
    }
    value
}

fn gateway(family: &str) -> &'static str {
    if family == "v4" { "198.18.0.1" } else { "2001:db8:116::1" }
}

/// A Kubernetes cluster with its pools.
pub(super) fn cluster(cluster: &Cluster, account: &Account) -> Value {
    let mut value = laid_over(&CLUSTER, &cluster.wire);
    let id = &cluster.wire.id;
    value["tags"] = json!(["k8s", format!("k8s:{id}")]);
    value["endpoint"] = json!(format!("https://{id}.k8s.ondigitalocean.com"));
    value["vpc_uuid"] = json!(account.default_vpc());
    value["node_pools"] =
        (0..cluster.wire.node_pools.len()).map(|at| node_pool(cluster, at)).collect();
    value["status"] = json!({ "state": "running", "message": "" });
    value
}

/// The node pool at this place of a cluster.
pub(super) fn node_pool(cluster: &Cluster, at: usize) -> Value {
    let pool = &cluster.wire.node_pools[at];
    let mut value = laid_over(&CLUSTER["node_pools"][0], pool);
    let id = &cluster.wire.id;
    value["id"] = json!(cluster.pool_ids.get(at));
    value["count"] = json!(pool.nodes.len());
    value["tags"] = json!(["k8s", format!("k8s:{id}"), "k8s:worker"]);
    value["nodes"] = pool
        .nodes
        .iter()
        .map(|node| laid_over(&CLUSTER["node_pools"][0]["nodes"][0], node))
        .collect();
    value
}

/// An app on its own, or in a list. What it does not have is absent.
pub(super) fn app(app: &App, listed: bool) -> Value {
    let example = if listed { &LISTED_APP } else { &APP };
    let mut value = laid_over(example, app);
    value["spec"] = laid_over(&example["spec"], &app.spec);
    let Value::Object(fields) = &mut value else { return value };
    if app.dedicated_ips.is_empty() {
        fields.remove("dedicated_ips");
    } else {
        fields["spec"]["egress"] = json!({ "type": "DEDICATED_IP" });
    }
    match &app.vpc {
        Some(vpc) => fields["spec"]["vpc"] = json!(vpc),
        None => {
            fields.remove("vpc");
            if let Some(spec) = fields["spec"].as_object_mut() {
                spec.remove("vpc");
            }
        }
    }
    value
}

/// A VPC.
pub(super) fn vpc(vpc: &Vpc) -> Value {
    let mut value = laid_over(&VPC, vpc);
    value["urn"] = json!(format!("do:vpc:{}", vpc.id));
    value
}

/// The example with the fields of `item` in the place of its own.
fn laid_over(example: &Value, item: &impl Serialize) -> Value {
    let mut value = example.clone();
    if let (Value::Object(value), Ok(Value::Object(fields))) =
        (&mut value, serde_json::to_value(item))
    {
        value.extend(fields);
    }
    value
}
