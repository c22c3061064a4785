//! The protocol of agents.

mod host;
mod join;
mod report;
mod sets;
mod watch;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use dbfw_wire::agent::{JOIN, REPORT, SETS, WATCH};

use super::app::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(JOIN, post(join::join))
        .route(WATCH, post(watch::watch))
        .route(REPORT, post(report::report))
        .route(&format!("{SETS}{{digest}}"), get(sets::set))
}
