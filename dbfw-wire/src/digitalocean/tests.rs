use super::*;

#[test]
fn what_tolerance_is() {
    let droplet: Droplet = serde_json::from_str(
        r#"{"id": 1, "name": 5, "status": null, "tags": null, "vpc_uuid": null, "unheard": [{}],
            "networks": {"v4": [{"ip_address": "10.0.0.1", "netmask": "255.255.0.0",
                                 "gateway": "nil", "type": "private"}], "v6": null}}"#,
    )
    .unwrap();
    assert_eq!(droplet.networks.unwrap().v4[0].ip_address, "10.0.0.1");
    assert_eq!((droplet.name.as_str(), droplet.tags.len()), ("", 0));
    let cluster: OneCluster =
        serde_json::from_str(r#"{"kubernetes_cluster": {"id": "c", "node_pools": null}}"#).unwrap();
    assert_eq!(cluster.kubernetes_cluster.node_pools, []);
    let app: App = serde_json::from_str(r#"{"id": "a", "vpc": {"egress_ips": null}}"#).unwrap();
    assert_eq!(app.vpc.unwrap().egress_ips, []);
    let rule: FirewallRule = serde_json::from_str(
        r#"{"uuid": null, "cluster_uuid": 5, "type": "tag", "value": "a", "created_at": {},
            "description": null}"#,
    )
    .unwrap();
    assert_eq!((rule.uuid.as_str(), rule.description), ("", None));
}

#[test]
fn what_tolerance_is_not() {
    for bad in [
        r#"{"id": "1"}"#,
        r#"{"id": -1}"#,
        r#"{"id": null}"#,
        r#"{"name": "x"}"#,
        r#"{"id": 1, "tags": "web"}"#,
        r#"{"id": 1, "tags": [1]}"#,
        r#"{"id": 1, "networks": []}"#,
        r#"{"id": 1, "networks": "none"}"#,
        r#"{"id": 1, "networks": {"v4": {}}}"#,
        r#"{"id": 1, "networks": {"v4": [{"ip_address": 5}]}}"#,
        "null",
        "[]",
    ] {
        assert!(serde_json::from_str::<Droplet>(bad).is_err(), "{bad}");
    }
    for bad in [
        r#"{"id": 5}"#,
        r#"{"id": "c", "node_pools": [{"nodes": [{"droplet_id": 5}]}]}"#,
        r#"{"id": "c", "cluster_subnet": 5}"#,
    ] {
        assert!(serde_json::from_str::<Cluster>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_server_can_write_what_the_client_reads() {
    let page = DropletPage {
        droplets: Some(vec![Droplet { id: 1, tags: vec!["a".to_owned()], ..Droplet::default() }]),
        links: Some(Links {
            pages: Some(Pages { next: Some("https://x/?page=2".to_owned()), ..Pages::default() }),
        }),
        meta: Some(Meta { total: Some(1) }),
    };
    let text = serde_json::to_string(&page).unwrap();
    assert_eq!(serde_json::from_str::<DropletPage>(&text).unwrap(), page);
    let rule =
        FirewallRule { kind: "tag".to_owned(), value: "a".to_owned(), ..FirewallRule::default() };
    let text = serde_json::to_string(&Firewall { rules: vec![rule.clone()] }).unwrap();
    assert!(text.contains(r#""type":"tag""#) && !text.contains("description"));
    assert_eq!(serde_json::from_str::<Firewall>(&text).unwrap().rules, [rule]);
}
