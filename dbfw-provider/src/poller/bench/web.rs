//! A web server on loopback with scripted pages.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::Response,
};

/// Ends with the test's runtime. A path without a page is 404.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    Answer {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: String,
    },
    /// 304 if it is asked for with this ETag.
    Tagged {
        etag: &'static str,
        body: String,
    },
    /// Nothing, ever.
    Hang,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, pages: Arc::default(), asked: Arc::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// Its URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn set(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub(crate) fn status(&self, path: &str, status: u16, body: impl Into<String>) {
        self.set(path, Page::Answer { status, headers: Vec::new(), body: body.into() });
    }

    pub(crate) fn tagged(&self, path: &str, etag: &'static str, body: impl Into<String>) {
        self.set(path, Page::Tagged { etag, body: body.into() });
    }

    /// The requests since the last look: paths and headers.
    pub(crate) fn asked(&self) -> Vec<(String, HeaderMap)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let sent = request.headers().clone();
    let page = server.pages.lock().unwrap().get(&path).cloned();
    server.asked.lock().unwrap().push((path, sent.clone()));
    let (status, headers, body) = match page {
        None => (404, Vec::new(), String::new()),
        Some(Page::Answer { status, headers, body }) => (status, headers, body),
        Some(Page::Tagged { etag, body }) => {
            let is_same = sent.get(header::IF_NONE_MATCH).is_some_and(|sent| sent == etag);
            let (status, body) = if is_same { (304, String::new()) } else { (200, body) };
            (status, vec![("etag", etag)], body)
        }
        Some(Page::Hang) => std::future::pending().await,
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}
