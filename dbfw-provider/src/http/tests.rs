//! Against servers on loopback that misbehave as they are told.

mod answers;
mod certificates;
mod faults;
mod pure;
mod redirects;

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::header::{HeaderName, HeaderValue};
use rustls::pki_types::PrivateKeyDer;
use secrecy::SecretString;
use tempfile::TempPath;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A token that must not be seen anywhere but in the header.
const CANARY: &str = "dop_v1_5ec4e7c0ffee";

const WHAT: &str = "DigitalOcean: GET /v2/droplets?page=2";

/// What a server does with a request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes for ever, as fast as they are taken.
    Repeat(Vec<u8>),
    /// Sends a byte every few milliseconds, for ever.
    Drip,
    /// Says nothing more, and keeps the connection.
    Hang,
    /// Breaks the connection (RST).
    Reset,
}

type Acts = Arc<dyn Fn(&str) -> Vec<Act> + Send + Sync>;

/// A server, and the heads of the requests it got.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn plain(acts: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(acts)).await
    }

    /// That answers everything alike.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::plain(move |_| vec![Act::Send(answer.clone())]).await
    }

    async fn start(tls: Option<TlsAcceptor>, acts: Acts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, acts, seen) = (tls.clone(), acts.clone(), seen.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, acts, seen, |stream| stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, acts, seen, |stream| stream.into_inner().0).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn https(&self, path: &str) -> Url {
        format!("https://localhost:{}{path}", self.address.port()).parse().unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    acts: Acts,
    seen: Arc<Mutex<Vec<String>>>,
    inner: impl FnOnce(S) -> TcpStream,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let wanted = acts(&head);
    seen.lock().unwrap().push(head);
    for act in wanted {
        let done = match act {
            Act::Send(bytes) => send(&mut stream, &bytes).await,
            Act::Repeat(bytes) => loop {
                if !send(&mut stream, &bytes).await {
                    break false;
                }
            },
            Act::Drip => loop {
                if !send(&mut stream, b" ").await {
                    break false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
            Act::Hang => std::future::pending().await,
            Act::Reset => return inner(stream).set_zero_linger().unwrap(),
        };
        if !done {
            return;
        }
    }
}

/// Whether the other side took it.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

/// An answer with a length.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into()
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// A certificate authority, and its certificate in a file: with it in `ca_file` clients need
/// none of the machine's.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: TempPath,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// The one that clients of [`client`] trust.
    fn trusted() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(|| Self::new("trusted"))
    }

    fn acceptor(&self, names: &[&str], alter: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).unwrap();
        alter(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), &key)
    }

    /// A server that shows the authority's own certificate.
    fn as_itself(&self) -> TlsAcceptor {
        acceptor(self.issuer.der().clone(), self.issuer.key())
    }

    /// A server with a certificate that is good for localhost and 127.0.0.1.
    async fn serve(&self, acts: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Server {
        let tls = self.acceptor(&["localhost", "127.0.0.1"], |_| {});
        Server::start(Some(tls), Arc::new(acts)).await
    }
}

fn acceptor(certificate: rustls::pki_types::CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    setup::install_crypto();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn config() -> HttpConfig {
    HttpConfig {
        only_ca_file: false,
        timeout: Duration::from_secs(10),
        ca_file: Some(Authority::trusted().file.to_path_buf()),
        allow_http: Vec::new(),
    }
}

fn client() -> HttpClient {
    HttpClient::new(&config(), Redirects::Refuse)
}

/// One that does not wait long.
fn impatient() -> HttpClient {
    let config = HttpConfig { timeout: Duration::from_millis(250), ..config() };
    HttpClient::new(&config, Redirects::Refuse)
}

fn follower() -> HttpClient {
    HttpClient::new(&config(), Redirects::Follow)
}

fn token() -> SecretString {
    SecretString::from(CANARY)
}

const OPTIONS: Options<'_> =
    Options { bearer: None, accept: "application/json", max_bytes: 1000, validators: None };

/// Asks with the canary. Whatever comes back must not show it, and names the request.
async fn ask(client: &HttpClient, url: &Url) -> Result<Response, FetchError> {
    let token = token();
    let options = Options { bearer: Some(&token), ..OPTIONS };
    let answer = client.get(url, WHAT, options).await;
    let shown = format!("{client:?} {options:?} {answer:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    if let Err(error) = &answer {
        assert_clean(error);
    }
    answer
}

/// An error is one line about the request, without the canary.
fn assert_clean(error: &FetchError) {
    let message = error.to_string();
    assert!(message.ends_with(&format!(" ({WHAT})")), "{message}");
    assert!(!format!("{message} {error:?}").contains(CANARY), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
}

/// Asserts what a failure says.
fn assert_failed(answer: Result<Response, FetchError>, cause: Cause, words: &[&str]) {
    let error = answer.unwrap_err();
    assert_eq!(error.cause, cause, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {:?}", error.to_string());
    }
}
