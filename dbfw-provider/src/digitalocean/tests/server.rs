//! A server with a droplet or two, that a test lets do what it wants.

use std::sync::{Arc, Mutex};

use dbfw_wire::digitalocean::{ErrorBody, Links, Meta, Pages};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

use crate::lock::lock;

/// A request that came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) if_none_match: Option<String>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With headers ("etag: x").
    Text(u16, Vec<String>, String),
    /// Nothing, ever.
    Hang,
    /// The connection breaks after the head.
    Reset,
    /// A body of a gibibyte is announced, and sent for as long as somebody reads.
    Endless,
}

type Handler = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// Ends when dropped.
pub(crate) struct Server {
    pub(crate) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    handler: Arc<Mutex<Arc<Handler>>>,
    task: JoinHandle<()>,
}

impl Reply {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::Text(200, Vec::new(), serde_json::to_string(value).unwrap())
    }

    /// An error in DigitalOcean's words.
    pub(crate) fn error(status: u16, id: &str) -> Self {
        let body =
            ErrorBody { id: id.to_owned(), message: format!("{id}."), ..ErrorBody::default() };
        Self::Text(status, Vec::new(), serde_json::to_string(&body).unwrap())
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "not_found")
    }
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// A field of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse("http://x").unwrap().join(&self.target).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The page of a list that the request asks for, with its links and the count of all.
    pub(crate) fn page<T: Clone>(
        &self,
        items: &[T],
    ) -> (Option<Vec<T>>, Option<Links>, Option<Meta>) {
        let number = |name, default| match self.query(name) {
            Some(text) => text.parse().unwrap(),
            None => default,
        };
        let (page, size) = (number("page", 1), number("per_page", 20));
        let shown = items.iter().skip((page - 1) * size).take(size).cloned().collect();
        let pages = (page * size < items.len()).then(|| {
            let next = format!("http://{}?page={}&per_page={size}", self.path(), page + 1);
            Pages { next: Some(next), ..Pages::default() }
        });
        let total = u64::try_from(items.len()).unwrap();
        (Some(shown), Some(Links { pages }), Some(Meta { total: Some(total) }))
    }
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Mutex<Arc<Handler>>> = Arc::new(Mutex::new(Arc::new(Box::new(handler))));
        let (seen, answers) = (Arc::clone(&asked), Arc::clone(&handler));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                // A client that goes away in the middle is nothing to the server.
                tokio::spawn(async move { serve(stream, &seen, &answers).await.ok() });
            }
        });
        Self { url, asked, handler, task }
    }

    /// From now on answers otherwise.
    pub(crate) fn set(&self, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *lock(&self.handler) = Arc::new(Box::new(handler));
    }

    /// The requests since this was last called.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *lock(&self.asked))
    }

    /// Path and query of those requests, sorted: those that run at once come in any order.
    pub(crate) fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.take().into_iter().map(|asked| asked.target).collect();
        targets.sort_unstable();
        targets
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answers: &Mutex<Arc<Handler>>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(first) = lines.next_line().await? {
        let mut asked = Asked {
            target: first.split(' ').nth(1).unwrap_or_default().to_owned(),
            ..Asked::default()
        };
        while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("authorization", value)) => asked.authorization = value.to_owned(),
                Some(("if-none-match", value)) => asked.if_none_match = Some(value.to_owned()),
                _ => {}
            }
        }
        lock(seen).push(asked.clone());
        let handler = Arc::clone(&lock(answers));
        match handler(&asked) {
            Reply::Text(status, headers, body) => {
                let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n");
                writer.write_all((head + &body).as_bytes()).await?;
            }
            Reply::Hang => std::future::pending().await,
            Reply::Reset => {
                writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await?;
                return Ok(());
            }
            Reply::Endless => {
                writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                for _ in 0..1 << 14 {
                    writer.write_all(b"10000\r\n").await?;
                    writer.write_all(&[b' '; 0x10000]).await?;
                    writer.write_all(b"\r\n").await?;
                }
            }
        }
    }
    Ok(())
}
