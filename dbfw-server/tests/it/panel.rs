//! The panel over HTTP, without a browser: logging in, forms, rights, and what it never does.

use std::time::Duration;

use dbfw_wire::agent::{HostAudit, Report};
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    agent::Agent,
    support::{Client, PATIENCE, Reply, Server, connector},
};

/// Headers that a browser sends with a form of the panel's own.
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A browser, as far as the panel sees it: a connection and a cookie.
pub(crate) struct Browser {
    client: Client,
    cookie: String,
}

impl Browser {
    async fn new(server: &Server) -> Self {
        let mut client = Client::tls(server.address(), &server.ca()).await;
        client.agent = "Mozilla/5.0";
        Self { client, cookie: String::new() }
    }

    /// A browser that has logged in.
    pub(crate) async fn logged_in(server: &Server, token: &str) -> Self {
        let mut browser = Self::new(server).await;
        let reply = browser.log_in(token).await.expect(303);
        assert_eq!(reply.header("location"), Some("/"));
        browser
    }

    async fn log_in(&mut self, token: &str) -> Reply {
        let reply = self.post("/login", &[("token", token)]).await;
        if let Some(cookie) = reply.header("set-cookie") {
            self.cookie = cookie.split(';').next().expect("a cookie").to_owned();
        }
        reply
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Reply {
        let cookie = self.cookie.clone();
        let mut headers = headers.to_vec();
        if !cookie.is_empty() {
            headers.push(("cookie", &cookie));
        }
        self.client.send(method, path, &headers, body).await
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], String::new()).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send("POST", path, &[OWN, FORM], encoded(fields)).await
    }

    /// The text of a page.
    pub(crate) async fn page(&mut self, path: &str) -> String {
        text(&self.get(path).await.expect(200))
    }

    /// The tag of the list that a page has.
    async fn tag(&mut self, path: &str) -> String {
        let page = self.page(path).await;
        value_of(&page, "name=\"list\" value=\"").replace("&quot;", "\"")
    }

    /// Trusts a source; the path of its pages begins like the answer.
    async fn trust(&mut self, database: &str, fields: &[(&str, &str)]) -> String {
        let path = format!("/databases/{database}");
        let reply = self.post(&path, fields).await.expect(303);
        assert_eq!(reply.header("location"), Some(&*format!("{path}?done=added")));
        let page = self.page(&path).await;
        value_of(&page, &format!("{path}/edit/"))
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn text(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    String::from_utf8(reply.body.clone()).expect("text")
}

/// The text between a beginning and the next quote.
#[track_caller]
fn value_of(page: &str, beginning: &str) -> String {
    let (_, rest) = page.split_once(beginning).unwrap_or_else(|| panic!("{beginning}: {page}"));
    rest.split('"').next().expect("a value").to_owned()
}

const OFFICE: [(&str, &str); 3] =
    [("type", "ip_addr"), ("value", "198.51.100.0/24"), ("description", "the office")];

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_a_logout_and_with_its_token() {
    let mut server = Server::start();
    server.database("orders");
    let mut browser = Browser::new(&server).await;
    // Nobody: every page leads to the login, and back.
    let reply = browser.get("/databases/orders?q=a").await.expect(303);
    assert_eq!(reply.header("location"), Some("/login?next=%2Fdatabases%2Forders%3Fq%3Da"));
    browser.get("/events").await.expect(303);
    browser.post("/databases/orders", &OFFICE).await.expect(403);
    // A wrong token.
    for wrong in ["", "x", &format!("dodbfw_{}", "0".repeat(64))] {
        let reply = browser.log_in(wrong).await.expect(403);
        assert_eq!(reply.header("set-cookie"), None);
        assert!(!text(&reply).contains(&"0".repeat(64)));
    }
    let reply = browser.log_in(&server.admin()).await.expect(303);
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-dbfw="), "{cookie}");
    for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(browser.page("/databases/orders").await.contains("Nobody is trusted"));
    // Back to where somebody wanted to go, and nowhere else.
    for (next, location) in [("/tokens", "/tokens"), ("//evil.example", "/"), ("https://x", "/")] {
        let fields = [("token", &*server.admin()), ("next", next)];
        let reply = Browser::new(&server).await.post("/login", &fields).await.expect(303);
        assert_eq!(reply.header("location"), Some(location));
    }
    // Replayed after the logout.
    let reply = browser.post("/logout", &[]).await.expect(303);
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get("/databases/orders").await.status, 303);
    browser.post("/databases/orders", &OFFICE).await.expect(403);
    assert_eq!(server.sources("orders").await, [""; 0]);
    // A token that is revoked.
    let secret = server.token(&["ana", "--preset", "admin"]);
    let mut browser = Browser::logged_in(&server, &secret).await;
    assert!(browser.page("/").await.contains("ana"));
    let tokens = server.connect(&server.admin()).await.get("/api/v1/tokens").await.json();
    let tokens = tokens["tokens"].as_array().unwrap();
    let ana = tokens.iter().find(|token| token["name"] == "ana").unwrap();
    server.done(&["token", "rm", ana["id"].as_str().unwrap()]);
    assert_eq!(browser.get("/").await.status, 303);
    browser.post("/databases/orders", &OFFICE).await.expect(403);
    // One that expires.
    let secret = server.token(&["soon", "--preset", "admin", "--for", "2s"]);
    let mut browser = Browser::logged_in(&server, &secret).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_a_restart_and_its_secret_is_nowhere() {
    let mut server = Server::start();
    let browser = Browser::logged_in(&server, &server.admin()).await;
    let secret = browser.cookie.split_once('=').unwrap().1.to_owned();
    assert_eq!(secret.len(), 64);
    assert!(!server.done(&["store", "dump"]).contains(&secret));
    assert!(!server.log().contains(&secret));
    server.stop(nix::sys::signal::Signal::SIGTERM);
    server.spawn(&[]);
    let mut again = Browser::new(&server).await;
    again.cookie = browser.cookie.clone();
    assert!(again.page("/").await.contains("No database yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_are_limited_and_a_token_is_let_in_all_the_same() {
    let server = Server::start();
    let mut browser = Browser::new(&server).await;
    let wrong = format!("dodbfw_{}", "1".repeat(64));
    let mut refused = 0;
    // At most two windows of a minute.
    for _ in 0..60 {
        let reply = browser.log_in(&wrong).await;
        match reply.status {
            403 => refused += 1,
            429 => {
                assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
                break;
            }
            other => panic!("{other}"),
        }
    }
    assert!((20..=40).contains(&refused), "{refused}");
    browser.log_in(&server.admin()).await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let page = browser.page("/").await;
    let (style, script) = (
        value_of(&page, "rel=\"stylesheet\" href=\""),
        value_of(&page, "script type=\"module\" src=\""),
    );
    let nobody = Browser::new(&server).await;
    let paths = [
        ("/", 200),
        ("/login", 200),
        ("/databases/orders", 200),
        ("/databases/orders/history", 200),
        ("/tokens", 200),
        ("/nothing", 404),
        ("/databases/none", 404),
        ("/logout", 405),
        ("/databases/orders/edit/x", 404),
        ("/databases/orders/revert/7", 404),
        ("/databases/orders/revert/x", 404),
        ("/assets/none.css", 404),
        (&*style, 200),
        (&*script, 200),
    ];
    for mut browser in [browser, nobody] {
        for (path, status) in paths {
            let reply = browser.get(path).await;
            assert!([status, 303].contains(&reply.status), "{path}: {}", reply.status);
            let policy = reply.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{path}");
            assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
            assert!(reply.header("strict-transport-security").is_some(), "{path}");
            let cached = reply.header("cache-control").unwrap();
            let is_asset = path == style || path == script;
            assert_eq!(cached.contains("immutable"), is_asset, "{path}: {cached}");
            assert_eq!(cached == "no-store", !is_asset, "{path}: {cached}");
            let page = String::from_utf8(reply.body).unwrap();
            for inline in ["<style", "style=\"", "onclick", "javascript:"] {
                assert!(!page.contains(inline) || is_asset, "{path} has {inline}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_does_nothing() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let own = ("origin", "https://localhost");
    let foreign: [&[(&str, &str)]; 9] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), own],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[OWN, ("origin", "https://evil.example")],
        &[("origin", "https://localhost.evil.example")],
    ];
    for headers in foreign {
        for path in ["/databases/orders", "/databases", "/tokens", "/login", "/logout", "/none"] {
            let headers = [headers, &[FORM]].concat();
            let reply = browser.send("POST", path, &headers, encoded(&OFFICE)).await;
            let page = text(&reply.expect(403));
            assert!(page.contains("was not sent by a page of this server"), "{headers:?}");
        }
    }
    assert_eq!(server.sources("orders").await, [""; 0]);
    // Still logged in, and the browser's own forms are taken: by either header.
    let reply = browser.send("POST", "/databases/orders", &[own, FORM], encoded(&OFFICE)).await;
    reply.expect(303);
    // Other methods, and other ways to send a form.
    browser.send("DELETE", "/databases/orders", &[OWN], String::new()).await.expect(405);
    let json = ("content-type", "application/json");
    browser.send("POST", "/databases/orders", &[OWN, json], "{}".into()).await.expect(400);
    browser.send("POST", "/databases/orders", &[OWN], String::new()).await.expect(400);
    assert_eq!(server.sources("orders").await, ["ip_addr:198.51.100.0/24"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_for_pages_and_bearers_for_apis() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    browser.get("/api/v1/databases").await.expect(401);
    browser.get("/v2/account").await.expect(401);
    for path in ["/api/none", "/v2/none", "/v1/none", "/api"] {
        let reply = browser.get(path).await;
        assert!([401, 404, 501].contains(&reply.status), "{path}: {}", reply.status);
    }
    let mut client = server.connect(&server.admin()).await;
    assert_eq!(client.get("/").await.status, 303);
    assert_eq!(client.send("POST", "/databases/orders", &[OWN, FORM], "").await.status, 403);
    // The page that a link of another site leads to fetches itself with the cookie.
    let cross = [("sec-fetch-site", "cross-site")];
    let reply = client.send("GET", "/databases/orders?q=1", &cross, "").await.expect(200);
    assert_eq!(reply.header("refresh"), Some("0; url=/databases/orders?q=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_added_edited_and_removed() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let uuid = browser.trust("orders", &OFFICE).await;
    let page = browser.page("/databases/orders").await;
    for part in ["198.51.100.0/24", "256 addresses", "the office", "does not name the address"] {
        assert!(page.contains(part), "{part}");
    }
    // What cannot be: told, with what was filled in.
    let wrong = [("type", "ip_addr"), ("value", "10.0.0.300"), ("description", "kept <b>")];
    let page = text(&browser.post("/databases/orders", &wrong).await.expect(422));
    assert!(page.contains("Nothing was changed") && page.contains("kept &lt;b&gt;"), "{page}");
    let wide = [("type", "ip_addr"), ("value", "0.0.0.0/0")];
    assert!(
        text(&browser.post("/databases/orders", &wide).await.expect(422)).contains("allow_any")
    );
    let until = [OFFICE[0], ("value", "192.0.2.1"), ("for", "until"), ("until", "soon")];
    assert!(text(&browser.post("/databases/orders", &until).await.expect(422)).contains("UTC"));
    // One that is there is not cut by an end that is meant for a new one.
    let again = [OFFICE[0], OFFICE[1], ("for", "1h")];
    let page = text(&browser.post("/databases/orders", &again).await.expect(409));
    assert!(page.contains("is in the list already, added by admin"), "{page}");
    // Edited.
    let path = format!("/databases/orders/edit/{uuid}");
    let tag = browser.tag(&path).await;
    let fields =
        [("list", &*tag), ("description", "the new office"), ("for", "1d"), ("reason", "moved")];
    let reply = browser.post(&path, &fields).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=edited"));
    let mut client = server.connect(&server.admin()).await;
    let listed = client.get("/api/v1/databases/orders/sources").await.json();
    let source = &listed["sources"][0];
    assert_eq!(source["description"], "the new office");
    let end: Timestamp = source["expires_at"].as_str().unwrap().parse().unwrap();
    let left = end.duration_since(Timestamp::now()).as_secs();
    assert!((86_000..=86_400).contains(&left), "{left}");
    // "As long as now" leaves the end, and says so if nothing is new.
    let tag = browser.tag(&path).await;
    let fields = [("list", &*tag), ("description", "the new office"), ("for", "keep")];
    let reply = browser.post(&path, &fields).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=unchanged"));
    // Removed, behind a page that tells what that does.
    let path = format!("/databases/orders/remove/{uuid}");
    let page = browser.page(&path).await;
    assert!(page.contains("It is the last one") && page.contains("does not concern your own"));
    let tag = browser.tag(&path).await;
    let reply = browser.post(&path, &[("list", &tag), ("reason", "closed")]).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=removed"));
    assert_eq!(server.sources("orders").await, [""; 0]);
    browser.get(&path).await.expect(404);
    // The history tells who, how, from where and why; and goes back.
    let page = browser.page("/databases/orders/history").await;
    for part in ["via panel from <code>127.0.0.1</code>", "moved", "closed", "/revert/1"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = browser.page("/databases/orders/revert/2").await;
    assert!(page.contains("the new office") && page.contains("added"), "{page}");
    let tag = browser.tag("/databases/orders/revert/2").await;
    let reply = browser.post("/databases/orders/revert/2", &[("list", &tag)]).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=reverted"));
    assert_eq!(server.sources("orders").await, ["ip_addr:198.51.100.0/24"]);
    assert!(browser.page("/databases/orders/history").await.contains("back to version 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_tells_whether_it_cuts_ones_own_address() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let reply = browser.post("/databases/orders/own", &[("for", "1h")]).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=added"));
    assert_eq!(server.sources("orders").await, ["ip_addr:127.0.0.1"]);
    let page = browser.page("/databases/orders").await;
    assert!(page.contains("your address") && !page.contains("does not name the address"));
    let own = value_of(&page, "/databases/orders/remove/");
    let path = format!("/databases/orders/remove/{own}");
    assert!(browser.page(&path).await.contains("This cuts your own address"));
    browser.trust("orders", &[("type", "tag"), ("value", "backend")]).await;
    assert!(browser.page(&path).await.contains("may still stand for it"));
    browser.trust("orders", &[("type", "ip_addr"), ("value", "127.0.0.0/8")]).await;
    let page = browser.page(&path).await;
    assert!(
        page.contains("stays trusted") && page.contains("127.0.0.0/8</bdi> names it too"),
        "{page}"
    );
    assert!(page.contains("All of its addresses stay trusted"), "{page}");
    // Going back to when it was not there cuts it too.
    let page = browser.page("/databases/orders/revert/0").await;
    assert!(page.contains("This cuts your own address") && page.contains("list is empty then"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_meanwhile_is_told_and_nothing_is_lost() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let uuid = browser.trust("orders", &OFFICE).await;
    for what in ["edit", "remove"] {
        let path = format!("/databases/orders/{what}/{uuid}");
        let tag = browser.tag(&path).await;
        let mut client = server.connect(&server.admin()).await;
        let other = if what == "edit" { "192.0.2.1" } else { "192.0.2.2" };
        client.append("orders", "ip_addr", other).await.expect(204);
        let fields = [("list", &*tag), ("description", "mine"), ("reason", "mine too")];
        let page = text(&browser.post(&path, &fields).await.expect(412));
        assert!(page.contains("The list has changed since this page was opened"), "{page}");
        assert!(page.contains(other) && page.contains("mine too"), "{page}");
        let now = value_of(&page, "name=\"list\" value=\"").replace("&quot;", "\"");
        assert_ne!(now, tag);
        let fields = [("list", &*now), ("description", "mine"), ("for", "keep")];
        browser.post(&path, &fields).await.expect(303);
    }
    // Without the list's version nothing is done at all.
    browser.post("/databases/orders/revert/0", &[]).await.expect(412);
    assert_eq!(server.sources("orders").await, ["ip_addr:192.0.2.2", "ip_addr:192.0.2.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_offered_what_it_may_do_and_does_no_more() {
    let mut server = Server::start();
    server.database("orders");
    server.database("reports");
    let mut admin = Browser::logged_in(&server, &server.admin()).await;
    let uuid = admin.trust("orders", &OFFICE).await;
    let viewer = server.token(&["viewer", "--preset", "viewer", "--database", "orders"]);
    let mut viewer = Browser::logged_in(&server, &viewer).await;
    let page = viewer.page("/").await;
    assert!(page.contains("orders") && !page.contains("reports"), "{page}");
    assert!(!page.contains("Add a database") && !page.contains("/tokens"), "{page}");
    let page = viewer.page("/databases/orders").await;
    assert!(page.contains("the office") && !page.contains("/edit/"), "{page}");
    assert!(!page.contains("Trust a source") && !page.contains("Trust it"), "{page}");
    assert!(!viewer.page("/databases/orders/history").await.contains("/revert/"));
    for path in ["/databases/reports", "/databases/none", "/databases/reports/history", "/tokens"] {
        viewer.get(path).await.expect(403);
    }
    for path in
        [format!("/databases/orders/edit/{uuid}"), format!("/databases/orders/remove/{uuid}")]
    {
        viewer.get(&path).await.expect(403);
        viewer.post(&path, &[("list", "*")]).await.expect(403);
    }
    for path in [
        "/databases/orders",
        "/databases/orders/own",
        "/databases/orders/revert/0",
        "/databases",
        "/tokens",
    ] {
        viewer.post(path, &OFFICE).await.expect(403);
    }
    let nobody = "/tokens/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30/revoke";
    viewer.get(nobody).await.expect(403);
    viewer.post(nobody, &[]).await.expect(403);
    assert_eq!(server.sources("orders").await, ["ip_addr:198.51.100.0/24"]);
    // Who changes lists need not see their history.
    let secret = server.token(&["w", "--scope", "database:read", "--scope", "database:update"]);
    let mut writer = Browser::logged_in(&server, &secret).await;
    let page = writer.page("/databases/orders").await;
    assert!(page.contains("Trust a source") && !page.contains("/history"), "{page}");
    writer.get("/databases/orders/history").await.expect(403);
    writer.trust("orders", &[("type", "ip_addr"), ("value", "192.0.2.1")]).await;
    // A token that reads nothing.
    let secret = server.token(&["t", "--scope", "token:read"]);
    let mut other = Browser::logged_in(&server, &secret).await;
    other.get("/").await.expect(403);
    assert!(!other.page("/tokens").await.contains("Make a token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_listed_for_whoever_sees_their_databases() {
    let mut server = Server::start();
    server.database("orders");
    server.database("reports");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    assert!(browser.page("/hosts").await.contains("No host has joined yet"));
    let mut client = server.connect(&server.admin()).await;
    let grant = json!({ "databases": ["orders", "reports"] });
    let grant = client.document("POST", "/api/v1/join-tokens", &grant).await.expect(201).json();
    let request = json!({ "token": grant["secret"], "hostname": "db-1" });
    client.token = None;
    client.document("POST", "/agent/v1/join", &request).await.expect(201);
    let page = browser.page("/hosts").await;
    for part in ["db-1", "/databases/orders", "/databases/reports", "<code>127.0.0.1</code>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let secret = server.token(&["viewer", "--preset", "viewer", "--database", "orders"]);
    assert!(!page.contains("Findings of audits"), "{page}");
    let page = Browser::logged_in(&server, &secret).await.page("/hosts").await;
    assert!(page.contains("db-1") && page.contains("and 1 more"), "{page}");
    assert!(!page.contains("reports"), "{page}");
    server.database("other");
    let secret = server.token(&["other", "--preset", "viewer", "--database", "other"]);
    let page = Browser::logged_in(&server, &secret).await.page("/hosts").await;
    assert!(page.contains("No host has joined yet") && !page.contains("db-1"), "{page}");
    let secret = server.token(&["r", "--scope", "database:read"]);
    let mut reader = Browser::logged_in(&server, &secret).await;
    assert!(!reader.page("/").await.contains("/hosts"));
    reader.get("/hosts").await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_shown_to_whoever_sees_their_database() {
    let mut server = Server::start();
    for name in ["orders", "reports"] {
        server.database(name);
    }
    let mut agent = Agent::join(&server, "db-1", &["orders", "reports"]).await;
    let (_stream, _) = agent.sync().await;
    let audit = HostAudit { findings: vec![], more: false, ..agent.audit("orders") };
    let report = Report { host: agent.id, boot: agent.boot, ..Report::default() };
    agent.send(&Report { audit: Some(audit), ..report.clone() }).await.expect(204);
    let mut admin = Browser::logged_in(&server, &server.admin()).await;
    assert!(admin.page("/hosts").await.contains("nothing was found"));

    agent.send(&Report { audit: Some(agent.audit("orders")), ..report }).await.expect(204);
    assert!(admin.page("/hosts").await.contains("X-5"));
    for (database, sees) in [("orders", true), ("reports", false)] {
        let secret = server.token(&[database, "--preset", "viewer", "--database", database]);
        let page = Browser::logged_in(&server, &secret).await.page("/hosts").await;
        assert_eq!(page.contains("X-5"), sees, "{database}: {page}");
        assert!(page.contains("E-1"), "the host's are shown to all: {page}");
        let mut client = server.connect(&secret).await;
        let hosts = client.get("/api/v1/hosts").await.expect(200).json();
        let findings = hosts["hosts"][0]["live"]["audit"]["findings"].as_array().unwrap();
        assert_eq!(findings.iter().any(|finding| finding["check"] == "X-5"), sees, "{hosts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_revoked() {
    let server = Server::start();
    let orders = server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let fields = [
        ("name", "ci"),
        ("preset", "own"),
        ("scope", "database:read"),
        ("scope", "token:create"),
        ("databases", "some"),
        ("database", &orders),
        ("for", "30d"),
    ];
    let page = text(&browser.post("/tokens", &fields).await.expect(201));
    let secret = value_of(&page, "readonly value=\"");
    let mut client = server.connect(&secret).await;
    client.get("/v2/databases/orders/firewall").await.expect(200);
    client.put("orders", &[]).await.expect(403);
    let page = browser.page("/tokens").await;
    assert!(page.contains("database:read, token:create") && !page.contains(&secret), "{page}");
    // Nobody passes on what they have not.
    let mut ci = Browser::logged_in(&server, &secret).await;
    let page = ci.page("/tokens").await;
    assert!(page.contains("Make a token") && !page.contains("database:update"), "{page}");
    assert!(!page.contains("all databases") && !page.contains("value=\"admin\""), "{page}");
    for more in [
        [("name", "x"), ("preset", "admin"), ("databases", "all")],
        [("name", "x"), ("scope", "database:read"), ("databases", "all")],
    ] {
        ci.post("/tokens", &more).await.expect(403);
    }
    let page =
        text(&browser.post("/tokens", &[("name", ""), ("preset", "viewer")]).await.expect(422));
    assert!(page.contains("name: is no name"), "{page}");
    let page =
        text(&browser.post("/tokens", &[("name", "x"), ("preset", "own")]).await.expect(422));
    assert!(page.contains("scopes: are empty"), "{page}");
    // Revoked behind a page.
    let page = browser.page("/tokens").await;
    let rows: Vec<&str> = page.split("<tr").collect();
    let row = rows.iter().find(|row| row.contains(">ci<")).expect("its row");
    let path = format!("/tokens/{}/revoke", value_of(row, "/tokens/").replace("/revoke", ""));
    assert!(browser.page(&path).await.contains("Revoke a token?"));
    browser.post(&path, &[]).await.expect(303);
    client.get("/v2/databases/orders/firewall").await.expect(401);
    browser.get(&path).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_added() {
    let server = Server::start();
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    assert!(browser.page("/").await.contains("No database yet"));
    let fields =
        [("name", "orders"), ("engine", "mysql"), ("host", "db.example.com"), ("port", "3306")];
    let reply = browser.post("/databases", &fields).await.expect(303);
    assert_eq!(reply.header("location"), Some("/databases/orders?done=database-added"));
    assert!(browser.page("/").await.contains("db.example.com"));
    for (name, port, status, part) in [
        ("orders", "", 409, "there is a database with the name orders"),
        ("Orders!", "", 422, "name: a name has"),
        ("other", "x", 422, "port: is no port"),
    ] {
        let fields = [("name", name), ("engine", "pg"), ("port", port)];
        let page = text(&browser.post("/databases", &fields).await.expect(status));
        assert!(page.contains(part) && page.contains(name), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_and_forms_of_whoever_means_harm() {
    let server = Server::start();
    server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let script = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)> \"'&";
    let source =
        json!({ "type": "ip_addr", "value": "192.0.2.1", "description": script, "reason": script });
    client.document("POST", "/api/v1/databases/orders/sources", &source).await.expect(201);
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let query = encoded(&[("q", script)]);
    for path in [
        "/databases/orders".to_owned(),
        "/databases/orders/history".to_owned(),
        format!("/databases/orders?{query}"),
        format!("/databases/orders?done={query}"),
        format!("/login?next={query}"),
    ] {
        let page = browser.page(&path).await;
        assert!(!page.contains("<script>") && !page.contains("<img"), "{path}: {page}");
    }
    // A name in the path that is nobody's.
    let path = format!("/databases/{}", encoded(&[("", script)]).trim_start_matches('='));
    assert!(!text(&browser.get(&path).await.expect(404)).contains("<script>"));
    // Characters that turn the line are refused where they come in.
    let turned = [OFFICE[0], ("value", "192.0.2.9"), ("description", "a\u{202e}b")];
    browser.post("/databases/orders", &turned).await.expect(422);
    // Bounds.
    let large = format!("value={}", "a".repeat(300 << 10));
    browser.send("POST", "/databases/orders", &[OWN, FORM], large).await.expect(413);
    let many = "a&".repeat(6000);
    browser.send("POST", "/databases/orders", &[OWN, FORM], many).await.expect(413);
    let bytes = "value=%ff%00%f0&type=%80&description=%".to_owned();
    browser.send("POST", "/databases/orders", &[OWN, FORM], bytes).await.expect(422);
    for path in [
        "/databases/%ff",
        "/databases/orders/edit/%00",
        "/databases/%2e%2e%2flogin",
        "/assets/..%2f",
    ] {
        let status = browser.get(path).await.status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    for query in ["page=0", "page=99999999999999999999", "page=-1", "q=%00", "before=x", "done=x"] {
        browser.get(&format!("/databases/orders?{query}")).await.expect(200);
        browser.get(&format!("/databases/orders/history?{query}")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_a_list_come_at_once_and_end_with_the_session() {
    let server = Server::start();
    let id = server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector(&server.ca()).connect(name, stream).await.unwrap();
    let request =
        format!("GET /events HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\n\r\n", browser.cookie);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    // The head and the first line.
    while !seen.contains("retry:") {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(seen.contains("text/event-stream"), "{seen}");
    browser.trust("orders", &OFFICE).await;
    while !seen.contains(&format!("data: list:{id}")) {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    // A host says what it enforces, and whom it refuses.
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (_agents, _) = agent.sync().await;
    agent.report_trouble("orders").await;
    for topic in ["state", "refused"] {
        while !seen.contains(&format!("data: {topic}:{id}")) {
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
    // Its pages are those that follow such news.
    for (path, topic) in [("hosts", "state"), ("refused", "refused")] {
        let page = browser.page(&format!("/databases/orders/{path}")).await;
        assert!(page.contains(&format!("list:{id} {topic}:{id}")), "{page}");
    }
    browser.post("/logout", &[]).await.expect(303);
    // The next news is not told any more, and the answer ends.
    seen.clear();
    let mut client = server.connect(&server.admin()).await;
    client.append("orders", "ip_addr", "192.0.2.7").await.expect(204);
    while !seen.contains("\r\n0\r\n") && !seen.starts_with("0\r\n") {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    // What hosts said before may still have been on its way.
    assert!(!seen.contains("data: list:"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_not_believed_and_the_admin_socket_has_no_panel() {
    let server = Server::start();
    server.database("orders");
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let forged = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
    let page =
        text(&browser.send("GET", "/databases/orders", &forged, String::new()).await.expect(200));
    assert!(page.contains("<code>127.0.0.1</code>") && !page.contains("203.0.113.9\""), "{page}");
    let output = std::process::Command::new("curl")
        .args(["-s", "--unix-socket"])
        .arg(server.path("run/admin.sock"))
        .args(["http://localhost/", "http://localhost/login"])
        .output()
        .unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.matches("\"id\":\"not_found\"").count(), 2, "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_whom_they_refuse_are_shown_and_trusted_with_one_click() {
    let mut server = Server::with("wait = \"0s\"");
    server.database("orders");
    let mut editor = server.connect(&server.admin()).await;
    editor.append("orders", "ip_addr", "192.0.2.1").await.expect(204);
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    let empty = browser.page("/databases/orders/hosts").await;
    assert!(empty.contains("No host reads this list"), "{empty}");
    assert!(browser.page("/databases/orders/refused").await.contains("Nobody was refused"));
    assert!(browser.page("/databases/orders").await.contains("not known"), "no use is known");

    let mut agent = Agent::join(&server, "db-<1>", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    while agent.sources("orders") != ["ip_addr:192.0.2.1"] {
        agent.next(&mut stream).await.expect("the list");
    }
    agent.report_trouble("orders").await;

    let hosts = browser.page("/databases/orders/hosts").await;
    for part in ["db-&lt;1&gt;", "refused", "max_shrink", "dbfw reload --confirm", "&lt;b&gt;"] {
        assert!(hosts.contains(part), "{part}: {hosts}");
    }
    let audited = browser.page("/hosts").await;
    for part in
        ["X-5", "E-1", "the host", "&lt;img src=x&gt;", "level <bdi>wire", "dire", "dbfw audit"]
    {
        assert!(audited.contains(part), "{part}: {audited}");
    }
    assert!(!audited.contains("not its database") && !audited.contains("<img src"), "{audited}");
    assert!(browser.page("/").await.contains("degraded"));
    let sources = browser.page("/databases/orders").await;
    assert!(sources.contains(", 41 packets"), "{sources}");
    let refused = browser.page("/databases/orders/refused").await;
    for part in ["198.51.100.7", "1 host only", "tcp/5432", "db-&lt;1&gt;", "for good"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let fields = [("address", "198.51.100.7"), ("for", "1h")];
    browser.post("/databases/orders/refused", &fields).await.expect(303);
    assert!(browser.page("/databases/orders").await.contains("198.51.100.7"));
    assert!(browser.page("/databases/orders/refused").await.contains("trusted now"));
    let nonsense = [("address", "nobody"), ("for", "1h")];
    browser.post("/databases/orders/refused", &nonsense).await.expect(422);

    // Who may only read is offered nothing, and does nothing.
    let viewer = server.token(&["reader", "--preset", "viewer", "--database", "orders"]);
    let mut viewer = Browser::logged_in(&server, &viewer).await;
    let page = viewer.page("/databases/orders/refused").await;
    assert!(!page.contains("for good"), "{page}");
    viewer.post("/databases/orders/refused", &fields).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_has_logins_tokens_hosts_and_databases() {
    let mut server = Server::start();
    server.database("orders");
    server.token(&["temp<b>", "--preset", "viewer"]);
    let admin = server.admin();
    let mut browser = Browser::new(&server).await;
    let wrong = format!("dodbfw_{}", "0".repeat(64));
    browser.log_in(&wrong).await.expect(403);
    browser.log_in(&wrong).await.expect(403);
    browser.log_in(&admin).await.expect(303);
    let agent = Agent::join(&server, "db-1", &["orders"]).await;
    server.done(&["hosts", "rm", &agent.id.to_string()]);
    server.connect("dodbfw_0").await.get("/v2/account").await.error(401);
    let entries = |reply: Reply| -> Vec<Vec<String>> {
        let entries = reply.json()["entries"].as_array().expect("entries").clone();
        let word =
            |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let words = |entry: &serde_json::Value| {
            ["action", "subject", "by", "via", "from"].map(|name| word(entry, name)).to_vec()
        };
        entries.iter().map(words).collect()
    };
    let mut client = server.connect(&admin).await;
    // What is refused is written down a moment later.
    let patience = std::time::Instant::now() + PATIENCE;
    let found = loop {
        let found = entries(client.get("/api/v1/audit").await.expect(200));
        if found.iter().any(|entry| entry[0] == "token_refused") {
            break found;
        }
        assert!(std::time::Instant::now() < patience, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for expected in [
        ["database_added", "orders", "root", "admin", "-"],
        ["token_added", "temp<b>", "root", "admin", "-"],
        ["login_refused", "", "-", "panel", "127.0.0.1"],
        ["logged_in", "admin", "admin", "panel", "127.0.0.1"],
        ["host_joined", "db-1", "-", "api", "127.0.0.1"],
        ["host_removed", "db-1", "root", "admin", "-"],
        ["token_refused", "", "-", "api", "127.0.0.1"],
    ] {
        let count = found.iter().filter(|entry| **entry == expected).count();
        assert_eq!(count, 1, "{expected:?} in {found:?}");
    }
    let limited = entries(client.get("/api/v1/audit?limit=2").await.expect(200));
    assert_eq!(limited, found[..2]);
    client.get("/api/v1/audit?before=yesterday").await.error(422);
    let page = browser.page("/audit").await;
    for part in ["Made the token", "temp&lt;b&gt;", "A host joined:", "wrong token", "127.0.0.1"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Nobody finds a secret there, and it is not for who may see one database alone.
    let digits = &admin["dodbfw_".len()..];
    assert!(!page.contains(digits) && !server.done(&["store", "dump"]).contains(digits));
    let limited = server.token(&["own", "--preset", "admin", "--database", "orders"]);
    server.connect(&limited).await.get("/api/v1/audit").await.error(403);
    let mut browser = Browser::logged_in(&server, &limited).await;
    browser.get("/audit").await.expect(403);
    assert!(!browser.page("/").await.contains("href=\"/audit\""));
}
