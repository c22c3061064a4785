//! The server's own API.

mod audit;
pub(crate) mod databases;
mod hosts;
pub(crate) mod resolved;
pub(crate) mod sources;
mod status;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, patch, post},
};

use super::app::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/databases", get(databases::list).post(databases::add))
        .route(
            "/databases/{id}",
            get(databases::get).patch(databases::change).delete(databases::remove),
        )
        .route(
            "/databases/{id}/sources",
            get(sources::list)
                .post(sources::add)
                .put(sources::replace)
                .delete(sources::remove_by_value),
        )
        .route("/databases/{id}/sources/{uuid}", patch(sources::change).delete(sources::remove))
        .route("/databases/{id}/changes", get(sources::changes))
        .route("/databases/{id}/changes/{version}/revert", post(sources::revert))
        .route("/databases/{id}/status", get(status::status))
        .route("/databases/{id}/refused", get(status::refused))
        .route("/resolved", get(resolved::list))
        .route("/resolved/{id}/confirm", post(resolved::confirm))
        .route("/audit", get(audit::list))
        .route("/hosts", get(hosts::list))
        .route("/hosts/{id}", delete(hosts::remove))
        .route("/join-tokens", get(hosts::join_tokens).post(hosts::add_join_token))
        .route("/join-tokens/{id}", delete(hosts::remove_join_token))
        .route("/tokens", get(tokens::list).post(tokens::add))
        .route("/tokens/{id}", delete(tokens::remove))
        .fallback(super::error::not_found)
        .method_not_allowed_fallback(super::error::not_allowed)
}
