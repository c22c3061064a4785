//! Answers to changes: how far they are enforced.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};

use super::app::App;
use crate::{fleet::Enforcement, model::Database, service::Changed};

const STATE: HeaderName = HeaderName::from_static("x-dbfw-state");
const HOSTS: HeaderName = HeaderName::from_static("x-dbfw-hosts");

/// Waits until the connected hosts of a database answered a change, or for as long as the database
/// or the server says.
pub(super) async fn enforced(app: &App, database: &Database, changed: &Changed) -> Enforcement {
    let patience = database.wait().unwrap_or(app.settings.wait);
    app.fleet.wait(database.id, changed.revision, patience).await
}

/// Says in an answer how far a change is enforced, and which hosts do not enforce it.
pub(super) fn tell(response: &mut Response, enforcement: &Enforcement) {
    let headers = response.headers_mut();
    headers.insert(STATE, HeaderValue::from_static(enforcement.state.as_str()));
    // Names have neither a space nor a control character.
    if let Ok(names) = HeaderValue::from_bytes(enforcement.hosts.join(", ").as_bytes())
        && !names.is_empty()
    {
        headers.insert(HOSTS, names);
    }
}
