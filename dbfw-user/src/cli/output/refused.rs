//! Refused plans in full, for whoever is to confirm them.

use anstyle::Style;
use dbfw_wire::control::{DatabaseStatus, LiveConnection, RefusedPlan};

use super::{
    table::{BAD, SCREEN},
    words::{clean, fields, number_of, wrap},
};

const REFUSED: Style = BAD.bold();
const BOLD: Style = Style::new().bold();

/// A paragraph for every refused plan.
pub(super) fn paragraphs(databases: &[DatabaseStatus]) -> String {
    let refused =
        databases.iter().filter_map(|database| Some((database, database.refused.as_ref()?)));
    refused.map(|(database, plan)| paragraph(&database.name, plan)).collect()
}

fn paragraph(database: &str, plan: &RefusedPlan) -> String {
    let (database, guard, id) = (clean(database), plan.guard, clean(&plan.id));
    let mut text = format!(
        "\n{REFUSED}REFUSED{REFUSED:#} by {guard}: a change of {database}, plan {BOLD}{id}{BOLD:#}\n"
    );
    indented(&mut text, &plan.message);
    text.push_str(&prefixes("go", &plan.lost, plan.lost_total));
    text.push_str(&prefixes("come", &plan.gained, plan.gained_total));
    text.push_str(&connections(plan));
    if plan.command.is_empty() {
        indented(&mut text, "It cannot be confirmed.");
    } else {
        text.push_str(&format!("  If it is meant: {BOLD}{}{BOLD:#}\n", clean(&plan.command)));
    }
    text
}

/// Prefixes that would go or come; nothing if there are none.
fn prefixes(verb: &str, named: &[String], total: usize) -> String {
    if total == 0 {
        return String::new();
    }
    let mut text = format!("  {} would {verb}:\n", number_of(total as u64, "prefix", "prefixes"));
    let names = named.join(", ") + &more(total, named.len());
    for line in wrap(&names, SCREEN - 4) {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

fn connections(plan: &RefusedPlan) -> String {
    if let Some(error) = &plan.connections_error {
        let mut text = String::new();
        indented(
            &mut text,
            &format!("The live connections that would be cut are not known: {error}"),
        );
        return text;
    }
    if plan.connections_total == 0 {
        return "  No live connection would be cut.\n".to_owned();
    }
    let count = number_of(plan.connections_total as u64, "live connection", "live connections");
    let mut text = format!("  {count} would be cut:\n");
    for LiveConnection { peer, port, source_prefix } in &plan.connections {
        let (peer, prefix) = (clean(peer), clean(source_prefix));
        text.push_str(&format!("    {peer} to port {port}, let in by {prefix}\n"));
    }
    let more = more(plan.connections_total, plan.connections.len());
    if !more.is_empty() {
        text.push_str(&format!("   {more}\n"));
    }
    text
}

fn more(total: usize, shown: usize) -> String {
    match total.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

fn indented(text: &mut String, words: &str) {
    for line in wrap(words, SCREEN - 2) {
        text.push_str(&format!("  {line}\n"));
    }
}

/// A record for the plan, each prefix and each connection.
pub(super) fn records(database: &DatabaseStatus) -> String {
    let Some(plan) = &database.refused else { return String::new() };
    let (name, id) = (&database.name, &plan.id);
    let mut text = fields([
        "refused",
        name,
        id,
        plan.guard.as_str(),
        &plan.lost_total.to_string(),
        &plan.connections_total.to_string(),
        &plan.command,
        &plan.message,
        plan.connections_error.as_deref().unwrap_or_default(),
        &plan.gained_total.to_string(),
    ]);
    for (record, prefixes) in [("lost", &plan.lost), ("gained", &plan.gained)] {
        for prefix in prefixes {
            text.push_str(&fields([record, name, id, prefix]));
        }
    }
    for LiveConnection { peer, port, source_prefix } in &plan.connections {
        text.push_str(&fields(["cut", name, id, peer, &port.to_string(), source_prefix]));
    }
    text
}
