//! The trusted sources of a database.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use dbfw_core::source::{SourceKey, SourceType};
use dbfw_wire::api::{Resolution, ResolutionState};
use maud::{Markup, html};
use url::form_urlencoded;

use super::{
    access, fields,
    form::Form,
    message,
    page::{self, Place},
    state::Panel,
    status,
    tabs::{self, Tab},
    text::{count, grouped, shown},
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, query_value, v1},
    fleet::SourceUse,
    list::{List, MAX_VALUE, Rule},
    model::{Database, Scope},
};

/// Sources on a page.
const ON_A_PAGE: usize = 200;

/// Characters of a text to look for.
const MAX_SEARCH: usize = 128;

/// Lifetimes that the form offers.
const ENDS: [(&str, &str); 5] = [
    ("never", "for good"),
    ("1h", "for 1 hour"),
    ("1d", "for 1 day"),
    ("7d", "for 7 days"),
    ("30d", "for 30 days"),
];

/// A part of a list that is looked at.
#[derive(Clone, Debug, Default)]
struct View {
    search: String,
    page: usize,
}

impl View {
    fn of(query: Option<&str>) -> Self {
        let search = query_value(query, "q").unwrap_or_default();
        let page = query_value(query, "page").and_then(|page| page.parse().ok()).unwrap_or(1);
        Self { search: search.trim().chars().take(MAX_SEARCH).collect(), page: page.max(1) }
    }

    fn matches(&self, rule: &Rule) -> bool {
        let search = self.search.to_lowercase();
        let description = rule.details.description.as_deref().unwrap_or_default();
        let texts = [&*rule.key.to_string(), description, &rule.created_by];
        // An address is in a range whatever the letters are.
        let address = search.parse().ok();
        texts.iter().any(|text| text.to_lowercase().contains(&search))
            || address.is_some_and(|address| access::names(&rule.key, address))
    }

    fn at(&self, path: &str, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.search.is_empty() {
            query.append_pair("q", &self.search);
        }
        format!("{path}?{}", query.append_pair("page", &page.to_string()).finish())
    }
}

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    let message = message::of_query(query.as_deref());
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseRead).await?;
    whole(&panel, &visitor, &database, query.as_deref(), &message, &Form::default()).await
}

/// The page with a message and what somebody filled in.
pub(super) async fn whole(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    query: Option<&str>,
    message: &Markup,
    form: &Form,
) -> Result<Response, ApiError> {
    visitor.caller.needs(Scope::DatabaseRead)?;
    let list = panel.service().list(database.id).await?.list;
    let view = View::of(query);
    let may_edit = visitor.may(Scope::DatabaseUpdate, database);
    let content = html! {
        (tabs::head(visitor, database, Tab::Sources))
        (message)
        @if may_edit {
            (add(database, form))
            (own(visitor, database, &list))
        }
        section id="sources" data-live={ "list:" (database.id) " state:" (database.id) } {
            (summary(&list))
            (status::line(panel.app.fleet.status(database.id).as_ref()))
            @if list.rules.len() > 10 || !view.search.is_empty() { (search(database, &view)) }
            @if !list.rules.is_empty() { (table(panel, database, &list, &view, may_edit, visitor)) }
        }
    };
    Ok(page::page(panel, visitor, Place::Databases, database.name.as_str(), content))
}

fn summary(list: &List) -> Markup {
    html! {
        p.state {
            @if list.rules.is_empty() {
                span.badge.closed { "closed" } " Nobody is trusted: no connection is let in."
            } @else {
                strong { (count(list.rules.len(), "trusted source", "trusted sources")) }
                span.faint { " in version " (list.version) " of the list" }
            }
        }
    }
}

