//! The real client works with the server unchanged, over verified HTTPS.

use dbfw_tests::provider_server::{Certificate, Options, Server};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

#[test]
fn rules_are_listed_appended_replaced_and_removed() {
    let server = Server::start(Options::default());
    server.account(|account| account.add_database_as(CLUSTER, "orders", &["tag:backend"]));
    let rules = || server.account(|account| account.rules("orders"));
    let uuid = server.account(|account| account.rules_mut("orders")[0].uuid.clone());

    let listed = server.pydo("rules.py", &["list", CLUSTER]);
    assert_eq!(listed[0]["uuid"], uuid.as_str());

    let appended = server.pydo("rules.py", &["append", CLUSTER, "ip_addr:192.0.2.0/24"]);
    assert_eq!(rules(), ["tag:backend", "ip_addr:192.0.2.0/24"]);
    assert_eq!(appended[0]["uuid"], uuid.as_str(), "what stays keeps its uuid");
    assert_eq!(appended[1]["value"], "192.0.2.0/24");

    server.pydo("rules.py", &["replace", CLUSTER, "droplet:7", "app:c2a93513"]);
    assert_eq!(rules(), ["droplet:7", "app:c2a93513"]);

    let removed = server.pydo("rules.py", &["remove", CLUSTER, "droplet:7"]);
    assert_eq!(removed.as_array().map(Vec::len), Some(1));
    assert_eq!(rules(), ["app:c2a93513"]);
}

#[test]
fn a_droplet_is_tagged_and_untagged() {
    let server = Server::start(Options::default());
    let id = server.account(|account| account.add_droplet("web", &[], &[]));
    let tags = || server.account(|account| account.droplet_mut(id).tags.clone());
    let tagged = server.pydo("tags.py", &["tag", "env:backend", &id.to_string()]);
    assert_eq!((tagged[0].as_u64(), tags()), (Some(id), vec!["env:backend".to_owned()]));
    let tagged = server.pydo("tags.py", &["untag", "env:backend", &id.to_string()]);
    assert_eq!((tagged.as_array().map(Vec::len), tags()), (Some(0), Vec::new()));
}

#[test]
fn a_node_pool_grows() {
    let server = Server::start(Options::default());
    let (cluster, pool) = server.account(|account| {
        let cluster = account.add_cluster("prod");
        let pool = account.add_pool(&cluster, "workers", 1);
        account.provisioning = None;
        (cluster, pool)
    });
    let nodes = || server.account(|account| account.nodes(&cluster).len());
    let grown = server.pydo("node_pool.py", &["resize", &cluster, &pool, "3"]);
    assert_eq!((grown["count"].as_u64(), nodes()), (Some(3), 1));
    server.account(|account| account.finish_provisioning());
    assert_eq!(nodes(), 3);
    let seen = server.pydo("node_pool.py", &["nodes", &cluster]);
    let running = seen.as_array().into_iter().flatten();
    assert_eq!(running.filter(|node| node["droplet_id"] != "").count(), 3, "{seen}");
}

#[test]
fn the_client_refuses_certificates_that_are_wrong_and_tells_errors() {
    let server = Server::start(Options::default());
    let list = || {
        let mut command = server.pydo_command(None, "rules.py");
        let output = command.args(["list", CLUSTER]).output().expect("run the script");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ended_well, error) = list();
    assert!(!ended_well && error.contains("not_found: The resource"), "{error}");
    server.forget_requests();
    server.show(Certificate::UnknownCa);
    let (ended_well, error) = list();
    assert!(!ended_well && error.contains("CERTIFICATE_VERIFY_FAILED"), "{error}");
    assert!(server.requests().is_empty(), "no token went out: {:?}", server.requests());
}
