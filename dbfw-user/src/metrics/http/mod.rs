//! `/metrics`, `/healthz` and `/readyz` over HTTP.
//!
//! The agent's loop owns all state; this server only asks it. One request a connection,
//! every step bounded in time, so that slow or hostile clients cost at most a few sockets.

mod health;

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Html,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{Format, Scrape, render};
use crate::lasting::LastingProblems;

pub use health::Health;

/// Connections at a time; one more closes the oldest.
const MAX_CONNECTIONS: usize = 64;

/// Most bytes of a request line with its headers.
const MAX_REQUEST: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Time limits of the steps of a connection.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// From the first byte, or its absence, to the end of the headers.
    header: Duration,
    /// For the agent to answer a scrape.
    scrape: Duration,
    /// The whole connection, with sending the answer.
    connection: Duration,
    /// For the connections that are open at shutdown.
    shutdown: Duration,
}

const LIMITS: Limits = Limits {
    header: Duration::from_secs(5),
    scrape: Duration::from_secs(5),
    connection: Duration::from_secs(15),
    shutdown: Duration::from_secs(1),
};

/// Access of the server to the agent.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Asks the agent's loop for the values of the metrics.
    pub scrape: mpsc::Sender<oneshot::Sender<Scrape>>,
    /// Whether the loop runs, and whether it found the host protected.
    pub health: Arc<Health>,
}

/// Serves until `shutdown` completes; requests being answered then are given a second.
pub async fn serve(listener: TcpListener, probe: Probe, shutdown: impl Future<Output = ()>) {
    serve_within(listener, probe, shutdown, LIMITS).await;
}

async fn serve_within(
    listener: TcpListener,
    probe: Probe,
    shutdown: impl Future<Output = ()>,
    limits: Limits,
) {
    let router = router(Shared { probe, limits });
    let mut tasks = JoinSet::new();
    let mut lasting = LastingProblems::default();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                lasting.follow("the metrics' port takes no connection", Ok::<(), String>(()));
                oldest_first.retain(|task| !task.is_finished());
                if oldest_first.len() >= MAX_CONNECTIONS
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                oldest_first.push_back(tasks.spawn(answer(stream, router.clone(), limits)));
            }
            Err(error) => {
                // Out of descriptors or memory: trying again at once would spin.
                lasting.follow("the metrics' port takes no connection", Err(error));
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    let finish = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(limits.shutdown, finish).await;
}

async fn answer(stream: TcpStream, router: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(limits.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics: closed a connection"),
        Err(_) => tracing::debug!("metrics: closed a connection that took too long"),
    }
}

#[derive(Clone, Debug)]
struct Shared {
    probe: Probe,
    limits: Limits,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

/// The response of a service that is not available now, with the reason.
type Unavailable = (StatusCode, String);

fn unavailable(reason: String) -> Unavailable {
    (StatusCode::SERVICE_UNAVAILABLE, reason + "\n")
}

async fn landing_page() -> Html<&'static str> {
    Html(
        "<!doctype html>\n<title>dbfw</title>\n<h1>dbfw</h1>\n<ul>\n\
         <li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n\
         <li><a href=\"/healthz\">/healthz</a>: the agent is running</li>\n\
         <li><a href=\"/readyz\">/readyz</a>: the host is protected</li>\n</ul>\n",
    )
}

async fn metrics(
    State(Shared { probe, limits }): State<Shared>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), Unavailable> {
    let ask = async {
        let (reply, answer) = oneshot::channel();
        probe.scrape.send(reply).await.ok()?;
        answer.await.ok()
    };
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    match timeout(limits.scrape, ask).await {
        Ok(Some(scrape)) => {
            Ok(([(header::CONTENT_TYPE, format.content_type())], render(scrape, format)))
        }
        Ok(None) => Err(unavailable("the agent is stopping".to_owned())),
        Err(_) => {
            let seconds = limits.scrape.as_secs_f32();
            Err(unavailable(format!("the agent did not answer within {seconds} s")))
        }
    }
}

async fn healthz(State(shared): State<Shared>) -> Result<&'static str, Unavailable> {
    shared.probe.health.live().map(|()| "ok\n").map_err(unavailable)
}

async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Unavailable> {
    shared.probe.health.ready().map(|()| "ok\n").map_err(unavailable)
}

#[cfg(test)]
mod tests;
