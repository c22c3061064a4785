//! Lists of trusted sources: reading, changing, going back.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dbfw_core::source::SourceKey;
use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    Service,
    documents::{commit, get, parse, write},
    error::ServiceError,
    etag::{ETag, IfMatch},
    now,
};
use crate::{
    list::{
        Difference, Edit, Limits, List, Maker, Rule, Violation, Wanted, identify, merge, validate,
    },
    model::{By, Change, Database, Kept, Via, digest, keys},
    store::{Entry, Require, Revision, StoreError, Txn},
};

/// Changes of a list that are kept.
const HISTORY: u64 = 1000;

/// Time to wait for the changes of the same list that came before here, and to try where those of
/// other servers come between.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// The list that a client last read: its sources.
pub type Base = Arc<[SourceKey]>;

/// A list as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The list.
    pub list: List,
    /// Its tag.
    pub tag: ETag,
    entry: Entry,
}

impl Stored {
    fn read(key: &str, entry: Entry) -> Result<Self, ServiceError> {
        let list: List = parse(key, &entry.value)?;
        let tag = ETag::new(list.version, &digest(&entry.value));
        Ok(Self { list, tag, entry })
    }

    /// Its sources, for a later merge.
    pub fn base(&self) -> Base {
        self.list.rules.iter().map(|rule| rule.key.clone()).collect()
    }
}

/// The author of a change, for the history.
#[derive(Clone, Debug)]
pub struct Author {
    /// By whom.
    pub by: By,
    /// By what kind of client.
    pub via: Via,
    /// The name that the client gives itself.
    pub agent: Option<String>,
    /// The address it came from.
    pub from: Option<IpAddr>,
    /// The reason given.
    pub reason: Option<String>,
}

/// A change that is asked for.
#[derive(Clone, Debug)]
pub enum Request {
    /// The whole list.
    Replace {
        /// The sources wanted.
        wanted: Vec<Wanted>,
        /// The list that the client last read, if it is to be merged.
        base: Option<Base>,
    },
    /// A part of it.
    Edit(Edit),
    /// The list as it was at a version.
    Revert(u64),
}

/// A change that was made, or was not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The list now.
    pub list: List,
    /// Its tag.
    pub tag: ETag,
    /// The commit that wrote it.
    pub revision: Revision,
    /// Changes of others since the client read, where those were kept.
    pub merged: Option<Kept>,
    /// The difference; empty if it made no version.
    pub difference: Difference,
}

/// The list that a request leads to.
struct Target {
    rules: Vec<Rule>,
    merged: Option<Kept>,
    reverts_to: Option<u64>,
}

impl Service {
    /// The list of a database.
    ///
    /// # Errors
    /// There is no such database, or the store does not answer.
    pub async fn list(&self, database: Uuid) -> Result<Stored, ServiceError> {
        let key = keys::list(database);
        let entry = self.store.get(&key).await?.ok_or(ServiceError::NoDatabase)?;
        Stored::read(&key, entry)
    }

    /// Changes the list of a database, and writes who did it into its history. A request that
    /// changes nothing makes no version.
    ///
    /// # Errors
    /// The list cannot be like that, is not the one that the condition names, or the store does
    /// not answer.
    pub async fn change(
        &self,
        database: Uuid,
        request: &Request,
        condition: Option<&IfMatch>,
        author: &Author,
    ) -> Result<Changed, ServiceError> {
        let lock = self.lock(database);
        let alone = timeout(PATIENCE, lock.lock()).await;
        let _alone = alone.map_err(|_| StoreError::Timeout)?;
        let end = Instant::now() + PATIENCE;
        let mut longest = Duration::ZERO;
        while Instant::now() < end {
            sleep(longest.mul_f64(fastrand::f64())).await;
            // Short: another server's next change does not wait at all.
            longest = (longest + Duration::from_millis(5)).min(MAX_PAUSE);
            let settings = get::<Database>(&self.store, &keys::database(database)).await?;
            let settings = settings.ok_or(ServiceError::NoDatabase)?.document;
            let stored = self.list(database).await?;
            if condition.is_some_and(|condition| !condition.is_met_by(&stored.tag)) {
                return Err(ServiceError::Precondition);
            }
            if let Some(changed) = self.attempt(&settings, stored, request, author).await? {
                return Ok(changed);
            }
        }
        Err(ServiceError::Busy)
    }

    /// Makes the change to the list as it was read; `None` if others were faster.
    async fn attempt(
        &self,
        database: &Database,
        stored: Stored,
        request: &Request,
        author: &Author,
    ) -> Result<Option<Changed>, ServiceError> {
        let Stored { list, tag, entry } = stored;
        let now = now();
        let Target { rules, merged, reverts_to } =
            self.target(database, &list, request, author, now).await?;
        let difference = Difference::between(&list.rules, &rules);
        if difference.is_empty() {
            let revision = entry.revision;
            return Ok(Some(Changed { list, tag, revision, merged, difference }));
        }
        let change = Change {
            version: list.version + 1,
            at: now,
            by: author.by.clone(),
            via: author.via,
            agent: author.agent.clone(),
            from: author.from,
            reason: author.reason.clone(),
            reverts_to,
            merged,
            difference,
            previous_sha256: list.change_sha256,
        };
        let bytes_of_change = write(&change)?;
        let change_sha256 = digest(&bytes_of_change);
        let list = List { version: change.version, change_sha256, rules };
        let (id, bytes) = (database.id, write(&list)?);
        let tag = ETag::new(list.version, &digest(&bytes));
        let mut txn = Txn::new()
            .require(keys::list(id), Require::At(entry.revision))
            .put(keys::list(id), bytes)
            .put(keys::change(id, change.version), bytes_of_change);
        if let Some(old) = change.version.checked_sub(HISTORY) {
            txn = txn.delete(keys::change(id, old));
        }
        let Some(revision) = commit(&self.store, txn).await? else { return Ok(None) };
        self.count_change(change.via, merged.is_some());
        let difference = change.difference;
        tracing::info!(
            database = %database.name,
            version = change.version,
            by = change.by.name(),
            via = %change.via,
            from = change.from.map(tracing::field::display),
            added = difference.added.len(),
            removed = difference.removed.len(),
            edited = difference.edited.len(),
            "a list changed"
        );
        Ok(Some(Changed { list, tag, revision, merged, difference }))
    }

