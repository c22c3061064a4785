//! The checks of a certificate: T-5 to T-8.

use dbfw_core::audit::{CheckId, Finding, Severity};
use jiff::{SignedDuration, Timestamp};
use rustls::{RootCertStore, pki_types::CertificateDer};

use super::chain::{Chain, Root, Trust};

/// The certificates that clients know, and the names by which they know servers.
#[derive(Debug)]
pub struct Known {
    /// Authorities.
    pub roots: RootCertStore,
    /// Certificates that clients take as they are.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Names and addresses of servers; none: nobody said.
    pub names: Vec<String>,
    /// The certificate that this host made for itself when ssl-cert was installed.
    pub snakeoil: Option<CertificateDer<'static>>,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Judges the certificates of a server.
pub(super) fn judge(chain: &Chain, known: &Known, now: Timestamp) -> Vec<Finding> {
    let (not_before, not_after) = chain.validity();
    // A moment at which its time is no obstacle, which T-5 is about.
    let good = match (not_before, not_after) {
        (Some(from), _) if from > now => from,
        (_, Some(to)) if to < now => to,
        _ => now,
    };
    vec![
        validity(not_before, not_after, now),
        trust(chain, known, good),
        name(chain, &known.names),
        strength(chain, known),
    ]
}

fn validity(
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    now: Timestamp,
) -> Finding {
    let check = CheckId::T5;
    if let Some(from) = not_before.filter(|from| *from > now) {
        return Finding::fail(check, format!("the certificate is good only from {from} on"));
    }
    let Some(end) = not_after else {
        return Finding::unknown(check, "the certificate's end is no moment that can be read");
    };
    let left = end.duration_since(now);
    let days = left.as_hours() / 24;
    let text = format!("the certificate expires in {days} days ({end})");
    if left.is_negative() {
        Finding::fail(check, format!("the certificate expired at {end}"))
    } else if left < DAY * 7 {
        Finding::fail(check, text)
    } else if left < DAY * 30 {
        Finding::fail(check, text).weighing(Severity::Medium)
    } else {
        Finding::ok(check, text)
    }
}

fn trust(chain: &Chain, known: &Known, at: Timestamp) -> Finding {
    let is_known = chain.own().is_some_and(|own| known.certificates.contains(own));
    let check = CheckId::T6;
    if is_snakeoil(chain, known) && !is_known {
        // Debian puts it among the authorities of the host that made it.
        let text = "the certificate signs itself, and no host but this one knows it (snakeoil)";
        return Finding::fail(check, text);
    }
    match chain.trust(&known.roots, at) {
        Trust::Yes => Finding::ok(check, "a known authority signed the certificate"),
        Trust::No(_) if is_known => Finding::ok(check, "the certificate is a known one"),
        Trust::No(why) => Finding::fail(
            check,
            match chain.root() {
                Root::SelfSigned => "the certificate signs itself".to_owned(),
                Root::Sent => format!("no known authority signed the certificate ({why})"),
                Root::Missing { issuer } => format!(
                    "no known authority signed the certificate, and that of its issuer {issuer} is \
                     not sent ({why})"
                ),
            },
        ),
    }
}

/// Whether it is the certificate that ssl-cert made on this host.
fn is_snakeoil(chain: &Chain, known: &Known) -> bool {
    known.snakeoil.is_some() && known.snakeoil.as_ref() == chain.own()
}

fn name(chain: &Chain, names: &[String]) -> Finding {
    let check = CheckId::T7;
    let own = chain.names();
    if own.is_empty() {
        let text = "the certificate has no subject alternative name: verify-full cannot work";
        return Finding::fail(check, text);
    }
    let missing: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !chain.is_for(name)).collect();
    let hosts = own.hosts.iter().cloned().chain(own.addresses.iter().map(ToString::to_string));
    let hosts: Vec<String> = hosts.take(5).collect();
    let hosts = hosts.join(", ");
    match &*missing {
        [] => Finding::ok(check, format!("the certificate is for {hosts}")),
        missing => Finding::fail(
            check,
            format!("the certificate is not for {}, but for {hosts}", missing.join(", ")),
        ),
    }
}

