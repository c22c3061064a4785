//! What the client does not read of a resource, as the API's published examples have it: the
//! wire types are laid over those.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::account::Account;

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

/// The document of a list whose items are under `key`, each dressed.
pub(super) fn each(page: impl Serialize, key: &str, dress: impl Fn(Value) -> Value) -> Value {
    let mut page = json!(page);
    for item in page[key].as_array_mut().into_iter().flatten() {
        *item = dress(item.take());
    }
    page
}

/// The document of one thing, which is under `key`, dressed.
pub(super) fn one(envelope: impl Serialize, key: &str, dress: impl Fn(Value) -> Value) -> Value {
    let mut envelope = json!(envelope);
    envelope[key] = dress(envelope[key].take());
    envelope
}

/// A droplet.
pub(super) fn droplet(droplet: Value, gpu: bool) -> Value {
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
pub(super) fn cluster(cluster: Value, account: &Account) -> Value {
    let value = laid_over(&CLUSTER, cluster);
    let id = value["id"].as_str().unwrap_or_default().to_owned();
    let mut value = each(value, "node_pools", |pool| node_pool(pool, &id));
    value["tags"] = json!(["k8s", format!("k8s:{id}")]);
    value["endpoint"] = json!(format!("https://{id}.k8s.ondigitalocean.com"));
    value["vpc_uuid"] = json!(account.default_vpc());
    value["status"] = json!({ "state": "running", "message": "" });
    value
}

/// A node pool of a cluster.
pub(super) fn node_pool(pool: Value, cluster: &str) -> Value {
    let example = &CLUSTER["node_pools"][0];
    let value = laid_over(example, pool);
    let mut value = each(value, "nodes", |node| laid_over(&example["nodes"][0], node));
    value["count"] = json!(value["nodes"].as_array().map(Vec::len));
    value["tags"] = json!(["k8s", format!("k8s:{cluster}"), "k8s:worker"]);
    value
}

/// An app on its own, or in a list. Fields without content are absent.
pub(super) fn app(app: Value, listed: bool) -> Value {
    let example = if listed { &LISTED_APP } else { &APP };
    let mut spec = laid_over(&example["spec"], app["spec"].clone());
    let mut value = laid_over(example, app);
    let (Value::Object(fields), Value::Object(spec_fields)) = (&mut value, &mut spec) else {
        return value;
    };
    if fields["dedicated_ips"] == json!([]) {
        fields.remove("dedicated_ips");
    } else {
        spec_fields.insert("egress".to_owned(), json!({ "type": "DEDICATED_IP" }));
    }
    if fields["vpc"].is_null() {
        fields.remove("vpc");
        spec_fields.remove("vpc");
    } else {
        spec_fields.insert("vpc".to_owned(), fields["vpc"].clone());
    }
    fields.insert("spec".to_owned(), spec);
    value
}

/// A VPC.
pub(super) fn vpc(vpc: Value) -> Value {
    let mut value = laid_over(&VPC, vpc);
    value["urn"] = json!(format!("do:vpc:{}", value["id"].as_str().unwrap_or_default()));
    value
}

/// The example with these fields in the place of its own.
fn laid_over(example: &Value, fields: Value) -> Value {
    let mut value = example.clone();
    if let (Value::Object(value), Value::Object(fields)) = (&mut value, fields) {
        value.extend(fields);
    }
    value
}
