//! [`probe`]: asks an endpoint what it speaks, and for its certificates.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dbfw_core::audit::Engine;
use rustls::{
    ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    endpoint::Endpoint,
    mysql::{self, Greeting},
    postgres::{self, Offer},
};

/// Time for a whole probe.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time for the first word of a server that speaks first, where the port does not say so.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// The findings about an endpoint.
#[derive(Debug)]
pub struct Found {
    /// Its engine; `None`: it begins with TLS, and its port says no more.
    pub engine: Option<Engine>,
    /// "TLSv1.3", if it came to it.
    pub version: Option<String>,
    /// The certificates as it sent them, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The reason why an endpoint showed no certificates.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens there, or nobody may connect.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// It did not answer in time.
    #[error("it does not answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// It has no TLS.
    #[error("{} offers no TLS there", shown(*.0))]
    NoTls(Option<Engine>),
    /// It refuses this host.
    #[error("it refuses this host: {0}")]
    Refused(String),
    /// TLS failed before the certificates came.
    #[error("TLS with {} fails", shown(*.engine))]
    Tls {
        /// The engine that it seems to be.
        engine: Option<Engine>,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It broke off, or what it says is of no engine that is known.
    #[error("it speaks no protocol that is known")]
    Unknown(#[source] io::Error),
}

/// The name of an engine in an error.
fn shown(engine: Option<Engine>) -> String {
    engine.map_or_else(|| "the server".to_owned(), |engine| engine.to_string())
}

/// Asks an endpoint for its certificates, from its own address. The whole takes some seconds at
/// most, whatever the server does.
///
/// # Errors
///
/// There is nobody, or no TLS.
pub async fn probe(endpoint: Endpoint) -> Result<Found, ProbeError> {
    timeout(PATIENCE, ask(endpoint)).await.unwrap_or(Err(ProbeError::Silent))
}

async fn ask(endpoint: Endpoint) -> Result<Found, ProbeError> {
    match Engine::of_port(endpoint.port) {
        Some(Engine::Postgres) => ask_postgres(endpoint).await,
        Some(Engine::MySql) => {
            let stream = connect(endpoint).await?;
            ask_mysql(stream).await
        }
        engine @ Some(_) => ask_tls(endpoint, engine).await,
        None => {
            let stream = connect(endpoint).await?;
            match timeout(FIRST_WORD, stream.readable()).await {
                Ok(_) => ask_mysql(stream).await,
                Err(_) => match ask_postgres_on(stream).await {
                    Err(ProbeError::Unknown(_)) => ask_tls(endpoint, None).await,
                    found => found,
                },
            }
        }
    }
}

/// Connects from the endpoint's own address.
pub(super) async fn connect(Endpoint { address, port }: Endpoint) -> Result<TcpStream, ProbeError> {
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4(),
        false => TcpSocket::new_v6(),
    };
    let connect = async {
        let socket = socket?;
        socket.bind(SocketAddr::new(address, 0))?;
        socket.connect(SocketAddr::new(address, port)).await
    };
    connect.await.map_err(ProbeError::Connect)
}

async fn ask_postgres(endpoint: Endpoint) -> Result<Found, ProbeError> {
    ask_postgres_on(connect(endpoint).await?).await
}

/// Time for the answer to a request for TLS, which a server of another engine does not give.
const ANSWER: Duration = Duration::from_secs(3);

async fn ask_postgres_on(mut stream: TcpStream) -> Result<Found, ProbeError> {
    let offer = match timeout(ANSWER, postgres::ask(&mut stream)).await {
        Ok(offer) => offer.map_err(ProbeError::Unknown)?,
        Err(elapsed) => return Err(ProbeError::Unknown(elapsed.into())),
    };
    match offer {
        Offer::Tls => {
            let (found, tls) = handshake(stream, Some(Engine::Postgres)).await?;
            if let Some(mut tls) = tls {
                // The certificates are there: what it answers to a stranger changes nothing.
                let _ = postgres::log_in(&mut tls).await;
                let _ = tls.shutdown().await;
            }
            Ok(found)
        }
        Offer::Plain => {
            let _ = postgres::log_in(&mut stream).await;
            Err(ProbeError::NoTls(Some(Engine::Postgres)))
        }
        Offer::Other(byte) => {
            Err(ProbeError::Unknown(io::Error::other(format!("it answers {byte:#04x}"))))
        }
    }
}

async fn ask_mysql(mut stream: TcpStream) -> Result<Found, ProbeError> {
    let payload = mysql::read(&mut stream).await.map_err(ProbeError::Unknown)?;
    match Greeting::parse(&payload) {
        Some(Greeting::Ready { tls: true, .. }) => {
            mysql::ask(&mut stream).await.map_err(ProbeError::Unknown)?;
            let (found, tls) = handshake(stream, Some(Engine::MySql)).await?;
            if let Some(mut tls) = tls {
                let _ = mysql::log_in(&mut tls, true).await;
                let _ = tls.shutdown().await;
            }
            Ok(found)
        }
        Some(Greeting::Ready { tls: false, .. }) => {
            let _ = mysql::log_in(&mut stream, false).await;
            Err(ProbeError::NoTls(Some(Engine::MySql)))
        }
        Some(Greeting::Refused(why)) => Err(ProbeError::Refused(why)),
        None => Err(ProbeError::Unknown(io::Error::other("its first packet is none of MySQL's"))),
    }
}

async fn ask_tls(endpoint: Endpoint, engine: Option<Engine>) -> Result<Found, ProbeError> {
    let stream = connect(endpoint).await?;
    // A server without TLS waits for the rest of a command, or does not understand.
    let handshake = match timeout(ANSWER, handshake(stream, engine)).await {
        Ok(Err(ProbeError::Tls { source, .. })) if source.kind() == io::ErrorKind::InvalidData => {
            return Err(ProbeError::NoTls(engine));
        }
        Ok(handshake) => handshake?,
        Err(elapsed) => return Err(ProbeError::Tls { engine, source: elapsed.into() }),
    };
    let (found, tls) = handshake;
    if let Some(mut tls) = tls {
        let _ = tls.shutdown().await;
    }
    Ok(found)
}

/// Keeps the certificates of a server and takes every one: nothing secret is said afterwards.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let all = all.map(|certificate| certificate.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Begins TLS. A server that wants a certificate of the client breaks off after it showed its own.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    engine: Option<Engine>,
) -> Result<(Found, Option<TlsStream<S>>), ProbeError> {
    let failed = |source| ProbeError::Tls { engine, source };
    let provider = Arc::new(ring::default_provider());
    let recorder = Arc::new(Recorder { provider: Arc::clone(&provider), seen: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // An address is not sent either, and the name is not known.
    config.enable_sni = false;
    let name =
        ServerName::try_from("localhost").map_err(|error| failed(io::Error::other(error)))?;
    let result = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let seen = std::mem::take(&mut *recorder.seen.lock().unwrap_or_else(PoisonError::into_inner));
    let (version, stream) = match result {
        Ok(stream) => (stream.get_ref().1.protocol_version(), Some(stream)),
        Err(error) if seen.is_empty() => return Err(failed(error)),
        Err(_) => (None, None),
    };
    let version = version.map(|version| match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    });
    Ok((Found { engine, version, certificates: seen }, stream))
}
