//! Every fault does what its name says, as curl sees it.

use std::time::Duration;

use dbfw_tests::provider_server::{Certificate, Fault, On, Options, Resource, Server};
use serde_json::{Value, json};

use super::{Reply, ask, get};

/// curl's exit codes.
const TRANSFER_CLOSED: i32 = 18;
const TIMEOUT: i32 = 28;
const RECEIVE_FAILED: i32 = 56;
const NOT_TRUSTED: i32 = 60;

/// A server with two droplets that have a tag, and a database.
fn server(tls: bool) -> Server {
    let server = Server::start(Options { tls, ..Options::default() });
    server.account(|account| {
        account.add_droplet("web-1", &["backend"], &["10.116.0.1", "2001:db8::1"]);
        account.add_droplet("web-2", &["backend"], &["10.116.0.2"]);
        account.add_database("orders", &["tag:backend"]);
    });
    server
}

/// A list with a fault, and that the fault was counted.
fn spoiled(server: &Server, fault: Fault, query: &str) -> Reply {
    let id = server.inject(On::any(), fault.clone());
    let reply = get(server, &format!("/v2/droplets?{query}"));
    assert_eq!(server.hits(id), 1, "{fault}");
    server.clear(id);
    reply
}

#[test]
fn statuses_html_and_redirects_take_the_place_of_the_answer() {
    let server = server(true);
    for status in [401, 403, 404, 500, 502, 503] {
        assert_eq!(spoiled(&server, Fault::Status(status), "").status, status);
    }
    let reply = spoiled(&server, Fault::RateLimited(Some(Duration::from_secs(7))), "");
    assert_eq!((reply.status, reply.number("retry-after")), (429, 7));
    assert_eq!(reply.number("ratelimit-remaining"), 0);
    assert!(!spoiled(&server, Fault::RateLimited(None), "").headers.contains_key("retry-after"));
    let html = spoiled(&server, Fault::Html200, "");
    assert_eq!((html.status, html.body.starts_with(b"<!doctype html>")), (200, true));
    let to = Fault::RedirectTo("https://198.51.100.1".to_owned());
    let redirect = spoiled(&server, to, "page=1");
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.headers["location"], "https://198.51.100.1/v2/droplets?page=1");
}

#[test]
fn plain_connections_hang_drip_and_break() {
    hang_drip_and_break(false);
}

#[test]
fn tls_connections_hang_drip_and_break() {
    hang_drip_and_break(true);
}

fn hang_drip_and_break(tls: bool) {
    let server = server(tls);
    let within = |limit: &str, fault: Fault| {
        let id = server.inject(On::any(), fault);
        let reply = ask(&server, "/v2/droplets", &["--max-time", limit]);
        server.clear(id);
        reply
    };
    let with = |fault| within("10", fault);
    let hang = within("0.3", Fault::Hang);
    assert_eq!((hang.code, hang.status), (TIMEOUT, 0), "tls {tls}");
    assert_eq!(server.requests().last().expect("one").status, None);
    let drip = within("2.7", Fault::Drip);
    assert_eq!((drip.code, drip.status), (TIMEOUT, 200), "tls {tls}");
    assert!((1..=2).contains(&drip.body.len()), "a byte a second: {drip:?}");
    let whole = get(&server, "/v2/droplets").body.len();

    let reset = with(Fault::ResetMidBody);
    assert_eq!(reset.code, RECEIVE_FAILED, "a reset, tls {tls}: {reset:?}");
    assert!(reset.body.len() <= whole / 2);
    let closed = with(Fault::CloseMidBody);
    assert_eq!((closed.code, closed.body.len()), (TRANSFER_CLOSED, whole / 2), "tls {tls}");
    let truncated = with(Fault::TruncatedJson);
    assert_eq!((truncated.code, truncated.body.len()), (0, whole / 2), "tls {tls}");
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());
}

fn names(value: &Value) -> Vec<&str> {
    let list = value["droplets"].as_array().expect("a list");
    list.iter().filter_map(|droplet| droplet["name"].as_str()).collect()
}

