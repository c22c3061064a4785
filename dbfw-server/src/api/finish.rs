//! The common parts of every answer: a request id, a rate limit, and an error's body.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use dbfw_wire::digitalocean::ErrorBody;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    app::App,
    body::Rest,
    connection::{Connection, Peer},
    error::{ApiError, ErrorId},
    rate::Rate,
};

/// Headers of a request.
const MAX_HEADERS: usize = 100;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The rate that a request's token has left, once that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct RateSlot(Arc<Mutex<Option<Rate>>>);

impl RateSlot {
    pub(super) fn set(&self, rate: Rate) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rate);
    }

    fn get(&self) -> Option<Rate> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (id, slot) = (Uuid::new_v4().to_string(), RateSlot::default());
    let from_network = request
        .extensions()
        .get::<Arc<Connection>>()
        .is_none_or(|connection| matches!(connection.peer(), Peer::Network(_)));
    // Who waits to be told to go on has sent no body.
    let waits = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let rest = Rest::of(body);
    let mut request = Request::from_parts(parts, Body::new(rest.clone()));
    let mut response = if request.headers().len() > MAX_HEADERS {
        let message = format!("a request has at most {MAX_HEADERS} headers");
        ApiError::new(ErrorId::HeadersTooLarge, message).into_response()
    } else {
        request.extensions_mut().insert(slot.clone());
        next.run(request).await
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        let error = response.extensions_mut().remove::<ApiError>();
        response = shown(&error.unwrap_or_else(|| foreign(response.status())), &id);
    }
    // A connection that ends with something unread may take the answer with it.
    let is_read = rest.is_end_stream() || !waits && rest.discard().await;
    // Who has no token does not keep a connection.
    if from_network && slot.get().is_none() || !is_read {
        set(response.headers_mut(), header::CONNECTION, "close");
    }
    let rate = slot.get().unwrap_or_else(|| app.rates.unused(Timestamp::now().as_second()));
    let headers = response.headers_mut();
    set(headers, REQUEST_ID, &id);
    set(headers, LIMIT, &rate.limit.to_string());
    set(headers, REMAINING, &rate.remaining.to_string());
    set(headers, RESET, &rate.reset.to_string());
    if !headers.contains_key(header::CACHE_CONTROL) {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The error of a request that never reached its handler.
fn foreign(status: StatusCode) -> ApiError {
    let reason = status.canonical_reason().unwrap_or("the request cannot be read");
    ApiError::new(ErrorId::BadRequest, reason.to_lowercase())
}

fn shown(error: &ApiError, request_id: &str) -> Response {
    let body = ErrorBody {
        id: error.id.as_str().to_owned(),
        message: error.message.clone(),
        request_id: Some(request_id.to_owned()),
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (error.id.status(), json, body).into_response();
    if let Some(seconds) = error.retry_after {
        set(response.headers_mut(), header::RETRY_AFTER, &seconds.to_string());
    }
    if error.id == ErrorId::Unauthorized {
        set(response.headers_mut(), header::WWW_AUTHENTICATE, "Bearer");
    }
    response
}
