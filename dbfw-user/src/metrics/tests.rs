use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dbfw_common::{Counted, Counter, Family, Mode, Reason};
use dbfw_core::{answers::Cause, policy::Guard};
use dbfw_datapath::Totals;
use dbfw_metrics::{Metric, MetricType};
use dbfw_provider::{stats::StatsValues, worker::Account};
use dbfw_wire::control::{AuditLevel, InterfaceMode, InterfaceStatus, Protection};
use jiff::Timestamp;

use super::*;
use crate::{
    state::audit::{CountedBy, SavedAudit},
    traffic::drops::NO_DATABASE,
};

const DOCS: &str = include_str!("../../../docs/metrics.md");
const ALERTS: &str = include_str!("../../../packaging/prometheus/dbfw.rules.yml");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/dbfw.json");

fn interface(name: &str, mode: InterfaceMode, healthy: bool) -> InterfaceStatus {
    InterfaceStatus { name: name.into(), ifindex: 2, mode, healthy, detail: None }
}

/// The counters of a database, each asked from `read`.
fn counters(database: &str, read: fn(Family, Counted) -> Counter) -> PacketCounters {
    let totals = Family::ALL.map(|family| Totals {
        allowed: read(family, Counted::Allowed),
        dropped: Reason::DROPS.map(|reason| read(family, Counted::Dropped(reason))).into(),
        observed: Reason::DROPS.map(|reason| read(family, Counted::Observed(reason))).into(),
    });
    PacketCounters { database: database.into(), totals }
}

fn scrape() -> Scrape {
    let mut sync = SyncCounters::default();
    sync.set_databases(["orders"]);
    Scrape {
        version: "0.1.0".into(),
        revision: "abc\"\\\n".into(),
        up: true,
        protection: Protection::Degraded,
        interfaces: vec![
            interface("eth0", InterfaceMode::Native, true),
            interface("eth1", InterfaceMode::None, false),
        ],
        packets: [NO_DATABASE, "orders"]
            .map(|name| {
                counters(name, |family, counted| match (family, counted) {
                    (Family::V4, Counted::Allowed) => Counter { packets: 3, bytes: 180 },
                    (Family::V6, Counted::Dropped(Reason::Untrusted)) => {
                        Counter { packets: 7, bytes: 420 }
                    }
                    (Family::V4, Counted::Observed(Reason::Backstop)) => {
                        Counter { packets: u64::MAX, bytes: 1 }
                    }
                    _ => Counter::default(),
                })
            })
            .into(),
        databases: vec![DatabaseScrape {
            name: "orders".into(),
            mode: Mode::Observe,
            prefixes: [2, 1],
        }],
        maps: [("NETS4", 2)].into(),
        sync,
        reload_ok: true,
        sources: vec![SourceScrape {
            database: "orders".into(),
            stale: 2,
            unresolved: 1,
            oldest: Some(Duration::from_millis(90_500)),
            refused: true,
        }],
        providers: vec![
            (
                Account::DigitalOcean,
                StatsValues {
                    requests: 41,
                    failures: std::array::from_fn(|at| {
                        u64::from(at == Cause::Timeout as usize) * 3
                    }),
                    left_hour: 4959,
                    left_minute: 249,
                    limit_hour: 5000,
                    limit_minute: 250,
                    interval: Duration::from_millis(15_250),
                },
            ),
            (Account::Dns, StatsValues::default()),
        ],
        history_errors: 4,
        snapshot_unsaved: true,
        configuration_unsaved: false,
        audit: Some(Arc::new(audit())),
        audit_errors: 2,
    }
}

fn audit() -> SavedAudit {
    let at = |second| Timestamp::from_second(second).unwrap();
    let by = |database: Option<&str>, check: &str, severity| CountedBy {
        database: database.map(str::to_owned),
        check: check.to_owned(),
        severity,
    };
    SavedAudit {
        at: at(1_800_000_000),
        level: AuditLevel::Wire,
        counts: [
            (by(None, "E-1", "high"), 1),
            (by(Some("orders"), "T-1", "high"), 0),
            (by(Some("orders"), "X-1", "medium"), 3),
            (by(Some("removed"), "X-1", "medium"), 9),
        ]
        .into(),
        expiries: [("orders".into(), at(1_900_000_000)), ("removed".into(), at(1))].into(),
        problems: Vec::new(),
        total: 13,
    }
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|have| have == line), "no line {line:?} in\n{text}");
}

