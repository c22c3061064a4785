//! Lists as they come: what of them a host believes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dbfw_core::source::PrefixSet;
use dbfw_wire::agent::{
    Applied, AppliedState, Bundle, Delta, Digest, MAX_PREFIXES, MAX_SOURCES, list_digest,
    set_digest,
};
use uuid::Uuid;

use super::kept::{Kept, KeptList};

/// A list that is whole, but for sets that have to be fetched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) bundle: Bundle,
    pub(crate) sets: BTreeMap<Digest, PrefixSet>,
    /// Sets that nobody has yet, with the number of their prefixes.
    pub(crate) missing: BTreeMap<Digest, usize>,
}

/// A list that the host does not believe. What it has stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The list's name; `None`: the host asked for none of the kind.
    pub(crate) name: Option<Arc<str>>,
    /// For the report.
    pub(crate) database: Uuid,
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) why: Why,
}

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is earlier than the one that the host has.
    Regressed { has: u64 },
    /// It is another database's.
    OtherDatabase(String),
    /// It is damaged, or means nothing.
    Damaged(String),
}

impl Rejected {
    /// The reason, and what can be done.
    pub(crate) fn message(&self) -> String {
        let Self { revision, .. } = self;
        match &self.why {
            Why::Regressed { has } => format!(
                "the server sent revision {revision}, but this host has {has}: its store seems to \
                 be an earlier one; load the backup with `dbfw-server store load`, which tells the \
                 hosts that it is meant"
            ),
            Why::OtherDatabase(reason) | Why::Damaged(reason) => {
                format!("revision {revision} is not used: {reason}")
            }
        }
    }

    /// As it is reported to the server.
    pub(crate) fn applied(&self) -> Applied {
        let message = self.message();
        let refused = |guard: &str| AppliedState::Refused {
            guard: guard.to_owned(),
            plan: None,
            message: message.clone(),
        };
        let state = match &self.why {
            Why::Regressed { .. } => refused("regressed"),
            Why::OtherDatabase(_) => refused("database"),
            Why::Damaged(_) => AppliedState::Failed { message: message.clone() },
        };
        applied(self.database, self.epoch, self.revision, state)
    }
}

/// The state of a list, with nothing left out.
pub(crate) fn applied(database: Uuid, epoch: u64, revision: u64, state: AppliedState) -> Applied {
    Applied { database, epoch, revision, state, left_out: Vec::new(), left_out_total: 0 }
}

/// Judges a whole list.
///
/// # Errors
/// It is not believed.
pub(crate) fn bundle(
    kept: &Kept,
    wanted: &BTreeSet<Arc<str>>,
    bundle: Bundle,
) -> Result<Offer, Rejected> {
    judge(kept, wanted, bundle, false)
}

/// Judges a list; `is_verified`: its digest was compared already.
fn judge(
    kept: &Kept,
    wanted: &BTreeSet<Arc<str>>,
    bundle: Bundle,
    is_verified: bool,
) -> Result<Offer, Rejected> {
    let name = wanted.get(bundle.name.as_str()).cloned();
    let rejected = |name: Option<Arc<str>>, why| Rejected {
        name,
        database: bundle.database,
        epoch: bundle.epoch,
        revision: bundle.revision,
        why,
    };
    let Some(name) = name else {
        let shown: String = bundle.name.chars().take(80).collect();
        let reason = format!("it is the list of {shown:?}, which this host did not ask for");
        return Err(rejected(None, Why::OtherDatabase(reason)));
    };
    let damaged = |reason: &str| rejected(Some(Arc::clone(&name)), Why::Damaged(reason.to_owned()));
    if let Some(known) = kept.lists.get(&name) {
        let known = &known.bundle;
        if known.database != bundle.database {
            let reason = format!(
                "it is another database of that name ({}, and this host has the list of {}): if \
                 the database was made anew, join the host again",
                bundle.database, known.database
            );
            return Err(rejected(Some(name), Why::OtherDatabase(reason)));
        }
        if (bundle.epoch, bundle.revision) < (known.epoch, known.revision) {
            return Err(rejected(Some(name), Why::Regressed { has: known.revision }));
        }
    }
    if bundle.sources.len() > MAX_SOURCES {
        return Err(damaged(&format!("it has more than {MAX_SOURCES} sources")));
    }
    if !is_verified && list_digest(&bundle.sources) != bundle.digest {
        return Err(damaged("its digest is another than the server says"));
    }
    let (sets, missing) = sets(kept, &bundle).map_err(|reason| damaged(&reason))?;
    Ok(Offer { bundle: Bundle { sets: BTreeMap::new(), ..bundle }, sets, missing })
}

