//! [`Published`]: the newest list of a database, as streams send it.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::body::Bytes;
use dbfw_wire::agent::{Bundle, BundleSource, Delta, Frame, Have, list_digest};

use crate::{
    list::{List, Rule},
    model::Database,
    store::Revision,
};

/// Earlier lists of a database from which changes can be sent.
const EARLIER: usize = 8;

/// The list of a database at one revision. It is written once for all hosts.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) bundle: Arc<Bundle>,
    /// The version that the APIs show.
    pub(super) version: u64,
    /// The time at which the server learnt of the commit.
    pub(super) committed: Instant,
    line: Bytes,
    earlier: Vec<Earlier>,
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

fn source(rule: &Rule) -> BundleSource {
    BundleSource {
        uuid: rule.uuid,
        kind: rule.key.kind().to_string(),
        value: rule.key.value().to_owned(),
        description: rule.details.description.clone(),
        expires_at: rule.details.expires_at,
        set: None,
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
        (list, revision): (&List, Revision),
        epoch: u64,
        by: Option<String>,
        committed: Instant,
        before: Option<&Self>,
    ) -> Self {
        let sources: Vec<BundleSource> = list.rules.iter().map(source).collect();
        let bundle = Bundle {
            database: database.id,
            name: database.name.to_string(),
            epoch,
            revision: revision.0,
            digest: list_digest(&sources),
            by,
            sources,
            sets: std::collections::BTreeMap::new(),
        };
        let line = line(&Frame::Bundle(bundle.clone()));
        let mut earlier = Vec::new();
        if let Some(before) = before {
            earlier.push(Earlier::new(Arc::clone(&before.bundle)));
            let older = before.earlier.iter().take(EARLIER - 1);
            earlier.extend(older.map(|older| Earlier::new(Arc::clone(&older.bundle))));
        }
        Self { bundle: Arc::new(bundle), version: list.version, committed, line, earlier }
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
                    let line = line(&Frame::Delta(Delta::between(&from.bundle, &self.bundle)));
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
            let revision = Revision(10 * u64::from(version));
            let published = Published::new(&database, (&list, revision), 1, None, now, all.last());
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
        let before = (&list(1, 0..200), Revision(1));
        let before = Published::new(&database, before, 1, None, now, None);
        let after = (&list(2, 0..0), Revision(2));
        let after = Published::new(&database, after, 1, None, now, Some(&before));
        let line = after.line_for(Some(have(&before.bundle))).unwrap();
        assert!(matches!(frame(&line), Frame::Bundle(_)));
    }
}
