//! Lists that others publish: every form, what is asked for again, and what is refused.

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, HOST4, Pair, STRANGER4, TRUSTED4, TRUSTED6, orders},
    provider_server::{Feed, Options, Resource, Server},
};

use super::{
    common::{feeds, server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, source, wait_cut, wait_let_in, wait_prefixes,
        wait_state,
    },
};

/// As ip-ranges.json of AWS is.
const RANGES: &str = r#"{
  "syncToken": "1700000000",
  "prefixes": [
    { "ip_prefix": "10.77.0.2/32", "region": "eu-central-1", "service": "CONNECT" },
    { "ip_prefix": "10.77.0.8/30", "region": "us-east-1", "service": "CONNECT" },
    { "ip_prefix": "10.77.0.9/32", "region": "eu-central-1", "service": "S3" }
  ],
  "ipv6_prefixes": [
    { "ipv6_prefix": "fd77::2/128", "region": "eu-central-1", "service": "CONNECT" },
    { "ipv6_prefix": "fd77::8/126", "region": "us-east-1", "service": "CONNECT" }
  ]
}"#;

/// A line of TOML for `trusted_sources`; a JSONPath has quotes of its own.
fn trusted(sources: &[&str]) -> String {
    let quoted: Vec<String> = sources.iter().map(|source| format!("\"{source}\"")).collect();
    format!("max_shrink = \"off\"\ntrusted_sources = [{}]", quoted.join(", "))
}

fn configure(host: &Host<'_>, server: &Server, keys: &str, sources: &[&str]) {
    let table = feeds(server, &format!("poll = \"200ms\"\n{keys}"));
    host.configure(&agent_keys(""), &format!("{table}\n{}", orders(&trusted(sources))));
}

fn started<'a>(pair: &'a Pair, server: &Server, sources: &[&str]) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    configure(&host, server, "", sources);
    host.start();
    host
}

fn error(host: &Host<'_>, name: &str) -> String {
    source(host, name)["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn plain_lists_json_tables_and_files() {
    let pair = Pair::new();
    let server = server(&pair.db);
    server.account(|account| {
        account.set_feed("plain", "text/plain", "# ours\n10.77.0.3 # one\n\n10.0.1.0/24\n");
        account.set_feed("ranges", "application/json", RANGES);
        account.set_feed("table", "text/csv", "name,network\noffice,10.0.2.1-10.0.2.2\n");
    });
    let url = |name| format!("feed:{}/feed/{name}", server.url());
    let select = |list: &str, field: &str| {
        let filter = "?@.service=='CONNECT' && @.region=='eu-central-1'";
        format!("{}#$.{list}[{filter}].{field}", url("ranges"))
    };
    let (v4, v6) = (select("prefixes", "ip_prefix"), select("ipv6_prefixes", "ipv6_prefix"));
    let (plain, table) = (url("plain"), format!("{}#csv:network", url("table")));
    let mut host = Host::new(&pair.db);
    let file = format!("feed:{}#csv:2", host.path("offices.csv").display());
    host.replace("offices.csv", "# of the inventory\nberlin,10.0.3.0/24\n");
    configure(&host, &server, "", &[&plain, &v4, &v6, &table, &file]);
    host.start();

    wait_prefixes(&host, &plain, &["10.0.1.0/24", "10.77.0.3/32"]);
    wait_prefixes(&host, &v4, &["10.77.0.2/32"]);
    wait_prefixes(&host, &v6, &["fd77::2/128"]);
    wait_prefixes(&host, &table, &["10.0.2.1/32", "10.0.2.2/32"]);
    wait_prefixes(&host, &file, &["10.0.3.0/24"]);
    for client in [TRUSTED4, TRUSTED6, FRIEND4] {
        assert_let_in(&host, &pair, client);
    }
    assert_refused(&host, &pair, STRANGER4);

    host.replace("offices.csv", "berlin,10.0.3.0/24\nparis,10.77.0.9\n");
    wait_let_in(&host, &pair, STRANGER4);
    server.account(|account| account.set_feed("plain", "text/plain", "10.0.1.0/24\n"));
    wait_cut(&host, &pair, FRIEND4);
    assert_let_in(&host, &pair, TRUSTED4);
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let feed = |body: &str, etag: &str| Feed {
        body: body.into(),
        content_type: "text/plain".to_owned(),
        etag: Some(format!("\"{etag}\"")),
        last_modified: None,
    };
    let set = |body: &str, etag: &str| {
        server.account(|account| account.feeds.insert("list".to_owned(), feed(body, etag)));
    };
    set("10.77.0.2\n", "a");
    let name = format!("feed:{}/feed/list", server.url());
    let host = started(&pair, &server, &[&name]);
    wait_let_in(&host, &pair, TRUSTED4);
    server.forget_requests();
    server.wait("three polls", |seen| seen.len() >= 3);
    let seen = server.requests();
    assert!(seen.iter().all(|seen| seen.is_conditional && seen.status == Some(304)), "{seen:#?}");
    wait(&host, "the answer to be fresh", || source(&host, &name)["age_seconds"] == 0);
    wait_state(&host, &name, "ok");

    set("10.77.0.2\n10.77.0.3\n", "b");
    wait_let_in(&host, &pair, FRIEND4);
}

#[test]
fn a_bad_feed_leaves_the_last_good_one_in_force() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let set = |body: &str| server.account(|account| account.set_feed("list", "text/plain", body));
    set("10.77.0.2\n");
    let name = format!("feed:{}/feed/list", server.url());
    let host = started(&pair, &server, &[&name]);
    wait_let_in(&host, &pair, TRUSTED4);
    for bad in ["10.77.0.9\nnonsense\n", "<html>Be right back</html>", "10.77.0.9/24\n"] {
        set(bad);
        wait_state(&host, &name, "stale");
        assert!(!error(&host, &name).is_empty());
        assert_let_in(&host, &pair, TRUSTED4);
        assert_refused(&host, &pair, STRANGER4);
        set("10.77.0.2\n");
        wait_state(&host, &name, "ok");
    }
    // A list that was moved does not say that anybody on it has gone.
    server.account(|account| account.feeds.clear());
    wait_state(&host, &name, "stale");
    let polls = server.count(Resource::Feed);
    wait(&host, "gone_after to pass", || server.count(Resource::Feed) >= polls + 8);
    assert_let_in(&host, &pair, TRUSTED4);
}

