//! The panel: pages for people, at `/`.
//!
//! Every page is whole without its script, and every change is a form. The pages call what the APIs
//! call, with the rights of the token that somebody logged in with: what it may not do is neither
//! offered nor done.

mod access;
mod add;
mod assets;
mod at_hosts;
mod audit;
mod changes;
mod databases;
mod edit;
mod events;
mod fields;
mod form;
mod frame;
mod guard;
mod history;
mod hosts;
mod login;
mod message;
mod own;
mod page;
mod refused;
mod remove;
mod revert;
mod sources;
mod state;
mod status;
mod tabs;
mod text;
mod time;
mod tokens;
mod visitor;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};

pub use self::state::Panel;

/// Every page, for a connection whose [`Connection`](crate::api::Connection) is an extension of
/// each request.
pub fn router(panel: Arc<Panel>) -> Router {
    let routes = Router::new()
        .route("/", get(databases::list))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/events", get(events::stream))
        .route("/databases", get(databases::list).post(databases::create))
        .route("/databases/{database}", get(sources::list).post(add::add))
        .route("/databases/{database}/own", post(own::add))
        .route("/databases/{database}/hosts", get(at_hosts::list))
        .route("/databases/{database}/refused", get(refused::list).post(refused::add))
        .route("/databases/{database}/edit/{source}", get(edit::form).post(edit::change))
        .route("/databases/{database}/remove/{source}", get(remove::form).post(remove::remove))
        .route("/databases/{database}/history", get(history::list))
        .route("/databases/{database}/revert/{version}", get(revert::form).post(revert::revert))
        .route("/audit", get(audit::list))
        .route("/hosts", get(hosts::list))
        .route("/tokens", get(tokens::list).post(tokens::issue))
        .route("/tokens/{token}/revoke", get(tokens::confirm).post(tokens::revoke))
        .route("/assets/{name}", get(assets::file))
        .fallback(guard::not_found)
        .method_not_allowed_fallback(guard::not_allowed);
    routes.layer(middleware::from_fn_with_state(Arc::clone(&panel), guard::guard)).with_state(panel)
}