/// The sets that a list names and that are there, and those that are not.
///
/// # Errors
/// They are too many, or one of them is another than its digest says: in words.
#[expect(clippy::type_complexity, reason = "what is there and what is missing")]
fn sets(
    kept: &Kept,
    bundle: &Bundle,
) -> Result<(BTreeMap<Digest, PrefixSet>, BTreeMap<Digest, usize>), String> {
    let (mut found, mut missing) = (BTreeMap::new(), BTreeMap::new());
    let mut prefixes = 0_usize;
    for set in bundle.sources.iter().filter_map(|source| source.set.as_ref()) {
        prefixes = prefixes.saturating_add(set.count);
        if prefixes > MAX_PREFIXES {
            return Err(format!("its sets have more than {MAX_PREFIXES} prefixes"));
        }
        if found.contains_key(&set.digest) {
            continue;
        }
        // Another list may have the same.
        let known = kept.lists.values().find_map(|list| list.sets.get(&set.digest));
        if let Some(known) = known {
            found.insert(set.digest, known.clone());
        } else if let Some(inline) = bundle.sets.get(&set.digest) {
            if inline.len() != set.count || set_digest(inline) != set.digest {
                return Err("a set that came with it is another than its digest says".to_owned());
            }
            found.insert(set.digest, inline.iter().copied().collect());
        } else if set.count == 0 && set.digest == Digest::of(b"") {
            found.insert(set.digest, PrefixSet::default());
        } else {
            missing.insert(set.digest, set.count);
        }
    }
    Ok((found, missing))
}

/// Judges a change of a list.
///
/// # Errors
/// It does not fit what the host has, or what it makes is not believed.
pub(crate) fn delta(
    kept: &Kept,
    wanted: &BTreeSet<Arc<str>>,
    delta: &Delta,
) -> Result<Offer, Rejected> {
    let known = kept.lists.iter().find(|(_, list)| list.bundle.database == delta.database);
    let rejected = |name, why| {
        let Delta { database, epoch, revision, .. } = *delta;
        Rejected { name, database, epoch, revision, why }
    };
    let Some((name, known)) = known else {
        let reason = "it is a change of a list that this host does not have".to_owned();
        return Err(rejected(None, Why::OtherDatabase(reason)));
    };
    let changed = delta
        .apply(&known.bundle)
        .map_err(|error| rejected(Some(Arc::clone(name)), Why::Damaged(error.to_string())))?;
    // Applying it has compared the digest.
    judge(kept, wanted, changed, true)
}

/// The prefixes of a set as it was fetched: one a line.
///
/// # Errors
/// It is another than its digest says, or longer: in words.
pub(crate) fn fetched(body: &[u8], digest: Digest, count: usize) -> Result<PrefixSet, String> {
    let wrong = || "a set that was fetched is another than its digest says".to_owned();
    if Digest::of(body) != digest {
        return Err(wrong());
    }
    let text = str::from_utf8(body).map_err(|_| wrong())?;
    let prefixes: Result<Vec<_>, _> = text.lines().map(str::parse).collect();
    let prefixes = prefixes.map_err(|_| "a set that was fetched has no prefixes".to_owned())?;
    if prefixes.len() != count {
        return Err(wrong());
    }
    Ok(prefixes.into())
}

/// The list of an offer whose sets are all there.
pub(crate) fn complete(offer: Offer) -> KeptList {
    KeptList { bundle: Arc::new(offer.bundle), sets: offer.sets }
}