#[test]
fn without_tls_only_loopback_and_whom_the_configuration_names() {
    let pair = Pair::new();
    let trusted_by_tls = server(&pair.db);
    let open = |address| {
        let options = Options { address, tls: false, netns: Some(&pair.db), ..Options::default() };
        let server = Server::start(options);
        server.account(|account| account.set_feed("list", "text/plain", "10.77.0.2\n"));
        let name = format!("feed:{}/feed/list", server.url());
        (server, name)
    };
    let (loopback, by_loopback) = open(Options::default().address);
    let (other, by_other) = open((HOST4, 0).into());

    let host = started(&pair, &trusted_by_tls, &[&by_loopback]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert!(loopback.count(Resource::Feed) > 0);

    // In the configuration that is an error; in a list, a source that is never asked for.
    configure(&host, &trusted_by_tls, "", &[&by_other]);
    let checked = host.dbfw(&["check"]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("allow_http"), "{checked:?}");
    let list = host.path("orders.list");
    host.replace("orders.list", &format!("{by_other}\n{by_loopback}\n"));
    let database =
        orders(&format!("provider = {{ kind = \"file\", path = \"{}\" }}", list.display()));
    host.configure(&agent_keys(""), &format!("{}\n{database}", feeds(&trusted_by_tls, "")));
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    wait(&host, "it to be refused", || error(&host, &by_other).contains("allow_http"));
    wait_prefixes(&host, &by_loopback, &["10.77.0.2/32"]);
    assert_eq!(other.count(Resource::Feed), 0);

    let allowed = format!("allow_http = [\"{HOST4}\"]");
    configure(&host, &trusted_by_tls, &allowed, &[&by_other]);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    wait_prefixes(&host, &by_other, &["10.77.0.2/32"]);
    wait_let_in(&host, &pair, TRUSTED4);
}

#[test]
fn a_refused_change_is_told_also_where_there_is_no_list() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let lines = |n: u8| (2..2 + n).map(|last| format!("10.77.0.{last}\n")).collect::<String>();
    host.replace("offices", &lines(7));
    let sources = format!("trusted_sources = [\"feed:{}\"]\n", host.path("offices").display());
    host.configure(&agent_keys(""), &format!("[feeds]\npoll = \"200ms\"\n{}", orders(&sources)));
    host.start();
    wait_let_in(&host, &pair, FRIEND4);
    host.replace("offices", &lines(1));
    host.wait_for_log("the new list loses 6 of 7 prefixes");
    host.wait("the history to have it", |host| {
        let history = host.json(&["history"]).unwrap_or_default();
        let entries = history["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().any(|entry| entry["kind"] == "refused" && entry["database"] == "orders")
    });
    assert_eq!(host.log().matches("the new list loses").count(), 1, "{}", host.log());
    host.replace("offices", &lines(7));
    host.wait_for_log("the sources recovered");
    assert_let_in(&host, &pair, FRIEND4);
}