fn strength(chain: &Chain, known: &Known) -> Finding {
    let check = CheckId::T8;
    let weaknesses: Vec<String> = chain.weaknesses().iter().map(ToString::to_string).collect();
    if !weaknesses.is_empty() {
        return Finding::fail(check, format!("the chain has {}", weaknesses.join(", ")));
    }
    if is_snakeoil(chain, known) {
        let text = "the certificate is the one that ssl-cert made for trials (snakeoil)";
        return Finding::fail(check, text);
    }
    Finding::ok(check, "keys and signatures are strong enough")
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use dbfw_core::audit::State;
    use proptest::{collection::vec, prelude::*, sample::Index};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// 1024 bits, SHA-1, no name: `openssl req -x509 -newkey rsa:1024 -sha1 -nodes -days 36500`.
    const WEAK: &str = include_str!("weak.pem");

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(["db.test".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        vec![params.self_signed(&key).unwrap().der().clone()]
    }

    fn known() -> Known {
        Known {
            roots: RootCertStore::empty(),
            certificates: Vec::new(),
            names: Vec::new(),
            snakeoil: None,
        }
    }

    fn judged(sent: &[CertificateDer<'static>], known: &Known) -> Vec<(State, Severity, String)> {
        let now = "2026-11-28T12:00:00Z".parse().unwrap();
        let findings = judge(&Chain::of(sent).unwrap(), known, now);
        findings
            .iter()
            .map(|finding| (finding.state(), finding.severity(), finding.text().to_owned()))
            .collect()
    }

    #[test]
    fn the_time_of_a_certificate() {
        for (from, to, state, severity, text) in [
            ((2020, 1, 1), (2030, 1, 1), State::Ok, Severity::High, "expires in 1129 days"),
            ((2020, 1, 1), (2026, 11, 1), State::Fail, Severity::High, "expired at 2026-11-01"),
            ((2027, 1, 1), (2030, 1, 1), State::Fail, Severity::High, "only from 2027-01-01"),
            ((2020, 1, 1), (2026, 12, 5), State::Fail, Severity::High, "expires in 6 days"),
            ((2020, 1, 1), (2026, 12, 6), State::Fail, Severity::Medium, "expires in 7 days"),
            ((2020, 1, 1), (2026, 12, 28), State::Fail, Severity::Medium, "expires in 29 days"),
            ((2020, 1, 1), (2026, 12, 29), State::Ok, Severity::High, "expires in 30 days"),
        ] {
            let sent = made(|params| {
                params.not_before = date_time_ymd(from.0, from.1, from.2);
                params.not_after = date_time_ymd(to.0, to.1, to.2);
            });
            let trusting = Known { certificates: sent.clone(), ..known() };
            let found = judged(&sent, &trusting);
            assert_eq!((found[0].0, found[0].1), (state, severity), "{text}");
            assert!(found[0].2.contains(text), "{:?}", found[0]);
            // Its time alone is no reason for T-6.
            assert_eq!(found[1].0, State::Ok, "{:?}", found[1]);
        }
    }

    #[test]
    fn trust_names_and_strength() {
        let sent = made(|_| {});
        let found = judged(&sent, &known());
        assert_eq!((found[1].0, &*found[1].2), (State::Fail, "the certificate signs itself"));
        assert_eq!(found[2].2, "the certificate is for db.test");
        assert_eq!(found[3].0, State::Ok);
        let named = |names: &[&str]| Known {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..known()
        };
        assert_eq!(judged(&sent, &named(&["db.test"]))[2].0, State::Ok);
        let other = judged(&sent, &named(&["db.test", "other.test"]));
        assert_eq!(other[2].2, "the certificate is not for other.test, but for db.test");
        let nameless = judged(&made(|params| params.subject_alt_names.clear()), &named(&[]));
        assert!(nameless[2].2.contains("no subject alternative name"), "{nameless:?}");
        // As on Debian, where the host itself takes it for an authority.
        let mut roots = RootCertStore::empty();
        roots.add(sent[0].clone()).unwrap();
        let snakeoil = Known { snakeoil: Some(sent[0].clone()), roots, ..known() };
        let found = judged(&sent, &snakeoil);
        assert_eq!((found[1].0, found[3].0), (State::Fail, State::Fail), "{found:?}");
        assert!(found[1].2.contains("snakeoil") && found[3].2.contains("snakeoil"));
        let named = Known { certificates: vec![sent[0].clone()], ..snakeoil };
        assert_eq!(judged(&sent, &named)[1].0, State::Ok, "clients have it");
    }

    #[test]
    fn weak_keys_and_signatures() {
        let weak = CertificateDer::from_pem_slice(WEAK.as_bytes()).unwrap();
        let found = judged(&[weak], &known());
        assert_eq!(
            (found[3].0, &*found[3].2),
            (State::Fail, "the chain has an RSA key of 1024 bits, a signature with SHA-1")
        );
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_certificate_panics(
            is_weak: bool,
            flips in vec((any::<Index>(), any::<u8>()), 0..6),
        ) {
            static GOOD: LazyLock<CertificateDer<'static>> = LazyLock::new(|| made(|_| {}).remove(0));
            static BAD: LazyLock<CertificateDer<'static>> =
                LazyLock::new(|| CertificateDer::from_pem_slice(WEAK.as_bytes()).unwrap());
            let mut der = if is_weak { BAD.to_vec() } else { GOOD.to_vec() };
            for (at, byte) in flips {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if let Ok(chain) = Chain::of(&[der.into(), GOOD.clone()]) {
                let known = Known { names: vec!["db.test".to_owned()], ..known() };
                let findings = judge(&chain, &known, "2026-11-28T12:00:00Z".parse().unwrap());
                prop_assert_eq!(findings.len(), 4, "validity, trust, name and strength");
            }
        }
    }
}
