//! Joining: a host hands in a join token, and gets a token of its own.
//!
//! The join token names the authority that the server's certificate must come from, so that it
//! is shown to nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::agent::{Digest, HostToken, JOIN, JoinRequest, JoinToken, Joined};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use url::Url;
use webpki::EndEntityCert;

use super::config::url_problem;
use crate::http::{HttpClient, HttpConfig, Options, Redirects};

/// Bytes an answer may have.
const MAX_ANSWER: u64 = 1 << 20;

/// The token and authority that a host gets by joining.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The server's answer.
    pub joined: Joined,
    /// The certificates to trust, PEM; `None`: the system's authorities.
    pub ca: Option<String>,
}

/// A host could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address cannot be a server's.
    #[error("the address of the server {0}: write https://HOST:PORT")]
    Url(&'static str),
    /// The server's certificate comes from another authority than the token names.
    #[error(
        "the certificate of the server does not come from the authority that the join token names, \
         and the token was not sent: check the address, and whether the server's authority was made \
         anew since the token was (make another with `dbfw-server join-token`)"
    )]
    Pin,
    /// The server does not take the token.
    #[error(
        "the server does not take the join token: it was used, has ended, or is another server's; \
         make another with `dbfw-server join-token`"
    )]
    Refused,
    /// The request failed.
    #[error(transparent)]
    Failed(#[from] FetchError),
    /// The answer makes no sense.
    #[error("the server answered, but {0}: is it a dbfw-server of this version?")]
    Answer(String),
}

/// Joins the host to the server at `url`.
///
/// # Errors
/// It could not; the token may have been used only if the server answered.
pub async fn join(url: &Url, token: &JoinToken, hostname: &str) -> Result<Membership, JoinError> {
    const WHAT: &str = "server: POST /agent/v1/join";
    if let Some(problem) = url_problem(url) {
        return Err(JoinError::Url(problem));
    }
    let mut http = HttpClient::new(
        &HttpConfig { timeout: Duration::from_secs(20), ..HttpConfig::default() },
        Redirects::Refuse,
    );
    let is_other = Arc::new(AtomicBool::new(false));
    if let Some(pin) = token.pin.filter(|_| url.scheme() == "https") {
        http = http.with_tls(pinned(pin, Arc::clone(&is_other))?);
    }
    let request = JoinRequest { token: token.reveal(), hostname: hostname.to_owned() };
    let body = serde_json::to_vec(&request).unwrap_or_default();
    let mut target = url.clone();
    target.set_path(JOIN);
    let options = Options {
        bearer: None,
        accept: "application/json",
        max_bytes: MAX_ANSWER,
        validators: None,
    };
    let answer = http.post(&target, WHAT, options, body).await;
    let answer = match answer {
        Err(_) if is_other.load(Ordering::Relaxed) => return Err(JoinError::Pin),
        Err(error) => return Err(error.into()),
        Ok(answer) if answer.status == 401 => return Err(JoinError::Refused),
        Ok(answer) => answer.success(WHAT)?,
    };
    if answer.status == 404 {
        return Err(JoinError::Answer("has nothing at /agent/v1/join".to_owned()));
    }
    let joined: Joined = answer.json(WHAT)?;
    let own: HostToken =
        joined.token.parse().map_err(|error| JoinError::Answer(format!("{error}")))?;
    if own.host != joined.host {
        return Err(JoinError::Answer("the token is another host's".to_owned()));
    }
    let ca = (!joined.ca.trim().is_empty()).then(|| joined.ca.clone());
    if let Some(pin) = token.pin {
        let certificates = ca.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
        let has_pin = |certificate: CertificateDer<'_>| is_pinned(&certificate, pin);
        if !certificates.filter_map(Result::ok).any(has_pin) {
            let text = "the authority that it names is not the join token's".to_owned();
            return Err(JoinError::Answer(text));
        }
    }
    Ok(Membership { joined, ca })
}

/// TLS with a server whose certificate comes from the pinned authority.
fn pinned(pin: Digest, is_other: Arc<AtomicBool>) -> Result<ClientConfig, FetchError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { pin, provider: Arc::clone(&provider), is_other };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::new(Cause::Tls, error.to_string()))?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Whether it is the certificate of the pinned key.
fn is_pinned(certificate: &CertificateDer<'_>, pin: Digest) -> bool {
    EndEntityCert::try_from(certificate)
        .is_ok_and(|parsed| Digest::of(parsed.subject_public_key_info().as_ref()) == pin)
}

/// Verifies a chain by the one authority in it whose key is pinned.
#[derive(Debug)]
struct Pinned {
    pin: Digest,
    provider: Arc<CryptoProvider>,
    /// The chain has no such authority.
    is_other: Arc<AtomicBool>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_authority = |certificate: &&CertificateDer<'_>| is_pinned(certificate, self.pin);
        let Some(authority) = intermediates.iter().find(is_authority) else {
            self.is_other.store(true, Ordering::Relaxed);
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