#[test]
fn lists_lie_about_their_pages() {
    let server = server(true);
    let next = |value: &Value| value["links"]["pages"]["next"].as_str().map(str::to_owned);

    for empty in [false, true] {
        let fault = || Fault::MissingPage { page: 2, empty };
        let first = spoiled(&server, fault(), "").json();
        assert_eq!((names(&first), &first["meta"]["total"]), (vec!["web-1"], &json!(2)));
        assert!(next(&first).expect("a second page").contains("page=2"));
        let second = spoiled(&server, fault(), "page=2");
        assert_eq!(second.status, if empty { 200 } else { 404 });
        if empty {
            assert_eq!(
                (names(&second.json()), &second.json()["meta"]["total"]),
                (vec![], &json!(2))
            );
        }
    }
    for page in [1, 2, 77] {
        let endless = spoiled(&server, Fault::EndlessNext, &format!("page={page}")).json();
        assert_eq!(names(&endless), ["web-1", "web-2"]);
        assert!(next(&endless).expect("always").contains(&format!("page={}", page + 1)));
    }
    let elsewhere = Fault::NextTo("https://198.51.100.1".to_owned());
    let away = spoiled(&server, elsewhere, "").json();
    assert_eq!(next(&away).as_deref(), Some("https://198.51.100.1/v2/droplets?page=2"));

    let first = spoiled(&server, Fault::Contradictory, "").json();
    let second = spoiled(&server, Fault::Contradictory, "page=2").json();
    assert_eq!((names(&first), names(&second)), (vec!["web-1", "web-2"], vec!["web-1", "web-2"]));
    assert_eq!((&first["meta"]["total"], &second["meta"]["total"]), (&json!(4), &json!(4)));
    assert!(next(&first).is_some() && next(&second).is_none());
    let address = |page: &Value| page["droplets"][0]["networks"]["v4"][0]["ip_address"].clone();
    assert_eq!((address(&first), address(&second)), (json!("10.116.0.1"), json!("198.51.100.1")));
}

#[test]
fn lists_say_what_they_should_not() {
    let server = server(true);
    let twice = spoiled(&server, Fault::Duplicates, "").json();
    assert_eq!(names(&twice), ["web-1", "web-1", "web-2", "web-2"]);
    let wrong = spoiled(&server, Fault::WrongType, "").json();
    assert_eq!(wrong["droplets"][0]["networks"], "x");
    let null = spoiled(&server, Fault::NullLists, "").json();
    assert_eq!(null["droplets"], Value::Null);
    let empty = spoiled(&server, Fault::EmptyList, "").json();
    assert_eq!(empty, json!({ "droplets": [], "links": { "pages": {} }, "meta": { "total": 0 } }));
    let giant = spoiled(&server, Fault::GiantNumbers, "");
    let text = String::from_utf8_lossy(&giant.body);
    assert!(text.contains("\"id\":9876543210987654321098765432109876543210"), "{text}");
    let set = Fault::Set("/droplets/1/networks/v4/0/ip_address".to_owned(), json!("::1"));
    let set = spoiled(&server, set, "").json();
    assert_eq!(set["droplets"][1]["networks"]["v4"][0]["ip_address"], "::1");
}

