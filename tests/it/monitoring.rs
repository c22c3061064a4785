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
    control_plane::ControlPlane,
    pair::{METRICS, OTHER_PORT, Pair, STRANGER4, STRANGER6, TRUSTED4, interfaces, listed},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    control_plane::{joined::joined, pydo},
    providers::common::{digitalocean, server},
};

/// A program that has metrics.
struct Program {
    rules: &'static str,
    rules_tests: &'static [&'static str],
    dashboard: &'static str,
    documentation: &'static str,
    /// The port of its metrics.
    port: u16,
    /// Queries that have no answer while all is well.
    empty: &'static [&'static str],
}

const AGENT: Program = Program {
    rules: "dbfw.rules.yml",
    rules_tests: &["dbfw.test.yml", "dbfw.days.test.yml"],
    dashboard: "grafana/dbfw.json",
    documentation: include_str!("../../docs/metrics.md"),
    port: 9787,
    empty: &[
        "sum by (provider, cause) (increase(dbfw_provider_request_failures_total[15m])) > 0",
        // No server has a certificate.
        "dbfw_audit_certificate_expiry_timestamp_seconds{job=~\".*\", instance=~\".*\", \
         database=~\".*\"} - time()",
    ],
};

const SERVER: Program = Program {
    rules: "dbfw-server.rules.yml",
    rules_tests: &["dbfw-server.test.yml"],
    dashboard: "grafana/dbfw-server.json",
    documentation: include_str!("../../docs/server.md"),
    port: 9788,
    empty: &[],
};

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
    for program in [&AGENT, &SERVER] {
        promtool(&["check", "rules", "--lint-fatal", program.rules]);
        promtool(&[&["test", "rules"][..], program.rules_tests].concat());
        let read = |name: &&str| {
            fs::read_to_string(packaging("prometheus").join(name)).expect("read the tests")
        };
        let tests: String = program.rules_tests.iter().map(read).collect();
        for alert in program.alerts() {
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
}

/// A real Prometheus in a namespace, which scrapes a program there every second; under a job
/// whose name does not tell what it is.
struct Prometheus<'a> {
    pair: &'a Pair,
    server: Child,
}

impl<'a> Prometheus<'a> {
    /// One whose files are in a directory.
    fn start(pair: &'a Pair, directory: &Path, program: &Program) -> Self {
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: node-agents\n    \
             static_configs: [{{ targets: [\"127.0.0.1:{}\"] }}]\n",
            packaging("prometheus").join(program.rules).display(),
            program.port,
        );
        let path = directory.join("prometheus.yml");
        fs::write(&path, configuration).expect("write the configuration");
        let log = fs::File::create(directory.join("prometheus.log")).expect("a log");
        let server = pair
            .db
            .command("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
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

impl Program {
    /// Names of the alerts.
    fn alerts(&self) -> Vec<String> {
        let rules = packaging("prometheus").join(self.rules);
        let rules = fs::read_to_string(rules).expect("read the rules");
        let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        names.map(str::to_owned).collect()
    }

    /// The queries that the documentation shows.
    fn documented_queries(&self) -> Vec<String> {
        let blocks = self.documentation.split("```promql\n").skip(1);
        blocks.filter_map(|block| Some(block.split_once("```")?.0.trim().to_owned())).collect()
    }
}

/// Every query of a dashboard, as it is with all jobs, instances and databases chosen.
fn dashboard_queries(path: &str) -> Vec<String> {
    let text = fs::read_to_string(packaging(path)).expect("read the dashboard");
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

/// Asserts that every query of a program's dashboard and documentation has an answer, and that
/// every alert is evaluated.
fn assert_answers(
    program: &Program,
    prometheus: &Prometheus<'_>,
    wait: impl Fn(&dyn Fn() -> bool),
) {
    let (dashboard, documented) =
        (dashboard_queries(program.dashboard), program.documented_queries());
    for query in dashboard.iter().chain(&documented) {
        assert!(!query.contains('$'), "a variable that is not known: {query}");
        let may_be_empty = program.empty.contains(&query.as_str());
        assert!(prometheus.count(query) > 0 || may_be_empty, "no answer to {query}");
    }
    wait(&|| prometheus.rules().iter().all(|rule| rule["health"] != "unknown"));
    let rules = prometheus.rules();
    let names: Vec<_> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
    assert_eq!(names, program.alerts());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

#[test]
fn a_real_prometheus_answers_every_query_and_evaluates_every_alert() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = Host::new(&pair.db);
    configure(&host, &digitalocean(&server, "poll = \"1s\""), ", \"tag:backend\"");
    assert_success(&host.dbfw(&["audit", "--save", "--no-probe"]));
    host.start();
    let files = host.path("");
    let prometheus = Prometheus::start(&pair, &files, &AGENT);
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

    let documented = AGENT.documented_queries();
    assert!(dashboard_queries(AGENT.dashboard).len() > 30 && documented.len() > 10);
    assert_answers(&AGENT, &prometheus, |holds| {
        host.wait("the alerts to be evaluated", |_| holds());
    });
    for alert in ["DbfwDown", "DbfwNotAttached", "DbfwNotProtected", "DbfwDropSpike"] {
        assert_eq!(prometheus.state(alert), "inactive", "{alert}");
    }
    host.stop(Signal::SIGKILL);
    host.wait("the alert", |_| prometheus.state("DbfwDown") == "pending");
}

#[test]
fn a_real_prometheus_answers_every_query_about_the_control_plane() {
    let pair = Pair::new();
    let mut server = ControlPlane::set_up(Some(&pair.db), 7443);
    let config = fs::read_to_string(server.config()).expect("read the configuration");
    let config = config.replace("metrics_listen = \"off\"\n", "");
    fs::write(server.config(), config).expect("write the configuration");
    server.spawn();
    server.done(&["database", "add", "orders"]);
    let host = joined(&pair, &server, "");
    let prometheus = Prometheus::start(&pair, &server.path(""), &SERVER);
    // Edits, so that there are times.
    let mut edits = 0_u8;
    host.wait("a few scrapes", |_| {
        edits = edits.wrapping_add(1);
        pydo(&server, &["append", "orders", &format!("ip_addr:10.77.1.{edits}")]);
        let scraped = "count_over_time(dbfw_server_up[1m]) >= 5";
        let applied = "dbfw_server_hosts{state=\"applied\"} == 1";
        let timed = "rate(dbfw_server_propagation_seconds_count[1m]) > 0";
        [scraped, applied, timed].iter().all(|query| prometheus.count(query) > 0)
    });
    let dashboard = dashboard_queries(SERVER.dashboard);
    assert!(dashboard.len() > 15 && SERVER.documented_queries().len() > 1, "{dashboard:?}");
    assert_answers(&SERVER, &prometheus, |holds| {
        host.wait("the alerts to be evaluated", |_| holds());
    });
    server.kill();
    host.wait("the alert", |_| prometheus.state("DbfwServerDown") == "pending");
}
