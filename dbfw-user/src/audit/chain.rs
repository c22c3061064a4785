//! [`Chain`]: what the certificates of a server are good for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_core::misleads;
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate, X509Name},
    public_key::PublicKey,
};

/// Certificates of which more are not looked at: a server may send any number.
const MAX_CERTIFICATES: usize = 16;
/// Names of a certificate that are kept.
const MAX_NAMES: usize = 100;
/// Bytes of a text out of a certificate.
const MAX_TEXT: usize = 200;

/// The certificates of a server, each signed by the next, as far as they were sent.
#[derive(Clone, Debug)]
pub struct Chain {
    /// DER, the server's own first.
    certificates: Vec<CertificateDer<'static>>,
    subject: String,
    common_name: Option<String>,
    names: Names,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    root: Root,
    weaknesses: Vec<Weakness>,
}

/// The reason why a certificate can be forged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Its RSA key is short.
    #[error("an RSA key of {0} bits")]
    Rsa(usize),
    /// It is signed with a broken digest.
    #[error("a signature with {0}")]
    Digest(&'static str),
}

/// The names and addresses that a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names, which may begin with `*`.
    pub hosts: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// The server's own certificate signs itself.
    SelfSigned,
    /// A certificate that signs itself.
    Sent,
    /// The certificate of this issuer was not sent.
    Missing {
        /// Its name.
        issuer: String,
    },
}

/// Whether clients that know certain roots trust a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// They do.
    Yes,
    /// They do not, for this reason.
    No(String),
}

