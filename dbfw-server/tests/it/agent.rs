//! An agent as the server sees it: it joins, follows its lists, and reports what it was told to.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody as _};
use dbfw_wire::agent::{
    Applied, AppliedState, Bundle, Digest, Frame, Have, Hello, Hits, HostAudit, HostDatabase,
    HostFinding, HostGuards, JOIN, PROTOCOL, REPORT, Refused, Report, WATCH, list_digest,
};
use hyper::{Request, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use uuid::Uuid;

use crate::support::{Client, PATIENCE, Reply, Server, connector};

/// A host that joined.
pub(crate) struct Agent {
    address: SocketAddr,
    ca: PathBuf,
    pub(crate) id: Uuid,
    pub(crate) token: String,
    pub(crate) boot: Uuid,
    names: Vec<String>,
    /// The lists that it has, by their names.
    pub(crate) lists: HashMap<String, Bundle>,
    /// Every revision that it had, with its digest.
    pub(crate) seen: BTreeSet<(Uuid, u64, Digest)>,
    /// Bytes that its streams brought.
    pub(crate) received: usize,
}

/// An open stream.
pub(crate) struct Streamed {
    body: Incoming,
    buffer: Vec<u8>,
    task: JoinHandle<()>,
    /// Bytes after which it is cut.
    pub(crate) left: usize,
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The join token that the server prints for these databases.
pub(crate) fn join_token(server: &Server, databases: &[&str], uses: usize) -> String {
    let uses = uses.to_string();
    let mut arguments = vec!["join-token", "--uses", &uses];
    for database in databases {
        arguments.extend(["--database", database]);
    }
    let line = server.done(&arguments);
    let token = line.split_whitespace().find(|word| word.starts_with("dbfwj_"));
    token.expect("a join token").to_owned()
}

impl Agent {
    /// One that joins for these databases.
    pub(crate) async fn join(server: &Server, name: &str, databases: &[&str]) -> Self {
        let token = join_token(server, databases, 1);
        Self::join_with(server, &token, name, databases).await
    }

    /// One that joins with a token.
    pub(crate) async fn join_with(
        server: &Server,
        token: &str,
        name: &str,
        databases: &[&str],
    ) -> Self {
        let mut client = Client::tls(server.address(), &server.ca()).await;
        let request = json!({"token": token, "hostname": name});
        let joined = client.document("POST", JOIN, &request).await.expect(201).json();
        Self {
            address: server.address(),
            ca: server.ca(),
            id: joined["host"].as_str().unwrap().parse().unwrap(),
            token: joined["token"].as_str().unwrap().to_owned(),
            boot: Uuid::new_v4(),
            names: databases.iter().map(ToString::to_string).collect(),
            lists: HashMap::new(),
            seen: BTreeSet::new(),
            received: 0,
        }
    }

    /// Follows a server that was started again.
    pub(crate) fn moved(&mut self, server: &Server) {
        self.address = server.address();
    }

    /// Asks for other databases from its next stream on.
    pub(crate) fn wants(&mut self, names: &[&str]) {
        self.names = names.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn hello(&self) -> Hello {
        let database = |name: &String| HostDatabase {
            name: format!("local-{name}"),
            database: name.clone(),
            ports: vec!["tcp/5432".to_owned()],
            mode: "enforce".to_owned(),
            guards: HostGuards { allow_any: false, min_prefix: [8, 19], within: None },
            have: self.lists.get(name).map(|list| Have {
                epoch: list.epoch,
                revision: list.revision,
                digest: list.digest,
            }),
        };
        Hello {
            protocol: PROTOCOL,
            version: "0.1.0".to_owned(),
            host: self.id,
            boot: self.boot,
            hostname: "db".to_owned(),
            databases: self.names.iter().map(database).collect(),
        }
    }

    /// Opens a stream; the status if it is none.
    pub(crate) async fn try_open(&self) -> Result<Streamed, u16> {
        let stream = TcpStream::connect(self.address).await.map_err(|_| 0_u16)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(&self.ca).connect(name, stream).await.map_err(|_| 0_u16)?;
        let (mut sender, connection) =
            http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(|_| 0_u16)?;
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::post(WATCH)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(serde_json::to_string(&self.hello()).unwrap().into())
            .unwrap();
        let response = sender.send_request(request).await.map_err(|_| 0_u16)?;
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
        let body = response.into_body();
        Ok(Streamed { body, buffer: Vec::new(), task, left: usize::MAX })
    }

    pub(crate) async fn open(&self) -> Streamed {
        self.try_open().await.expect("a stream")
    }

    /// Opens a stream, and takes everything until it is in step.
    pub(crate) async fn sync(&mut self) -> (Streamed, Vec<Frame>) {
        let mut stream = self.open().await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next(&mut stream).await.expect("a frame");
            let is_last = frame == Frame::Synced {};
            frames.push(frame);
            if is_last {
                return (stream, frames);
            }
        }
    }

    /// The next frame, whose list is taken; `None` at the end of the stream.
    pub(crate) async fn next(&mut self, stream: &mut Streamed) -> Option<Frame> {
        let line = timeout(PATIENCE, stream.line()).await.expect("a frame in time")?;
        self.received += line.len();
        let frame: Frame = serde_json::from_slice(&line).expect("a frame");
        self.take(&frame);
        Some(frame)
    }

    fn take(&mut self, frame: &Frame) {
        let list = match frame {
            Frame::Bundle(bundle) => bundle.clone(),
            Frame::Delta(delta) => {
                let list = self.lists.values().find(|list| list.database == delta.database);
                delta.apply(list.expect("the list it changes")).expect("a change of this list")
            }
            _ => return,
        };
        assert_eq!(list.digest, list_digest(&list.sources));
        self.seen.insert((list.database, list.revision, list.digest));
        self.lists.insert(list.name.clone(), list);
    }

    /// The sources of a list, as `type:value`.
    pub(crate) fn sources(&self, name: &str) -> Vec<String> {
        let sources = self.lists[name].sources.iter();
        sources.map(|source| format!("{}:{}", source.kind, source.value)).collect()
    }

    /// The epoch, revision and digest of a list that it has.
    pub(crate) fn applied(&self, name: &str, state: AppliedState) -> Applied {
        let list = &self.lists[name];
        Applied {
            database: list.database,
            epoch: list.epoch,
            revision: list.revision,
            state,
            left_out: Vec::new(),
            left_out_total: 0,
        }
    }

    /// Reports that a guard refuses a list, that its first source was used, and that 198.51.100.7 is
    /// refused.
    /// An audit that found something in a database and at the host.
    pub(crate) fn audit(&self, name: &str) -> HostAudit {
        let finding = |database, check: &str, severity: &str, subject: Option<&str>| HostFinding {
            database,
            check: check.to_owned(),
            severity: severity.to_owned(),
            subject: subject.map(str::to_owned),
        };
        let database = Some(self.lists[name].database);
        let findings = vec![
            finding(database, "X-5", "high", Some("ip_addr:<img src=x>\u{202e}")),
            finding(None, "E-1", "high", Some("tcp/5440 postgres")),
            finding(Some(Uuid::nil()), "T-1", "high", Some("not its database")),
            finding(database, "X-9\n", "dire", None),
        ];
        HostAudit { at: Timestamp::UNIX_EPOCH, level: "wire".to_owned(), findings, more: true }
    }

    pub(crate) async fn report_trouble(&self, name: &str) {
        let now = Timestamp::now();
        let Bundle { database, sources, .. } = &self.lists[name];
        let state = AppliedState::Refused {
            guard: "max_shrink".to_owned(),
            plan: Some("1a2b3c4d".to_owned()),
            message: "<b>too much</b> goes".to_owned(),
        };
        let refused = Refused {
            database: *database,
            address: [198, 51, 100, 7].into(),
            ports: vec!["tcp/5432".to_owned()],
            packets: 12,
            first_seen: now,
            last_seen: now,
        };
        let source = sources[0].uuid;
        let used = Hits { database: *database, source, packets: 41, last_hit: Some(now) };
        let report = Report {
            host: self.id,
            boot: self.boot,
            applied: vec![self.applied(name, state)],
            refused: vec![refused],
            hits: vec![used],
            audit: Some(self.audit(name)),
            ..Report::default()
        };
        self.send(&report).await.expect(204);
    }

    /// Sends a report.
    pub(crate) async fn send(&self, report: &Report) -> Reply {
        let mut client = Client::tls(self.address, &self.ca).await;
        client.token = Some(self.token.clone());
        client.document("POST", REPORT, &serde_json::to_value(report).unwrap()).await
    }

    /// Reports that every list that it has is in force.
    pub(crate) async fn report(&self) {
        let in_force = |name: &String| {
            let prefixes = self.lists[name].sources.len() as u64;
            self.applied(name, AppliedState::Applied { generation: 1, prefixes })
        };
        let applied = self.lists.keys().map(in_force).collect();
        let protection = Some("yes".to_owned());
        let report =
            Report { host: self.id, boot: self.boot, protection, applied, ..Report::default() };
        self.send(&report).await.expect(204);
    }
}

impl Streamed {
    /// The next line; `None` at the end, or where the stream is cut.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Some(self.buffer.drain(..=at).collect());
            }
            let piece = self.piece().await?;
            self.buffer.extend(piece);
        }
    }

    /// The next bytes.
    async fn piece(&mut self) -> Option<Bytes> {
        let body = &mut self.body;
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
        let data = frame.await?.ok()?.into_data().ok()?;
        let taken = data.len().min(self.left);
        self.left -= taken;
        (taken > 0).then(|| data.slice(..taken))
    }

    /// Waits for the end of the stream, whatever comes before.
    pub(crate) async fn end(&mut self, patience: Duration) {
        let end = async { while self.line().await.is_some() {} };
        timeout(patience, end).await.expect("the end of the stream");
    }
}
