//! The panel in a real browser: Debian's Chromium, driven through chromedriver, with axe-core in
//! its pages. `cargo xtask setup` installs them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};

use rustls::crypto::ring;
use serde_json::{Value, json};
use thirtyfour::{
    By, Capabilities, RequestData, SessionId, WebDriver, WebElement,
    common::command::FormatRequestData, error::WebDriverErrorInner,
};

use crate::{
    agent::Agent,
    support::{PATIENCE, Server},
};

/// The file that setup fetches.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/axe-core/axe.min.js");

const SETUP: &str = "`cargo xtask setup` installs it";

/// A driver of browsers, which ends with it.
struct Driver {
    process: Child,
    address: String,
}

impl Driver {
    fn start() -> Self {
        // The client of the driver speaks TLS too, and takes the provider of the process.
        let _ = ring::default_provider().install_default();
        let process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process =
            process.unwrap_or_else(|error| panic!("cannot start chromedriver ({error}): {SETUP}"));
        let said = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let port = said.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.expect("chromedriver says where it listens");
        Self { process, address: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command of the driver that is not WebDriver's.
#[derive(Debug)]
struct Extra(&'static str, Value);

impl FormatRequestData for Extra {
    fn format_request(&self, session: &SessionId) -> RequestData {
        let path = format!("/session/{session}/{}", self.0);
        RequestData::new(axum::http::Method::POST, path).add_body(self.1.clone())
    }
}

/// A browser with an empty profile.
struct Browser {
    driver: WebDriver,
    address: String,
}

impl Browser {
    /// A browser for a server, with or without JavaScript.
    async fn start(driver: &Driver, server: &Server, has_scripts: bool) -> Self {
        let scripts = if has_scripts { 1 } else { 2 };
        let options = json!({
            // Without a sandbox of its own: root may have none, and the pages are this server's.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"],
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        });
        let mut capabilities = Capabilities::new();
        // The server's authority is its own.
        capabilities.set("acceptInsecureCerts", json!(true)).unwrap();
        capabilities.set("goog:loggingPrefs", json!({ "browser": "ALL" })).unwrap();
        capabilities.set("goog:chromeOptions", options).unwrap();
        let started = WebDriver::new(&driver.address, capabilities).await;
        let driver = started.unwrap_or_else(|error| panic!("no browser ({error}): {SETUP}"));
        let address = format!("https://localhost:{}", server.address().port());
        Self { driver, address }
    }

    async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.address)).await.unwrap();
    }

    /// The path that the browser shows.
    async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap().to_string();
        url.strip_prefix(&self.address).unwrap_or(&url).to_owned()
    }

    async fn find(&self, selector: &str) -> WebElement {
        let found = self.driver.find(By::Css(selector)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{selector}: {error}\n{}", self.text().await),
        }
    }

    async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn choose(&self, selector: &str, value: &str) {
        self.find(&format!("{selector} option[value=\"{value}\"]")).await.click().await.unwrap();
    }

    /// Clicks; on the next one where news have replaced the element meanwhile.
    async fn click(&self, selector: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.find(selector).await.click().await {
            let is_replaced =
                matches!(error.as_inner(), WebDriverErrorInner::StaleElementReference(_));
            assert!(is_replaced && Instant::now() < deadline, "{selector}: {error}");
        }
    }

