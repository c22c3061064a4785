//! The snapshot: the last policy that was in force, on disk.
//!
//! A start without providers enforces it, and the command line reads it where no agent answers.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use dbfw_core::{
    answers::Stored,
    policy::{DatabasePolicy, SlotTable},
    source::{Origin, PrefixSet, Rule, RuleKind, SourceKey, TrustedSource, UncheckedSource},
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    checked,
    expiry::Ended,
    files::{self, ReadError},
};

const FORMAT: u32 = 1;

/// A policy that was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number.
    pub generation: u64,
    /// Time when it was carried out.
    pub written_at: Timestamp,
    /// Which counters belong to which rules.
    pub slots: SlotTable,
    /// Every database.
    pub databases: Vec<DatabaseSnapshot>,
    /// Answers for the sources that had to be asked for.
    #[serde(default)]
    pub answers: Vec<Stored>,
    /// The sources that have ended for good.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) ended: BTreeSet<Ended>,
}

/// One database of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSnapshot {
    /// Its name.
    pub name: String,
    /// Its id in the maps.
    pub id: u8,
    /// The rules in force. Those of the provider's list say so in their origin.
    #[serde(serialize_with = "store", deserialize_with = "restore")]
    pub rules: Vec<Rule>,
    /// The provider's list among them, if it ever gave one.
    pub list: Option<ListSnapshot>,
    /// While a change is refused: what its loss is measured by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<PrefixSet>,
}

/// Provider of the list of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListSnapshot {
    /// The provider's name.
    pub provider: String,
    /// Time when it was read.
    pub last_success: Timestamp,
    /// Time until which it was good, where that is later: it was watched, and failed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<Timestamp>,
    /// Of a control plane's list: the sources that it resolved itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Vec<SourceKey>>,
}

impl Snapshot {
    /// The file in a state directory.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("snapshot.json")
    }

    /// Reads the snapshot; anything but a whole and consistent one is an error.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read or used.
    pub fn load(state_dir: &Path) -> Result<Self, ReadError> {
        files::read(Self::path(state_dir), |content| checked::decode(FORMAT, content))
    }

    /// Writes the snapshot in place of the last one.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the last one stays.
    pub(crate) fn save(&self, state_dir: &Path) -> io::Result<()> {
        // A piece at a time: a million prefixes take 40 MB as text.
        files::replace_by(&Self::path(state_dir), files::Readers::Group, |file| {
            let mut out = BufWriter::new(file);
            checked::write(FORMAT, self, &mut out)?;
            out.flush()
        })
    }

    /// The databases as a policy takes them.
    pub fn policies(&self) -> Vec<DatabasePolicy> {
        self.databases
            .iter()
            .map(|database| DatabasePolicy {
                id: database.id,
                name: database.name.clone(),
                rules: database.rules.clone(),
            })
            .collect()
    }

    /// One database.
    pub fn database(&self, name: &str) -> Option<&DatabaseSnapshot> {
        self.databases.iter().find(|database| database.name == name)
    }
}

/// A rule as the file has it.
#[derive(Serialize, Deserialize)]
struct StoredRule {
    /// Snapshots of the first versions have none.
    kind: Option<StoredKind>,
    /// The source; of the other kinds the text that they are shown as.
    source: UncheckedSource,
    origin: Origin,
    prefixes: PrefixSet,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Source,
    PlainLines,
    Everybody,
    Adopted,
}

impl From<&Rule> for StoredRule {
    fn from(rule: &Rule) -> Self {
        let kind = match rule.kind {
            RuleKind::Source(_) => StoredKind::Source,
            RuleKind::PlainLines => StoredKind::PlainLines,
            RuleKind::Everybody => StoredKind::Everybody,
            RuleKind::Adopted(_) => StoredKind::Adopted,
        };
        Self {
            kind: Some(kind),
            source: rule.kind.to_unchecked(),
            origin: rule.origin.clone(),
            prefixes: rule.prefixes.clone(),
        }
    }
}

impl TryFrom<StoredRule> for Rule {
    type Error = String;

    fn try_from(stored: StoredRule) -> Result<Self, String> {
        let StoredRule { kind, source, origin, prefixes } = stored;
        let adopted = || source.value.parse().map(RuleKind::Adopted);
        let kind = match kind {
            Some(StoredKind::Source) => None,
            Some(StoredKind::PlainLines) => Some(RuleKind::PlainLines),
            Some(StoredKind::Everybody) => Some(RuleKind::Everybody),
            Some(StoredKind::Adopted) => Some(adopted().map_err(|error| error.with_fix())?),
            // The texts those versions told the other kinds by are those they are shown as.
            None => [RuleKind::Everybody, RuleKind::PlainLines]
                .into_iter()
                .chain(adopted())
                .find(|kind| kind.to_unchecked() == source),
        };
        let kind = match kind {
            Some(kind) => kind,
            None => {
                let source = TrustedSource::try_from(source).map_err(|error| error.with_fix())?;
                RuleKind::Source(Arc::new(source))
            }
        };
        Ok(Self { kind, origin, prefixes })
    }
}

