//! The first page: databases.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_wire::api::{DatabaseRequest, DatabaseSettings, DatabaseStatus};
use maud::{Markup, html};

use super::{
    form::Form,
    message::{self, Done},
    page::{self, Place},
    state::Panel,
    status, tabs,
    text::shown,
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId, v1},
    list::List,
    model::{Change, Database, Scope},
    service::ServiceError,
};

type Answer = Result<Response, ApiError>;

/// Engines that the form offers.
const ENGINES: [(&str, &str); 6] = [
    ("pg", "PostgreSQL"),
    ("mysql", "MySQL or MariaDB"),
    ("redis", "Redis"),
    ("valkey", "Valkey"),
    ("mongodb", "MongoDB"),
    ("other", "another"),
];

/// A database as a line shows it.
struct Line {
    database: Database,
    list: List,
    last: Option<Change>,
    status: Option<DatabaseStatus>,
}

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
) -> Answer {
    let message = message::of_query(query.as_deref());
    whole(&panel, &visitor, &message, &Form::default()).await
}

pub(super) async fn create(
    State(panel): State<Arc<Panel>>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    match added(&panel, &visitor, &form).await {
        Ok(database) => {
            let path = Done::DatabaseAdded.at(&tabs::path(&database));
            Ok(Redirect::to(&path).into_response())
        }
        Err(error) if matches!(error.id, ErrorId::UnprocessableEntity | ErrorId::Conflict) => {
            let problem = message::problem(&error.message);
            let response = whole(&panel, &visitor, &problem, &form).await?;
            Ok(page::with_status(response, error.id.status()))
        }
        Err(error) => Err(error),
    }
}

async fn added(panel: &Panel, visitor: &Visitor, form: &Form) -> Result<Database, ApiError> {
    let port = match form.text("port") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            ServiceError::field("port", "is no port", "use a number from 1 to 65535")
        })?),
    };
    let settings = DatabaseSettings {
        engine: form.text("engine"),
        host: form.text("host"),
        port,
        ..DatabaseSettings::default()
    };
    let request = DatabaseRequest { name: form.get("name").to_owned(), id: None, settings };
    v1::databases::create(&panel.app, &visitor.caller, request).await
}

async fn whole(panel: &Panel, visitor: &Visitor, message: &Markup, form: &Form) -> Answer {
    visitor.caller.needs(Scope::DatabaseRead)?;
    let lines = lines(panel, visitor).await?;
    let may_add = visitor.may_with_all(Scope::DatabaseCreate);
    let shows_history = visitor.caller.may(Scope::AuditRead);
    let content = html! {
        h1 { "Databases" }
        (message)
        section id="databases" data-live="list database state" {
            @if lines.is_empty() { (none(may_add)) } @else { (table(&lines, shows_history)) }
        }
        @if may_add { (add(form, lines.is_empty())) }
    };
    Ok(page::page(panel, visitor, Place::Databases, "Databases", content))
}

async fn lines(panel: &Panel, visitor: &Visitor) -> Result<Vec<Line>, ApiError> {
    let service = panel.service();
    let mut lines = Vec::new();
    for database in service.databases().await? {
        if !visitor.caller.sees(database.id) {
            continue;
        }
        let list = match service.list(database.id).await {
            Ok(stored) => stored.list,
            // Removed since.
            Err(ServiceError::NoDatabase) => continue,
            Err(error) => return Err(error.into()),
        };
        let last = match visitor.caller.may(Scope::AuditRead) {
            true => service.changes(database.id, None, 1).await?.pop(),
            false => None,
        };
        let status = panel.app.fleet.status(database.id);
        lines.push(Line { database, list, last, status });
    }
    Ok(lines)
}

fn none(may_add: bool) -> Markup {
    html! {
        div.empty {
            p { strong { "No database yet." } }
            @if may_add {
                p {
                    "Add the first below, then trust the addresses that may reach it. Its hosts "
                    "enforce the list."
                }
            } @else {
                p { "Your token is for no database that is here. Ask for one that is." }
            }
        }
    }
}

fn table(lines: &[Line], shows_history: bool) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Databases" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Name" }
                    th role="columnheader" scope="col" { "Engine" }
                    th role="columnheader" scope="col" { "Address" }
                    th.number role="columnheader" scope="col" { "Trusted sources" }
                    th role="columnheader" scope="col" { "State" }
                    @if shows_history { th.left role="columnheader" scope="col" { "Last change" } }
                }
            }
            tbody role="rowgroup" {
                @for Line { database, list, last, status } in lines {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            a href=(tabs::path(database)) { (database.name) }
                        }
                        td role="cell" data-label="Engine" { (database.engine) }
                        td role="cell" data-label="Address" { (address(database)) }
                        td.number role="cell" data-label="Trusted sources" {
                            (list.rules.len())
                            @if list.rules.is_empty() { " " span.badge.closed { "closed" } }
                            @if database.allow_any {
                                " " span.badge.warn { "may trust everybody" }
                            }
                        }
                        td role="cell" data-label="State" { (status::short(status.as_ref())) }
                        @if shows_history {
                            td role="cell" data-label="Last change" {
                                @if let Some(change) = last {
                                    (shown(&change.by.name())) ", " (when(change.at)) ", "
                                    (change.via)
                                } @else { span.faint { "none" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn address(database: &Database) -> Markup {
    let connection = &database.connection;
    html! {
        @if connection.host.is_empty() {
            span.faint { "not given" }
        } @else {
            (shown(&connection.host))
            @if connection.port != 0 { ":" (connection.port) }
        }
    }
}

fn add(form: &Form, is_open: bool) -> Markup {
    let engine = form.text("engine").unwrap_or_else(|| "pg".to_owned());
    html! {
        details.panel open[is_open || !form.get("name").is_empty()] {
            summary { "Add a database" }
            form method="post" action="/databases" {
                div.fields {
                    div.field {
                        label for="name" { "Name" }
                        input id="name" name="name" required maxlength="63" autocapitalize="none"
                            spellcheck="false" value=(form.get("name")) aria-describedby="name-hint";
                        p.hint id="name-hint" { "lower-case letters, digits, - and _" }
                    }
                    div.field {
                        label for="engine" { "Engine" }
                        select id="engine" name="engine" {
                            @for (value, words) in ENGINES {
                                option value=(value) selected[value == engine] { (words) }
                            }
                        }
                    }
                    div.field {
                        label for="host" { "Host (optional)" }
                        input id="host" name="host" spellcheck="false" autocapitalize="none"
                            value=(form.get("host"));
                    }
                    div.field.short {
                        label for="port" { "Port (optional)" }
                        input id="port" name="port" inputmode="numeric" value=(form.get("port"));
                    }
                }
                button type="submit" { "Add the database" }
            }
        }
    }
}
