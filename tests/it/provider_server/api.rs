//! What the endpoints of machines and networks answer when nothing is wrong.

use dbfw_tests::{
    netns::Netns,
    provider_server::{Authorization, Options, Resource, Server},
};
use serde_json::{Value, json};

use super::{anonymous, ask, get, send};

fn ids(list: &Value) -> Vec<u64> {
    list["droplets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["id"].as_u64())
        .collect()
}

/// The names of a page's links to others, in alphabetical order.
fn links(page: &Value) -> Vec<&str> {
    let pages = page["links"]["pages"].as_object().expect("links");
    let mut names: Vec<&str> = pages.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn lists_come_in_pages_with_links_that_make_sense() {
    let server = Server::start(Options::default());
    let expected: Vec<u64> = server.account(|account| {
        (0..45).map(|n| account.add_droplet(&format!("web-{n}"), &["a:b"], &[])).collect()
    });

    let first = get(&server, "/v2/droplets").json();
    assert_eq!(ids(&first), expected[..20], "twenty are a page");
    assert_eq!(first["meta"]["total"], 45);
    assert_eq!(links(&first), ["last", "next"]);

    let mut found = Vec::new();
    let mut next = Some("/v2/droplets?tag_name=a%3Ab&per_page=30".to_owned());
    while let Some(url) = next {
        let page = get(&server, &url).json();
        found.extend(ids(&page));
        next = page["links"]["pages"]["next"].as_str().map(str::to_owned);
        assert!(next.iter().all(|url| url.starts_with(&server.url())), "absolute: {next:?}");
    }
    assert_eq!(found, expected);

    let last = get(&server, "/v2/droplets?page=3").json();
    assert_eq!(ids(&last), expected[40..]);
    assert_eq!(links(&last), ["first", "prev"]);
    assert_eq!(ids(&get(&server, "/v2/droplets?page=9").json()), [0; 0]);

    let all = get(&server, "/v2/droplets?per_page=200").json();
    assert_eq!((ids(&all), &all["links"]), (expected, &json!({ "pages": {} })));
    for wrong in ["per_page=201", "per_page=0", "page=0", "page=x"] {
        assert_eq!(get(&server, &format!("/v2/droplets?{wrong}")).status, 422, "{wrong}");
    }
}

#[test]
fn droplets_are_found_by_tag_name_and_kind() {
    let server = Server::start(Options::default());
    let (plain, tagged, gpu) = server.account(|account| {
        let gpu = account.add_gpu_droplet("train", &["backend"], &["10.116.0.9"]);
        (
            account.add_droplet("plain", &[], &[]),
            account.add_droplet("web", &["backend"], &["10.116.0.5", "192.0.2.5", "2001:db8::5"]),
            gpu,
        )
    });
    let list = |query: &str| ids(&get(&server, &format!("/v2/droplets{query}")).json());
    assert_eq!(list(""), [plain, tagged], "no GPU droplets unless asked for");
    assert_eq!(list("?tag_name=backend"), [tagged]);
    assert_eq!(list("?tag_name=nobody"), [0; 0]);
    assert_eq!(list("?name=plain"), [plain]);
    assert_eq!(list("?type=gpus"), [gpu]);
    for wrong in ["tag_name=backend&type=gpus", "tag_name=backend&name=web", "type=x"] {
        assert_eq!(get(&server, &format!("/v2/droplets?{wrong}")).status, 422, "{wrong}");
    }
    let one = get(&server, &format!("/v2/droplets/{tagged}")).json();
    assert_eq!(
        one["droplet"]["networks"],
        json!({
            "v4": [
                { "ip_address": "10.116.0.5", "netmask": "255.255.240.0", "gateway": "nil",
                  "type": "private" },
                { "ip_address": "192.0.2.5", "netmask": "255.255.240.0",
                  "gateway": "198.18.0.1", "type": "public" },
            ],
            "v6": [
                { "ip_address": "2001:db8::5", "netmask": 64, "gateway": "2001:db8:116::1",
                  "type": "public" },
            ],
        })
    );
    assert_eq!(get(&server, &format!("/v2/droplets/{gpu}")).status, 200);
    assert_eq!(get(&server, "/v2/droplets/7").status, 404);

    // Unless a test names its addresses, a machine has one of each kind that nobody else has.
    let addresses = server.account(|account| account.addresses_of(plain));
    assert_eq!(addresses.len(), 3, "{addresses:?}");
}

#[test]
fn tags_are_put_on_and_taken_off() {
    let server = Server::start(Options::default());
    let id = server.account(|account| account.add_droplet("web", &[], &[]));
    let path = "/v2/tags/backend/resources";
    let droplet = |id: u64| {
        json!({ "resources": [
            { "resource_id": id.to_string(), "resource_type": "droplet" }
        ]})
    };
    assert_eq!(send(&server, "POST", path, &droplet(id)).status, 404, "there is no such tag");
    assert_eq!(send(&server, "POST", "/v2/tags", &json!({ "name": "backend" })).status, 201);
    assert_eq!(send(&server, "POST", path, &droplet(7)).status, 404);
    assert_eq!(send(&server, "POST", path, &droplet(id)).status, 204);
    let tagged = get(&server, "/v2/droplets?tag_name=backend").json();
    assert_eq!(ids(&tagged), [id]);
    let tag = get(&server, "/v2/tags/backend").json();
    assert_eq!(tag["tag"]["resources"]["droplets"]["count"], 1);
    assert_eq!(send(&server, "DELETE", path, &droplet(id)).status, 204);
    assert_eq!(ids(&get(&server, "/v2/droplets?tag_name=backend").json()), [0; 0]);
    assert_eq!(get(&server, "/v2/tags").json()["meta"]["total"], 1);
}

#[test]
fn a_pool_grows_by_nodes_that_have_no_droplet_at_first() {
    let server = Server::start(Options::default());
    let (cluster, pool) = server.account(|account| {
        let cluster = account.add_cluster("prod");
        let pool = account.add_pool(&cluster, "workers", 1);
        account.provisioning = Some(std::time::Duration::from_secs(90));
        account.reserve(&["10.116.7.7"]);
        (cluster, pool)
    });
    let path = format!("/v2/kubernetes/clusters/{cluster}/node_pools/{pool}");
    let body = json!({ "name": "workers", "count": 2 });
    let reply = send(&server, "PUT", &path, &body);
    assert_eq!((reply.status, &reply.json()["node_pool"]["count"]), (202, &json!(2)));

    let nodes = || {
        let found = get(&server, &format!("/v2/kubernetes/clusters/{cluster}")).json();
        found["kubernetes_cluster"]["node_pools"][0]["nodes"].clone()
    };
    let before = nodes();
    assert_eq!(before[0]["status"]["state"], "running");
    assert_eq!(before[1]["status"]["state"], "provisioning");
    assert_eq!(before[1]["droplet_id"], "");

    server.advance(std::time::Duration::from_secs(91));
    let after = nodes();
    assert_eq!(after[1]["status"]["state"], "running");
    let id = after[1]["droplet_id"].as_str().expect("a string");
    let droplet = get(&server, &format!("/v2/droplets/{id}")).json()["droplet"].clone();
    assert_eq!(droplet["networks"]["v4"][0]["ip_address"], "10.116.7.7");
    assert_eq!(droplet["tags"], json!(["k8s", format!("k8s:{cluster}"), "k8s:worker"]));
    let by_tag = get(&server, &format!("/v2/droplets?tag_name=k8s:{cluster}")).json();
    assert_eq!(by_tag["meta"]["total"], 2);

    assert_eq!(send(&server, "PUT", &path, &json!({ "count": 1 })).status, 202);
    assert_eq!(get(&server, &format!("/v2/droplets/{id}")).status, 404, "gone with its node");
}

#[test]
fn networks_apps_endpoints_and_feeds_are_served() {
    let server = Server::start(Options::default());
    let (vpc, silent, known) = server.account(|account| {
        account.add_droplet("web", &[], &[]);
        account.add_cluster("prod");
        account.vhosts.insert(77, vec!["192.0.2.0/24".to_owned()]);
        account.set_feed("list", "text/plain", "192.0.2.1\n");
        if let Some(feed) = account.feeds.get_mut("list") {
            feed.etag = Some("\"v1\"".to_owned());
        }
        let vpc = account.default_vpc().to_owned();
        let silent = account.add_app("silent", &[], &[]);
        (vpc, silent, account.add_app("known", &["192.0.2.9"], &["10.116.0.9"]))
    });
    let found = get(&server, &format!("/v2/vpcs/{vpc}")).json();
    assert_eq!(found["vpc"]["ip_range"], "10.116.0.0/16");
    assert_eq!(get(&server, "/v2/vpcs").json()["meta"]["total"], 1);
    let members = get(&server, &format!("/v2/vpcs/{vpc}/members")).json();
    assert_eq!(members["meta"]["total"], 2, "{members}");

    let app = |id: &str| get(&server, &format!("/v2/apps/{id}")).json()["app"].clone();
    assert_eq!(app(&known)["dedicated_ips"][0]["status"], "ASSIGNED");
    assert_eq!(app(&known)["vpc"]["egress_ips"], json!([{ "ip": "10.116.0.9" }]));
    assert_eq!(app(&known)["spec"]["egress"]["type"], "DEDICATED_IP");
    assert!(app(&silent).get("dedicated_ips").is_none() && app(&silent).get("vpc").is_none());

    let vhost = get(&server, "/vhosts/77").json();
    assert_eq!(vhost["ip_whitelist"], json!(["192.0.2.0/24"]));
    assert_eq!(vhost["_links"]["self"]["href"], "/vhosts/77");
    assert_eq!(get(&server, "/vhosts/78").json()["code"], 404);
    assert_eq!(anonymous(&server, "/vhosts/77", &[]).json()["code"], 401);
    assert!(!get(&server, "/vhosts/77").headers.contains_key("ratelimit-remaining"));

    let feed = anonymous(&server, "/feed/list", &[]);
    assert_eq!((feed.status, feed.body.as_slice()), (200, b"192.0.2.1\n".as_slice()));
    assert_eq!(feed.headers["content-type"], "text/plain");
    let again = anonymous(&server, "/feed/list", &["--header", "If-None-Match: \"v1\""]);
    assert_eq!((again.status, again.body.as_slice()), (304, b"".as_slice()));
    assert!(server.requests().last().is_some_and(|seen| seen.is_conditional));
}

#[test]
fn only_the_accounts_token_is_taken_and_the_log_tells_which_came() {
    let server = Server::start(Options::default());
    let refused = anonymous(&server, "/v2/droplets", &[]);
    assert_eq!((refused.status, &refused.json()["id"]), (401, &json!("unauthorized")));
    let wrong = anonymous(&server, "/v2/droplets", &["--header", "Authorization: Bearer dop_v1_x"]);
    assert_eq!(wrong.status, 401);
    assert_eq!(ask(&server, "/v2/droplets?page=1", &[]).status, 200);
    assert_eq!(get(&server, "/v2/floating").status, 404);

    let seen = server.requests();
    let tokens: Vec<_> = seen.iter().map(|seen| seen.authorization).collect();
    use Authorization::{Absent, Right, Wrong};
    assert_eq!(tokens, [Absent, Wrong, Right, Right]);
    assert_eq!((seen[2].path.as_str(), seen[2].query.as_str()), ("/v2/droplets", "page=1"));
    assert_eq!((seen[2].method.as_str(), seen[2].status), ("GET", Some(200)));
    assert_eq!((server.count(Resource::Droplets), server.count(Resource::Other)), (3, 1));
    let token = server.account(|account| account.token.clone());
    assert!(!format!("{seen:?}").contains(&token));
    let file = std::fs::read_to_string(server.token_file()).expect("the token file");
    assert_eq!(file.trim(), token);
}

#[test]
fn it_listens_where_it_is_told_and_goes_down_and_up_there() {
    let netns = Netns::new("api");
    let address = "127.0.0.1:8443".parse().expect("an address");
    let options = Options { address, netns: Some(&netns), tls: false, ..Options::default() };
    let server = Server::start(options);
    assert_eq!(server.url(), "http://127.0.0.1:8443");
    let code = || {
        let mut curl = netns.command("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        let output = curl.arg(server.url() + "/v2/droplets").output().expect("run curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(code(), "401");
    server.down();
    assert_eq!(code(), "000", "nothing listens");
    server.up();
    assert_eq!(code(), "401");
    drop(server);
    // The address is free again.
    Server::start(options);
}
