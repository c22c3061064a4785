//! The outcome of the answers to A and AAAA together.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use dbfw_core::{
    answers::{Answer, Cause, FetchError, Outcome, Part},
    source::{Prefix, unusable_source},
};
use hickory_resolver::proto::rr::RecordType;

use super::config::DnsConfig;

/// Addresses of a family that a name may have.
const MAX_ADDRESSES: usize = 256;

/// Longest wait before an absent record is asked for again: the TTL of an absence may
/// be hours, and "gone" has to be said twice before it is believed.
const MAX_ABSENCE: Duration = Duration::from_secs(60);

/// The types of the records that have addresses.
pub(super) const FAMILIES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// The answer for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FamilyAnswer {
    /// Addresses; the TTL is the lowest on the way to them.
    Addresses(Vec<IpAddr>, Duration),
    /// The name has no address of the family; how long that holds, if it was said.
    None(Option<Duration>),
    /// There is no such name (NXDOMAIN); how long that holds, if it was said.
    NoName(Option<Duration>),
    /// No answer, or none to be used; the message does not name what was asked for.
    Failed(FetchError),
}

/// The time at which a name is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextQuery {
    /// The time to live of the records.
    pub(super) ttl: Option<Duration>,
    /// Something failed: it is due after the back-off, if that is sooner.
    pub(super) failure: Option<Cause>,
}

/// The outcome of a name, and the time at which it is due again.
///
/// A family without addresses is no part of the answer: a name that has only A is as healthy
/// as one that has both. Where one family failed and the other has no address either, the
/// whole has failed, so that half an answer takes nothing away. A name is gone if both
/// families say so; NXDOMAIN to one of them alone is a known fault of servers (RFC 4074,
/// 4.2) and means "no address".
pub(super) fn judge(
    name: &str,
    v4: FamilyAnswer,
    v6: FamilyAnswer,
    config: &DnsConfig,
) -> (Outcome, NextQuery) {
    let clamped = |ttl: Duration| ttl.min(config.max_ttl).max(config.min_ttl);
    let absent = |ttls: [Option<Duration>; 2]| {
        let ttl = ttls.into_iter().flatten().min().unwrap_or_default();
        NextQuery { ttl: Some(clamped(ttl.min(MAX_ABSENCE))), failure: None }
    };
    let found = [(RecordType::A, checked(v4)), (RecordType::AAAA, checked(v6))];
    if let [(_, FamilyAnswer::NoName(ttl4)), (_, FamilyAnswer::NoName(ttl6))] = &found {
        let why = format!("there is no such name, NXDOMAIN (dns:{name})");
        return (Outcome::Gone(why), absent([*ttl4, *ttl6]));
    }
    let has_addresses = found.iter().any(|(_, found)| matches!(found, FamilyAnswer::Addresses(..)));
    let failures: Vec<(RecordType, &FetchError)> = found
        .iter()
        .filter_map(|(family, found)| match found {
            FamilyAnswer::Failed(error) => Some((*family, error)),
            _ => None,
        })
        .collect();
    if !has_addresses && let Some((_, first)) = failures.first() {
        let error = describe(name, first.cause, &failures);
        let next = NextQuery { ttl: None, failure: Some(error.cause) };
        return (Outcome::Failed(error), next);
    }
    let failure = failures.first().map(|(_, error)| error.cause);
    let mut parts = BTreeMap::new();
    let (mut ttls, mut absences) = (Vec::new(), [None; 2]);
    for ((family, found), absence) in found.into_iter().zip(&mut absences) {
        let part = match found {
            FamilyAnswer::Addresses(addresses, ttl) => {
                ttls.push(ttl);
                Part::prefixes(addresses.into_iter().map(Prefix::host).collect())
            }
            FamilyAnswer::Failed(error) => {
                Part::Failed(describe(name, error.cause, &[(family, &error)]))
            }
            FamilyAnswer::None(ttl) | FamilyAnswer::NoName(ttl) => {
                *absence = ttl;
                continue;
            }
        };
        parts.insert(family.to_string(), part);
    }
    let next = match ttls.into_iter().min() {
        Some(ttl) => NextQuery { ttl: Some(clamped(ttl)), failure },
        None => absent(absences),
    };
    let from = format!("DNS A and AAAA of {name}");
    (Answer { parts, from, grace: config.grace, ..Answer::default() }.into(), next)
}

/// Addresses that may be trusted, or why none of the family may.
fn checked(found: FamilyAnswer) -> FamilyAnswer {
    let FamilyAnswer::Addresses(addresses, _) = &found else { return found };
    if addresses.len() > MAX_ADDRESSES {
        return FamilyAnswer::Failed(FetchError::new(
            Cause::TooLarge,
            format!(
                "{} addresses, more than {MAX_ADDRESSES}: the answer is not used",
                addresses.len()
            ),
        ));
    }
    match addresses.iter().find_map(|address| Some((address, unusable_source(*address)?))) {
        None => found,
        Some((address, kind)) => FamilyAnswer::Failed(FetchError::new(
            Cause::Invalid,
            format!(
                "{address} is {kind}, which no other machine has (DNS rebinding?): the answer is \
                 not used"
            ),
        )),
    }
}

/// The failures of a name as one; the same one of both families is said once.
fn describe(name: &str, cause: Cause, failures: &[(RecordType, &FetchError)]) -> FetchError {
    let (reason, about) = match failures {
        [(family, error)] => (error.to_string(), format!("{family} of dns:{name}")),
        [(_, v4), (_, v6)] if v4.reason == v6.reason => {
            (v4.to_string(), format!("A and AAAA of dns:{name}"))
        }
        _ => {
            let each: Vec<String> =
                failures.iter().map(|(family, error)| format!("{family}: {error}")).collect();
            (each.join("; "), format!("dns:{name}"))
        }
    };
    FetchError::new(cause, reason).about(about)
}

#[cfg(test)]
mod tests;
