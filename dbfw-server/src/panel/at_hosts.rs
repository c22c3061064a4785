//! The hosts of a database, and the state of its list there.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use dbfw_wire::api::HostAtDatabase;
use maud::{Markup, html};

use super::{
    page::{self, Place},
    state::Panel,
    status,
    tabs::{self, Tab},
    text::shown,
    time::when,
    visitor::Visitor,
};
use crate::{api::ApiError, model::Scope};

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseRead).await?;
    visitor.caller.needs(Scope::HostRead)?;
    let found = panel.app.fleet.status(database.id);
    let hosts = found.as_ref().map_or(&[][..], |status| &status.hosts);
    let content = html! {
        (tabs::head(&visitor, &database, Tab::Hosts))
        section id="hosts" data-live={ "list:" (database.id) " state:" (database.id) } {
            (status::line(found.as_ref()))
            @if hosts.is_empty() {
                div.empty {
                    p { strong { "No host reads this list by a stream." } }
                    p {
                        "On this server, "
                        code { "dbfw-server join-token --database " (database.name) }
                        " prints what a host joins with."
                    }
                }
            } @else { (table(hosts)) }
        }
    };
    let title = format!("Hosts of {}", database.name);
    Ok(page::page(&panel, &visitor, Place::Databases, &title, content))
}

fn table(hosts: &[HostAtDatabase]) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Hosts of the database" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Host" }
                    th role="columnheader" scope="col" { "The newest list" }
                    th role="columnheader" scope="col" { "Since" }
                    th role="columnheader" scope="col" { "Ports" }
                    th role="columnheader" scope="col" { "Mode" }
                    th role="columnheader" scope="col" { "Prefixes" }
                    th.left role="columnheader" scope="col" { "Problem" }
                }
            }
            tbody role="rowgroup" {
                @for host in hosts {
                    tr role="row" {
                        th role="rowheader" scope="row" { (shown(&host.name)) }
                        td role="cell" data-label="The newest list" {
                            (status::at_host(host.state))
                        }
                        td role="cell" data-label="Since" {
                            @match host.since {
                                Some(at) => (when(at)),
                                None => span.faint { "not heard yet" },
                            }
                        }
                        td role="cell" data-label="Ports" { (shown(&host.ports.join(", "))) }
                        td role="cell" data-label="Mode" { (shown(&host.mode)) }
                        td role="cell" data-label="Prefixes" {
                            @match host.prefixes { Some(number) => (number), None => span.faint { "–" } }
                        }
                        td.text role="cell" data-label="Problem" { (problem(host)) }
                    }
                }
            }
        }
    }
}

fn problem(host: &HostAtDatabase) -> Markup {
    html! {
        @if let Some(message) = &host.message { (shown(message)) }
        @if let Some(guard) = &host.guard { " Guard: " code { (shown(guard)) } "." }
        @if let Some(plan) = &host.plan {
            " If it is meant, on the host: " code { "dbfw reload --confirm " (shown(plan)) } "."
        }
        @if host.left_out > 0 {
            " " (host.left_out) " of the sources are left out by the host's own limits."
        }
        @if host.message.is_none() && host.guard.is_none() && host.left_out == 0 {
            span.faint { "none" }
        }
    }
}