#[cfg(test)]
mod tests {
    use dbfw_core::source::Prefix;
    use dbfw_wire::agent::{BundleSource, SetReference, SetState};

    use super::{bundle as offered, *};

    fn source(number: u128, kind: &str, value: &str) -> BundleSource {
        BundleSource {
            uuid: Uuid::from_u128(number),
            kind: kind.to_owned(),
            value: value.to_owned(),
            description: None,
            expires_at: None,
            set: None,
        }
    }

    fn with_set(prefixes: &[Prefix]) -> BundleSource {
        let set = SetReference {
            digest: set_digest(prefixes),
            count: prefixes.len(),
            state: SetState::Ok,
            at: None,
        };
        BundleSource { set: Some(set), ..source(9, "tag", "backend") }
    }

    fn list(epoch: u64, revision: u64, sources: Vec<BundleSource>) -> Bundle {
        Bundle {
            database: Uuid::from_u128(7),
            name: "orders".to_owned(),
            epoch,
            revision,
            digest: list_digest(&sources),
            by: None,
            sources,
            sets: BTreeMap::new(),
        }
    }

    fn wanted() -> BTreeSet<Arc<str>> {
        BTreeSet::from(["orders".into()])
    }

    fn kept(bundle: Bundle) -> Kept {
        let list = KeptList { bundle: Arc::new(bundle), sets: BTreeMap::new() };
        Kept { lists: BTreeMap::from([("orders".into(), list)]), ..Kept::default() }
    }

    fn why(kept: &Kept, bundle: Bundle) -> Why {
        offered(kept, &wanted(), bundle).unwrap_err().why
    }

    #[test]
    fn only_a_later_list_of_the_same_epoch_is_taken() {
        let one = || vec![source(1, "ip_addr", "10.0.0.1")];
        let kept = kept(list(2, 10, one()));
        for (epoch, revision, is_taken) in
            [(2, 10, true), (2, 11, true), (3, 1, true), (2, 9, false), (1, 99, false)]
        {
            let taken = offered(&kept, &wanted(), list(epoch, revision, one()));
            assert_eq!(taken.is_ok(), is_taken, "{epoch} {revision}");
            if let Err(rejected) = taken {
                assert_eq!(rejected.why, Why::Regressed { has: 10 });
                assert_eq!(rejected.applied().revision, revision);
            }
        }
    }

    #[test]
    fn a_list_that_is_not_what_it_says_is_refused_as_a_whole() {
        let one = || vec![source(1, "ip_addr", "10.0.0.1")];
        let empty = Kept::default();
        let other = Bundle { name: "billing".to_owned(), ..list(1, 1, one()) };
        assert!(matches!(why(&empty, other), Why::OtherDatabase(_)));
        let forged = Bundle { digest: Digest::of(b"x"), ..list(1, 1, one()) };
        assert!(matches!(why(&empty, forged), Why::Damaged(_)));
        let known = kept(list(1, 1, one()));
        let anew = Bundle { database: Uuid::from_u128(8), ..list(1, 2, one()) };
        assert!(matches!(why(&known, anew), Why::OtherDatabase(_)));
        let long = (0..=MAX_SOURCES as u128).map(|n| source(n, "tag", "a")).collect();
        assert!(matches!(why(&empty, list(1, 1, long)), Why::Damaged(_)));
    }

    #[test]
    fn sources_that_no_server_may_name_refuse_the_list() {
        let offer = |source| offered(&Kept::default(), &wanted(), list(1, 1, vec![source]));
        let read = |source| complete(offer(source).unwrap()).source_list();
        assert!(read(source(1, "ip_addr", "10.0.0.1")).is_ok());
        assert!(read(source(1, "hologram", "x")).unwrap_err().contains("update dbfw"));
        assert!(read(source(1, "ip_addr", "10.0.0.1/8")).is_err());
        assert!(
            read(source(1, "feed", "/etc/shadow")).unwrap_err().contains("a file of this host")
        );
        let address =
            BundleSource { value: "10.0.0.1".into(), kind: "ip_addr".into(), ..with_set(&[]) };
        assert!(read(address).unwrap_err().contains("has a set"));
        let twice = list(1, 1, vec![source(1, "tag", "a"), source(2, "tag", "a")]);
        let offer = offered(&Kept::default(), &wanted(), twice).unwrap();
        assert!(complete(offer).source_list().unwrap_err().contains("twice"));
    }