    /// The text of the page, as somebody sees it; empty while another one comes.
    async fn text(&self) -> String {
        match self.driver.find(By::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says something.
    async fn wait(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.text().await;
            if shown.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {text:?}: {shown}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn log_in(&self, token: &str) {
        self.go("/login").await;
        self.fill("#token", token).await;
        self.click("main button").await;
        self.wait("Logged in as").await;
    }

    async fn extra(&self, path: &'static str, body: Value) -> Value {
        self.driver.handle().cmd(Extra(path, body)).await.unwrap().value_json().unwrap()
    }

    async fn cdp(&self, command: &str, parameters: Value) {
        self.extra("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// A screen of a width, light or dark.
    async fn screen(&self, width: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    /// Complaints of the browser: blocked scripts and styles, files that are not there.
    async fn complaints(&self) -> Vec<String> {
        let log = self.extra("se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().expect("a log").iter();
        let serious =
            entries.filter(|entry| entry["level"] == "SEVERE" || entry["source"] == "security");
        serious.map(|entry| entry["message"].to_string()).collect()
    }

    /// The rules of axe-core that the page breaks, and where.
    async fn violations(&self) -> Vec<String> {
        let axe = fs::read_to_string(AXE);
        let axe = axe.unwrap_or_else(|error| panic!("cannot read {AXE} ({error}): {SETUP}"));
        self.driver.execute(axe, Vec::new()).await.unwrap();
        let script = "const done = arguments[arguments.length - 1]; axe.run().then(
            ({ violations, passes }) => done(passes.length < 10 ? ['axe looked at nothing']
                : violations.map((v) => v.id + ' ' + v.nodes.map((n) => n.html.slice(0, 200)).join(' | '))),
            (error) => done([String(error)]));";
        let found = self.driver.execute_async(script, Vec::new()).await.unwrap();
        serde_json::from_value(found.json().clone()).unwrap()
    }

    /// The width of the page beyond its screen.
    async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - window.innerWidth";
        let found = self.driver.execute(script, Vec::new()).await.unwrap();
        found.json().as_i64().expect("a number")
    }

    async fn quit(self) {
        self.driver.quit().await.unwrap();
    }
}

/// Every edit, by the forms alone.
async fn edits(browser: &Browser, server: &Server) {
    browser.log_in(&server.admin()).await;
    browser.wait("No database yet").await;
    browser.fill("#name", "orders").await;
    browser.click("details button").await;
    browser.wait("The database was added").await;
    // Adding.
    browser.fill("#value", "198.51.100.0/24").await;
    browser.fill("#description", "the office").await;
    browser.click("form[aria-labelledby=add] button").await;
    browser.wait("The trusted source was added").await;
    assert_eq!(server.sources("orders").await, ["ip_addr:198.51.100.0/24"]);
    // What cannot be.
    browser.fill("#value", "0.0.0.0/0").await;
    browser.click("form[aria-labelledby=add] button").await;
    browser.wait("Nothing was changed").await;
    let value = browser.find("#value").await.prop("value").await.unwrap();
    assert_eq!(value.as_deref(), Some("0.0.0.0/0"), "what was filled in is kept");
    // Temporary access.
    browser.click("form.own button[value=\"1h\"]").await;
    browser.wait("The trusted source was added").await;
    browser.wait("your address").await;
    browser.fill("#value", "203.0.113.7").await;
    browser.choose("#for", "1d").await;
    browser.click("form[aria-labelledby=add] button").await;
    browser.wait("in 1 d").await;
    // Editing.
    browser.click("tbody tr:last-child .actions a").await;
    browser.wait("Edit a trusted source").await;
    browser.fill("#description", "the new office").await;
    browser.fill("#reason", "moved").await;
    browser.click("main form button").await;
    browser.wait("The trusted source was changed").await;
    browser.wait("the new office").await;
    // Removing, behind a page that says what that does.
    browser.click("tbody tr:nth-child(2) .actions a.danger").await;
    browser.wait("This cuts your own address").await;
    browser.click("main form a.button").await;
    browser.wait("3 trusted sources").await;
    browser.click("tbody tr:last-child .actions a.danger").await;
    browser.wait("It does not concern your own address").await;
    browser.click("main form button").await;
    browser.wait("The trusted source was removed").await;
    let left = server.sources("orders").await;
    assert_eq!(left.len(), 2, "{left:?}");
    // Back.
    browser.click(".tabs a:last-child").await;
    browser.wait("moved").await;
    browser.click("tbody tr:nth-child(2) .actions a").await;
    browser.wait("This makes a new version").await;
    browser.click("main form button").await;
    browser.wait("The list is as it was").await;
    assert_eq!(server.sources("orders").await.len(), 3);
    // A token, made and used.
    browser.go("/tokens").await;
    browser.fill("#name", "ci").await;
    browser.click("input[value=editor]").await;
    browser.click("input[name=databases][value=some]").await;
    browser.click("input[name=database]").await;
    browser.click("form[aria-labelledby=make] button").await;
    browser.wait("Copy it now").await;
    let secret = browser.find("#secret").await.prop("value").await.unwrap().unwrap();
    let mut client = server.connect(&secret).await;
    client.append("orders", "ip_addr", "192.0.2.77").await.expect(204);
    browser.go("/tokens").await;
    browser.wait("editor").await;
    assert!(!browser.text().await.contains(&secret));
    browser.click("form.who button").await;
    browser.wait("You are logged out").await;
    browser.go("/databases/orders").await;
    assert!(browser.path().await.starts_with("/login"), "{}", browser.path().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_done_with_javascript() {
    let (server, driver) = (Server::start(), Driver::start());
    let browser = Browser::start(&driver, &server, true).await;
    edits(&browser, &server).await;
    let complaints = browser.complaints().await;
    // The forms that were refused on purpose are told as failed loads.
    let others: Vec<_> = complaints.iter().filter(|text| !text.contains("422")).collect();
    assert!(others.is_empty(), "{others:?}");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_done_without_javascript() {
    let (server, driver) = (Server::start(), Driver::start());
    let browser = Browser::start(&driver, &server, false).await;
    edits(&browser, &server).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_keeps_people_from_any_page() {
    let (server, driver) = (Server::start(), Driver::start());
    let browser = Browser::start(&driver, &server, true).await;
    browser.go("/login").await;
    let bad =
        "document.querySelector('main').innerHTML += '<img src=\"/assets/none\"><button></button>'";
    browser.driver.execute(bad, Vec::new()).await.unwrap();
    assert!(!browser.violations().await.is_empty(), "axe-core finds nothing at all");
    browser.complaints().await;
    let mut paths = vec!["/login".to_owned(), "/none".to_owned(), "/".to_owned()];
    for path in &paths[..2] {
        looked_at(&browser, path).await;
    }
    browser.log_in(&server.admin()).await;
    looked_at(&browser, "/").await;
    let hostile = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)> \"'&";
    server.database("orders");
    server.database(&"n".repeat(63));
    let mut client = server.connect(&server.admin()).await;
    for (kind, value, description) in [
        ("ip_addr", "198.51.100.0/24", "the office"),
        ("ip_addr", "127.0.0.1", ""),
        ("ip_addr", "192.0.2.1", hostile),
        ("ip_addr", "2001:db8:1234:5678::/64", &*"x".repeat(512)),
        ("tag", &"t".repeat(255), "long"),
    ] {
        let source =
            json!({ "type": kind, "value": value, "description": description, "for": "90m" });
        client.document("POST", "/api/v1/databases/orders/sources", &source).await.expect(201);
    }
    let listed = client.get("/api/v1/databases/orders/sources").await.json();
    paths.clear();
    for source in listed["sources"].as_array().unwrap().iter().take(3) {
        let uuid = source["uuid"].as_str().unwrap();
        paths.push(format!("/databases/orders/edit/{uuid}"));
        paths.push(format!("/databases/orders/remove/{uuid}"));
    }
    let tokens = client.get("/api/v1/tokens").await.json();
    let token = tokens["tokens"][0]["id"].as_str().unwrap();
    paths.push(format!("/tokens/{token}/revoke"));
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (_stream, _) = agent.sync().await;
    agent.report_trouble("orders").await;
    for path in [
        "/",
        "/?done=added",
        "/databases/orders",
        "/databases/orders?q=none",
        "/databases/orders/hosts",
        "/databases/orders/refused",
        "/databases/orders/history",
        "/databases/orders/revert/1",
        "/tokens",
        "/audit",
        "/hosts",
    ] {
        paths.push(path.to_owned());
    }
    paths.push(format!("/databases/{}", "n".repeat(63)));
    for path in &paths {
        looked_at(&browser, path).await;
    }
    // Forms that were refused, and the one page with a secret.
    browser.go("/databases/orders").await;
    browser.fill("#value", "nothing").await;
    browser.click("form[aria-labelledby=add] button").await;
    looked_at_here(&browser, "a refused form").await;
    browser.go("/tokens").await;
    browser.fill("#name", "ci").await;
    browser.click("form[aria-labelledby=make] button").await;
    looked_at_here(&browser, "a new token").await;
    browser.quit().await;
}

async fn looked_at(browser: &Browser, path: &str) {
    browser.go(path).await;
    looked_at_here(browser, path).await;
}

/// Looks at a page, light and dark, wide and narrow.
async fn looked_at_here(browser: &Browser, what: &str) {
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (320, "light"), (320, "dark")] {
        browser.screen(width, scheme).await;
        let found = browser.violations().await;
        assert!(found.is_empty(), "{what}, {width} px, {scheme}: {found:#?}");
        assert!(browser.overflow().await <= 0, "{what} is wider than {width} px");
    }
    let complaints = browser.complaints().await;
    let is_meant = |text: &&String| !text.contains("status of 4");
    let others: Vec<_> = complaints.iter().filter(is_meant).collect();
    assert!(others.is_empty(), "{what}: {others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_follow_changes_at_once() {
    let (server, driver) = (Server::start(), Driver::start());
    server.database("orders");
    let browser = Browser::start(&driver, &server, true).await;
    browser.log_in(&server.admin()).await;
    browser.go("/databases/orders").await;
    browser.wait("Nobody is trusted").await;
    browser.wait("live").await;
    // Somebody writes meanwhile: what they wrote stays, and so does the place they are at.
    browser.fill("#description", "half a sent").await;
    let mut client = server.connect(&server.admin()).await;
    client.append("orders", "ip_addr", "192.0.2.1").await.expect(204);
    let told = Instant::now();
    browser.wait("192.0.2.1").await;
    let took = told.elapsed();
    assert!(took.as_secs() < 5, "{took:?}");
    browser.find("#description").await.send_keys("ence").await.unwrap();
    let value = browser.find("#description").await.prop("value").await.unwrap();
    assert_eq!(value.as_deref(), Some("half a sentence"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_do_nothing() {
    let (server, driver) = (Server::start(), Driver::start());
    server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    for (at, text) in [
        "<script>document.title='gone'</script>",
        "<img src=x onerror=\"document.title='gone'\">",
        "\"><svg onload=document.title='gone'>",
        "</title></table></main><h1>gone</h1>",
        "<a href=javascript:document.title='gone'>gone</a>",
    ]
    .into_iter()
    .enumerate()
    {
        let value = format!("192.0.2.{at}");
        let source =
            json!({ "type": "ip_addr", "value": value, "description": text, "reason": text });
        client.document("POST", "/api/v1/databases/orders/sources", &source).await.expect(201);
    }
    let browser = Browser::start(&driver, &server, true).await;
    browser.log_in(&server.admin()).await;
    for path in ["/databases/orders", "/databases/orders/history", "/databases/orders/revert/0"] {
        browser.go(path).await;
        browser.wait("<script>document.title='gone'</script>").await;
        assert!(!browser.driver.title().await.unwrap().contains("gone"), "{path}");
        for selector in ["main script", "main img", "main svg", "a[href^=javascript]"] {
            let found = browser.driver.find_all(By::Css(selector)).await.unwrap();
            assert!(found.is_empty(), "{path} has {selector}");
        }
        assert_eq!(browser.driver.find_all(By::Css("h1")).await.unwrap().len(), 1, "{path}");
        assert!(browser.complaints().await.is_empty(), "{path}");
    }
    // A page of another site sends a form: the browser says so, and nothing is done.
    let form = format!(
        "data:text/html,<form method=post action={}/logout><button>x</button></form>",
        browser.address
    );
    browser.driver.goto(form).await.unwrap();
    browser.click("button").await;
    browser.wait("was not sent by a page of this server").await;
    // A script that is in the page all the same does not run.
    browser.go("/").await;
    let script =
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">');
        const inline = document.createElement('script'); inline.textContent = 'document.title = 2';
        document.body.append(inline);";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|text| text.contains("Content Security Policy")),
        "{complaints:?}"
    );
    assert!(browser.driver.title().await.unwrap().contains("Databases"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    let (server, driver) = (Server::start(), Driver::start());
    server.database("orders");
    let browser = Browser::start(&driver, &server, true).await;
    browser.go("/login").await;
    // The field has the focus from the start.
    let focus = browser.driver.active_element().await.unwrap();
    assert_eq!(focus.id().await.unwrap().as_deref(), Some("token"));
    focus.send_keys(format!("{}\u{e007}", server.admin())).await.unwrap();
    browser.wait("Logged in as").await;
    // From the top: skip link, brand, links, logout, then the table.
    let mut seen = Vec::new();
    for _ in 0..8 {
        let focus = browser.driver.active_element().await.unwrap();
        focus.send_keys("\u{e004}").await.unwrap();
        let focus = browser.driver.active_element().await.unwrap();
        seen.push(focus.text().await.unwrap());
        let script = "return getComputedStyle(document.activeElement).outlineStyle";
        let outline = browser.driver.execute(script, Vec::new()).await.unwrap();
        assert_eq!(outline.json(), "solid", "{seen:?}");
    }
    let bar = [
        "Skip to the content",
        "dbfw",
        "Databases",
        "Hosts",
        "Tokens",
        "Audit",
        "Log out",
        "orders",
    ];
    assert_eq!(seen, bar);
    let focus = browser.driver.active_element().await.unwrap();
    focus.send_keys("\u{e007}").await.unwrap();
    browser.wait("Nobody is trusted").await;
    browser.find("#value").await.send_keys("192.0.2.1\u{e007}").await.unwrap();
    browser.wait("The trusted source was added").await;
    // A form that is refused has the focus at the reason.
    browser.find("#value").await.send_keys("nothing\u{e007}").await.unwrap();
    browser.wait("Nothing was changed").await;
    let focus = browser.driver.active_element().await.unwrap();
    assert_eq!(focus.id().await.unwrap().as_deref(), Some("problem"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_shown_in_pages() {
    let (server, driver) = (Server::start(), Driver::start());
    server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let rules: Vec<Value> = (0..500)
        .map(|n| json!({ "type": "ip_addr", "value": format!("198.18.{}.{}", n / 250, n % 250) }))
        .collect();
    client.put("orders", &rules).await.expect(204);
    let browser = Browser::start(&driver, &server, true).await;
    browser.log_in(&server.admin()).await;
    browser.go("/databases/orders").await;
    browser.wait("500 trusted sources").await;
    let lines = browser.driver.find_all(By::Css("tbody tr")).await.unwrap();
    assert_eq!(lines.len(), 200);
    looked_at_here(&browser, "500 sources").await;
    browser.click("a[rel=next]").await;
    browser.wait("Page 2 of 3").await;
    browser.fill("#q", "198.18.1.249").await;
    browser.click("form.search button").await;
    browser.wait("1 source fits").await;
    assert!(browser.path().await.contains("?q=198.18.1.249"));
    browser.quit().await;
}
