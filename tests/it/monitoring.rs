//! Metrics as Prometheus and its tools read them, the alerts, and the dashboard.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use dbfw_tests::{
    agent::Host,
    pair::{METRICS, OTHER_PORT, Pair, STRANGER4, STRANGER6, TRUSTED4, interfaces, listed},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::providers::common::{digitalocean, server};

const RULES: &str = include_str!("../../packaging/prometheus/dbfw.rules.yml");
const RULES_TESTS: [&str; 2] = ["dbfw.test.yml", "dbfw.days.test.yml"];
const DOCUMENTATION: &str = include_str!("../../docs/metrics.md");

/// Queries that have no answer on a healthy host, and why.
const EMPTY: [(&str, &str); 1] = [(
    "sum by (provider, cause) (increase(dbfw_provider_request_failures_total[15m])) > 0",
    "no request fails",
)];

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path)
}

/// A list in a file, a source at a provider, and a second database in observe mode.
fn configure(host: &Host<'_>, tables: &str, sources: &str) {
    host.replace("orders.list", "10.77.0.2\n");
    let databases = format!(
        "{}\n[[database]]\nname = \"shop\"\nports = [{OTHER_PORT}]\nmode = \"observe\"\n\
         trusted_sources = [\"ip_addr:10.77.0.2\"{sources}]\n{tables}",
        listed(host, ""),
    );
    host.configure(&format!("{}\n{METRICS}", interfaces()), &databases);
}

/// Packets that are let in, dropped, and only observed.
fn knock(pair: &Pair) {
    assert!(pair.reaches(TRUSTED4));
    assert!(!pair.reaches(STRANGER4) && !pair.reaches(STRANGER6));
    assert!(pair.reaches_port(STRANGER4, OTHER_PORT));
}

#[track_caller]
fn assert_success(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    stdout
}

/// Has promtool read metrics, and reads them as node_exporter's textfile collector does: it takes
/// no timestamps, and no series twice.
#[track_caller]
fn assert_classic(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    promtool.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("write to it");
    let output = promtool.wait_with_output().expect("promtool's output");
    assert_success(&output);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "promtool says {output:?}");

    let mut seen = BTreeSet::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let end = line.rfind('}').map_or_else(|| line.find(' '), |brace| Some(brace + 1));
        let (series, value) = line.split_at(end.unwrap_or_else(|| panic!("no value in {line:?}")));
        assert!(value.trim().parse::<f64>().is_ok(), "not a value alone: {line:?}");
        assert!(seen.insert(series), "twice: {line:?}");
    }
    assert!(seen.contains("dbfw_up"), "{metrics}");
    assert!(metrics.ends_with('\n') && !metrics.contains("# EOF"), "{metrics}");
}

#[test]
fn promtool_takes_the_metrics_of_every_road() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    configure(&host, "", "");
    host.start();
    knock(&pair);
    let printed = assert_success(&host.dbfw(&["metrics"]));
    assert_classic(&printed);
    for line in [
        "dbfw_database_mode{database=\"orders\",mode=\"enforce\"} 1",
        "dbfw_database_mode{database=\"orders\",mode=\"observe\"} 0",
        "dbfw_database_mode{database=\"shop\",mode=\"observe\"} 1",
        "dbfw_database_mode{database=\"shop\",mode=\"off\"} 0",
    ] {
        assert!(printed.lines().any(|have| have == line), "{line} in\n{printed}");
    }
    let (code, served) = pair.http("/metrics").expect("an answer");
    assert_eq!(code, 200);
    assert_classic(&served);
    host.stop(Signal::SIGKILL);
    let offline = assert_success(&host.dbfw(&["metrics"]));
    assert_classic(&offline);
    assert!(offline.contains("dbfw_database_mode{database=\"shop\",mode=\"observe\"} 1"));
}

#[test]
fn the_alerts_pass_their_tests() {
    let promtool = |arguments: &[&str]| {
        let mut command = Command::new("promtool");
        command.current_dir(packaging("prometheus")).args(arguments);
        assert_success(&command.output().expect("run promtool"))
    };
    promtool(&["check", "rules", "--lint-fatal", "dbfw.rules.yml"]);
    promtool(&[&["test", "rules"][..], &RULES_TESTS].concat());

    let tests = RULES_TESTS.map(|name| {
        fs::read_to_string(packaging("prometheus").join(name)).expect("read the tests")
    });
    let tests = tests.concat();
    for alert in alerts() {
        for expected in ["[]", "\n          - exp_labels"] {
            let test = format!("alertname: {alert}\n        exp_alerts:");
            let mut after = tests.split(&test).skip(1);
            assert!(
                after.any(|rest| rest.trim_start_matches(' ').starts_with(expected)),
                "no test of {alert} expects {expected:?}"
            );
        }
    }
}

/// Names of the alerts.
fn alerts() -> Vec<&'static str> {
    RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// A real Prometheus in a namespace, which scrapes the agent there every second; under a job
/// whose name does not tell what it is.
struct Prometheus<'a> {
    pair: &'a Pair,
    server: Child,
}