    async fn target(
        &self,
        database: &Database,
        list: &List,
        request: &Request,
        author: &Author,
        now: Timestamp,
    ) -> Result<Target, ServiceError> {
        let current = &list.rules;
        let limits = Limits {
            rules: self.bounds.rules,
            allow_any: database.allow_any,
            min_prefix: database.min_prefix,
            feeds: self.bounds.feeds.clone(),
        };
        let check = |wanted: &[Wanted], sent: &[Wanted]| {
            validate(current, wanted, &limits, now)
                .map_err(|found| ServiceError::Invalid(as_sent(found, wanted, sent)))
        };
        let by = author.by.name();
        let identified = |wanted: &[Wanted]| {
            let mut uuid = Uuid::new_v4;
            identify(current, wanted, &mut Maker { now, by: &by, uuid: &mut uuid })
        };
        match request {
            Request::Replace { wanted: sent, base } => {
                let base = base.as_deref().filter(|_| database.merge);
                let merge = merge(current, base, sent);
                check(&merge.wanted, sent)?;
                let kept = Kept { added: merge.kept, removed: merge.left_out };
                let merged = (merge.count() > 0).then_some(kept);
                Ok(Target { rules: identified(&merge.wanted), merged, reverts_to: None })
            }
            Request::Edit(edit) => {
                let wanted = edit.apply(current)?;
                check(&wanted, &[])?;
                Ok(Target { rules: identified(&wanted), merged: None, reverts_to: None })
            }
            Request::Revert(version) => {
                let mut rules = self.at_version(database.id, list, *version).await?;
                // What has expired since then would go again at once.
                rules.retain(|rule| rule.details.expires_at.is_none_or(|at| at > now));
                check(&rules.iter().map(Wanted::from).collect::<Vec<_>>(), &[])?;
                Ok(Target { rules, merged: None, reverts_to: Some(*version) })
            }
        }
    }

    /// The rules of a list at an earlier version, by its changes backwards.
    async fn at_version(
        &self,
        database: Uuid,
        list: &List,
        version: u64,
    ) -> Result<Vec<Rule>, ServiceError> {
        if version > list.version {
            return Err(ServiceError::NoVersion(version));
        }
        let mut rules = list.rules.clone();
        for later in (version + 1..=list.version).rev() {
            let key = keys::change(database, later);
            let change = get::<Change>(&self.store, &key).await?;
            let change = change.ok_or(ServiceError::NoVersion(version))?.document;
            let undone = change.difference.inverse().apply(&rules);
            rules = undone.map_err(|error| ServiceError::Unreadable(format!("{key}: {error}")))?;
        }
        Ok(rules)
    }

    /// The list, and the rules that it would have if it went back to a version: those that have
    /// expired since then are not among them.
    ///
    /// # Errors
    /// The history does not reach that far, or the store does not answer.
    pub async fn as_of(
        &self,
        database: Uuid,
        version: u64,
    ) -> Result<(Stored, Vec<Rule>), ServiceError> {
        let stored = self.list(database).await?;
        let mut rules = self.at_version(database, &stored.list, version).await?;
        let now = now();
        rules.retain(|rule| rule.details.expires_at.is_none_or(|at| at > now));
        Ok((stored, rules))
    }

    /// The last changes of a list, the newest first; those before version `before` if that is
    /// given, and at most `limit`.
    ///
    /// # Errors
    /// There is no such database, or the store does not answer.
    pub async fn changes(
        &self,
        database: Uuid,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Change>, ServiceError> {
        let newest = self.list(database).await?.list.version;
        let from = before.map_or(newest, |before| newest.min(before.saturating_sub(1)));
        let mut changes = Vec::new();
        for version in (1..=from).rev().take(limit) {
            match get::<Change>(&self.store, &keys::change(database, version)).await? {
                Some(change) => changes.push(change.document),
                None => break,
            }
        }
        Ok(changes)
    }
}

/// The violations by the places of the rules in the request.
fn as_sent(violations: Vec<Violation>, wanted: &[Wanted], sent: &[Wanted]) -> Vec<Violation> {
    let place = |violation: Violation| {
        let key = violation.at.and_then(|at| wanted.get(at)).map(|wanted| &wanted.key);
        let at = key.and_then(|key| sent.iter().position(|sent| sent.key == *key));
        Violation { at, ..violation }
    };
    violations.into_iter().map(place).collect()
}