    #[test]
    fn sets_are_believed_by_their_digest_alone() {
        let prefixes: Vec<Prefix> =
            vec!["10.0.0.1".parse().unwrap(), "10.0.1.0/24".parse().unwrap()];
        let digest = set_digest(&prefixes);
        let inline = Bundle {
            sets: BTreeMap::from([(digest, prefixes.clone())]),
            ..list(1, 1, vec![with_set(&prefixes)])
        };
        let offer = offered(&Kept::default(), &wanted(), inline.clone()).unwrap();
        assert!(offer.missing.is_empty());
        let list = complete(offer).source_list().unwrap();
        let resolved = &list.edition.unwrap().resolved;
        assert_eq!(resolved.values().next().unwrap().prefixes.to_vec(), prefixes);

        let forged =
            Bundle { sets: BTreeMap::from([(digest, vec![prefixes[0]])]), ..inline.clone() };
        assert!(matches!(why(&Kept::default(), forged), Why::Damaged(_)));
        let absent = Bundle { sets: BTreeMap::new(), ..inline };
        let offer = offered(&Kept::default(), &wanted(), absent).unwrap();
        assert_eq!(offer.missing, BTreeMap::from([(digest, 2)]));
        assert_eq!(fetched(b"10.0.0.1/32\n10.0.1.0/24\n", digest, 2).unwrap().to_vec(), prefixes);
        for bad in [&b"10.0.0.1/32\n10.0.2.0/24\n"[..], b"", b"10.0.0.1/32\n"] {
            assert!(fetched(bad, digest, 2).is_err());
        }
        assert!(fetched(b"x\n", Digest::of(b"x\n"), 1).is_err());
    }

    #[test]
    fn sets_of_three_million_prefixes_are_refused() {
        let mut large = with_set(&[]);
        large.set.as_mut().unwrap().count = 3_000_000;
        assert!(matches!(why(&Kept::default(), list(1, 1, vec![large])), Why::Damaged(_)));
        let half = |number, value| {
            let mut half = BundleSource { value, uuid: Uuid::from_u128(number), ..with_set(&[]) };
            half.set.as_mut().unwrap().count = MAX_PREFIXES / 2 + 1;
            half
        };
        let both = vec![half(1, "a".to_owned()), half(2, "b".to_owned())];
        assert!(matches!(why(&Kept::default(), list(1, 1, both)), Why::Damaged(_)));
    }

    #[test]
    fn changes_out_of_order_are_refused() {
        let lists: Vec<Bundle> = (1..=3_u8)
            .map(|n| {
                let sources = (1..=n).map(|n| source(n.into(), "ip_addr", &format!("10.0.0.{n}")));
                list(1, n.into(), sources.collect())
            })
            .collect();
        let (first, second) =
            (Delta::between(&lists[0], &lists[1]), Delta::between(&lists[1], &lists[2]));
        let mut kept = kept(lists[0].clone());
        let out_of_order = delta(&kept, &wanted(), &second).unwrap_err();
        assert!(matches!(out_of_order.why, Why::Damaged(_)));
        for change in [&first, &second] {
            let offer = delta(&kept, &wanted(), change).unwrap();
            kept.lists.insert("orders".into(), complete(offer));
        }
        assert_eq!(*kept.lists["orders"].bundle, lists[2]);
        assert!(delta(&kept, &wanted(), &first).is_err(), "it is long over");
        let stranger = Delta { database: Uuid::from_u128(8), ..first };
        let rejected = delta(&kept, &wanted(), &stranger).unwrap_err();
        assert!(matches!(rejected.why, Why::OtherDatabase(_)));
    }
}
