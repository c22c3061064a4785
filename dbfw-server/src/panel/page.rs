//! Pages for somebody who is logged in.

use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};

use super::{frame, state::Panel, text::shown, visitor::Visitor};
use crate::model::Scope;

/// The part of the panel that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Databases,
    Hosts,
    Tokens,
    Audit,
}

/// A page for somebody who is logged in.
pub(super) fn page(
    panel: &Panel,
    visitor: &Visitor,
    place: Place,
    title: &str,
    content: Markup,
) -> Response {
    let here = |own: Place| (own == place).then_some("page");
    let bar = html! {
        nav aria-label="Panel" {
            a href="/" aria-current=[here(Place::Databases)] { "Databases" }
            @if visitor.caller.may(Scope::HostRead) {
                a href="/hosts" aria-current=[here(Place::Hosts)] { "Hosts" }
            }
            @if visitor.may_with_all(Scope::TokenRead) || visitor.caller.may(Scope::TokenCreate) {
                a href="/tokens" aria-current=[here(Place::Tokens)] { "Tokens" }
            }
            @if visitor.may_with_all(Scope::AuditRead) {
                a href="/audit" aria-current=[here(Place::Audit)] { "Audit" }
            }
        }
        span.live id="live" role="status" hidden {}
        form.who method="post" action="/logout" {
            span { "Logged in as " strong { (shown(&visitor.name)) } }
            button.quiet type="submit" { "Log out" }
        }
    };
    frame::whole(StatusCode::OK, panel, title, bar, content)
}

/// The same answer with another status.
pub(super) fn with_status(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response
}
