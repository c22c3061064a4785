//! Metrics and health, over HTTP at an address of their own.
//!
//! Every value is read when somebody asks, and every label set is there from the start.

mod catalogue;
mod scrape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    middleware::{self, Next},
    response::{Html, Response},
    routing::get,
};
use dbfw_metrics::Format;
use tokio::sync::watch;

use self::{catalogue::CATALOGUE, scrape::Scrape};
use crate::{
    api::{App, Route},
    model::keys,
};

/// The end of the certificate that is shown, in seconds since 1970; `None` without TLS.
pub type CertificateEnd = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The parts that metrics and health are read from.
#[derive(Clone)]
pub struct Probe {
    /// The server.
    pub app: Arc<App>,
    /// The end of its certificate.
    pub certificate_end: CertificateEnd,
    /// Whether the lists were read, so that agents are answered.
    pub is_loaded: watch::Receiver<bool>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("is_loaded", &self.is_loaded).finish_non_exhaustive()
    }
}

/// The routes of the metrics.
pub fn router(probe: Probe) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(probe)
}

/// The same routes, whose requests are counted.
pub fn counted(app: Arc<App>, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(app, count))
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = Route::of(request.uri().path());
    let response = next.run(request).await;
    app.tally.answered(route, response.status());
    response
}

async fn landing_page() -> Html<&'static str> {
    Html(
        "<!doctype html>\n<title>dbfw-server</title>\n<h1>dbfw-server</h1>\n<ul>\n\
         <li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n\
         <li><a href=\"/healthz\">/healthz</a>: the server is running</li>\n\
         <li><a href=\"/readyz\">/readyz</a>: the server answers agents and clients</li>\n</ul>\n",
    )
}

async fn metrics(
    State(probe): State<Probe>,
    headers: HeaderMap,
) -> ([(HeaderName, &'static str); 1], String) {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    let scrape = Scrape::read(&probe.app, (probe.certificate_end)()).await;
    let text = dbfw_metrics::render(CATALOGUE, scrape, format);
    ([(header::CONTENT_TYPE, format.content_type())], text)
}

/// The response of a service that is not available now, with the reason.
type Unavailable = (StatusCode, String);

fn unavailable(reason: impl std::fmt::Display) -> Unavailable {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

/// That this is answered is the sign of life.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(probe): State<Probe>) -> Result<&'static str, Unavailable> {
    if !*probe.is_loaded.borrow() {
        return Err(unavailable("the lists were not read yet"));
    }
    let meta = probe.app.service.store().get(keys::META).await.map_err(unavailable)?;
    meta.map(|_| "ok\n").ok_or_else(|| unavailable("the store is empty"))
}
