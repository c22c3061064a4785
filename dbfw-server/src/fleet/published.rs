//! [`Published`]: the newest list of a database, as streams send it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::body::Bytes;
use dbfw_wire::agent::{
    Bundle, BundleSource, Delta, Digest, Frame, Have, SetReference, SetState, list_digest,
};
use uuid::Uuid;

use super::sets::{Found, Set, Sets, inline};
use crate::{
    list::{List, Rule},
    model::Database,
    resolve::Resolvable,
    store::Revision,
};

/// Earlier lists of a database from which changes can be sent.
const EARLIER: usize = 8;

/// The list of a database at one revision. It is written once for all hosts.
#[derive(Debug)]
pub(super) struct Published {
    /// Without the sets.
    pub(super) bundle: Arc<Bundle>,
    /// The version that the APIs show.
    pub(super) version: u64,
    /// The commit of the list itself.
    pub(super) list: Revision,
    /// The time at which the server learnt of the commit.
    pub(super) committed: Instant,
    /// The sets that the sources refer to.
    sets: BTreeMap<Digest, Arc<Set>>,
    /// Those of the list before: a host may be fetching one.
    sets_before: BTreeMap<Digest, Arc<Set>>,
    line: Bytes,
    earlier: Vec<Earlier>,
}

/// The content of a list that is to be published.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) sources: Vec<BundleSource>,
    pub(super) sets: BTreeMap<Digest, Arc<Set>>,
    /// The version that the APIs show.
    pub(super) version: u64,
    /// The commit of the list itself.
    pub(super) list: Revision,
    /// The last commit of the list, or of what one of its sources stands for.
    pub(super) revision: Revision,
}

impl Content {
    /// The content of a list with what its sources were found to stand for. A source that is new
    /// and nobody answered for yet is the server's to resolve all the same; one that a host may
    /// have resolved itself stays the host's until somebody answers.
    pub(super) fn new(
        list: (&List, Revision),
        sets: &Sets,
        resolvable: Resolvable,
        before: Option<&Published>,
    ) -> Self {
        let had = before.map(|before| {
            let sources = before.bundle.sources.iter().map(|source| (source.uuid, source));
            (before, sources.collect::<BTreeMap<Uuid, &BundleSource>>())
        });
        let mut content = Self {
            sources: Vec::with_capacity(list.0.rules.len()),
            sets: BTreeMap::new(),
            version: list.0.version,
            list: list.1,
            revision: list.1,
        };
        for rule in &list.0.rules {
            let is_resolvable = resolvable.account(&rule.key).is_some();
            let found = sets.get(&rule.key.to_string()).filter(|_| is_resolvable);
            let set = match (found, &had) {
                (Some(found), _) => Some(content.refer(found)),
                (None, Some((before, had))) if is_resolvable => match had.get(&rule.uuid) {
                    Some(source) => source.set.clone().inspect(|set| content.keep(set, before)),
                    None => Some(unresolved()),
                },
                (None, _) => None,
            };
            content.sources.push(source(rule, set));
        }
        content
    }

    /// The content of a published list, with the present prefixes of its sources.
    pub(super) fn again(before: &Published, sets: &Sets) -> Self {
        let mut content = Self {
            sources: before.bundle.sources.clone(),
            sets: BTreeMap::new(),
            version: before.version,
            list: before.list,
            revision: before.list,
        };
        let mut sources = std::mem::take(&mut content.sources);
        for source in &mut sources {
            if let Some(found) = sets.get(&format!("{}:{}", source.kind, source.value)) {
                source.set = Some(content.refer(found));
            } else if let Some(set) = &source.set {
                content.keep(set, before);
            }
        }
        content.sources = sources;
        content
    }

    fn refer(&mut self, found: &Found) -> SetReference {
        self.revision = self.revision.max(found.revision);
        self.sets.insert(found.reference.digest, Arc::clone(&found.set));
        found.reference.clone()
    }

    /// Keeps a set that the list before referred to.
    fn keep(&mut self, set: &SetReference, before: &Published) {
        if let Some(known) = before.sets.get(&set.digest) {
            self.sets.insert(set.digest, Arc::clone(known));
        }
    }
}

/// A source that nobody answered for yet.
fn unresolved() -> SetReference {
    SetReference { digest: Digest::of(b""), count: 0, state: SetState::Unresolved, at: None }
}

/// An earlier list, and what leads from it to the newest; `None`: the whole list is shorter.
#[derive(Debug)]
struct Earlier {
    bundle: Arc<Bundle>,
    change: OnceLock<Option<Bytes>>,
}

impl Earlier {
    fn new(bundle: Arc<Bundle>) -> Self {
        Self { bundle, change: OnceLock::new() }
    }
}

