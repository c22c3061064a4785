//! The HTTP APIs: DigitalOcean's at `/v2`, the server's own at `/api/v1`, and the agents' at
//! `/agent/v1`.
//!
//! Every answer has a request id and a rate limit, and every error one form. Nothing is read of a
//! body before the token was checked.

mod agent;
mod answer;
mod app;
mod auth;
mod body;
mod connection;
mod enforced;
mod error;
mod finish;
mod query;
mod rate;
mod tally;
pub(crate) mod v1;
mod v2;

use std::sync::Arc;

use axum::{Router, middleware, routing::any};

pub use self::{
    app::{ApiSettings, App, PinnedAuthority},
    connection::{Connection, Peer, Streaming},
};
pub(crate) use self::{
    auth::{Caller, forbidden, too_many},
    body::Rest,
    error::{ApiError, ErrorId},
    query::query_value,
    rate::Rates,
    tally::{Login, Route, STATUSES},
};

/// Every route, for a connection whose [`Connection`] is an extension of each request.
pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .nest("/v2", v2::routes())
        .route("/v2/", any(v2::not_managed))
        .route("/v1/oauth/token/info", axum::routing::get(v2::token_info))
        .nest("/api/v1", v1::routes())
        .merge(agent::routes())
        // Whatever a router behind this one answers: these paths are clients of an API.
        .route("/api/{*rest}", any(error::not_found))
        .route("/v1/{*rest}", any(error::not_found))
        .route("/agent/{*rest}", any(error::not_found))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::not_allowed);
    routes.layer(middleware::from_fn_with_state(Arc::clone(&app), finish::finish)).with_state(app)
}
