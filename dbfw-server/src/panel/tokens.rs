//! Tokens: what there is, making one, revoking one.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_wire::api::TokenRequest;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use uuid::Uuid;

use super::{
    fields::{self, End},
    form::Form,
    message::{self, Done},
    page::{self, Place},
    state::Panel,
    text::shown,
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId, forbidden, v1},
    model::{Database, Databases, Preset, Scope, Secret, Token},
    service::ServiceError,
};

type Answer = Result<Response, ApiError>;

/// Lifetimes that the form offers.
const ENDS: [(&str, &str); 5] = [
    ("never", "for good"),
    ("1d", "for 1 day"),
    ("30d", "for 30 days"),
    ("90d", "for 90 days"),
    ("365d", "for a year"),
];

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
) -> Answer {
    let message = message::of_query(query.as_deref());
    whole(&panel, &visitor, &message, &Form::default()).await
}

pub(super) async fn issue(State(panel): State<Arc<Panel>>, visitor: Visitor, form: Form) -> Answer {
    match issued(&panel, &visitor, &form).await {
        Ok((token, secret)) => Ok(once(&panel, &visitor, &token, &secret)),
        Err(error) if error.id == ErrorId::UnprocessableEntity => {
            let problem = message::problem(&error.message);
            let response = whole(&panel, &visitor, &problem, &form).await?;
            Ok(page::with_status(response, error.id.status()))
        }
        Err(error) => Err(error),
    }
}

async fn issued(
    panel: &Panel,
    visitor: &Visitor,
    form: &Form,
) -> Result<(Token, Secret), ApiError> {
    let expires_at = match End::of(form)? {
        End::Keep | End::Never => None,
        End::At(at) => Some(at),
        End::For(days) => Some(after(&days)?.to_string()),
    };
    let preset = form.text("preset").filter(|preset| preset != "own");
    let request = TokenRequest {
        name: form.get("name").to_owned(),
        scopes: match &preset {
            Some(_) => Vec::new(),
            None => form.all("scope").map(str::to_owned).collect(),
        },
        preset,
        databases: match form.get("databases") {
            "some" => Some(form.all("database").map(str::to_owned).collect()),
            _ => None,
        },
        expires_at,
    };
    v1::tokens::issue(&panel.app, &visitor.caller, request).await
}

/// The time so many days from now.
fn after(days: &str) -> Result<Timestamp, ServiceError> {
    let number = days.strip_suffix('d').and_then(|number| number.parse::<u16>().ok());
    let at = number.and_then(|days| {
        let lifetime = SignedDuration::from_hours(i64::from(days) * 24);
        Timestamp::now().checked_add(lifetime).ok()
    });
    let at = at.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    at.ok_or_else(|| {
        ServiceError::field("for", "is no number of days", "choose one of those there")
    })
}

