//! The stylesheet, the script and the icon. Their names have their digests, so that a browser may
//! keep them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::{
    api::{ApiError, ErrorId},
    model::digest,
};

/// Digits of a digest that a name has.
const DIGITS: usize = 16;

/// A file that pages refer to.
struct Asset {
    /// The path at which it is.
    path: String,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, end: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = digest(text.as_bytes());
        let digits = digest.get(..DIGITS).unwrap_or(&digest);
        Self { path: format!("/assets/{stem}-{digits}.{end}"), kind, text }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css", include_str!("style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript", include_str!("live.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The path of the stylesheet.
pub(super) fn style() -> &'static str {
    &STYLE.path
}

/// The path of the script.
pub(super) fn script() -> &'static str {
    &SCRIPT.path
}

/// The path of the icon.
pub(super) fn icon() -> &'static str {
    &ICON.path
}

/// Answers with a file.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = [&*STYLE, &SCRIPT, &ICON]
        .into_iter()
        .find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    let asset = found.ok_or_else(|| ApiError::new(ErrorId::NotFound, "there is no such file"))?;
    let kind = format!("{}; charset=utf-8", asset.kind);
    let headers =
        [(header::CONTENT_TYPE, &*kind), (header::CACHE_CONTROL, "max-age=31536000, immutable")];
    Ok((StatusCode::OK, headers, asset.text).into_response())
}