impl<'a> Prometheus<'a> {
    fn start(pair: &'a Pair, host: &Host<'_>) -> Self {
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: node-agents\n    \
             static_configs: [{{ targets: [\"127.0.0.1:9787\"] }}]\n",
            packaging("prometheus/dbfw.rules.yml").display()
        );
        let path = host.path("prometheus.yml");
        fs::write(&path, configuration).expect("write the configuration");
        let log = fs::File::create(host.path("prometheus.log")).expect("a log");
        let server = pair
            .db
            .command("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", host.path("prometheus").display()))
            .arg("--web.listen-address=127.0.0.1:9090")
            .stderr(log)
            .spawn()
            .expect("start prometheus");
        Self { pair, server }
    }

    /// `data` of an answer of the API; null if there is none.
    fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut curl = self.pair.db.command("curl");
        curl.args(["--silent", "--show-error", "--get"]);
        for (name, value) in parameters {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        let output = curl.arg(format!("http://127.0.0.1:9090/api/v1/{path}")).output();
        let answer: Value =
            serde_json::from_slice(&output.expect("run curl").stdout).unwrap_or_default();
        assert!(answer["status"] != "error", "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// Number of series that a query answers with.
    fn count(&self, query: &str) -> usize {
        let data = self.api("query", &[("query", query)]);
        data["result"].as_array().map_or(0, Vec::len)
    }

    fn rules(&self) -> Vec<Value> {
        let data = self.api("rules", &[]);
        data["groups"][0]["rules"].as_array().cloned().unwrap_or_default()
    }

    fn state(&self, alert: &str) -> Value {
        let rules = self.rules();
        let rule = rules.iter().find(|rule| rule["name"] == alert);
        rule.map(|rule| rule["state"].clone()).unwrap_or_default()
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Every query of the dashboard, as it is with all jobs, instances and databases chosen.
fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(packaging("grafana/dbfw.json")).expect("read the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(dashboard["__inputs"][0]["name"], "DS");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut queries = Vec::new();
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{panel}");
        for target in &targets {
            assert_eq!(target["datasource"]["uid"], "${DS}", "{panel}");
            queries.push(target["expr"].as_str().expect("a query").to_owned());
        }
    }
    let variables = list(&dashboard["templating"]["list"]);
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["job", "instance", "database"]);
    for variable in &variables {
        assert_eq!(variable["datasource"]["uid"], "${DS}", "{variable}");
        let query = variable["query"]["query"].as_str().expect("a query");
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inside.and_then(|inside| inside.rsplit_once(", ")).expect(query);
        queries.push(format!("count by ({label}) ({series}) unless on ({label}) vector(1)"));
    }
    let chosen = |query: String| {
        let all = ["$job", "$instance", "$database"];
        let query = all.iter().fold(query, |query, name| query.replace(name, ".*"));
        query.replace("$__rate_interval", "1m")
    };
    queries.into_iter().map(chosen).collect()
}

/// The queries that the documentation shows.
fn documented_queries() -> Vec<String> {
    let blocks = DOCUMENTATION.split("```promql\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.trim().to_owned())).collect()
}

#[test]
fn a_real_prometheus_answers_every_query_and_evaluates_every_alert() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = Host::new(&pair.db);
    configure(&host, &digitalocean(&server, "poll = \"1s\""), ", \"tag:backend\"");
    host.start();
    let prometheus = Prometheus::start(&pair, &host);
    thread::scope(|scope| {
        let scraped = scope.spawn(|| {
            host.wait("a few scrapes", |_| {
                prometheus.count("count_over_time(dbfw_up[1m]) >= 5") > 0
            });
        });
        while !scraped.is_finished() {
            knock(&pair);
        }
    });
    let metadata = prometheus.api("targets/metadata", &[("metric", "dbfw_build")]);
    assert_eq!(metadata[0]["type"], "info", "it asks for OpenMetrics: {metadata}");

    let (dashboard, documented) = (dashboard_queries(), documented_queries());
    assert!(dashboard.len() > 30 && documented.len() > 10, "{dashboard:?} {documented:?}");
    for query in dashboard.iter().chain(&documented) {
        assert!(!query.contains('$'), "a variable that is not known: {query}");
        let may_be_empty = EMPTY.iter().any(|(empty, _)| empty == query);
        assert!(prometheus.count(query) > 0 || may_be_empty, "no answer to {query}");
    }

    host.wait("the alerts to be evaluated", |_| {
        prometheus.rules().iter().all(|rule| rule["health"] != "unknown")
    });
    let rules = prometheus.rules();
    let names: Vec<_> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
    assert_eq!(names, alerts());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    for alert in ["DbfwDown", "DbfwNotAttached", "DbfwNotProtected", "DbfwDropSpike"] {
        assert_eq!(prometheus.state(alert), "inactive", "{alert}");
    }
    host.stop(Signal::SIGKILL);
    host.wait("the alert", |_| prometheus.state("DbfwDown") == "pending");
}
