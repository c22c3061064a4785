//! Every record of plain output has the columns that docs/operations.md names, and they hold
//! what the JSON document has in the fields of these names.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_wire::control::{
    AgentAbsence, Audit, AuditCheck, FailureKind, HistoryEntry, HistoryKind, Unconfirmed,
};
use serde_json::{Value, json};

use super::{
    samples::{self, account, at, refused, source, status},
    *,
};
use crate::cli::exit::failure;

const DOCS: &str = include_str!("../../../../../docs/operations.md");

/// A command, and the record that its line begins with; empty: none.
type Key = (String, String);

/// The columns of every record.
fn documented() -> BTreeMap<Key, Vec<&'static str>> {
    let (_, section) = DOCS.split_once("### Columns of plain").expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut columns = BTreeMap::new();
    for row in rows {
        let cells: Vec<Vec<&str>> = row.trim_matches('|').split('|').map(quoted).collect();
        let [commands, records, names] = cells.as_slice() else { panic!("three cells: {row}") };
        let none = vec![""];
        let records = if records.is_empty() { &none } else { records };
        for (command, record) in commands.iter().flat_map(|c| records.iter().map(move |r| (c, r))) {
            let key = ((*command).to_owned(), (*record).to_owned());
            assert!(columns.insert(key, names.clone()).is_none(), "{row} is there twice");
        }
    }
    columns
}

/// The words of a cell that are in backquotes.
fn quoted(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Compares the lines of a command with the documents that they are made of.
struct Comparison {
    documented: BTreeMap<Key, Vec<&'static str>>,
    seen: BTreeSet<Key>,
}

impl Comparison {
    fn check(&mut self, command: &str, document: &impl Render, records: &[(&str, Value)]) {
        let plain = text(document, Format::Plain);
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines.len(), records.len(), "{command}\n{plain}");
        for (line, (record, value)) in lines.into_iter().zip(records) {
            let mut fields: Vec<&str> = line.split('\t').collect();
            if !record.is_empty() {
                assert_eq!(fields.remove(0), *record, "{command}: {line}");
            }
            let key = (command.to_owned(), (*record).to_owned());
            let columns = self.documented.get(&key).unwrap_or_else(|| panic!("{key:?}"));
            assert_eq!(fields.len(), columns.len(), "{key:?}: {line}");
            for (column, field) in columns.iter().zip(fields) {
                let pointer = format!("/{}", column.replace('.', "/"));
                let value = value.pointer(&pointer);
                let value = value.unwrap_or_else(|| panic!("{key:?} has no {column}"));
                assert!(is_shown(column, value, field), "{key:?} {column}: {value} as {field:?}");
            }
            self.seen.insert(key);
        }
    }
}

/// Whether a field shows a value. The samples have another value in each column.
fn is_shown(column: &str, value: &Value, field: &str) -> bool {
    match value {
        Value::Null => field.is_empty(),
        Value::Bool(true) => matches!(field, "yes" | "on"),
        Value::Bool(false) => matches!(field, "no" | "off"),
        Value::Number(number) if number.is_f64() => {
            let shown: f64 = field.parse().expect("a number");
            (shown - number.as_f64().unwrap()).abs() < 0.1
        }
        Value::Number(number) => field == number.to_string(),
        Value::String(text) => field == text,
        Value::Array(elements) => {
            let separator = if matches!(column, "notes" | "unresolved") { "; " } else { "," };
            let shown: Vec<String> = elements.iter().map(element).collect();
            field == shown.join(separator)
        }
        Value::Object(_) => panic!("{column} is a document"),
    }
}

fn element(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            let [part, why] = ["part", "why"].map(|key| value[key].as_str().unwrap());
            format!("{part}: {why}")
        }
    }
}

fn value(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).unwrap()
}

/// An object with more fields.
fn with(object: &Value, more: Value) -> Value {
    let (mut object, Value::Object(more)) = (object.clone(), more) else { panic!("an object") };
    object.as_object_mut().unwrap().extend(more);
    object
}

/// A record for each element of an array.
fn each<'a>(record: &'a str, array: &Value) -> Vec<(&'a str, Value)> {
    array.as_array().unwrap().iter().map(|element| (record, element.clone())).collect()
}

