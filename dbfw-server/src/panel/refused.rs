//! Sources that the hosts of a database refuse, and trusting one.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_core::source::SourceType;
use dbfw_wire::api::{RefusedSource, SourceRequest};
use maud::{Markup, html};

use super::{
    access,
    add::trust,
    fields::End,
    form::Form,
    message::{self, Done},
    page::{self, Place},
    state::Panel,
    tabs::{self, Tab},
    text::{count, shown},
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId},
    list::List,
    model::{Database, Scope},
};

type Answer = Result<Response, ApiError>;

/// Sources that are shown.
const SHOWN: usize = 200;

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseRead).await?;
    whole(&panel, &visitor, &database, &html! {}).await
}

pub(super) async fn add(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (lifetime, expires_at) = End::of(&form)?.said();
    let request = SourceRequest {
        kind: SourceType::IpAddr.to_string(),
        value: form.get("address").to_owned(),
        description: Some(Some("was refused, and trusted in the panel".to_owned())),
        expires_at,
        lifetime,
        reason: None,
    };
    match trust(&panel, &visitor, &database, request, None).await {
        Ok(()) => Ok(Redirect::to(&Done::Added.at(&tabs::path(&database))).into_response()),
        Err(error)
            if matches!(error.id, ErrorId::UnprocessableEntity | ErrorId::Conflict)
                && visitor.caller.may(Scope::DatabaseRead) =>
        {
            let problem = message::problem(&error.message);
            let response = whole(&panel, &visitor, &database, &problem).await?;
            let status: StatusCode = error.id.status();
            Ok(page::with_status(response, status))
        }
        Err(error) => Err(error),
    }
}

async fn whole(panel: &Panel, visitor: &Visitor, database: &Database, message: &Markup) -> Answer {
    let refused = panel.app.fleet.refused(database.id);
    let list = panel.service().list(database.id).await?.list;
    let may_trust = visitor.may(Scope::DatabaseUpdate, database);
    let content = html! {
        (tabs::head(visitor, database, Tab::Refused))
        (message)
        p.hint {
            "Whoever tried to connect and was dropped, as the hosts tell. A host can make entries up: "
            "look twice at what only one has seen."
        }
        section id="refused" data-live={ "list:" (database.id) " refused:" (database.id) } {
            @if refused.is_empty() {
                div.empty { p { strong { "Nobody was refused." } } }
            } @else { (table(database, &refused, &list, may_trust)) }
        }
    };
    let title = format!("Refused by {}", database.name);
    Ok(page::page(panel, visitor, Place::Databases, &title, content))
}

fn table(database: &Database, refused: &[RefusedSource], list: &List, may_trust: bool) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Refused sources" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Address" }
                    th role="columnheader" scope="col" { "Seen by" }
                    th role="columnheader" scope="col" { "Ports" }
                    th role="columnheader" scope="col" { "Packets" }
                    th role="columnheader" scope="col" { "First" }
                    th role="columnheader" scope="col" { "Last" }
                    @if may_trust { th role="columnheader" scope="col" { "Trust it" } }
                }
            }
            tbody role="rowgroup" {
                @for source in refused.iter().take(SHOWN) {
                    tr role="row" {
                        th role="rowheader" scope="row" { code { (source.address) } }
                        td.text role="cell" data-label="Seen by" {
                            (count(source.hosts, "host only", "hosts")) ": "
                            (shown(&source.host_names.join(", ")))
                        }
                        td role="cell" data-label="Ports" { (shown(&source.ports.join(", "))) }
                        td role="cell" data-label="Packets" { (source.packets) }
                        td role="cell" data-label="First" { (when(source.first_seen)) }
                        td role="cell" data-label="Last" { (when(source.last_seen)) }
                        @if may_trust {
                            td.actions role="cell" { (actions(database, source, list)) }
                        }
                    }
                }
            }
        }
        @if refused.len() > SHOWN {
            p.faint { "and " (refused.len() - SHOWN) " more with fewer packets" }
        }
    }
}

fn actions(database: &Database, source: &RefusedSource, list: &List) -> Markup {
    if list.rules.iter().any(|rule| access::names(&rule.key, source.address)) {
        return html! { span.badge.good { "trusted now" } };
    }
    html! {
        form method="post" action={ (tabs::path(database)) "/refused" } {
            input type="hidden" name="address" value=(source.address);
            @for (value, words) in [("1h", "1 hour"), ("1d", "1 day"), ("never", "for good")] {
                button.quiet type="submit" name="for" value=(value) {
                    (words) span.hidden { ": trust " (source.address) }
                }
                " "
            }
        }
    }
}