fn store<S: Serializer>(rules: &[Rule], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rules.iter().map(StoredRule::from))
}

fn restore<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
    let stored = Vec::<StoredRule>::deserialize(from)?;
    stored.into_iter().map(|rule| rule.try_into().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot() -> Snapshot {
        let source: TrustedSource = "ip_addr:10.0.0.0/8".parse().unwrap();
        let prefixes = source.key().prefixes().unwrap().clone();
        Snapshot {
            generation: 7,
            written_at: "2026-11-01T00:00:00Z".parse().unwrap(),
            slots: SlotTable::default(),
            databases: vec![DatabaseSnapshot {
                name: "orders".to_owned(),
                id: 1,
                rules: vec![
                    Rule::of_source(source.into(), Origin::Config, prefixes),
                    Rule::adopted(Origin::Config, "192.0.2.7/32".parse().unwrap()),
                    Rule::everybody("file:/orders.list".into()),
                ],
                list: None,
                measure: Some(["10.0.0.0/8".parse().unwrap()].into()),
            }],
            answers: vec![],
            ended: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        snapshot().save(directory.path()).unwrap();
        assert_eq!(Snapshot::load(directory.path()).unwrap(), snapshot());
    }

    #[test]
    fn a_snapshot_without_kinds_keeps_what_its_texts_meant() {
        let mut body = serde_json::to_value(snapshot()).unwrap();
        let rules = body["databases"][0]["rules"].as_array_mut().unwrap();
        for rule in &mut *rules {
            rule.as_object_mut().unwrap().remove("kind").unwrap();
        }
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot());
    }

    #[test]
    fn no_text_of_a_source_makes_another_kind_of_it() {
        let adopted = Rule::adopted(Origin::Config, "192.0.2.7/32".parse().unwrap());
        let mut source: TrustedSource = adopted.kind.to_string().parse().unwrap();
        source.description = adopted.kind.description().map(str::to_owned);
        let rule = Rule::of_source(source.into(), adopted.origin, adopted.prefixes);
        let mut written = snapshot();
        written.databases[0].rules = vec![rule];
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), written);
    }

    #[test]
    fn rules_are_written_as_ever() {
        let rules = serde_json::to_value(snapshot()).unwrap()["databases"][0]["rules"].clone();
        let any = ["0.0.0.0/0", "::/0"];
        assert_eq!(
            rules,
            json!([
                {
                    "kind": "source",
                    "source": {"type": "ip_addr", "value": "10.0.0.0/8"},
                    "origin": "config",
                    "prefixes": ["10.0.0.0/8"],
                },
                {
                    "kind": "adopted",
                    "source": {
                        "type": "ip_addr",
                        "value": "192.0.2.7/32",
                        "description": "found in the maps at start, with no list to read",
                    },
                    "origin": "config",
                    "prefixes": ["192.0.2.7/32"],
                },
                {
                    "kind": "everybody",
                    "source": {
                        "type": "ip_addr",
                        "value": "0.0.0.0/0, ::/0",
                        "description": "the provider's list is empty and on_empty is open",
                    },
                    "origin": {"provider": "file:/orders.list"},
                    "prefixes": any,
                },
            ])
        );
    }

    #[test]
    fn no_damaged_byte_goes_unnoticed() {
        let good = checked::encode(FORMAT, &snapshot()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            match checked::decode::<Snapshot>(FORMAT, &bad) {
                Err(_) => {}
                // A flipped case in an escape can spell the same text.
                Ok(read) => assert_eq!(read, snapshot(), "byte {at}"),
            }
            assert!(checked::decode::<Snapshot>(FORMAT, &good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn fields_of_a_newer_version_are_ignored() {
        let mut body = serde_json::to_value(snapshot()).unwrap();
        body["color"] = "blue".into();
        body["slots"] = json!([{
            "first": 1,
            "rules": [{
                "database": "orders", "origin": "config", "source": "ip_addr:10.0.0.0/8", "a": 1
            }],
            "b": [],
        }]);
        body["databases"][0]["color"] = "blue".into();
        body["databases"][0]["rules"][0]["color"] = "blue".into();
        body["databases"][0]["rules"][0]["source"]["color"] = "blue".into();
        let text = checked::encode(FORMAT, &body).unwrap();
        let mut file: serde_json::Value = serde_json::from_slice(&text).unwrap();
        file["written_by"] = "9.0".into();
        let read: Snapshot = checked::decode(FORMAT, file.to_string().as_bytes()).unwrap();
        assert_eq!(read.databases, snapshot().databases);
        assert_eq!(read.slots.slots().count(), 1);
    }

    #[test]
    fn a_missing_one_is_told_from_a_bad_one() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(Snapshot::load(directory.path()), Err(ReadError::Missing(_))));
        std::fs::write(Snapshot::path(directory.path()), "{}").unwrap();
        assert!(matches!(Snapshot::load(directory.path()), Err(ReadError::Damaged { .. })));
    }
}