#[test]
fn every_fault_that_applies_happens_to_every_resource() {
    let server = Server::start(Options { tls: false, ..Options::default() });
    let paths = server.account(|account| {
        let droplet = account.add_droplet("web", &["backend"], &[]);
        account.add_droplet("web-2", &["backend"], &[]);
        account.add_gpu_droplet("train", &[], &[]);
        let cluster = account.add_cluster("prod");
        let pool = account.add_pool(&cluster, "workers", 1);
        let database = account.add_database("orders", &["tag:backend"]);
        let app = account.add_app("shop", &["192.0.2.1"], &["10.116.0.9"]);
        let vpc = account.default_vpc().to_owned();
        account.vhosts.insert(7, vec!["192.0.2.0/24".to_owned()]);
        account.set_feed("plain", "text/plain", "192.0.2.1\n192.0.2.2\n");
        [
            (Resource::Firewall, format!("/v2/databases/{database}/firewall")),
            (Resource::Droplets, "/v2/droplets".to_owned()),
            (Resource::Droplet, format!("/v2/droplets/{droplet}")),
            (Resource::TaggedDroplets, "/v2/droplets?tag_name=backend".to_owned()),
            (Resource::GpuDroplets, "/v2/droplets?type=gpus".to_owned()),
            (Resource::Clusters, "/v2/kubernetes/clusters".to_owned()),
            (Resource::Cluster, format!("/v2/kubernetes/clusters/{cluster}")),
            (Resource::NodePools, format!("/v2/kubernetes/clusters/{cluster}/node_pools/{pool}")),
            (Resource::Apps, "/v2/apps".to_owned()),
            (Resource::App, format!("/v2/apps/{app}")),
            (Resource::Vpcs, "/v2/vpcs".to_owned()),
            (Resource::Vpc, format!("/v2/vpcs/{vpc}")),
            (Resource::VpcMembers, format!("/v2/vpcs/{vpc}/members")),
            (Resource::Tags, "/v2/tags".to_owned()),
            (Resource::Vhost, "/vhosts/7".to_owned()),
            (Resource::Feed, "/feed/plain".to_owned()),
        ]
    });
    assert_eq!(paths.clone().map(|(resource, _)| resource), Resource::ALL);
    for (resource, path) in &paths {
        let right = get(&server, path);
        for fault in Fault::samples("http://198.51.100.1") {
            // A body without an end and answers that never come cost time, not insight.
            let slow = matches!(fault, Fault::Hang | Fault::Drip | Fault::HugeBody(_));
            if slow || !fault.applies_to(*resource) {
                continue;
            }
            let id = server.inject(On::resource(*resource), fault.clone());
            let wrong = get(&server, path);
            assert_eq!(server.hits(id), 1, "{fault} of {path}");
            let same = (wrong.code, wrong.status, &wrong.body) == (0, right.status, &right.body);
            assert!(!same, "{fault} of {path} changed nothing");
            server.clear_faults();
        }
        assert_eq!(get(&server, path).body, right.body, "{path} is right again");
    }
}

#[test]
fn a_fault_happens_to_what_it_is_for_and_as_often() {
    let server = server(true);
    let status = |path: &str| get(&server, path).status;
    let id = server.inject(On::resource(Resource::TaggedDroplets).times(2), Fault::Status(500));
    server.inject(On::path("/v2/vpcs").query("page", "3"), Fault::Status(503));
    server.inject(On::any().method("PUT"), Fault::Status(502));
    assert_eq!(status("/v2/droplets"), 200);
    assert_eq!(status("/v2/droplets?tag_name=backend"), 500);
    assert_eq!(status("/v2/droplets?tag_name=backend"), 500);
    assert_eq!(status("/v2/droplets?tag_name=backend"), 200, "twice");
    assert_eq!(server.hits(id), 2);
    assert_eq!((status("/v2/vpcs"), status("/v2/vpcs?page=3")), (200, 503));
    let orders = server.account(|account| account.databases.keys().next().cloned());
    let path = format!("/v2/databases/{}/firewall", orders.expect("a database"));
    assert_eq!(super::send(&server, "PUT", &path, &json!({ "rules": [] })).status, 502);
    assert_eq!(server.account(|account| account.rules("orders")), ["tag:backend"], "untouched");
    server.clear_faults();
    assert_eq!(status("/v2/vpcs?page=3"), 200);
}

#[test]
fn certificates_change_under_open_connections() {
    let server = server(true);
    for certificate in Certificate::ALL {
        server.show(certificate);
        let reply = get(&server, "/v2/droplets");
        let expected = if certificate == Certificate::Good { 0 } else { NOT_TRUSTED };
        assert_eq!(reply.code, expected, "{certificate:?}: {reply:?}");
    }
    server.show(Certificate::Good);
    assert_eq!(get(&server, "/v2/droplets").status, 200);
}
