//! The tests' own DigitalOcean, judged by other clients: curl and pydo.

mod api;
mod faults;
mod limits;
mod process;
mod pydo;
mod rules;
mod shapes;

use std::{collections::BTreeMap, process::Command};

use dbfw_tests::provider_server::Server;
use serde_json::Value;

/// What curl got.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// By their names in lower case.
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// curl's exit code.
    code: i32,
}

impl Reply {
    /// The body, which must be JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header that is a number.
    #[track_caller]
    fn number(&self, name: &str) -> i64 {
        let value = self.headers.get(name).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }
}

/// GET with the account's token.
fn get(server: &Server, path: &str) -> Reply {
    ask(server, path, &[])
}

/// A request with the account's token and more of curl's options.
fn ask(server: &Server, path: &str, options: &[&str]) -> Reply {
    let token = server.account(|account| account.token.clone());
    let authorization = format!("Authorization: Bearer {token}");
    anonymous(server, path, &[options, &["--header", &authorization]].concat())
}

/// A request without a token.
fn anonymous(server: &Server, path: &str, options: &[&str]) -> Reply {
    let url = if path.starts_with("http") { path.to_owned() } else { server.url() + path };
    let output = Command::new("curl")
        .args(["--silent", "--include", "--globoff", "--max-time", "10", "--noproxy", "*"])
        .arg("--cacert")
        .arg(server.ca_file())
        .args(options)
        .arg(url)
        .output()
        .expect("run curl");
    let code = output.status.code().expect("curl ends by itself");
    let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = match end {
        Some(end) => (&output.stdout[..end], output.stdout[end + 4..].to_vec()),
        None => (&output.stdout[..], Vec::new()),
    };
    let head = String::from_utf8_lossy(head);
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let headers = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    });
    Reply { status: status.unwrap_or_default(), headers: headers.collect(), body, code }
}

/// A PUT or POST of JSON.
fn send(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    let body = body.to_string();
    ask(
        server,
        path,
        &["--request", method, "--header", "Content-Type: application/json", "--data", &body],
    )
}
