//! What the agent says of itself, and that the token is nowhere in it.

use std::{collections::BTreeMap, fs, path::Path};

use dbfw_tests::agent::Host;
use serde_json::Value;

/// What a host tells, watched for a secret.
#[derive(Debug)]
pub(super) struct Told {
    token: String,
}

/// What status told.
#[derive(Debug)]
pub(super) struct Status(Value);

/// Counters at one moment.
#[derive(Debug)]
pub(super) struct Counters(String);

impl Told {
    pub(super) fn new(token: String) -> Self {
        assert!(token.len() > 20, "a token that is not found by chance");
        Self { token }
    }

    /// `dbfw metrics`.
    pub(super) fn counters(&self, host: &Host<'_>) -> Counters {
        Counters(self.say(host, &["metrics"]))
    }

    /// What `dbfw sources` tells of the database orders, by source.
    pub(super) fn sources(&self, host: &Host<'_>) -> BTreeMap<String, Value> {
        let mut all = self.json(host, "sources");
        let rows = all["sources"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let rows = rows.into_iter().filter(|row| row["database"] == "orders");
        rows.map(|row| (row["source"].as_str().unwrap_or_default().to_owned(), row)).collect()
    }

    /// `dbfw status`.
    pub(super) fn status(&self, host: &Host<'_>) -> Status {
        Status(self.json(host, "status"))
    }

    /// Looks for the token in whatever the agent and its readers wrote.
    pub(super) fn assert_no_token(&self, host: &Host<'_>) {
        for words in [
            &["status"][..],
            &["sources"],
            &["history"],
            &["suggest"],
            &["doctor"],
            &["explain", "10.77.0.9", "--port", "5432"],
            &["check"],
        ] {
            self.say(host, words);
        }
        assert!(!host.log().contains(&self.token), "the token is in the log");
        for directory in ["state", "run"] {
            let files = self.files(&host.path(directory));
            assert!(directory == "run" || files > 0, "there is a snapshot and a history");
        }
    }

    fn files(&self, directory: &Path) -> usize {
        let mut files = 0;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                files += self.files(&path);
            } else if let Ok(content) = fs::read(&path) {
                files += 1;
                let found = content.windows(self.token.len()).any(|w| w == self.token.as_bytes());
                assert!(!found, "the token is in {}", path.display());
            }
        }
        files
    }

    fn json(&self, host: &Host<'_>, what: &str) -> Value {
        serde_json::from_str(&self.say(host, &[what, "--output", "json"])).unwrap_or_default()
    }

    fn say(&self, host: &Host<'_>, words: &[&str]) -> String {
        let output = host.dbfw(words);
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(&self.token), "the token is in what dbfw {words:?} says");
        }
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Status {
    /// The row of the database orders.
    pub(super) fn orders(&self) -> &Value {
        let rows = self.0["databases"].as_array().into_iter().flatten();
        rows.into_iter().find(|row| row["name"] == "orders").unwrap_or(&Value::Null)
    }

    /// Whether a problem of the database orders is told.
    pub(super) fn has_a_problem(&self) -> bool {
        let problems = self.0["problems"].as_array().into_iter().flatten();
        problems.filter_map(Value::as_str).any(|problem| problem.starts_with("orders: "))
    }
}

impl Counters {
    /// Requests to `provider` that failed for one of these causes.
    pub(super) fn requests(&self, provider: &str, causes: &[&str]) -> f64 {
        self.sum(
            "dbfw_provider_request_failures_total",
            &format!("provider=\"{provider}\""),
            causes,
        )
    }

    /// Syncs of `database` that failed for one of these causes.
    pub(super) fn syncs(&self, database: &str, causes: &[&str]) -> f64 {
        self.sum("dbfw_sync_failures_total", &format!("database=\"{database}\""), causes)
    }

    /// A gauge of a database.
    pub(super) fn gauge(&self, name: &str, database: &str) -> Option<f64> {
        let line = format!("{name}{{database=\"{database}\"}} ");
        self.0.lines().find_map(|known| known.strip_prefix(&line)?.parse().ok())
    }

    fn sum(&self, name: &str, label: &str, causes: &[&str]) -> f64 {
        let is_wanted = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                && line.contains(label)
                && causes.iter().any(|cause| line.contains(&format!("cause=\"{cause}\"")))
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        self.0.lines().filter(is_wanted).filter_map(value).sum()
    }
}
