//! Reports of what hosts enforce.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dbfw_wire::agent::Report;

use super::{
    super::{app::App, body::foreign_document, error::ApiError},
    host::HostCaller,
};

pub(super) async fn report(
    State(app): State<Arc<App>>,
    HostCaller(host): HostCaller,
    body: Body,
) -> Result<Response, ApiError> {
    let report: Report = foreign_document(body).await?;
    let taken = app.fleet.report(&host, report);
    taken.map_err(|error| ApiError::unprocessable(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
