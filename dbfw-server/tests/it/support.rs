//! A real server in a directory of its own, and a client of one connection.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::body::{Body, to_bytes};
use hyper::{HeaderMap, Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

/// Longest wait on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a store and tokens of its own. It is killed when dropped.
pub(crate) struct Server {
    files: TempDir,
    process: Option<Child>,
    address: Option<SocketAddr>,
    /// Every token that was made here.
    secrets: Vec<String>,
}

impl Server {
    /// One that was set up and runs, over TLS.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// The same with more keys in `[server]`.
    pub(crate) fn with(keys: &str) -> Self {
        let mut server = Self::set_up(keys);
        server.spawn(&[]);
        server
    }

    /// One that was set up and does not run.
    pub(crate) fn set_up(keys: &str) -> Self {
        let mut server = Self::bare(keys);
        let token = server.done(&["init"]);
        server.secrets.push(token.trim().to_owned());
        server
    }

    /// One with nothing but a configuration.
    pub(crate) fn bare(keys: &str) -> Self {
        let files = TempDir::with_prefix("dbfw-server-test-").expect("a directory");
        let server = Self { files, process: None, address: None, secrets: Vec::new() };
        server.configure(keys);
        server
    }

    /// Another server on the same store, with the same certificate authority.
    pub(crate) fn beside(&self, keys: &str) -> Self {
        let mut server = Self::bare(keys);
        let (from, to) = (self.path("state/tls"), server.path("state/tls"));
        fs::create_dir_all(&to).expect("a directory");
        for file in fs::read_dir(from).expect("look into it") {
            let file = file.expect("a file");
            fs::copy(file.path(), to.join(file.file_name())).expect("copy it");
        }
        server.done(&["init"]);
        server.secrets.clone_from(&self.secrets);
        server.spawn(&[]);
        server
    }

    /// Writes the configuration. It listens on a free port.
    pub(crate) fn configure(&self, keys: &str) {
        let is_said = keys.contains("metrics_listen");
        let metrics = if is_said { "" } else { "metrics_listen = \"off\"\n" };
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = {:?}\nrun_dir = {:?}\n{metrics}{keys}\n",
            self.path("state"),
            self.path("run"),
        );
        fs::write(self.config(), text).expect("write the configuration");
    }

    /// A file of this server's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("dbfw-server.toml")
    }

    /// The certificate of its authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("state/tls/ca.pem")
    }

    /// Starts it, through a command that becomes it, and waits until it listens.
    pub(crate) fn spawn(&mut self, wrapper: &[&str]) {
        assert!(self.process.is_none(), "it runs already");
        let mut words = wrapper.to_vec();
        words.extend([env!("CARGO_BIN_EXE_dbfw-server"), "serve", "--config"]);
        let log = File::create(self.path("log")).expect("a log");
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(self.config())
            .env("DBFW_LOG", "debug,h2=info,hyper=info,hyper_util=info,tonic=info,tower=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the server");
        self.process = Some(child);
        self.wait("ready version=");
        let log = self.log();
        let (_, rest) = log.split_once("listening address=").expect("it says where it listens");
        let address = rest.split_whitespace().next().expect("an address");
        self.address = Some(address.parse().expect("an address with a port"));
    }

    /// Waits for a word in the log.
    pub(crate) fn wait(&mut self, word: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(word) {
            let ended = self.process.as_mut().and_then(|child| child.try_wait().expect("look"));
            assert!(ended.is_none(), "it ended ({ended:?})\n{}", self.log());
            assert!(Instant::now() < deadline, "waited in vain for {word:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it runs")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it with a signal; its exit code, if it had one.
    pub(crate) fn stop(&mut self, signal: Signal) -> Option<i32> {
        let pid = i32::try_from(self.pid()).expect("process ids fit");
        kill(Pid::from_raw(pid), signal).expect("signal the server");
        let mut child = self.process.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("wait for the server") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a subcommand with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dbfw-server"))
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env_remove("DBFW_SERVER_CONFIG")
            .env_remove("DBFW_SERVER_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run dbfw-server");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writer = thread::spawn(move || {
            // One that reads nothing closes it.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("wait for dbfw-server");
        writer.join().expect("write its input");
        output
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, b"")
    }

    /// Runs a subcommand that is to succeed; what it printed.
    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}\n{}", self.log());
        String::from_utf8(output.stdout).expect("text")
    }

    /// The first token.
    pub(crate) fn admin(&self) -> String {
        self.secrets.first().expect("it was set up").clone()
    }

    /// Makes a token with these arguments.
    #[track_caller]
    pub(crate) fn token(&mut self, arguments: &[&str]) -> String {
        let secret = self.done(&[&["token", "add"], arguments].concat()).trim().to_owned();
        self.secrets.push(secret.clone());
        secret
    }

    pub(crate) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Adds a database; its id.
    #[track_caller]
    pub(crate) fn database(&self, name: &str) -> String {
        let added = self.done(&["database", "add", name, "--output", "json"]);
        let added: Value = serde_json::from_str(&added).expect("a document");
        added["id"].as_str().expect("an id").to_owned()
    }

    /// A new connection of whoever has a token.
    pub(crate) async fn connect(&self, token: &str) -> Client {
        let mut client = Client::tls(self.address(), &self.ca()).await;
        client.token = Some(token.to_owned());
        client
    }

    /// The sources of a database, as `type:value`.
    pub(crate) async fn sources(&self, database: &str) -> Vec<String> {
        let mut client = self.connect(&self.admin()).await;
        client.sources(database).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client of one connection.
pub(crate) struct Client {
    sender: http1::SendRequest<Body>,
    task: JoinHandle<()>,
    /// The server's address, and its authority where it speaks TLS.
    server: (SocketAddr, Option<PathBuf>),
    /// Whether the server ends the connection after its last answer.
    is_over: bool,
    pub(crate) token: Option<String>,
    pub(crate) agent: &'static str,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The answer, which is to have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{text}");
        self
    }

    /// The message of an error with this status, in the one form there is.
    #[track_caller]
    pub(crate) fn error(self, status: u16) -> String {
        let reply = self.expect(status);
        let body = reply.json();
        assert!(body["id"].is_string() && body["request_id"].is_string(), "{body}");
        assert_eq!(reply.header("x-request-id"), body["request_id"].as_str());
        body["message"].as_str().expect("a message").to_owned()
    }
}

impl Client {
    /// A connection over TLS, to a server whose certificate is of this authority.
    pub(crate) async fn tls(address: SocketAddr, ca: &Path) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector(ca).connect(name, stream).await.expect("a TLS connection");
        Self::over(TokioIo::new(stream), (address, Some(ca.to_owned()))).await
    }

    /// A connection without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        Self::over(TokioIo::new(stream), (address, None)).await
    }

    /// Connects again where the server has said that it ends the connection, as clients do.
    async fn follow_end(&mut self) {
        if !std::mem::take(&mut self.is_over) {
            return;
        }
        let (address, ca) = self.server.clone();
        let mut next = match &ca {
            Some(ca) => Box::pin(Self::tls(address, ca)).await,
            None => Box::pin(Self::plain(address)).await,
        };
        std::mem::swap(&mut self.sender, &mut next.sender);
        std::mem::swap(&mut self.task, &mut next.task);
    }

    async fn over(
        io: TokioIo<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>,
        server: (SocketAddr, Option<PathBuf>),
    ) -> Self {
        let (sender, connection) = http1::handshake(io).await.expect("HTTP");
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, task, server, is_over: false, token: None, agent: "test/1" }
    }

    /// Sends a request with these headers; `None` if the connection ended.
    pub(crate) async fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Option<Reply> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, self.agent);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        self.follow_end().await;
        self.sender.ready().await.ok()?;
        let response = self.sender.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        self.is_over = parts.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
        let body = to_bytes(Body::new(body), 64 << 20).await.ok()?.to_vec();
        Some(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn document(&mut self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// The rules of a database.
    pub(crate) async fn rules(&mut self, database: &str) -> Vec<Value> {
        let reply = self.get(&format!("/v2/databases/{database}/firewall")).await.expect(200);
        reply.json()["rules"].as_array().expect("rules").clone()
    }

    /// The sources of a database, as `type:value`.
    pub(crate) async fn sources(&mut self, database: &str) -> Vec<String> {
        self.rules(database).await.iter().map(source).collect()
    }

    /// Replaces the rules of a database.
    pub(crate) async fn put(&mut self, database: &str, rules: &[Value]) -> Reply {
        let path = format!("/v2/databases/{database}/firewall");
        self.document("PUT", &path, &json!({ "rules": rules })).await
    }

    /// The requests of doctl's `append`: the list is read, and replaced with one more rule in front,
    /// on one connection.
    pub(crate) async fn append(&mut self, database: &str, kind: &str, value: &str) -> Reply {
        let mut rules: Vec<Value> = self.rules(database).await.iter().map(as_doctl).collect();
        rules.insert(0, new_rule(database, kind, value));
        self.put(database, &rules).await
    }
}

/// A client's side of TLS.
pub(crate) fn connector(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("the authority's certificate");
    roots.add(ca).expect("trust it");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A rule as `type:value`.
pub(crate) fn source(rule: &Value) -> String {
    format!("{}:{}", rule["type"].as_str().unwrap(), rule["value"].as_str().unwrap())
}

/// A rule as godo sends it back: without what its type does not have.
pub(crate) fn as_doctl(rule: &Value) -> Value {
    json!({
        "uuid": rule["uuid"],
        "cluster_uuid": rule["cluster_uuid"],
        "type": rule["type"],
        "value": rule["value"],
        "created_at": "0001-01-01T00:00:00Z",
    })
}

/// A rule that doctl adds.
pub(crate) fn new_rule(database: &str, kind: &str, value: &str) -> Value {
    json!({
        "uuid": "",
        "cluster_uuid": database,
        "type": kind,
        "value": value,
        "created_at": "0001-01-01T00:00:00Z",
    })
}