fn search(database: &Database, view: &View) -> Markup {
    html! {
        form.search method="get" action=(tabs::path(database)) role="search" {
            label for="q" { "Find" }
            input id="q" name="q" type="search" maxlength=(MAX_SEARCH) value=(view.search)
                placeholder="address, text or author";
            button.quiet type="submit" { "Find" }
            @if !view.search.is_empty() { a href=(tabs::path(database)) { "Show all" } }
        }
    }
}

fn table(
    panel: &Panel,
    database: &Database,
    list: &List,
    view: &View,
    may_edit: bool,
    visitor: &Visitor,
) -> Markup {
    let uses = panel.app.fleet.uses(database.id);
    let found: Vec<&Rule> = list.rules.iter().filter(|rule| view.matches(rule)).collect();
    let pages = found.len().div_ceil(ON_A_PAGE).max(1);
    let page = view.page.min(pages);
    let path = tabs::path(database);
    html! {
        @if !view.search.is_empty() {
            p { (count(found.len(), "source fits", "sources fit")) "." }
        }
        @if !found.is_empty() {
            table role="table" {
                caption.hidden { "Trusted sources of " (database.name) }
                thead role="rowgroup" {
                    tr role="row" {
                        th role="columnheader" scope="col" { "Source" }
                        th role="columnheader" scope="col" { "Stands for" }
                        th role="columnheader" scope="col" { "Description" }
                        th role="columnheader" scope="col" { "Expires" }
                        th role="columnheader" scope="col" { "Last used" }
                        th role="columnheader" scope="col" { "Added" }
                        @if may_edit { th role="columnheader" scope="col" { "Change" } }
                    }
                }
                tbody role="rowgroup" {
                    @for rule in found.iter().skip((page - 1) * ON_A_PAGE).take(ON_A_PAGE) {
                        (line(panel, &path, rule, may_edit, visitor, uses.get(&rule.uuid)))
                    }
                }
            }
        }
        @if pages > 1 {
            nav.pages aria-label="Pages of the list" {
                @if page > 1 { a href=(view.at(&path, page - 1)) rel="prev" { "Previous" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a href=(view.at(&path, page + 1)) rel="next" { "Next" } }
            }
        }
    }
}

fn line(
    panel: &Panel,
    path: &str,
    rule: &Rule,
    may_edit: bool,
    visitor: &Visitor,
    used: Option<&SourceUse>,
) -> Markup {
    let name = rule.key.to_string();
    html! {
        tr role="row" {
            th.source role="rowheader" scope="row" {
                (source(&rule.key))
                @if access::names(&rule.key, visitor.address) {
                    " " span.badge { "your address" }
                }
            }
            td role="cell" data-label="Stands for" { (stands_for(panel, &rule.key)) }
            td.text role="cell" data-label="Description" {
                @match &rule.details.description {
                    Some(text) => (shown(text)),
                    None => span.faint { "none" },
                }
            }
            td role="cell" data-label="Expires" {
                @match rule.details.expires_at {
                    Some(at) => (when(at)),
                    None => span.faint { "never" },
                }
            }
            td role="cell" data-label="Last used" { (last_used(used)) }
            td role="cell" data-label="Added" {
                (shown(&rule.created_by)) ", " (when(rule.created_at))
            }
            @if may_edit {
                td.actions role="cell" {
                    a.button href={ (path) "/edit/" (rule.uuid) } {
                        "Edit" span.hidden { " " (name) }
                    }
                    a.button.danger href={ (path) "/remove/" (rule.uuid) } {
                        "Remove" span.hidden { " " (name) }
                    }
                }
            }
        }
    }
}

/// The last use of a source at any host.
pub(super) fn last_used(used: Option<&SourceUse>) -> Markup {
    html! {
        @match used.and_then(|used| Some((used.packets, used.last_hit?))) {
            Some((packets, at)) => {
                (when(at)) span.faint { ", " (grouped(packets)) " packets" }
            }
            None => span.faint { "not known" },
        }
    }
}

/// A source, with its type before its value.
pub(super) fn source(key: &SourceKey) -> Markup {
    html! {
        span.kind { (key.kind()) ":" } wbr; code { (shown(key.value())) }
    }
}

/// The number of addresses that a source stands for.
pub(super) fn stands_for(panel: &Panel, key: &SourceKey) -> Markup {
    let Some(prefixes) = key.prefixes() else {
        return match v1::resolved::resolved(&panel.app, key) {
            Some(resolution) => resolved(&resolution),
            None => html! { (fields::words(key.kind())) },
        };
    };
    let mut v4: u64 = 0;
    let mut v6 = Vec::new();
    for prefix in prefixes.iter() {
        match prefix.is_v4() {
            true => v4 += 1 << (32 - u32::from(prefix.len().min(32))),
            false if prefix.is_host() => v6.push("1 address".to_owned()),
            false => v6.push(format!("a /{} of IPv6", prefix.len())),
        }
    }
    html! {
        @if v4 == 1 { "1 address" } @else if v4 > 1 { (grouped(v4)) " addresses" }
        @if v6.len() > 3 { (v6.len()) " prefixes of IPv6" } @else { (v6.join(", ")) }
    }
}

/// A resolution, with the reason why it is not current.
fn resolved(resolution: &Resolution) -> Markup {
    let Resolution { state, prefixes, at, error, held, .. } = resolution;
    let word = match state {
        ResolutionState::Pending | ResolutionState::Ok => None,
        ResolutionState::Stale => Some("not confirmed"),
        ResolutionState::Gone => Some("gone"),
        ResolutionState::Unresolvable => Some("without an address"),
        ResolutionState::Expired => Some("expired"),
    };
    html! {
        @if *state == ResolutionState::Pending { "not known yet" }
        @else { (count(*prefixes, "address", "addresses and networks")) }
        @if let Some(word) = word {
            " " span.badge { (word) }
            @if let Some(at) = at { span.faint { " confirmed last " (when(*at)) } }
        }
        @if let Some(error) = error { " " span.faint { (shown(error)) } }
        @if let Some(held) = held {
            " " span.badge { "loss held" }
            span.faint {
                " It would lose " (held.lost) " of " (held.of) ". If that is right: "
                code { "dbfw-server resolved confirm " (held.id) }
            }
        }
    }
}

fn add(database: &Database, form: &Form) -> Markup {
    let kind = form.text("type").unwrap_or_else(|| SourceType::IpAddr.to_string());
    html! {
        form.panel method="post" action=(tabs::path(database)) aria-labelledby="add" {
            h2 id="add" { "Trust a source" }
            div.fields {
                div.field {
                    label for="type" { "Type" }
                    select id="type" name="type" {
                        @for one in SourceType::ALL {
                            option value=(one) selected[one.as_str() == kind] {
                                (one) " – " (fields::words(*one))
                            }
                        }
                    }
                }
                div.field {
                    label for="value" { "Value" }
                    input id="value" name="value" required maxlength=(MAX_VALUE) spellcheck="false"
                        autocapitalize="none" autocomplete="off" value=(form.get("value"))
                        placeholder="203.0.113.7, 198.51.100.0/24, …";
                }
                (fields::description(form))
                (fields::end("Trusted", form, &ENDS, "never"))
                (fields::reason(form))
            }
            button type="submit" { "Trust it" }
        }
    }
}

/// The way to trust the address that the browser comes from, where the list does not.
fn own(visitor: &Visitor, database: &Database, list: &List) -> Markup {
    let address = visitor.address;
    if list.rules.iter().any(|rule| access::names(&rule.key, address)) {
        return html! {};
    }
    html! {
        form.own method="post" action={ (tabs::path(database)) "/own" } {
            span { "The list does not name the address that you come from, " code { (address) } "." }
            span {
                "Trust it for "
                button.quiet name="for" value="1h" type="submit" { "1 hour" }
                " "
                button.quiet name="for" value="1d" type="submit" { "1 day" }
            }
        }
    }
}
