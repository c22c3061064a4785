//! Sets of prefixes, by their digests.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use dbfw_wire::agent::Digest;

use super::{
    super::{
        app::App,
        error::{ApiError, ErrorId},
    },
    host::HostCaller,
};

pub(super) async fn set(
    State(app): State<Arc<App>>,
    HostCaller(host): HostCaller,
    Path(digits): Path<String>,
) -> Result<Response, ApiError> {
    let digest = Digest::from_digits(&digits).ok();
    let set = digest.and_then(|digest| app.fleet.set(&host, digest)).ok_or_else(|| {
        ApiError::new(ErrorId::NotFound, "no list that this host reads refers to this set")
    })?;
    // What a digest names never changes.
    let headers = [
        (header::CONTENT_TYPE, "text/plain"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, set).into_response())
}
