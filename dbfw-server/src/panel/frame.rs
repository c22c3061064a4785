//! The frame of every page, and pages that need nobody.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::{assets, state::Panel, text::shown};
use crate::api::ApiError;

/// A page for anybody.
pub(super) fn plain(panel: &Panel, status: StatusCode, title: &str, content: Markup) -> Response {
    whole(status, panel, title, html! {}, content)
}

/// A page with a bar of links.
pub(super) fn whole(
    status: StatusCode,
    panel: &Panel,
    title: &str,
    bar: Markup,
    content: Markup,
) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (panel.name()) }
                link rel="icon" href=(assets::icon()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::style());
                script type="module" src=(assets::script()) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.brand href="/" { (panel.name()) }
                    (bar)
                }
                main id="main" tabindex="-1" { (content) }
            }
        }
    };
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], markup.into_string()).into_response()
}

/// An error as a page.
pub(super) fn of_error(panel: &Panel, error: &ApiError) -> Response {
    let status = error.id.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let content = html! {
        h1 { (title) }
        p.problem { (shown(&error.message)) }
        p { a.button href="/" { "To the databases" } }
    };
    let mut response = plain(panel, status, title, content);
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A page that leads on to another of the panel.
pub(super) fn of_link(panel: &Panel, path: &str) -> Response {
    let content = html! {
        h1 { "Opening the panel" }
        p { "You followed a link of another site. " a href=(path) { "Go on to the panel" } }
    };
    let mut response = plain(panel, StatusCode::OK, "Opening the panel", content);
    // The path is of a request line: visible ASCII.
    if let Ok(value) = HeaderValue::from_str(&format!("0; url={path}")) {
        response.headers_mut().insert(header::REFRESH, value);
    }
    response
}
