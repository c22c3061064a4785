//! `/api/v1/databases/{id}/status` and `…/refused`.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use dbfw_core::toml::parse_duration;
use dbfw_wire::api::RefusedSources;

use super::super::{answer::ok, app::App, auth::Caller, error::ApiError, query::query_value};
use crate::{model::Scope, service::ServiceError};

/// The longest that an answer waits.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The time that it waits unless one is named.
const USUAL_WAIT: Duration = Duration::from_secs(5);

type Answer = Result<Response, ApiError>;

/// `?wait=active&timeout=5s`.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let value = |name: &str| query_value(query.as_deref(), name);
    let waits = match value("wait").as_deref() {
        None => false,
        Some("active") => true,
        Some(_) => {
            let message = "wait: is not what can be waited for; write ?wait=active";
            return Err(ApiError::unprocessable(message));
        }
    };
    let patience = match value("timeout") {
        None => USUAL_WAIT,
        Some(text) => {
            let bad = || ServiceError::field("timeout", "is no time up to 60s", "write timeout=5s");
            let time = parse_duration(&text).map_err(|_| bad())?;
            let time = Duration::try_from(time).map_err(|_| bad())?;
            if time > MAX_WAIT {
                return Err(bad().into());
            }
            time
        }
    };
    let status = match waits {
        true => app.fleet.wait_active(database.id, patience).await,
        false => app.fleet.status(database.id),
    };
    // One that was added or removed just now.
    ok(&status.ok_or_else(ApiError::unavailable)?)
}

pub(super) async fn refused(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    ok(&RefusedSources { refused: app.fleet.refused(database.id) })
}