/// As [`each`], of texts.
fn texts<'a>(record: &'a str, column: &str, array: &Value) -> Vec<(&'a str, Value)> {
    let named = |(record, text): (&'a str, Value)| (record, json!({ column: text }));
    each(record, array).into_iter().map(named).collect()
}

#[test]
fn plain_has_the_documented_columns() {
    let mut all = Comparison { documented: documented(), seen: BTreeSet::new() };
    check_status(&mut all);
    check_sources_and_traffic(&mut all);
    check_changes(&mut all);
    check_checks(&mut all);
    let documented: BTreeSet<Key> = all.documented.into_keys().collect();
    assert_eq!(all.seen, documented, "documented and printed are not the same");
}

fn check_status(all: &mut Comparison) {
    let mut status = status();
    status.problems = vec!["one".to_owned(), "two\tand\nmore".to_owned()];
    let agent = status.agent.as_mut().unwrap();
    agent.config_ok = false;
    agent.trial = Some(samples::trial());
    status.agent_absence = Some(AgentAbsence::Silent);
    status.databases[0].unused_ports = Some(vec!["tcp/6432".to_owned()]);
    status.interfaces[0].detail = Some("slow".to_owned());
    status.backstop.as_mut().unwrap().detail = Some("late".to_owned());
    let mut asked = account("digitalocean");
    (asked.budget_hour_left, asked.budget_minute_left) = (Some(4959), Some(249));
    asked.error = Some("answered 500".to_owned());
    status.accounts = vec![asked];
    let database = &mut status.databases[0];
    (database.observed_packets, database.stale_sources, database.unresolved_sources) = (77, 4, 5);
    database.provider.as_mut().unwrap().error = Some("cannot be read".to_owned());
    let mut plan = refused();
    plan.connections_error = Some("not all are known".to_owned());
    database.refused = Some(plan);
    let document = value(&status);
    let database = &document["databases"][0];
    let plan = with(&database["refused"], json!({ "database": "orders" }));
    let prefixes = |record| {
        let named = |(record, prefix)| (record, with(&plan, json!({ "prefix": prefix })));
        each(record, &plan[record]).into_iter().map(named).collect::<Vec<_>>()
    };
    let cut = each("cut", &plan["connections"]).into_iter();
    let cut = cut.map(|(record, connection)| {
        (record, with(&connection, json!({ "database": "orders", "id": plan["id"] })))
    });
    let problems = ["one", "two\\tand\\nmore"].map(|text| ("problem", json!({ "problem": text })));
    let records = [
        vec![("protected", document.clone())],
        problems.into(),
        vec![("agent", document["agent"].clone())],
        vec![("trial", document["agent"]["trial"].clone())],
        vec![("agent_absence", document.clone())],
        each("interface", &document["interfaces"]),
        vec![("backstop", document["backstop"].clone())],
        each("account", &document["accounts"]),
        vec![("database", database.clone()), ("refused", plan.clone())],
        prefixes("lost"),
        prefixes("gained"),
        cut.collect(),
    ];
    all.check("status", &status, &records.concat());
}

fn check_sources_and_traffic(all: &mut Comparison) {
    let mut one = source("tag:backend");
    (one.description, one.error) = (Some("CI".to_owned()), Some("answered 500".to_owned()));
    (one.packets, one.age_seconds) = (12, Some(34));
    (one.last_hit, one.expires_at) = (Some(at("11:00:00")), Some(at("13:00:00")));
    one.since = Some(at("09:00:00"));
    one.unresolved =
        ["a", "b"].map(|part| Unresolved { part: part.to_owned(), why: "gone".to_owned() }).into();
    one.notes = vec!["first".to_owned(), "second".to_owned()];
    one.prefixes.push("10.0.0.2/32".to_owned());
    let sources = Sources { sources: vec![one] };
    all.check("sources", &sources, &each("", &value(&sources)["sources"]));

    let explained: Explanation = serde_json::from_value(json!({
        "address": "192.0.2.1", "port": "tcp/5432", "database": "orders", "mode": "observe",
        "verdict": "allow", "reason": "trusted", "program": "dbfw_xdp", "prefix": "192.0.2.0/28",
        "sources": [{
            "source": "tag:backend", "prefix": "192.0.2.0/24", "origin": "local",
            "description": "CI", "expires_at": "2026-03-01T13:00:00Z", "packets": 5,
            "last_hit": "2026-03-01T11:00:00Z",
        }],
        "facts": ["was trusted", "is late"],
    }))
    .unwrap();
    let document = value(&explained);
    let port = json!({ "port": document["port"] });
    let of_port = |(record, object): (&'static str, Value)| (record, with(&object, port.clone()));
    let records: Vec<(&str, Value)> = [("port", document.clone())]
        .into_iter()
        .chain(each("source", &document["sources"]))
        .chain(texts("fact", "fact", &document["facts"]))
        .map(of_port)
        .collect();
    all.check("explain", &vec![explained], &records);

    let drops: Drops = serde_json::from_value(json!({
        "since": "2026-03-01T08:00:00Z",
        "sources": [{
            "source": "192.0.2.1", "database": "orders", "port": 5432, "reason": "untrusted",
            "verdict": "drop", "estimated_packets": 9, "first_seen": "2026-03-01T09:00:00Z",
            "last_seen": "2026-03-01T10:00:00Z", "ports": [5432, 6432],
            "reasons": ["untrusted", "backstop"], "interfaces": ["eth0", "eth1"],
            "trusted_now": true, "trusted_by": "tag:backend",
        }],
    }))
    .unwrap();
    all.check("drops", &drops, &each("", &value(&drops)["sources"]));
    let event: DropEvent = serde_json::from_value(json!({
        "time": "2026-03-01T09:00:00Z", "source": "192.0.2.1", "database": "orders", "port": 5432,
        "protocol": "tcp", "interface": "eth0", "reason": "untrusted", "verdict": "drop",
        "weight": 9, "missed": 4,
    }))
    .unwrap();
    all.check("drops --follow", &event, &[("", value(&event))]);

    let entry: MapEntry = serde_json::from_value(json!({
        "map": "NETS4", "prefix": "192.0.2.0/24", "databases": ["orders", "reports"], "rules": 3,
    }))
    .unwrap();
    all.check("map dump", &entry, &[("", value(&entry))]);
    let lookup = Lookup { address: ip("192.0.2.1"), front: true, entry: Some(entry) };
    all.check("map lookup", &lookup, &[("", value(&lookup))]);
}

fn check_changes(all: &mut Comparison) {
    let list: TrustList = serde_json::from_value(json!({
        "sources": [{
            "database": "orders", "source": "ip_addr:192.0.2.1", "why": "CI",
            "added_at": "2026-03-01T09:00:00Z", "expires_at": "2026-03-01T10:00:00Z",
        }],
    }))
    .unwrap();
    for command in ["trust list", "trust add", "trust rm"] {
        all.check(command, &list, &each("", &value(&list)["sources"]));
    }
    let reloaded: Reloaded = serde_json::from_value(json!({
        "generation": 42, "added": 3, "removed": 1,
        "changes": [{ "effect": "opens", "database": "orders", "text": "tcp/5432 is open" }],
        "cut_off": [{
            "database": "orders", "source": "192.0.2.1", "connections": 2,
            "last_seen": "2026-03-01T09:00:00Z",
        }],
        "connections_error": "not all are known",
        "refused": ["r"],
        "confirmable": ["1a2b3c4d"],
        "unconfirmed": [{ "id": "1a2b3c4d", "database": "orders", "message": "not read" }],
        "failed": ["f"], "pending": ["tag:a", "tag:b"],
        "restart": ["agent.state_dir", "agent.run_dir"],
        "trial": value(&samples::trial()),
    }))
    .unwrap();
    let document = value(&reloaded);
    let records = [
        vec![("policy", document.clone())],
        each("change", &document["changes"]),
        each("cut_off", &document["cut_off"]),
        vec![("connections_error", document.clone())],
        texts("refused", "text", &document["refused"]),
        texts("confirmable", "text", &document["confirmable"]),
        each("unconfirmed", &document["unconfirmed"]),
        texts("failed", "text", &document["failed"]),
        texts("pending", "text", &document["pending"]),
        texts("restart", "text", &document["restart"]),
        vec![("trial", document["trial"].clone())],
    ];
    all.check("reload", &reloaded, &records.concat());
    let error = failure(FailureKind::Invalid, "no plan deadbeef".to_owned());
    let unconfirmed = Unconfirmed { reloaded, error };
    let error = value(&unconfirmed)["error"].clone();
    all.check("reload", &unconfirmed, &[records.concat(), vec![("error", error)]].concat());
    let text = |text: &str| Some(text.to_owned());
    let entry = HistoryEntry {
        time: at("09:00:00"),
        kind: HistoryKind::Applied,
        generation: 41,
        database: text("orders"),
        source: text("tag:backend"),
        origin: text("config"),
        by: text("uid 0"),
        why: text("CI"),
        prefixes_in: 2,
        prefixes_out: 3,
        added: vec!["192.0.2.1/32".to_owned(), "192.0.2.2/32".to_owned()],
        removed: vec!["192.0.2.3/32".to_owned()],
        guard: Some(Guard::MaxShrink),
        plan: text("1a2b3c4d"),
        message: text("told"),
    };
    let history = HistoryList { entries: vec![entry] };
    all.check("history", &history, &each("", &value(&history)["entries"]));
}

fn check_checks(all: &mut Comparison) {
    let checked: Checked = serde_json::from_value(json!({
        "files": ["a.toml", "b.toml"], "interfaces": ["eth0", "eth1"], "attach": "auto",
        "backstop": true,
        "databases": [{
            "name": "orders", "ports": ["tcp/5432", "tcp/6432"], "mode": "observe",
            "sources": ["tag:a", "tag:b"], "provider": "file:/etc/dbfw/orders.list",
        }],
        "warnings": ["careful"],
    }))
    .unwrap();
    let document = value(&checked);
    let records = [
        texts("file", "file", &document["files"]),
        vec![("agent", document.clone())],
        each("database", &document["databases"]),
        texts("warning", "warning", &document["warnings"]),
    ];
    all.check("check", &checked, &records.concat());
    let list: CheckedList = serde_json::from_value(json!({
        "file": "orders.list", "sources": 3, "prefixes": 2, "warnings": ["careful"],
    }))
    .unwrap();
    let document = value(&list);
    let records =
        [vec![("list", document.clone())], texts("warning", "warning", &document["warnings"])];
    all.check("check --list", &list, &records.concat());
    let problem: ConfigProblem = serde_json::from_value(json!({
        "file": "a.toml", "line": 3, "key": "agent.attach", "message": "is wrong", "fix": "mend it",
    }))
    .unwrap();
    let problems = ConfigProblems {
        error: failure(FailureKind::BadConfig, "is wrong".to_owned()),
        problems: vec![problem],
    };
    for command in ["check", "check --list"] {
        all.check(command, &problems, &each("problem", &value(&problems)["problems"]));
    }
    let findings: Findings = serde_json::from_value(json!({
        "findings": [{ "check": "kernel", "state": "warn", "detail": "is old", "fix": "upgrade" }],
    }))
    .unwrap();
    all.check("doctor", &findings, &each("", &value(&findings)["findings"]));
    let audit: Audit = serde_json::from_value(json!({
        "schema": 1, "host": "db-1", "at": "2026-03-01T12:00:00Z", "level": "wire", "databases": [],
        "findings": [{
            "id": "X-5", "severity": "high", "state": "accepted", "database": "orders",
            "subject": "pg_hba.conf:6", "title": "it is open", "text": "a line admits all",
            "reason": "the migration", "fix": "narrow it",
        }],
    }))
    .unwrap();
    all.check("audit", &audit, &each("", &value(&audit)["findings"]));
    let check: AuditCheck = serde_json::from_value(json!({
        "id": "T-1", "severity": "high", "level": "wire", "engines": ["PostgreSQL", "MongoDB"],
        "title": "no TLS", "why": "it is overheard", "fix": "offer it", "refs": ["CIS 6.8", "here"],
    }))
    .unwrap();
    all.check("audit --explain", &check, &[("", value(&check))]);
}
