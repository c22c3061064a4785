use dbfw_wire::digitalocean::{Address, ClusterPage, Networks, NodePool, OneCluster};

use super::*;
use crate::digitalocean::{
    sources::droplet::part_name,
    tests::{ALL, answer, failure, fixture, lines, missed, read, seen},
};

const NODES: Options = Options { kinds: ALL, pod_subnets: false };
const PODS: Options = Options { kinds: ALL, pod_subnets: true };

/// Droplet 2055453NN has the address 10.0.0.NN.
fn machine(id: u64) -> Droplet {
    let address =
        Address { ip_address: format!("10.0.0.{}", id % 100), kind: "private".to_owned() };
    let networks = Some(Networks { v4: vec![address], v6: Vec::new() });
    Droplet { id, networks, status: "active".to_owned(), ..Droplet::default() }
}

fn resolve(cluster: &Cluster, options: Options) -> Vec<String> {
    let machines: Vec<Droplet> = (205_545_300..205_545_400).map(machine).collect();
    let find = |id: u64| match machines.iter().find(|machine| machine.id == id) {
        Some(machine) => seen(machine),
        None => missed(GetError::Gone(format!("no {}", part_name(id)))),
    };
    lines(outcome(seen(cluster), find, options))
}

const FIVE_NODES: [&str; 5] = [
    "node droplet 205545370: 10.0.0.70/32",
    "node droplet 205545371: 10.0.0.71/32",
    "node droplet 205545372: 10.0.0.72/32",
    "node droplet 205545373: 10.0.0.73/32",
    "node droplet 205545374: 10.0.0.74/32",
];

#[test]
fn the_published_clusters() {
    let all: ClusterPage = read(fixture!("kubernetes_clusters_all.json"));
    let all = all.kubernetes_clusters.unwrap();
    assert_eq!(all.len(), 1);
    let one = |text| read::<OneCluster>(text).kubernetes_cluster;
    for cluster in [
        all[0].clone(),
        one(fixture!("kubernetes_single.json")),
        one(fixture!("kubernetes_updated.json")),
    ] {
        assert_eq!(droplets(&cluster).unwrap(), (205_545_370..=205_545_374).collect::<Vec<_>>());
        assert_eq!(resolve(&cluster, NODES), FIVE_NODES);
        let with_pods: Vec<_> =
            FIVE_NODES.into_iter().chain(["pod subnet: 10.244.0.0/16"]).collect();
        assert_eq!(resolve(&cluster, PODS), with_pods);
        assert_eq!(pods(&cluster), Some("10.244.0.0/16".parse().unwrap()));
    }
}

#[test]
fn the_published_clusters_in_the_making() {
    let new = |id: &str| format!("node {id}: empty, is still being created: it has no droplet yet");
    let three = [
        new("478247f8-b1bb-4f7a-8db9-2a5f8d4b8f8f"),
        new("ad12e744-c2a9-473d-8aa9-be5680500eb1"),
        new("e46e8d07-f58f-4ff1-9737-97246364400e"),
    ];
    for text in [
        fixture!("kubernetes_clusters_create_basic_response.json"),
        fixture!("kubernetes_data__CLUSTER.json"),
    ] {
        let cluster = read::<OneCluster>(text).kubernetes_cluster;
        assert!(droplets(&cluster).unwrap().is_empty());
        assert_eq!(resolve(&cluster, NODES), three);
    }
    let two_pools = fixture!("kubernetes_clusters_multi_pool_response.json");
    let cluster = read::<OneCluster>(two_pools).kubernetes_cluster;
    let five = [
        new("3385619f-8ec3-42ba-bb23-8d21b8ba7518"),
        three[0].clone(),
        new("4b8f60ff-ba06-4523-a6a4-b8148244c7e6"),
        three[1].clone(),
        three[2].clone(),
    ];
    assert_eq!(resolve(&cluster, NODES), five);
}

#[test]
fn the_published_pools() {
    #[derive(serde::Deserialize)]
    struct One {
        node_pool: NodePool,
    }
    #[derive(serde::Deserialize)]
    struct Several {
        node_pools: Vec<NodePool>,
    }
    let node_pools = read::<Several>(fixture!("kubernetes_data__NODE_POOLS.json")).node_pools;
    let cluster = Cluster { node_pools, ..Cluster::default() };
    assert_eq!(resolve(&cluster, NODES), FIVE_NODES);
    // Its nodes have a blank where the droplet will be.
    let pool = read::<One>(fixture!("kubernetes_data__NODE_POOL.json")).node_pool;
    let cluster = Cluster { node_pools: vec![pool], ..Cluster::default() };
    assert!(droplets(&cluster).unwrap().is_empty());
    assert_eq!(resolve(&cluster, NODES).len(), 3);
}

