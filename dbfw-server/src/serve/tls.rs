//! TLS: the server's own certificate authority, or files, read again when they change.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use dbfw_wire::agent::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime, pem::PemObject as _,
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::{
    api::PinnedAuthority,
    config::{Config, Tls},
    model::digest,
};

/// Bytes of a certificate or a key.
const MAX_FILE: u64 = 1 << 20;
/// Lifetime of a certificate of the own authority. The limit of what clients accept is longer.
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// A certificate that ends within this time is renewed.
const RENEW: Duration = Duration::from_secs(30 * 86_400);
/// Lifetime of the own authority: whoever pins it is not to pin it again.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_secs(86_400);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// Longer than a certificate counts.
const FOREVER: Duration = Duration::from_secs(8000 * 365 * 86_400);
/// Looks at the files between two at whether the own certificate ends soon.
const RENEWALS: u32 = 720;
/// The subject of certificates; that of the authority has the digest of its key behind it.
const SUBJECT: &str = "dbfw-server";

/// Reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The own authority was never made.
    #[error("there is no {}: run `dbfw-server init`", .0.display())]
    NoAuthority(PathBuf),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate and a key do not work together.
    #[error("{} and {} cannot be used: {reason}", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The problem.
        reason: String,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error: dbfw_provider::fs::OpenError| {
        let (path, reason) = (path.to_owned(), error.to_string());
        TlsError::File { path, reason }
    };
    dbfw_provider::fs::read_file(path, MAX_FILE).map_err(failed)
}

/// Reads a private key, which not everybody may read.
fn read_key(path: &Path) -> Result<Vec<u8>, TlsError> {
    let key = read(path)?;
    if fs::metadata(path).is_ok_and(|found| found.mode() & 0o006 != 0) {
        let reason =
            "may be read or written by everybody: chmod 600, and make a new key".to_owned();
        return Err(TlsError::File { path: path.to_owned(), reason });
    }
    Ok(key)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let failed = |error: io::Error| TlsError::File {
        path: path.to_owned(),
        reason: format!("cannot be written: {error}"),
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The server's own certificate authority, in files.
#[derive(Clone, Debug)]
pub struct Authority {
    directory: PathBuf,
}

impl Authority {
    /// The authority in the state directory of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { directory: config.state_dir.join("tls") }
    }

    /// The certificate that clients are to trust.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }

    fn leaf(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("server.pem"), self.directory.join("server.key"))
    }

    /// Makes an authority, unless there is one. Returns whether it did.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make(&self) -> Result<bool, TlsError> {
        if self.certificate().exists() && self.key().exists() {
            return Ok(false);
        }
        let failed = |error: io::Error| TlsError::File {
            path: self.directory.clone(),
            reason: error.to_string(),
        };
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let key = KeyPair::generate()?;
        let certificate = authority_params(&key)?.self_signed(&key)?;
        write(&self.key(), &key.serialize_pem(), 0o600)?;
        write(&self.certificate(), &certificate.pem(), 0o644)?;
        Ok(true)
    }

    /// The certificate, and the digest of its public key, by which hosts that join know it.
    pub(super) fn pinned(&self) -> Result<PinnedAuthority, TlsError> {
        let path = self.certificate();
        let pem = read(&path)?;
        let bad = |reason: String| TlsError::File { path: path.clone(), reason };
        let der = CertificateDer::from_pem_slice(&pem)
            .map_err(|error| bad(format!("has no certificate: {error}")))?;
        let certificate = EndEntityCert::try_from(&der)
            .map_err(|error| bad(format!("has a damaged certificate: {error}")))?;
        let pin = Digest::of(certificate.subject_public_key_info().as_ref());
        Ok(PinnedAuthority { pem: String::from_utf8_lossy(&pem).into_owned(), pin })
    }

    /// Makes a certificate for these names, unless there is one that is good for a month.
    fn renew(&self, names: &[String]) -> Result<(), TlsError> {
        if !self.certificate().exists() {
            return Err(TlsError::NoAuthority(self.certificate()));
        }
        if self.is_good(names) {
            return Ok(());
        }
        let key = read_key(&self.key())?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key)).map_err(|error| {
            TlsError::File { path: self.key(), reason: format!("is no private key: {error}") }
        })?;
        let issuer = Issuer::new(authority_params(&key)?, key);
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, SUBJECT);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + LIFETIME).into();
        let leaf_key = KeyPair::generate()?;
        let leaf = params.signed_by(&leaf_key, &issuer)?;
        let (certificate_path, key_path) = self.leaf();
        write(&key_path, &leaf_key.serialize_pem(), 0o600)?;
        write(&certificate_path, &leaf.pem(), 0o644)?;
        tracing::info!(names = names.join(", "), "made a certificate for 90 days");
        Ok(())
    }

    /// Whether the certificate is of this authority, for all the names, and good for a month.
    fn is_good(&self, names: &[String]) -> bool {
        let first = |path: &Path| CertificateDer::from_pem_slice(&read(path).ok()?).ok();
        let (Some(ca), Some(leaf)) = (first(&self.certificate()), first(&self.leaf().0)) else {
            return false;
        };
        let (Ok(anchor), Ok(leaf)) =
            (anchor_from_trusted_cert(&ca), EndEntityCert::try_from(&leaf))
        else {
            return false;
        };
        let verified = verify(&leaf, &[anchor], RENEW);
        let covers = |name: &String| {
            let name = ServerName::try_from(name.as_str());
            name.is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
        };
        verified.is_ok() && names.iter().all(covers) && self.leaf().1.exists()
    }
}

