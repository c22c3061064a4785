//! The common parts of every page: who may send a form, what a browser may do with an answer, and
//! errors as pages.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{frame, state::Panel};
use crate::api::{ApiError, ErrorId, Rest};

/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// Nothing but the panel's own files, and no page of others around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that every answer has. `same-origin` for the referrer: with `no-referrer` browsers send
/// forms with the origin `null`, which says nothing about where they come from.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// Whether a request is of somebody who is logged in, once that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn guard(
    State(panel): State<Arc<Panel>>,
    request: Request,
    next: Next,
) -> Response {
    let waits = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let rest = Rest::of(body);
    let mut request = Request::from_parts(parts, Body::new(rest.clone()));
    let known = Known::default();
    request.extensions_mut().insert(known.clone());
    let mut response = match refusal(&request) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = frame::of_error(&panel, &error);
    } else if response.status().is_client_error() && response.body().size_hint().exact() == Some(0)
    {
        let error = ApiError::new(ErrorId::BadRequest, "the request cannot be read");
        response = frame::of_error(&panel, &error);
    }
    // A connection that ends with something unread may take the answer with it.
    let is_read = rest.is_end_stream() || !waits && rest.discard().await;
    let headers = response.headers_mut();
    // Who is not logged in does not keep a connection.
    if !is_read || !known.0.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.extend(HEADERS);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if panel.is_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

/// The reason not to look at a request at all.
fn refusal(request: &Request) -> Option<ApiError> {
    if request.headers().len() > MAX_HEADERS {
        let message = format!("a request has at most {MAX_HEADERS} headers");
        return Some(ApiError::new(ErrorId::HeadersTooLarge, message));
    }
    let is_safe = [Method::GET, Method::HEAD].contains(request.method());
    if is_safe || is_own_form(request.headers()) {
        return None;
    }
    let message = "the form was not sent by a page of this server: open the panel and repeat it \
                   there; a proxy in front has to pass the header Host on";
    Some(ApiError::new(ErrorId::Forbidden, message))
}

/// Whether a browser says that a form was sent by a page of the panel. Both headers are out of
/// reach for a page of others.
fn is_own_form(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_own_origin = match (headers.contains_key(header::ORIGIN), text(header::ORIGIN)) {
        (false, _) => None,
        (true, origin) => {
            let authority = origin.and_then(|origin| Some(origin.split_once("://")?.1));
            Some(authority.is_some() && authority == text(header::HOST))
        }
    };
    let is_own_site =
        headers.contains_key(FETCH_SITE).then(|| text(FETCH_SITE) == Some("same-origin"));
    // One of them has to say so, and neither may say otherwise.
    is_own_site != Some(false)
        && is_own_origin != Some(false)
        && (is_own_site, is_own_origin) != (None, None)
}

/// Whether a request was made by a page of another site, for which browsers leave the cookie out.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Answers a path that is nobody's.
pub(super) async fn not_found() -> ApiError {
    ApiError::new(ErrorId::NotFound, "there is no such page")
}

/// Answers a method that a page does not have.
pub(super) async fn not_allowed() -> ApiError {
    ApiError::new(ErrorId::MethodNotAllowed, "this page does not have this method")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(HeaderName, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("ctl.example.com:7443"));
        for (name, value) in headers {
            map.insert(name, HeaderValue::from_static(value));
        }
        is_own_form(&map)
    }

    #[test]
    fn a_form_is_the_panels_only_if_the_browser_says_so() {
        let own = "https://ctl.example.com:7443";
        assert!(sent(&[(FETCH_SITE, "same-origin")]));
        assert!(sent(&[(FETCH_SITE, "same-origin"), (header::ORIGIN, own)]));
        assert!(sent(&[(header::ORIGIN, own)]));
        for site in ["cross-site", "same-site", "none", "", "same-origin, cross-site"] {
            assert!(!sent(&[(FETCH_SITE, site)]), "{site}");
            assert!(!sent(&[(FETCH_SITE, site), (header::ORIGIN, own)]), "{site}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "https://ctl.example.com",
            "https://ctl.example.com:7443.evil.example",
            "https://evil.example://ctl.example.com:7443",
        ] {
            assert!(!sent(&[(header::ORIGIN, origin)]), "{origin}");
            assert!(!sent(&[(FETCH_SITE, "same-origin"), (header::ORIGIN, origin)]), "{origin}");
        }
        assert!(!sent(&[]), "neither header");
    }
}
