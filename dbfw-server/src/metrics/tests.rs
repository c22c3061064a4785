use std::collections::BTreeSet;

use super::*;

const DOCS: &str = include_str!("../../../docs/server.md");
const ALERTS: &str = include_str!("../../../packaging/prometheus/dbfw-server.rules.yml");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/dbfw-server.json");

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let rows: String = CATALOGUE.iter().map(dbfw_metrics::Metric::table_row).collect();
    let table = format!("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n{rows}");
    assert!(DOCS.contains(&table), "docs/server.md must contain this table:\n{table}");
    let mut known: BTreeSet<String> =
        CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
    for histogram in ["propagation", "store_duration"] {
        for suffix in ["bucket", "sum", "count"] {
            known.insert(format!("dbfw_server_{histogram}_seconds_{suffix}"));
        }
    }
    for text in [DOCS, ALERTS, DASHBOARD] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("dbfw_server_")) {
            assert!(known.contains(word), "{word} does not exist, and is named in\n{text}");
        }
    }
    for metric in CATALOGUE {
        assert!(!metric.help.contains(['"', '\\', '\n', '|']), "{}", metric.name);
    }
}
