//! The database hosts that have joined.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use dbfw_wire::agent::HostAudit;
use maud::{Markup, html};
use uuid::Uuid;

use super::{
    page::{self, Place},
    state::Panel,
    text::shown,
    time::when,
    visitor::Visitor,
};
use crate::{
    api::ApiError,
    model::{Database, Host, Scope},
};

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    visitor.caller.needs(Scope::HostRead)?;
    let mut hosts = panel.service().hosts().await?;
    hosts.retain(|host| visitor.caller.sees_any(&host.databases));
    let databases = panel.service().databases().await?;
    let names: BTreeMap<Uuid, &Database> = databases
        .iter()
        .filter(|database| visitor.caller.sees(database.id))
        .map(|database| (database.id, database))
        .collect();
    let mut live = panel.app.fleet.live_hosts();
    let mut audited = Vec::new();
    for host in &hosts {
        let Some(mut live) = live.remove(&host.id) else { continue };
        live.retain_databases(|id| visitor.caller.sees(id));
        audited.extend(live.audit.map(|audit| (host, audit)));
    }
    let content = html! {
        h1 { "Hosts" }
        section id="hosts" data-live="host database state" {
            @if hosts.is_empty() {
                div.empty {
                    p { strong { "No host has joined yet." } }
                    p {
                        "On this server, " code { "dbfw-server join-token --database NAME" }
                        " prints what a host joins with."
                    }
                }
            } @else { (table(&hosts, &names)) }
            @if !audited.is_empty() { (audits(&audited, &names)) }
        }
    };
    Ok(page::page(&panel, &visitor, Place::Hosts, "Hosts", content))
}

fn table(hosts: &[Host], names: &BTreeMap<Uuid, &Database>) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Hosts" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Name" }
                    th role="columnheader" scope="col" { "Databases" }
                    th role="columnheader" scope="col" { "Last seen" }
                    th.left role="columnheader" scope="col" { "Joined" }
                }
            }
            tbody role="rowgroup" {
                @for host in hosts {
                    tr role="row" {
                        th role="rowheader" scope="row" { (shown(&host.name)) }
                        td.text role="cell" data-label="Databases" { (reads(host, names)) }
                        td role="cell" data-label="Last seen" {
                            @match host.last_seen {
                                Some(at) => (when(at)),
                                None => span.faint { "never" },
                            }
                        }
                        td role="cell" data-label="Joined" {
                            (when(host.joined_at)) ", token of " (shown(&host.joined_by))
                            @if let Some(from) = host.joined_from { ", from " code { (from) } }
                        }
                    }
                }
            }
        }
    }
}

/// The databases whose lists a host reads, as far as the visitor may see them.
fn reads(host: &Host, names: &BTreeMap<Uuid, &Database>) -> Markup {
    let seen: Vec<&&Database> = host.databases.iter().filter_map(|id| names.get(id)).collect();
    let others = host.databases.len() - seen.len();
    html! {
        @for (at, database) in seen.iter().enumerate() {
            @if at > 0 { ", " }
            a href=(super::tabs::path(database)) { (database.name) }
        }
        @if others > 0 { span.faint { " and " (others) " more" } }
    }
}

/// The findings of the hosts' last audits.
fn audits(audited: &[(&Host, HostAudit)], names: &BTreeMap<Uuid, &Database>) -> Markup {
    html! {
        h2 { "Findings of audits" }
        @for (host, audit) in audited {
            p {
                strong { (shown(&host.name)) }
                @if audit.findings.is_empty() { ": nothing was found" }
                ", audited " (when(audit.at)) ", level " (shown(&audit.level)) "."
                @if audit.more { " There are more: on the host, " code { "dbfw audit" } "." }
            }
            @if !audit.findings.is_empty() { (findings(host, audit, names)) }
        }
        p.faint { "On a host, " code { "dbfw audit --explain ID" } " says why, and what to do." }
    }
}

fn findings(host: &Host, audit: &HostAudit, names: &BTreeMap<Uuid, &Database>) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Findings of " (shown(&host.name)) }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Check" }
                    th role="columnheader" scope="col" { "Severity" }
                    th role="columnheader" scope="col" { "Database" }
                    th.left role="columnheader" scope="col" { "About" }
                }
            }
            tbody role="rowgroup" {
                @for finding in &audit.findings {
                    tr role="row" {
                        th role="rowheader" scope="row" { (shown(&finding.check)) }
                        td role="cell" data-label="Severity" { (shown(&finding.severity)) }
                        td role="cell" data-label="Database" {
                            @match finding.database.and_then(|id| names.get(&id)) {
                                Some(database) => {
                                    a href=(super::tabs::path(database)) { (database.name) }
                                }
                                None => span.faint { "the host" },
                            }
                        }
                        td.text role="cell" data-label="About" {
                            @match &finding.subject {
                                Some(subject) => (shown(subject)),
                                None => span.faint { "all of it" },
                            }
                        }
                    }
                }
            }
        }
    }
}
