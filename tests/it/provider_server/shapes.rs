//! Every answer has the fields, of the types, that the API's own examples have.

use std::{collections::BTreeSet, fs, path::Path};

use dbfw_tests::provider_server::{Options, Server};
use serde_json::Value;

use super::{anonymous, get, send};

/// Fields that not every example has: apps have dedicated addresses and do not say that they
/// asked for them; one cluster has a subnet of its own, the other a message. Here only droplets
/// have tags.
const OPTIONAL: [&str; 7] = [
    ".app.spec.egress",
    ".apps[].spec.egress",
    ".kubernetes_clusters[].worker_subnet_uuid",
    ".kubernetes_cluster.status.message",
    ".tags[].resources.images.last",
    ".tags[].resources.databases.last",
    ".tags[].resources.volume",
];

/// Every place in a document, with the type of what is there: ".rules[].value: string".
fn places(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        // Says nothing about the type.
        Value::Null => return,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    found.insert(format!("{at}: {kind}"));
    match value {
        // A list of words may be empty in one example and not in the next.
        Value::Array(list) => list
            .iter()
            .filter(|item| item.is_object())
            .for_each(|item| places(item, &format!("{at}[]"), found)),
        // What labels are called is for their owner to say.
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "labels")
            .for_each(|(name, field)| places(field, &format!("{at}.{name}"), found)),
        _ => {}
    }
}

fn of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    places(value, "", &mut found);
    found
}

fn example(name: &str) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = ["../dbfw-provider/src/digitalocean/fixtures", "fixtures/digitalocean"];
    let text = directories.iter().find_map(|at| fs::read(tests.join(at).join(name)).ok());
    let text = text.unwrap_or_else(|| panic!("no {name} in {directories:?}"));
    serde_json::from_slice(&text).expect("an example is JSON")
}

#[test]
fn answers_have_the_shape_of_the_examples() {
    let server = Server::start(Options::default());
    let (database, droplet, cluster, app, vpc) = server.account(|account| {
        let droplet = account.add_droplet("web", &["storage"], &[]);
        account.add_gpu_droplet("train", &[], &["10.116.0.9", "192.0.2.9"]);
        let cluster = account.add_cluster("prod");
        account.add_pool(&cluster, "workers", 2);
        let database = account.add_database("orders", &["tag:storage", "droplet:7"]);
        account.rules_mut(&database)[0].description = Some("text".to_owned());
        let app = account.add_app("shop", &["192.0.2.10"], &["10.116.0.10"]);
        (database, droplet, cluster, app, account.default_vpc().to_owned())
    });
    let cases = [
        ("databases_firewall_list_200.json", format!("/v2/databases/{database}/firewall")),
        ("droplets_all.json", "/v2/droplets".to_owned()),
        ("droplets_tagged.json", "/v2/droplets?tag_name=storage".to_owned()),
        ("droplet_single.json", format!("/v2/droplets/{droplet}")),
        ("gpu_droplets.json", "/v2/droplets?type=gpus".to_owned()),
        ("kubernetes_clusters_all.json", "/v2/kubernetes/clusters".to_owned()),
        ("kubernetes_single.json", format!("/v2/kubernetes/clusters/{cluster}")),
        ("apps.json", "/v2/apps".to_owned()),
        ("app.json", format!("/v2/apps/{app}")),
        ("vpcs_all.json", "/v2/vpcs".to_owned()),
        ("vpc_members.json", format!("/v2/vpcs/{vpc}/members")),
        ("tags_all.json", "/v2/tags".to_owned()),
    ];
    for (name, path) in cases {
        let reply = get(&server, &path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers["content-type"], "application/json; charset=utf-8");
        let (expected, given) = (of(&example(name)), of(&reply.json()));
        let is_due = |place: &&String| !OPTIONAL.iter().any(|known| place.starts_with(known));
        let missing: Vec<_> = expected.difference(&given).filter(is_due).collect();
        assert!(missing.is_empty(), "{path} lacks, of {name}: {missing:#?}");
        let more: Vec<_> = given.difference(&expected).filter(is_due).collect();
        assert!(more.is_empty(), "{path} has, and {name} has not: {more:#?}");
    }
}

#[test]
fn errors_have_the_shape_of_the_examples() {
    let server = Server::start(Options::default());
    let database = server.account(|account| account.add_database("orders", &[]));
    let firewall = format!("/v2/databases/{database}/firewall");
    let unknown = serde_json::json!({ "rules": [{ "type": "vpc", "value": "x" }] });
    let fault = |status| {
        use dbfw_tests::provider_server::{Fault, On};
        server.inject(On::any().times(1), Fault::Status(status));
        get(&server, "/v2/droplets")
    };
    let cases = [
        ("unauthorized", anonymous(&server, "/v2/droplets", &[])),
        ("not_found", get(&server, "/v2/droplets/7")),
        ("bad_request", send(&server, "PUT", &firewall, &serde_json::json!({}))),
        ("forbidden", fault(403)),
        ("too_many_requests", fault(429)),
        ("server_error", fault(500)),
    ];
    for (name, reply) in cases {
        assert_eq!(reply.json(), example(&format!("errors/{name}.json")), "{}", reply.status);
    }
    let refused = send(&server, "PUT", &firewall, &unknown).json();
    let expected = example("errors/unprocessable_entity.json");
    assert_eq!((of(&refused), &refused["id"]), (of(&expected), &expected["id"]));
}