#[test]
fn counters_carry_the_contracts_names_and_labels() {
    let text = render(scrape(), Format::Prometheus);
    has(&text, r#"dbfw_build_info{version="0.1.0",revision="abc\"\\\n"} 1"#);
    has(&text, "dbfw_up 1");
    has(&text, r#"dbfw_protection{state="protected"} 0"#);
    has(&text, r#"dbfw_protection{state="degraded"} 1"#);
    has(&text, r#"dbfw_protection{state="not_protected"} 0"#);
    has(&text, r#"dbfw_attached{interface="eth0",mode="native"} 1"#);
    has(&text, r#"dbfw_attached{interface="eth0",mode="tcx"} 0"#);
    has(&text, r#"dbfw_attached{interface="eth1",mode="generic"} 0"#);
    has(&text, r#"dbfw_allowed_packets_total{database="orders",family="ipv4"} 3"#);
    has(&text, r#"dbfw_allowed_bytes_total{database="*",family="ipv4"} 180"#);
    has(
        &text,
        r#"dbfw_dropped_packets_total{database="orders",family="ipv6",reason="untrusted"} 7"#,
    );
    has(
        &text,
        r#"dbfw_dropped_bytes_total{database="orders",family="ipv6",reason="untrusted"} 420"#,
    );
    has(
        &text,
        r#"dbfw_observed_drops_total{database="*",family="ipv4",reason="backstop"} 18446744073709551615"#,
    );
    has(&text, r#"dbfw_prefixes{database="orders",family="ipv6"} 1"#);
    has(&text, r#"dbfw_map_entries{map="NETS4"} 2"#);
    has(&text, r#"dbfw_map_max_entries{map="NETS4"} 4194304"#);
    has(&text, "dbfw_config_last_reload_successful 1");
    has(&text, r#"dbfw_database_mode{database="orders",mode="observe"} 1"#);
    has(&text, r#"dbfw_database_mode{database="orders",mode="enforce"} 0"#);
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
}

#[test]
fn both_formats_have_the_same_samples() {
    let samples = |format| {
        let text = render(scrape(), format);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(samples(Format::Prometheus), samples(Format::OpenMetrics));
    assert!(render(scrape(), Format::OpenMetrics).ends_with("\n# EOF\n"));
}

#[test]
fn sources_and_providers_are_told_by_name() {
    let text = render(scrape(), Format::Prometheus);
    for line in [
        r#"dbfw_stale_sources{database="orders"} 2"#,
        r#"dbfw_unresolved_sources{database="orders"} 1"#,
        r#"dbfw_oldest_source_age_seconds{database="orders"} 90.5"#,
        r#"dbfw_refused_plans{database="orders"} 1"#,
        r#"dbfw_provider_requests_total{provider="digitalocean"} 41"#,
        r#"dbfw_provider_request_failures_total{provider="digitalocean",cause="timeout"} 3"#,
        r#"dbfw_provider_request_failures_total{provider="digitalocean",cause="tls"} 0"#,
        r#"dbfw_provider_budget_requests{provider="digitalocean",window="hour"} 5000"#,
        r#"dbfw_provider_budget_left_requests{provider="digitalocean",window="minute"} 249"#,
        r#"dbfw_provider_poll_interval_seconds{provider="digitalocean"} 15.25"#,
        r#"dbfw_provider_requests_total{provider="dns"} 0"#,
        "dbfw_history_errors_total 4",
        "dbfw_state_unsaved{file=\"snapshot\"} 1",
        "dbfw_state_unsaved{file=\"configuration\"} 0",
        r#"dbfw_audit_findings{database="*",check="E-1",severity="high"} 1"#,
        r#"dbfw_audit_findings{database="orders",check="T-1",severity="high"} 0"#,
        r#"dbfw_audit_findings{database="orders",check="X-1",severity="medium"} 3"#,
        r#"dbfw_audit_certificate_expiry_timestamp_seconds{database="orders"} 1900000000.0"#,
        "dbfw_audit_last_run_timestamp_seconds 1800000000.0",
        "dbfw_audit_errors_total 2",
    ] {
        has(&text, line);
    }
    assert!(!text.contains(r#"provider="dns",window"#), "it has no budget");
    assert!(!text.contains("removed"), "a database that is not there any more");
}

#[test]
fn every_label_set_exists_before_anything_happened() {
    let mut sync = SyncCounters::default();
    sync.set_databases(["orders"]);
    let packets =
        [NO_DATABASE, "orders"].map(|name| counters(name, |_, _| Counter::default())).into();
    let databases =
        vec![DatabaseScrape { name: "orders".into(), mode: Mode::Off, prefixes: [0, 0] }];
    let scrape = Scrape { packets, sync, databases, ..Scrape::default() };
    let text = render(scrape, Format::Prometheus);
    for family in ["ipv4", "ipv6"] {
        for database in ["*", "orders"] {
            for reason in [
                "untrusted",
                "port_hidden",
                "malformed",
                "vlan_depth",
                "martian",
                "fragment",
                "backstop",
            ] {
                for name in ["dropped_packets", "dropped_bytes", "observed_drops"] {
                    let labels =
                        format!(r#"{{database="{database}",family="{family}",reason="{reason}"}}"#);
                    has(&text, &format!("dbfw_{name}_total{labels} 0"));
                }
            }
        }
    }
    for cause in Cause::ALL.iter().map(|cause| cause.as_str()) {
        has(&text, &format!(r#"dbfw_sync_failures_total{{database="orders",cause="{cause}"}} 0"#));
    }
    for guard in ["max_shrink", "on_empty", "allow_any"] {
        has(&text, &format!(r#"dbfw_plan_refused_total{{database="orders",guard="{guard}"}} 0"#));
    }
    for (mode, value) in [("enforce", 0), ("observe", 0), ("off", 1)] {
        has(&text, &format!(r#"dbfw_database_mode{{database="orders",mode="{mode}"}} {value}"#));
    }
    has(&text, r#"dbfw_sync_total{database="orders"} 0"#);
    has(&text, "dbfw_history_errors_total 0");
    has(&text, "dbfw_audit_last_run_timestamp_seconds 0.0");
    has(&text, "dbfw_audit_errors_total 0");
    has(&text, r#"dbfw_sync_duration_seconds_bucket{le="+Inf"} 0"#);
    has(&text, r#"dbfw_last_successful_sync_timestamp_seconds{database="orders"} 0.0"#);
    has(&text, "dbfw_up 0");
}

#[test]
fn syncs_are_counted_once_each() {
    let mut sync = SyncCounters::default();
    sync.set_databases(["a", "b"]);
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    sync.finished("a", Duration::from_millis(1), Outcome::Success(at));
    sync.finished("a", Duration::from_millis(2), Outcome::Failure(Cause::Invalid));
    sync.plan_refused("a", Guard::OnEmpty);
    sync.finished("a", Duration::from_secs(60), Outcome::Refused);
    let text = render(Scrape { sync: sync.clone(), ..Scrape::default() }, Format::Prometheus);
    has(&text, r#"dbfw_sync_total{database="a"} 3"#);
    has(&text, r#"dbfw_sync_total{database="b"} 0"#);
    has(&text, r#"dbfw_sync_failures_total{database="a",cause="invalid"} 1"#);
    has(&text, r#"dbfw_plan_refused_total{database="a",guard="on_empty"} 1"#);
    has(&text, r#"dbfw_last_successful_sync_timestamp_seconds{database="a"} 1700000000.0"#);
    has(&text, r#"dbfw_sync_duration_seconds_bucket{le="0.001"} 1"#);
    has(&text, r#"dbfw_sync_duration_seconds_bucket{le="30.0"} 2"#);
    has(&text, r#"dbfw_sync_duration_seconds_bucket{le="+Inf"} 3"#);
    has(&text, "dbfw_sync_duration_seconds_count 3");

    sync.set_databases(["a", "c"]);
    let names: Vec<_> = sync.databases().map(|(name, sync)| (name, sync.total)).collect();
    assert_eq!(names, [("a", 3), ("c", 0)]);
}

#[test]
fn what_is_written_is_what_the_catalogue_says() {
    let written = |format| -> BTreeSet<String> {
        let text = render(scrape(), format);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(str::to_owned).collect()
    };
    let promised =
        |words: fn(&Metric<Scrape>) -> String| catalogue().map(words).collect::<BTreeSet<_>>();
    let openmetrics = |metric: &Metric<Scrape>| {
        let suffix = match metric.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        format!("{} {}", metric.name.strip_suffix(suffix).unwrap(), metric.kind.as_str())
    };
    let prometheus = |metric: &Metric<Scrape>| match metric.kind {
        MetricType::Info => format!("{} gauge", metric.name),
        kind => format!("{} {}", metric.name, kind.as_str()),
    };
    assert_eq!(written(Format::OpenMetrics), promised(openmetrics));
    assert_eq!(written(Format::Prometheus), promised(prometheus));
    assert_eq!(catalogue().count(), 34);
    for metric in catalogue() {
        assert!(!metric.help.contains(['"', '\\', '\n', '|']), "{}", metric.name);
    }
}

/// The Markdown table of docs/metrics.md.
fn catalogue_table() -> String {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    table.extend(catalogue().map(Metric::table_row));
    table
}

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    assert!(
        DOCS.contains(&catalogue_table()),
        "docs/metrics.md must contain this table:\n{}",
        catalogue_table()
    );
    let mut known: BTreeSet<String> = catalogue().map(|metric| metric.name.to_owned()).collect();
    for suffix in ["_bucket", "_sum", "_count"] {
        known.insert(format!("dbfw_sync_duration_seconds{suffix}"));
    }
    for text in [DOCS, ALERTS, DASHBOARD] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("dbfw_")) {
            assert!(known.contains(word), "{word} does not exist, and is named in\n{text}");
        }
    }
}