/// The authority of a key. Its name is the same each time, and no other authority's: clients find
/// the issuer of a certificate by it.
fn authority_params(key: &KeyPair) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let of_key = digest(key.public_key_pem().as_bytes());
    let name = format!("{SUBJECT} authority {}", of_key.get(..16).unwrap_or(&of_key));
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    Ok(params)
}

/// The source of the certificate.
#[derive(Debug)]
enum Source {
    Own { authority: Authority, names: Vec<String> },
    Files { certificate: PathBuf, key: PathBuf },
}

/// The certificate that is shown, and where it comes from.
#[derive(Debug)]
pub(super) struct Certificates {
    source: Source,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shown {
    /// Whether the certificate that is shown has not expired, and this one has.
    fn is_better_than(&self, other: &CertifiedKey) -> bool {
        let has_expired = |certified: &CertifiedKey| {
            certified.cert.first().is_some_and(|leaf| ends_within(leaf, Duration::ZERO))
        };
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        has_expired(other) && !has_expired(&shown)
    }

    /// Tells of a certificate that clients refuse, or soon will.
    fn warn_of_end(&self) {
        let shown = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let Some(leaf) = shown.cert.first() else { return };
        if ends_within(leaf, Duration::ZERO) {
            tracing::error!("the certificate has expired: clients refuse it; replace the file");
        } else if ends_within(leaf, RENEW) {
            tracing::warn!("the certificate ends within 30 days: replace the file");
        }
    }
}

/// Whether a certificate ends within this time. Its end is looked at before its issuer, of whom
/// nothing is known here.
fn ends_within(certificate: &CertificateDer<'_>, time: Duration) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let verified = verify(&certificate, &[], time);
    matches!(verified, Err(webpki::Error::CertExpired { .. }))
}

/// Verifies a server's certificate as of some time from now.
fn verify(
    certificate: &EndEntityCert<'_>,
    anchors: &[TrustAnchor<'_>],
    from_now: Duration,
) -> Result<(), webpki::Error> {
    let at = SystemTime::now() + from_now;
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let verified = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        anchors,
        &[],
        UnixTime::since_unix_epoch(at),
        KeyUsage::server_auth(),
        None,
        None,
    );
    verified.map(|_| ())
}

impl Certificates {
    /// The certificate of a configuration; `None` where it wants no TLS.
    pub(super) fn load(config: &Config) -> Result<Option<Self>, TlsError> {
        let source = match &config.tls {
            Tls::Off => return Ok(None),
            Tls::Own => Source::Own { authority: Authority::of(config), names: names(config) },
            Tls::Files { cert, key } => {
                Source::Files { certificate: cert.clone(), key: key.clone() }
            }
        };
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown(RwLock::new(Arc::new(source.read(&provider)?))));
        let unusable = |error: rustls::Error| {
            let (certificate, key) = source.files();
            TlsError::Pair { certificate, key, reason: error.to_string() }
        };
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        if matches!(source, Source::Files { .. }) {
            shown.warn_of_end();
        }
        Ok(Some(Self { source, shown, config: Arc::new(tls) }))
    }

