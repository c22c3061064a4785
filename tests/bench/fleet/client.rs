//! A client of one connection over TLS, which waits for each answer.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Time until an edit is tried again that the store did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// The server, as clients know it.
#[derive(Clone)]
pub(super) struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: Arc<str>,
}

/// A connection.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    token: Arc<str>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Api {
    /// The server at an address, whose authority is in a file, for whoever has a token.
    pub(super) fn new(address: SocketAddr, ca: &Path, token: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(ca).expect("the authority's certificate");
        roots.add(ca).expect("trust it");
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, tls: Arc::new(tls), token: token.into() }
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Client {
        let tcp = TcpStream::connect(self.address).expect("connect to the server");
        tcp.set_nodelay(true).expect("small packets");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a limit of time");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).expect("a TLS client");
        let mut client =
            Client { stream: StreamOwned::new(tls, tcp), token: Arc::clone(&self.token) };
        // The handshake is no part of what is measured.
        client.get("/v2/account").expect(200);
        client
    }
}

impl Client {
    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    /// Replaces the list of a database, with more headers.
    pub(super) fn put(&mut self, database: &str, values: &[String], headers: &str) -> Answer {
        let rule = |value: &String| json!({ "type": "ip_addr", "value": value });
        let body = json!({ "rules": values.iter().map(rule).collect::<Vec<_>>() });
        let path = format!("/v2/databases/{database}/firewall");
        loop {
            let answer = self.send("PUT", &path, headers, &body.to_string());
            // A busy disk: clients of DigitalOcean's API try again too, and the time counts.
            if answer.status != 503 {
                return answer;
            }
            sleep(AGAIN);
        }
    }

    /// Reads the list of a database, and replaces it with one more source in front, as doctl does.
    pub(super) fn append(&mut self, database: &str, value: &str) -> Answer {
        let mut values = self.values(database);
        values.insert(0, value.to_owned());
        self.put(database, &values, "")
    }

    /// The values of a database's list.
    pub(super) fn values(&mut self, database: &str) -> Vec<String> {
        let list = self.get(&format!("/v2/databases/{database}/firewall")).expect(200).json();
        let rules = list["rules"].as_array().expect("rules").iter();
        rules.map(|rule| rule["value"].as_str().expect("a value").to_owned()).collect()
    }

    /// Sends a request with more headers, each with its end of line.
    pub(super) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).expect("send a request");
        self.answer().expect("an answer")
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut read = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            let end = read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&read[..end]).into_owned();
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                let mut answer = Answer { status: status.unwrap_or(0), head, body: Vec::new() };
                let length = answer
                    .header("content-length")
                    .map_or(0, |it| it.parse::<usize>().expect("a length"));
                while read.len() < end + 4 + length {
                    let count = self.stream.read(&mut piece)?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    read.extend_from_slice(&piece[..count]);
                }
                answer.body = read.split_off(end + 4);
                return Ok(answer);
            }
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read.extend_from_slice(&piece[..count]);
        }
    }
}

impl Answer {
    /// The answer, which is to have this status.
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}