impl Chain {
    /// The chain of what a server sent, in any order after its own.
    ///
    /// # Errors
    ///
    /// The server's own certificate cannot be read: the reason.
    pub fn of(sent: &[CertificateDer<'static>]) -> Result<Self, String> {
        let sent = &sent[..sent.len().min(MAX_CERTIFICATES)];
        let Some((leaf, others)) = sent.split_first() else {
            return Err("the server sent no certificate".to_owned());
        };
        let own = parsed(leaf).ok_or("the server's certificate is not one of X.509")?;
        let mut chain = vec![leaf.clone()];
        let mut last = own.clone();
        let mut rest: Vec<(&CertificateDer<'static>, X509Certificate<'_>)> =
            others.iter().filter_map(|der| Some((der, parsed(der)?))).collect();
        while !signs_itself(&last)
            && let Some(at) = rest.iter().position(|(_, next)| signs(next, &last))
        {
            let (der, next) = rest.swap_remove(at);
            chain.push(der.clone());
            last = next;
        }
        let root = match (signs_itself(&last), chain.len()) {
            (true, 1) => Root::SelfSigned,
            (true, _) => Root::Sent,
            (false, _) => Root::Missing { issuer: name(last.issuer()) },
        };
        let moment = |seconds| Timestamp::from_second(seconds).ok();
        Ok(Self {
            subject: name(own.subject()),
            common_name: common_name(own.subject()),
            names: Names::of(&own),
            not_before: moment(own.validity().not_before.timestamp()),
            not_after: moment(own.validity().not_after.timestamp()),
            root,
            weaknesses: chain
                .iter()
                .enumerate()
                .filter_map(|(at, der)| Some(weaknesses(&parsed(der)?, at == 0)))
                .flatten()
                .collect(),
            certificates: chain,
        })
    }

    /// The certificates as PEM, the root last if it was sent.
    pub fn pem(&self) -> String {
        let one = |der: &CertificateDer<'_>| {
            let base64 = base64(der);
            let lines: Vec<&str> = base64
                .as_bytes()
                .chunks(64)
                .map(|line| str::from_utf8(line).unwrap_or_default())
                .collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                lines.join("\n")
            )
        };
        self.certificates.iter().map(one).collect()
    }

    /// The number of certificates.
    #[expect(clippy::len_without_is_empty, reason = "there always is one")]
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// The name of the server's certificate.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The common name of the server's certificate.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The names that the server's certificate is for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The moment from which on it is good, and the last.
    pub fn validity(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.not_before, self.not_after)
    }

    /// The end of the chain.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The server's own certificate.
    pub fn own(&self) -> Option<&CertificateDer<'static>> {
        self.certificates.first()
    }

    /// The reasons why a certificate of the chain can be forged.
    pub fn weaknesses(&self) -> &[Weakness] {
        &self.weaknesses
    }

    /// The SHA-256 of the server's certificate, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.certificates[0]);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether clients that know these roots trust it now, by whatever name they know the server.
    pub fn trust(&self, roots: &RootCertStore, now: Timestamp) -> Trust {
        let Some((leaf, rest)) = self.certificates.split_first() else {
            return Trust::No("there is no certificate".to_owned());
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let verified = ParsedCertificate::try_from(leaf).and_then(|leaf| {
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, rest, now, algorithms)
        });
        match verified {
            Ok(()) => Trust::Yes,
            Err(error) => Trust::No(error.to_string()),
        }
    }

    /// Whether clients that know nothing but its last certificate trust it now.
    pub fn trust_by_itself(&self, now: Timestamp) -> Trust {
        let mut roots = RootCertStore::empty();
        match self.certificates.last().map(|root| roots.add(root.clone())) {
            Some(Ok(())) => self.trust(&roots, now),
            Some(Err(error)) => Trust::No(error.to_string()),
            None => Trust::No("there is no certificate".to_owned()),
        }
    }

    /// Whether it is for a name or an address, as clients that ignore common names judge.
    pub fn is_for(&self, name: &str) -> bool {
        let Ok(name) = ServerName::try_from(name) else { return false };
        let leaf = ParsedCertificate::try_from(&self.certificates[0]);
        leaf.and_then(|leaf| verify_server_name(&leaf, &name)).is_ok()
    }
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut found = Self::default();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        for name in names.take(MAX_NAMES) {
            match name {
                GeneralName::DNSName(host) => found.hosts.push(clean(host)),
                GeneralName::IPAddress(bytes) => found.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.addresses.is_empty()
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// Bits of an RSA key that are enough.
const RSA_BITS: usize = 2048;

/// Signatures with a broken digest.
const BROKEN: [(&str, &str); 4] = [
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
];

fn weaknesses(certificate: &X509Certificate<'_>, is_own: bool) -> Vec<Weakness> {
    let mut found = Vec::new();
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed()
        && key.key_size() < RSA_BITS
    {
        found.push(Weakness::Rsa(key.key_size()));
    }
    // Nobody verifies the signature of a root by itself.
    if is_own || !signs_itself(certificate) {
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        let broken = BROKEN.iter().find(|(one, _)| *one == algorithm);
        found.extend(broken.map(|(_, digest)| Weakness::Digest(digest)));
    }
    found
}

fn signs_itself(certificate: &X509Certificate<'_>) -> bool {
    signs(certificate, certificate)
}

fn signs(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == certificate.issuer().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn name(name: &X509Name<'_>) -> String {
    clean(&name.to_string())
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next()?.as_str().ok().map(clean)
}

/// A text without what could hide or turn others, cut to a length.
fn clean(text: &str) -> String {
    let clean = |c: char| match c {
        c if c.is_control() || misleads(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().take(MAX_TEXT).map(clean).collect()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Chain {
        let mut params =
            CertificateParams::new(["db.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "db\u{1b}.test\u{202e}");
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Chain::of(&[certificate.der().clone()]).unwrap()
    }

    #[test]
    fn fields_of_a_certificate() {
        let chain = made(|_| {});
        assert_eq!(chain.common_name(), Some("db\u{fffd}.test\u{fffd}"));
        assert_eq!(chain.names().hosts, ["db.test"]);
        assert_eq!(chain.names().addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!((chain.root(), chain.len()), (&Root::SelfSigned, 1));
        assert_eq!(chain.fingerprint().len(), 64);
        assert!(chain.is_for("db.test") && chain.is_for("10.0.0.1") && !chain.is_for("other.test"));
        let nameless = made(|params| params.subject_alt_names.clear());
        assert!(nameless.names().is_empty() && !nameless.is_for("db.test"));
        let many = made(|params| {
            params.subject_alt_names = (0..1000)
                .map(|at| SanType::DnsName(format!("h{at}").try_into().unwrap()))
                .collect();
        });
        assert_eq!(many.names().hosts.len(), MAX_NAMES);
        let old = made(|params| params.not_after = date_time_ymd(2021, 1, 1));
        assert!(old.validity().1.unwrap() < now());
        assert!(matches!(old.trust_by_itself(now()), Trust::No(_)));
    }

    #[test]
    fn pem_is_read_back() {
        use rustls::pki_types::pem::PemObject as _;

        let chain = made(|_| {});
        let read: Vec<_> = CertificateDer::pem_slice_iter(chain.pem().as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, chain.certificates);
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        assert!(Chain::of(&[]).is_err());
        assert!(Chain::of(&[CertificateDer::from(vec![0x30, 0x80])]).is_err());
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(2_000))]

        #[test]
        fn no_certificate_panics(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
            let good = made(|_| {});
            let mut der = good.certificates[0].to_vec();
            for (at, byte) in flips {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if let Ok(chain) = Chain::of(&[der.into(), good.certificates[0].clone()]) {
                let _ = (chain.pem(), chain.is_for("db.test"), chain.trust_by_itself(now()));
                prop_assert!(chain.subject().chars().all(|c| !c.is_control()));
            }
        }
    }
}
