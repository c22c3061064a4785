//! What clients get and what the command line says, waited for or asserted.

use std::{net::IpAddr, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{self, HOST4, HOST6, PORT, Pair},
    provider_server::Server,
    traffic,
};
use serde_json::Value;

use super::common::{self, wait};

/// The keys of `[agent]`: the interface, and a second until gone is believed.
pub(crate) fn agent_keys(more: &str) -> String {
    let gone = if more.contains("gone_after") { "" } else { "gone_after = \"1s\"\n" };
    format!("{}\n{gone}{more}", pair::interfaces())
}

/// `[digitalocean]` for a server that is asked five times a second.
pub(crate) fn digitalocean(server: &Server, keys: &str) -> String {
    common::digitalocean(server, &format!("poll = \"200ms\"\n{keys}"))
}

/// The provider key for the list of a cluster, and no bound on what it may lose at once.
pub(crate) fn cluster(uuid: &str) -> String {
    format!("{}max_shrink = \"off\"\n", guarded_cluster(uuid))
}

/// The provider key for the list of a cluster.
pub(crate) fn guarded_cluster(uuid: &str) -> String {
    format!("provider = {{ kind = \"digitalocean\", cluster = \"{uuid}\" }}\n")
}

/// Waits until a client is answered.
#[track_caller]
pub(crate) fn wait_let_in(host: &Host<'_>, pair: &Pair, client: IpAddr) {
    wait(host, &format!("{client} to be let in"), || pair.reaches(client));
}

/// Waits until a client is not answered.
#[track_caller]
pub(crate) fn wait_cut(host: &Host<'_>, pair: &Pair, client: IpAddr) {
    wait(host, &format!("{client} to be cut off"), || is_refused(pair, client));
}

/// Asserts that a client is let in now.
#[track_caller]
pub(crate) fn assert_let_in(host: &Host<'_>, pair: &Pair, client: IpAddr) {
    assert!(!is_refused(pair, client), "{client} was refused\n{}", host.log());
}

/// Asserts that a client is not let in now.
#[track_caller]
pub(crate) fn assert_refused(host: &Host<'_>, pair: &Pair, client: IpAddr) {
    assert!(!pair.reaches(client), "{client} was let in\n{}", host.log());
}

/// Three times nothing: a machine that is busy may be silent for once.
fn is_refused(pair: &Pair, client: IpAddr) -> bool {
    (0..3).all(|_| !pair.reaches(client))
}

/// Whether a client's handshake ends within a moment.
pub(crate) fn connects(pair: &Pair, client: IpAddr) -> bool {
    let host = if client.is_ipv4() { HOST4 } else { HOST6 };
    let target = (host, PORT).into();
    traffic::connect(&pair.clients, client, target, Duration::from_millis(100)).is_ok()
}

/// What `dbfw sources` tells of a source; null if there is none.
pub(crate) fn source(host: &Host<'_>, name: &str) -> Value {
    let sources = host.json(&["sources"]).unwrap_or_default();
    let mut all = sources["sources"].as_array().into_iter().flatten();
    all.find(|source| source["source"] == name).cloned().unwrap_or_default()
}

/// What a source stands for.
pub(crate) fn prefixes(host: &Host<'_>, name: &str) -> Vec<String> {
    texts(&source(host, name)["prefixes"])
}

/// Waits until a source stands for exactly these.
#[track_caller]
pub(crate) fn wait_prefixes(host: &Host<'_>, name: &str, expected: &[&str]) {
    let mut found = Vec::new();
    wait(host, &format!("{name} to be {expected:?}"), || {
        found = prefixes(host, name);
        found == expected
    });
}

/// Waits until a source is in a state.
#[track_caller]
pub(crate) fn wait_state(host: &Host<'_>, name: &str, state: &str) {
    wait(host, &format!("{name} to be {state}"), || source(host, name)["state"] == state);
}

/// Waits until the list of the one database is in a state.
#[track_caller]
pub(crate) fn wait_list(host: &Host<'_>, state: &str) {
    wait(host, &format!("the list to be {state}"), || pair::list_state(host) == state);
}

/// The strings of an array.
pub(crate) fn texts(array: &Value) -> Vec<String> {
    let texts = array.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Every entry of a kind in the history, the oldest first.
pub(crate) fn recorded(host: &Host<'_>, kind: &str) -> Vec<Value> {
    let list = host.json(&["history", "--limit", "100000"]).unwrap_or_default();
    let mut entries = list["entries"].as_array().cloned().unwrap_or_default();
    entries.retain(|entry| entry["kind"] == kind);
    entries
}