/// A frame as a line.
pub(super) fn line(frame: &Frame) -> Bytes {
    // Strings, numbers and times always have a JSON form.
    let mut line = serde_json::to_vec(frame).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn source(rule: &Rule, set: Option<SetReference>) -> BundleSource {
    BundleSource {
        uuid: rule.uuid,
        kind: rule.key.kind().to_string(),
        value: rule.key.value().to_owned(),
        description: rule.details.description.clone(),
        expires_at: rule.details.expires_at,
        set,
    }
}

/// The list that a host has or was sent.
pub(super) fn have(bundle: &Bundle) -> Have {
    Have { epoch: bundle.epoch, revision: bundle.revision, digest: bundle.digest }
}

impl Published {
    /// A list that takes the place of another.
    pub(super) fn new(
        database: &Database,
        content: Content,
        epoch: u64,
        by: Option<String>,
        committed: Instant,
        before: Option<&Self>,
    ) -> Self {
        let Content { sources, sets, version, list, revision } = content;
        let bundle = Bundle {
            database: database.id,
            name: database.name.to_string(),
            epoch,
            revision: revision.0,
            digest: list_digest(&sources),
            by,
            sources,
            sets: BTreeMap::new(),
        };
        let line = line(&Frame::Bundle(Bundle { sets: inline(&sets), ..bundle.clone() }));
        let mut earlier = Vec::new();
        let mut sets_before = BTreeMap::new();
        if let Some(before) = before {
            sets_before.clone_from(&before.sets);
            earlier.push(Earlier::new(Arc::clone(&before.bundle)));
            let older = before.earlier.iter().take(EARLIER - 1);
            earlier.extend(older.map(|older| Earlier::new(Arc::clone(&older.bundle))));
        }
        let bundle = Arc::new(bundle);
        Self { bundle, version, list, committed, sets, sets_before, line, earlier }
    }

    /// A set that the list refers to, or the one before did; one prefix a line.
    pub(super) fn set(&self, digest: Digest) -> Option<Bytes> {
        let set = self.sets.get(&digest).or_else(|| self.sets_before.get(&digest));
        set.map(|set| set.text())
    }

    /// The difference to an earlier list, with those of its new sets that are small.
    fn change_from(&self, from: &Bundle) -> Delta {
        let mut delta = Delta::between(from, &self.bundle);
        let digests = |sources: &[BundleSource]| -> BTreeSet<Digest> {
            sources.iter().filter_map(|source| Some(source.set.as_ref()?.digest)).collect()
        };
        let had = digests(&from.sources);
        let new = digests(&delta.put).into_iter().filter(|digest| !had.contains(digest));
        let new = new.filter_map(|digest| Some((digest, Arc::clone(self.sets.get(&digest)?))));
        delta.sets = inline(&new.collect());
        delta
    }

    /// The line that brings a host here which has a list; `None` if it has this one.
    pub(super) fn line_for(&self, has: Option<Have>) -> Option<Bytes> {
        let Some(has) = has else { return Some(self.line.clone()) };
        if has == have(&self.bundle) {
            return None;
        }
        let from = self.earlier.iter().find(|earlier| have(&earlier.bundle) == has);
        let change = from.and_then(|from| {
            from.change
                .get_or_init(|| {
                    let line = line(&Frame::Delta(self.change_from(&from.bundle)));
                    (line.len() < self.line.len()).then_some(line)
                })
                .clone()
        });
        Some(change.unwrap_or_else(|| self.line.clone()))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::list::Details;

    fn database() -> Database {
        Database {
            id: Uuid::from_u128(7),
            name: "orders".parse().unwrap(),
            engine: "pg".to_owned(),
            version: String::new(),
            region: String::new(),
            tags: Vec::new(),
            connection: crate::model::Connection::default(),
            ca: None,
            allow_any: false,
            min_prefix: [8, 19],
            merge: true,
            wait_ms: None,
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "root".to_owned(),
        }
    }

    fn list(version: u64, values: std::ops::Range<u8>) -> List {
        let rule = |n: u8| Rule {
            uuid: Uuid::from_u128(n.into()),
            key: format!("ip_addr:10.0.0.{n}")
                .parse::<dbfw_core::source::TrustedSource>()
                .unwrap()
                .key()
                .clone(),
            details: Details::default(),
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "root".to_owned(),
        };
        List { version, change_sha256: String::new(), rules: values.map(rule).collect() }
    }

    fn content(list: &List, revision: u64) -> Content {
        Content::new((list, Revision(revision)), &Sets::default(), Resolvable::default(), None)
    }

    fn frame(line: &Bytes) -> Frame {
        assert_eq!(line.last(), Some(&b'\n'));
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn a_host_gets_what_it_lacks() {
        let (database, now) = (database(), Instant::now());
        let mut all: Vec<Published> = Vec::new();
        for version in 1..=20_u8 {
            let list = list(version.into(), 0..version + 20);
            let content = content(&list, 10 * u64::from(version));
            let published = Published::new(&database, content, 1, None, now, all.last());
            all.push(published);
        }
        let newest = all.last().unwrap();
        assert_eq!(newest.line_for(Some(have(&newest.bundle))), None);
        let Frame::Bundle(whole) = frame(&newest.line_for(None).unwrap()) else { panic!() };
        assert_eq!(whole, *newest.bundle);
        for (age, published) in all.iter().rev().enumerate().skip(1) {
            match frame(&newest.line_for(Some(have(&published.bundle))).unwrap()) {
                Frame::Delta(delta) => {
                    assert!(age <= EARLIER);
                    assert_eq!(delta.apply(&published.bundle).unwrap(), *newest.bundle);
                }
                Frame::Bundle(bundle) => {
                    assert!(age > EARLIER);
                    assert_eq!(bundle, *newest.bundle);
                }
                other => panic!("{other:?}"),
            }
        }
        // One of another epoch, or with another content, is no base.
        let known = have(&all[18].bundle);
        let others = [
            Have { epoch: 2, ..known },
            Have { revision: known.revision + 1, ..known },
            Have { digest: newest.bundle.digest, ..known },
        ];
        for other in others {
            assert!(matches!(frame(&newest.line_for(Some(other)).unwrap()), Frame::Bundle(_)));
        }
    }

    #[test]
    fn a_change_that_is_longer_than_the_list_is_not_sent() {
        let (database, now) = (database(), Instant::now());
        let before = content(&list(1, 0..200), 1);
        let before = Published::new(&database, before, 1, None, now, None);
        let after = content(&list(2, 0..0), 2);
        let after = Published::new(&database, after, 1, None, now, Some(&before));
        let line = after.line_for(Some(have(&before.bundle))).unwrap();
        assert!(matches!(frame(&line), Frame::Bundle(_)));
    }
}