    /// The end of the certificate that is shown, in seconds since 1970.
    pub(super) fn end(&self) -> Option<u64> {
        let shown = Arc::clone(&self.shown.0.read().unwrap_or_else(PoisonError::into_inner));
        let certificate = EndEntityCert::try_from(shown.cert.first()?).ok()?;
        // Beyond every certificate's: the error says when it ends.
        match verify(&certificate, &[], FOREVER) {
            Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
            _ => None,
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Renews the own certificate, and reads files again that changed. What cannot be used is
    /// told, and the certificate that is shown stays.
    pub(super) async fn follow(self: Arc<Self>) {
        let provider = self.config.crypto_provider();
        let mut known = self.source.stamp();
        for look in (0..RENEWALS).cycle() {
            sleep(LOOK).await;
            if look == RENEWALS - 1 {
                match &self.source {
                    Source::Own { authority, names } => {
                        if let Err(error) = authority.renew(names) {
                            tracing::error!(%error, "the certificate cannot be renewed");
                            continue;
                        }
                    }
                    Source::Files { .. } => self.shown.warn_of_end(),
                }
            }
            let stamp = self.source.stamp();
            if stamp == known {
                continue;
            }
            known = stamp;
            match self.source.read(provider) {
                Ok(certificate) if self.shown.is_better_than(&certificate) => {
                    tracing::error!(
                        "the certificate in the file has expired: the one that was read before stays"
                    );
                }
                Ok(certificate) => {
                    let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
                    *shown = Arc::new(certificate);
                    drop(shown);
                    tracing::info!("the certificate was read again");
                    self.shown.warn_of_end();
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate that was read before stays");
                }
            }
        }
    }
}

/// By which a changed file is known: inode, length, last change.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl Source {
    fn files(&self) -> (PathBuf, PathBuf) {
        match self {
            Self::Own { authority, .. } => authority.leaf(),
            Self::Files { certificate, key } => (certificate.clone(), key.clone()),
        }
    }

    fn stamp(&self) -> Stamp {
        let (certificate, key) = self.files();
        [certificate, key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
        })
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        if let Self::Own { authority, names } = self {
            authority.renew(names)?;
        }
        let (certificate, key) = self.files();
        let unusable = |reason: String| TlsError::Pair {
            certificate: certificate.clone(),
            key: key.clone(),
            reason,
        };
        let mut chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&read(&certificate)?)
                .collect::<Result<_, _>>()
                .map_err(|error| unusable(format!("the certificate is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(unusable("the first has no certificate".to_owned()));
        }
        if let Self::Own { authority, .. } = self {
            // A host that joins knows the authority's key alone, and looks for its certificate here.
            let path = authority.certificate();
            let ca = CertificateDer::from_pem_slice(&read(&path)?);
            let bad =
                |error| TlsError::File { path, reason: format!("has no certificate: {error}") };
            chain.push(ca.map_err(bad)?);
        }
        let private = PrivateKeyDer::from_pem_slice(&read_key(&key)?)
            .map_err(|error| unusable(format!("the second has no private key: {error}")))?;
        CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                unusable("the second is not the key of the first".to_owned())
            }
            error => unusable(error.to_string()),
        })
    }
}

/// The names that the own certificate is for: those of the configuration, and this host's.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    names.extend(host.filter(|name| ServerName::try_from(name.as_str()).is_ok()));
    let addresses = config.listen.iter().map(SocketAddr::ip);
    names.extend(addresses.filter(|address| !address.is_unspecified()).map(|ip| ip.to_string()));
    names.extend(config.tls_names.iter().cloned());
    names.sort();
    names.dedup();
    names
}
