//! A certificate authority of the server's own, and the certificates it shows.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::PrivatePkcs8KeyDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

/// What the server shows to those who connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// Of the authority in [`super::Server::ca_file`], for the server's addresses and names.
    #[default]
    Good,
    /// The same, and it ended in 2021.
    Expired,
    /// Of the same authority, for `elsewhere.test` alone.
    WrongName,
    /// For the right names, of an authority nobody was told of.
    UnknownCa,
}

impl Certificate {
    /// Every certificate.
    pub const ALL: [Self; 4] = [Self::Good, Self::Expired, Self::WrongName, Self::UnknownCa];

    /// Its name in the control protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::WrongName => "wrong-name",
            Self::UnknownCa => "unknown-ca",
        }
    }
}

/// All certificates, and which of them new connections get.
#[derive(Debug)]
pub(super) struct Certificates {
    made: Vec<Arc<CertifiedKey>>,
    shown: Mutex<Certificate>,
    ca: String,
}

impl Certificates {
    /// Makes an authority and certificates for these names and addresses.
    pub(super) fn new(names: &[String]) -> Self {
        let known = Authority::new("dbfw tests");
        let unknown = Authority::new("dbfw tests, unknown");
        let made = Certificate::ALL
            .map(|certificate| match certificate {
                Certificate::Good => known.issue(names, false),
                Certificate::Expired => known.issue(names, true),
                Certificate::WrongName => known.issue(&["elsewhere.test".to_owned()], false),
                Certificate::UnknownCa => unknown.issue(names, false),
            })
            .map(Arc::new)
            .into();
        Self { made, shown: Mutex::default(), ca: known.pem }
    }

    /// The authority's own certificate.
    pub(super) fn ca(&self) -> &str {
        &self.ca
    }

    /// From now on, new connections get this one.
    pub(super) fn show(&self, certificate: Certificate) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// TLS without session resumption: a resumed session would show no certificate.
    pub(super) fn server_config(self: &Arc<Self>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring does TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let index = Certificate::ALL.iter().position(|certificate| *certificate == shown)?;
        self.made.get(index).cloned()
    }
}

/// The names a certificate is for: those asked for, and every way to say "this machine".
pub(super) fn names(address: IpAddr, more: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.push(address.to_string());
    names.extend_from_slice(more);
    names.sort();
    names.dedup();
    names
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = key();
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("sign the authority's certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, names: &[String], expired: bool) -> CertifiedKey {
        let key = key();
        let mut params = params(names, "dbfw-provider-server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python's strict verification wants to know which key signed.
        params.use_authority_key_identifier_extension = true;
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a certificate");
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        let key = ring::sign::any_supported_type(&secret.into()).expect("a key ring can use");
        CertifiedKey::new(vec![certificate.der().clone()], key)
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("make a key")
}

fn params(names: &[String], common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names a certificate can hold");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