fn cluster(nodes: &str) -> Cluster {
    read(&format!(r#"{{"id": "c1", "node_pools": [{{"nodes": {nodes}}}]}}"#))
}

#[test]
fn nodes_without_a_usable_droplet() {
    let nodes = r#"[
        {"id": "a", "droplet_id": "205545301"},
        {"id": "b", "droplet_id": "4"},
        {"id": "c", "droplet_id": "5"},
        {"droplet_id": null, "status": null},
        {"id": "e", "droplet_id": "205545301"}
    ]"#;
    let first = machine(205_545_301);
    let find = |id| match id {
        205_545_301 => seen(&first),
        4 => missed(GetError::Gone("there is no droplet 4".to_owned())),
        _ => missed(GetError::Failed(failure())),
    };
    let outcome = outcome(seen(&cluster(nodes)), find, NODES);
    assert_eq!(
        lines(outcome),
        [
            "node droplet 205545301: 10.0.0.1/32",
            "node droplet 4: empty, there is no droplet 4",
            "node droplet 5: failed, answered 500 (DigitalOcean: GET /it)",
            "node node_pools[0].nodes[3]: empty, is still being created: it has no droplet yet",
        ]
    );
}

#[test]
fn nodes_that_cannot_be_told_keep_the_last_answer() {
    for (node, why) in [
        (r#"{"droplet_id": "x1"}"#, "droplet_id: \"x1\" is not a droplet's id"),
        (r#"{"droplet_id": "007"}"#, "droplet_id: \"007\" is not a droplet's id"),
        (
            r#"{"droplet_id": "", "status": {"state": "running"}}"#,
            "droplet_id is empty, though the node runs",
        ),
    ] {
        let cluster = cluster(&format!("[{node}]"));
        let error = droplets(&cluster).unwrap_err();
        let text = format!("node_pools[0].nodes[0].{why} (DigitalOcean: Kubernetes cluster c1)");
        assert_eq!(error.to_string(), text);
        let outcome = outcome(seen(&cluster), |_| missed(GetError::Failed(failure())), NODES);
        assert_eq!(outcome, Outcome::Failed(error));
    }
}

#[test]
fn pod_subnets() {
    for (subnet, expected) in [
        (r#""10.244.0.0/16""#, "pod subnet: 10.244.0.0/16"),
        ("null", "pod subnet: empty, the cluster has no cluster_subnet"),
        (
            r#""10.244.0.1/16""#,
            "pod subnet: failed, cluster_subnet: 10.244.0.1/16 has host bits set (DigitalOcean: \
             Kubernetes cluster c1)",
        ),
    ] {
        let text = format!(r#"{{"id": "c1", "node_pools": null, "cluster_subnet": {subnet}}}"#);
        assert_eq!(resolve(&read(&text), PODS), [expected]);
        assert_eq!(resolve(&read(&text), NODES), [""; 0]);
    }
}

#[test]
fn says_which_requests_told() {
    let nodes = r#"[{"droplet_id": "1"}, {"droplet_id": "2"}, {"droplet_id": "3"}]"#;
    let machines = [1, 2, 3].map(machine);
    let find = |id: u64| {
        let machine = machines.iter().find(|machine| machine.id == id).unwrap();
        let (is_listed, from) =
            if id == 3 { (false, "GET /v2/droplets/3") } else { (true, "GET /v2/droplets") };
        Sighting { from: from.to_owned(), is_listed, ..seen(machine) }
    };
    let answer = answer(outcome(seen(&cluster(nodes)), find, NODES));
    assert_eq!(answer.from, "GET /it, GET /v2/droplets");
}

#[test]
fn ids_in_answers() {
    assert_eq!(parse_droplet_id("205545370"), Some(205_545_370));
    for text in ["+5", "05", "", " 5", "5.0", "18446744073709551616"] {
        assert_eq!(parse_droplet_id(text), None, "{text}");
    }
}

#[test]
fn without_a_cluster() {
    let nobody = |_| missed(GetError::Failed(failure()));
    let gone = missed(GetError::Gone("404".to_owned()));
    assert_eq!(outcome(gone, nobody, PODS), Outcome::Gone("404".to_owned()));
    let failed = missed(GetError::Failed(failure()));
    assert_eq!(outcome(failed, nobody, PODS), Outcome::Failed(failure()));
}
