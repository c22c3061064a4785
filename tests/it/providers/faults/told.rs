//! What the agent says of itself, and that the token is nowhere in it.

use std::{fs, path::Path};

use dbfw_tests::agent::Host;
use serde_json::Value;

/// What a host tells, watched for a secret.
#[derive(Debug)]
pub(super) struct Told {
    token: String,
}

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

    /// `dbfw sources`, every row of a database with this source.
    pub(super) fn source(&self, host: &Host<'_>, source: &str) -> Value {
        let all = self.json(host, "sources");
        let rows = all["sources"].as_array().cloned().unwrap_or_default();
        let is_it = |row: &Value| row["source"] == source && row["database"] == "orders";
        rows.into_iter().find(is_it).unwrap_or_default()
    }

    /// What `dbfw status` tells of a database.
    pub(super) fn database(&self, host: &Host<'_>, name: &str) -> Value {
        let status = self.json(host, "status");
        let rows = status["databases"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    /// The problems of `dbfw status`, one a line.
    pub(super) fn problems(&self, host: &Host<'_>) -> String {
        let status = self.json(host, "status");
        let problems = status["problems"].as_array().into_iter().flatten();
        problems.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Looks for the token in whatever the agent and its readers wrote.
    pub(super) fn assert_no_token(&self, host: &Host<'_>) {
        for words in [
            &["status"][..],
            &["sources"],
            &["audit"],
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
            assert!(directory == "run" || files > 0, "there is a snapshot and an audit log");
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
