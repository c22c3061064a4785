//! The protocol of agents.

mod join;

use std::sync::Arc;

use axum::{Router, routing::post};
use dbfw_wire::agent::JOIN;

use super::app::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(JOIN, post(join::join))
}
