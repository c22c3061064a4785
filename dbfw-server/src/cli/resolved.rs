//! `dbfw-server resolved`: what trusted sources stand for, and losses that are held.

use dbfw_wire::api::{ResolvedList, ResolvedSource};

use super::{
    args::{Context, ResolvedVerb},
    client::Client,
    exit::Exit,
    output::{note, show, time},
};

/// Does what the verb says.
pub(super) fn resolved(context: &Context, verb: &ResolvedVerb) -> anyhow::Result<Exit> {
    let client = Client::new(context.socket());
    match verb {
        ResolvedVerb::List => {
            let list: ResolvedList = client.get("/api/v1/resolved")?;
            let titles = ["SOURCE", "STATE", "STANDS FOR", "CONFIRMED", "HELD LOSS", "PROBLEM"];
            let rows: Vec<_> = list.sources.iter().map(row).collect();
            show(context.output, &list, titles, &rows)?;
        }
        ResolvedVerb::Confirm { id } => {
            let path = format!("/api/v1/resolved/{id}/confirm");
            let source: ResolvedSource = client.post(&path, &serde_json::json!({}))?;
            let ResolvedSource { kind, value, resolved } = source;
            note(&format!("{kind}:{value} stands for {} now", resolved.prefixes));
        }
    }
    Ok(Exit::Ok)
}

fn row(source: &ResolvedSource) -> [String; 6] {
    let ResolvedSource { kind, value, resolved } = source;
    let held = resolved.held.as_ref();
    let held = held.map(|held| format!("{} ({} of {})", held.id, held.lost, held.of));
    let dash = || "-".to_owned();
    [
        format!("{kind}:{value}"),
        resolved.state.as_str().to_owned(),
        resolved.prefixes.to_string(),
        time(resolved.at),
        held.unwrap_or_else(dash),
        resolved.error.clone().unwrap_or_else(dash),
    ]
}