pub(super) async fn confirm(
    State(panel): State<Arc<Panel>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Answer {
    visitor.caller.needs(Scope::TokenDelete)?;
    let tokens = v1::tokens::tokens(&panel.app, &visitor.caller).await?;
    let id: Option<Uuid> = id.parse().ok();
    let token = tokens.into_iter().find(|token| Some(token.id) == id);
    let token = token.ok_or(ServiceError::NoToken)?;
    let is_own = visitor.caller.token().is_some_and(|own| own.id == token.id);
    let content = html! {
        p.crumbs { a href="/tokens" { "Tokens" } }
        h1 { "Revoke a token?" }
        dl.facts {
            dt { "Name" } dd { (shown(&token.name)) }
            dt { "Begins with" } dd { code { (token.begins_with) "…" } }
            dt { "Last use" } dd { (last_use(&token)) }
        }
        @if is_own {
            p.warning {
                strong { "It is the token that you are logged in with. " }
                "You are logged out at once."
            }
        }
        p { "Whoever uses it is refused from the next request on. It cannot be brought back." }
        form.panel method="post" {
            div.choice {
                button.danger type="submit" { "Revoke it" }
                a.button.quiet href="/tokens" { "Keep it" }
            }
        }
    };
    Ok(page::page(&panel, &visitor, Place::Tokens, "Revoke a token", content))
}

pub(super) async fn revoke(
    State(panel): State<Arc<Panel>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Answer {
    v1::tokens::revoke(&panel.app, &visitor.caller, &id).await?;
    Ok(Redirect::to(&Done::Revoked.at("/tokens")).into_response())
}

/// The page that shows a secret, this once.
fn once(panel: &Panel, visitor: &Visitor, token: &Token, secret: &Secret) -> Response {
    let content = html! {
        p.crumbs { a href="/tokens" { "Tokens" } }
        h1 { "The token " (shown(&token.name)) }
        div.done role="status" {
            p { strong { "Copy it now. It is shown this once, and the server does not keep it." } }
        }
        div.field.wide {
            label for="secret" { "Token" }
            input.secret id="secret" readonly value=(secret.expose()) autocomplete="off"
                data-select;
        }
        p { a.button href="/tokens" { "To the tokens" } }
    };
    let response = page::page(panel, visitor, Place::Tokens, "A new token", content);
    page::with_status(response, StatusCode::CREATED)
}

async fn whole(panel: &Panel, visitor: &Visitor, message: &Markup, form: &Form) -> Answer {
    let (reads, makes) =
        (visitor.may_with_all(Scope::TokenRead), visitor.caller.may(Scope::TokenCreate));
    if !reads && !makes {
        return Err(forbidden("the token may neither list tokens nor make any"));
    }
    let mut databases = panel.service().databases().await?;
    databases.retain(|database| visitor.caller.sees(database.id));
    let content = html! {
        h1 { "Tokens" }
        (message)
        @if reads {
            (table(&v1::tokens::tokens(&panel.app, &visitor.caller).await?, &databases, visitor))
        }
        @if makes { (make(visitor, &databases, form)) }
    };
    Ok(page::page(panel, visitor, Place::Tokens, "Tokens", content))
}

fn table(tokens: &[Token], databases: &[Database], visitor: &Visitor) -> Markup {
    let names: BTreeMap<Uuid, &str> =
        databases.iter().map(|database| (database.id, database.name.as_str())).collect();
    let may_revoke = visitor.may_with_all(Scope::TokenDelete);
    html! {
        table role="table" {
            caption.hidden { "Tokens" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Name" }
                    th role="columnheader" scope="col" { "Begins with" }
                    th role="columnheader" scope="col" { "May" }
                    th role="columnheader" scope="col" { "Databases" }
                    th role="columnheader" scope="col" { "Expires" }
                    th role="columnheader" scope="col" { "Last use" }
                    th role="columnheader" scope="col" { "Made" }
                    @if may_revoke { th role="columnheader" scope="col" { "Change" } }
                }
            }
            tbody role="rowgroup" {
                @for token in tokens {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            (shown(&token.name))
                            @if visitor.caller.token().is_some_and(|own| own.id == token.id) {
                                " " span.badge { "you" }
                            }
                        }
                        td role="cell" data-label="Begins with" { code { (token.begins_with) "…" } }
                        td.text role="cell" data-label="May" { (rights(token)) }
                        td.text role="cell" data-label="Databases" { (for_which(token, &names)) }
                        td role="cell" data-label="Expires" {
                            @match token.expires_at {
                                Some(at) if token.has_expired(Timestamp::now()) => {
                                    span.badge.warn { "expired" } " " (when(at))
                                },
                                Some(at) => (when(at)),
                                None => span.faint { "never" },
                            }
                        }
                        td role="cell" data-label="Last use" { (last_use(token)) }
                        td role="cell" data-label="Made" {
                            (shown(&token.created_by)) ", " (when(token.created_at))
                        }
                        @if may_revoke {
                            td.actions role="cell" {
                                a.button.danger href={ "/tokens/" (token.id) "/revoke" } {
                                    "Revoke" span.hidden { " " (token.name) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn last_use(token: &Token) -> Markup {
    html! {
        @match token.last_used {
            Some(at) if Timestamp::now().duration_since(at) < SignedDuration::from_hours(1) => {
                "within the hour"
            },
            Some(at) => (when(at)),
            None => span.faint { "never" },
        }
    }
}

fn rights(token: &Token) -> Markup {
    let preset = Preset::ALL.iter().find(|preset| preset.scopes() == token.scopes);
    html! {
        @match preset {
            Some(preset) => (preset.as_str()),
            None => (token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")),
        }
    }
}

fn for_which(token: &Token, names: &BTreeMap<Uuid, &str>) -> Markup {
    html! {
        @match &token.databases {
            Databases::All => "all",
            Databases::Only(ids) => {
                @for (at, id) in ids.iter().enumerate() {
                    @if at > 0 { ", " }
                    @match names.get(id) { Some(name) => (name), None => span.faint { "a removed one" } }
                }
            },
        }
    }
}

/// A set of scopes that the form offers, in words.
const fn words(preset: Preset) -> &'static str {
    match preset {
        Preset::Viewer => "reads lists and their history",
        Preset::Editor => "changes lists too",
        Preset::Admin => "may do everything",
    }
}

fn make(visitor: &Visitor, databases: &[Database], form: &Form) -> Markup {
    let can_pass_on = |scope: &Scope| visitor.caller.may(*scope);
    let presets: Vec<Preset> = Preset::ALL
        .iter()
        .copied()
        .filter(|preset| preset.scopes().iter().all(can_pass_on))
        .collect();
    let first = presets.first().map_or("own", |preset| preset.as_str()).to_owned();
    let chosen = form.text("preset").unwrap_or(first);
    let has_all = visitor.caller.needs_all_databases().is_ok();
    let is_some = form.get("databases") == "some" || !has_all;
    html! {
        form.panel method="post" action="/tokens" aria-labelledby="make" {
            h2 id="make" { "Make a token" }
            div.fields {
                div.field {
                    label for="name" { "Name" }
                    input id="name" name="name" required maxlength="64" autocomplete="off"
                        value=(form.get("name")) placeholder="who or what uses it";
                }
                (fields::end("Valid", form, &ENDS, "90d"))
            }
            fieldset {
                legend { "It may" }
                @for preset in presets {
                    label.option {
                        input type="radio" name="preset" value=(preset.as_str())
                            checked[chosen == preset.as_str()];
                        span { strong { (preset.as_str()) } ": " (words(preset)) }
                    }
                }
                label.option {
                    input type="radio" name="preset" value="own" checked[chosen == "own"];
                    span { "only this:" }
                }
                div.options {
                    @for scope in Scope::ALL.iter().filter(|scope| can_pass_on(scope)) {
                        label.option {
                            input type="checkbox" name="scope" value=(scope.as_str())
                                checked[form.all("scope").any(|one| one == scope.as_str())];
                            code { (scope.as_str()) }
                        }
                    }
                }
            }
            fieldset {
                legend { "For" }
                @if has_all {
                    label.option {
                        input type="radio" name="databases" value="all" checked[!is_some];
                        span { "all databases, and those to come" }
                    }
                }
                label.option {
                    input type="radio" name="databases" value="some" checked[is_some];
                    span { "only these:" }
                }
                div.options {
                    @for database in databases {
                        label.option {
                            input type="checkbox" name="database" value=(database.id)
                                checked[form.all("database").any(|one| one == database.id.to_string())];
                            span { (database.name) }
                        }
                    }
                }
            }
            button type="submit" { "Make the token" }
        }
    }
}
