//! Hosts: what lets them join, joining, checking their tokens, removing them.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use dbfw_wire::agent::{Digest, HostToken, JoinToken};
use jiff::SignedDuration;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    Service, audit,
    documents::{Read, commit, get, list, write},
    error::ServiceError,
    lists::Author,
    now, random,
};
use crate::{
    model::{AuditAction, Database, Host, JoinGrant, digest, keys},
    store::{Require, Txn},
};

/// Bytes of a host's name.
const MAX_NAME: usize = 253;

/// The most hosts that join with one token.
const MAX_USES: u32 = 10_000;

/// The longest that a join token counts.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Join tokens at a time.
const MAX_GRANTS: usize = 1000;

/// Times that joining is tried where others join with the same token.
const ATTEMPTS: u32 = 64;

/// The last request of a host is written once in this time.
const LAST_SEEN: SignedDuration = SignedDuration::from_hours(1);

/// A join token to make.
#[derive(Clone, Debug)]
pub struct NewJoinToken {
    /// The databases whose lists the hosts may read.
    pub databases: BTreeSet<Uuid>,
    /// The number of hosts that may join.
    pub uses: u32,
    /// The time for which it counts.
    pub lifetime: SignedDuration,
}

impl Service {
    /// Makes a join token, which pins this public key. Its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// A field cannot be what it is, there are too many, or the store does not answer.
    pub async fn add_join_token(
        &self,
        new: &NewJoinToken,
        pin: Option<Digest>,
        author: &Author,
    ) -> Result<(JoinGrant, JoinToken), ServiceError> {
        if new.databases.is_empty() {
            let fix = "name those whose lists the hosts are to read";
            return Err(ServiceError::field("databases", "are none", fix));
        }
        if !(1..=MAX_USES).contains(&new.uses) {
            let fix = format!("use 1 to {MAX_USES}");
            return Err(ServiceError::field("uses", "is no possible number", fix));
        }
        if !new.lifetime.is_positive() || new.lifetime > MAX_LIFETIME {
            let fix = "use a time of up to 30d, such as 1h";
            return Err(ServiceError::field("for", "is no possible lifetime", fix));
        }
        let created_at = now();
        let mut txn = Txn::new();
        let mut others = 0;
        for (key, read) in list::<JoinGrant>(&self.store, keys::JOINS).await? {
            if read.document.is_over(created_at) {
                txn = txn.delete(key);
            } else {
                others += 1;
            }
        }
        if others >= MAX_GRANTS {
            let what = format!("there are {MAX_GRANTS} join tokens: remove some first");
            return Err(ServiceError::Exists(what));
        }
        let token = JoinToken { id: Uuid::new_v4(), secret: secret()?, pin };
        let expires_at = created_at.checked_add(new.lifetime);
        let expires_at = expires_at.map_err(|_| {
            ServiceError::field("for", "ends beyond all calendars", "use a shorter time")
        })?;
        let grant = JoinGrant {
            id: token.id,
            secret_sha256: digest(token.secret.as_bytes()),
            databases: new.databases.clone(),
            uses: new.uses,
            expires_at,
            created_at,
            created_by: author.by.name(),
        };
        let key = keys::join(grant.id);
        txn = txn.require(key.clone(), Require::Absent).put(key, write(&grant)?);
        let subject = grant.id.to_string();
        txn = audit::add(txn, AuditAction::JoinTokenAdded, author, &subject)?;
        commit(&self.store, txn).await?.ok_or(ServiceError::Busy)?;
        tracing::info!(id = %grant.id, uses = grant.uses, by = grant.created_by, "a join token was made");
        Ok((grant, token))
    }

    /// Every join token that hosts may still join with, the one that ends first first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn join_tokens(&self) -> Result<Vec<JoinGrant>, ServiceError> {
        let (found, now) = (list::<JoinGrant>(&self.store, keys::JOINS).await?, now());
        let found = found.into_iter().map(|(_, read)| read.document);
        let mut grants: Vec<JoinGrant> = found.filter(|grant| !grant.is_over(now)).collect();
        grants.sort_by_key(|grant| (grant.expires_at, grant.id));
        Ok(grants)
    }

    /// Takes a join token back: nobody joins with it any more.
    ///
    /// # Errors
    /// There is no such token, or the store does not answer.
    pub async fn remove_join_token(&self, id: Uuid, author: &Author) -> Result<(), ServiceError> {
        let key = keys::join(id);
        get::<JoinGrant>(&self.store, &key).await?.ok_or(ServiceError::NoToken)?;
        let txn = Txn::new().delete(key);
        let subject = id.to_string();
        let txn = audit::add(txn, AuditAction::JoinTokenRemoved, author, &subject)?;
        commit(&self.store, txn).await?;
        self.look();
        tracing::info!(%id, by = author.by.name(), "a join token was taken back");
        Ok(())
    }

    /// Lets a host join; the host, and its token, which is nowhere but in the answer.
    ///
    /// # Errors
    /// The token does not count, the name cannot be, or the store does not answer.
    pub async fn join(
        &self,
        token: &JoinToken,
        name: &str,
        from: Option<IpAddr>,
    ) -> Result<(Host, HostToken, Vec<Database>), ServiceError> {
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || dbfw_core::misleads(c);
        if !(1..=MAX_NAME).contains(&name.len()) || name.chars().any(is_odd) {
            let fix = format!("use 1 to {MAX_NAME} bytes without a space");
            return Err(ServiceError::field("hostname", "is no name of a host", fix));
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(Duration::from_millis(fastrand::u64(1..=u64::from(attempt.min(16)) * 5)))
                    .await;
            }
            if let Some(joined) = self.attempt_to_join(token, name, from).await? {
                return Ok(joined);
            }
        }
        Err(ServiceError::Busy)
    }

    /// Lets a host join by the documents as they were read; `None` if others were faster.
    async fn attempt_to_join(
        &self,
        token: &JoinToken,
        name: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<(Host, HostToken, Vec<Database>)>, ServiceError> {
        let key = keys::join(token.id);
        let read = get::<JoinGrant>(&self.store, &key).await?.ok_or(ServiceError::NotLetIn)?;
        let Read { document: mut grant, entry } = read;
        let now = now();
        // Digests are compared: how long that takes says nothing about the secret.
        if grant.secret_sha256 != digest(token.secret.as_bytes()) || grant.is_over(now) {
            return Err(ServiceError::NotLetIn);
        }
        let mut txn = Txn::new().require(key.clone(), Require::At(entry.revision));
        let mut databases = Vec::new();
        for id in &grant.databases {
            let key = keys::database(*id);
            // One that was removed since.
            let Some(read) = get::<Database>(&self.store, &key).await? else { continue };
            // Written as it is, so that it is not removed at the same moment.
            txn = txn
                .require(key.clone(), Require::At(read.entry.revision))
                .put(key, read.entry.value);
            databases.push(read.document);
        }
        if databases.is_empty() {
            return Err(ServiceError::NotLetIn);
        }
        grant.uses -= 1;
        txn = if grant.uses == 0 { txn.delete(key) } else { txn.put(key, write(&grant)?) };
        let token = HostToken { host: Uuid::new_v4(), secret: secret()? };
        let host = Host {
            id: token.host,
            name: name.to_owned(),
            secret_sha256: digest(token.secret.as_bytes()),
            databases: databases.iter().map(|database| database.id).collect(),
            joined_at: now,
            joined_by: grant.created_by,
            joined_from: from,
            last_seen: None,
        };
        let key = keys::host(host.id);
        txn = txn.require(key.clone(), Require::Absent).put(key, write(&host)?);
        txn = audit::add_join(txn, name, from)?;
        if commit(&self.store, txn).await?.is_none() {
            return Ok(None);
        }
        self.look();
        tracing::info!(host = host.name, id = %host.id, by = host.joined_by, "a host joined");
        Ok(Some((host, token, databases)))
    }

    /// The host that a token is of, if it was not removed.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn authenticate_host(&self, token: &HostToken) -> Result<Option<Host>, ServiceError> {
        let key = keys::host(token.host);
        let Some(read) = get::<Host>(&self.store, &key).await? else { return Ok(None) };
        let (host, now) = (read.document, now());
        if !host.has(token) {
            return Ok(None);
        }
        if host.last_seen.is_none_or(|last| now.duration_since(last) >= LAST_SEEN) {
            let seen = Host { last_seen: Some(now), ..host.clone() };
            let txn = Txn::new()
                .require(key.clone(), Require::At(read.entry.revision))
                .put(key, write(&seen)?);
            let store = self.store.clone();
            // Nobody waits for it, and one that is lost does no harm.
            tokio::spawn(async move { store.commit(txn).await });
        }
        Ok(Some(host))
    }

    /// Every host that joined, by name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn hosts(&self) -> Result<Vec<Host>, ServiceError> {
        let found = list::<Host>(&self.store, keys::HOSTS).await?;
        let mut hosts: Vec<Host> = found.into_iter().map(|(_, read)| read.document).collect();
        hosts.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        Ok(hosts)
    }

    /// The host of an id; `None` if there is none.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn host(&self, id: Uuid) -> Result<Option<Host>, ServiceError> {
        Ok(get::<Host>(&self.store, &keys::host(id)).await?.map(|read| read.document))
    }

    /// Removes a host: its token is refused from now on.
    ///
    /// # Errors
    /// There is no such host, or the store does not answer.
    pub async fn remove_host(&self, id: Uuid, author: &Author) -> Result<(), ServiceError> {
        let key = keys::host(id);
        let read = get::<Host>(&self.store, &key).await?.ok_or(ServiceError::NoHost)?;
        let name = read.document.name;
        let txn = Txn::new().delete(key);
        commit(&self.store, audit::add(txn, AuditAction::HostRemoved, author, &name)?).await?;
        self.look();
        tracing::info!(host = name, %id, by = author.by.name(), "a host was removed");
        Ok(())
    }

    /// Refuses to go on while hosts read a database's list.
    pub(super) async fn needs_no_host(&self, database: Uuid) -> Result<(), ServiceError> {
        let readers = self.hosts().await?.into_iter();
        let names: Vec<String> = readers
            .filter(|host| host.databases.contains(&database))
            .map(|host| host.name)
            .collect();
        if names.is_empty() { Ok(()) } else { Err(ServiceError::HasHosts(names)) }
    }
}

/// The secret of a token: 256 random bits, so that a plain digest of it is enough.
fn secret() -> Result<String, ServiceError> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        model::{By, Via},
        service::{Bounds, DatabasePatch, NewDatabase},
        store::{FileStore, Store},
    };

    fn author() -> Author {
        Author { by: By::User { uid: 0 }, via: Via::Admin, agent: None, from: None, reason: None }
    }

    async fn service(directory: &std::path::Path) -> (Service, Uuid) {
        let store = Store::from(FileStore::open(&directory.join("s.redb")).unwrap());
        let service = Service::new(store, Bounds { rules: 10, feeds: Vec::new() });
        let new = NewDatabase {
            id: None,
            name: "orders".parse().unwrap(),
            settings: DatabasePatch::default(),
        };
        let database = service.add_database(&new, &author()).await.unwrap();
        (service, database.id)
    }

    fn new(database: Uuid, uses: u32) -> NewJoinToken {
        NewJoinToken { databases: [database].into(), uses, lifetime: SignedDuration::from_hours(1) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_join_as_a_token_has_uses() {
        let directory = tempfile::tempdir().unwrap();
        let (service, database) = service(directory.path()).await;
        let service = std::sync::Arc::new(service);
        for uses in [1, 3] {
            let made = service.add_join_token(&new(database, uses), None, &author()).await;
            let (grant, token) = made.unwrap();
            let joins = (0..12).map(|n| {
                let (service, token) = (service.clone(), token.clone());
                tokio::spawn(async move { service.join(&token, &format!("db-{n}"), None).await })
            });
            let mut joined = 0;
            for join in joins.collect::<Vec<_>>() {
                match join.await.unwrap() {
                    Ok(_) => joined += 1,
                    Err(error) => assert_eq!(error, ServiceError::NotLetIn),
                }
            }
            assert_eq!(joined, uses);
            assert!(service.join_tokens().await.unwrap().iter().all(|left| left.id != grant.id));
        }
        assert_eq!(service.hosts().await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn who_may_not_join() {
        let directory = tempfile::tempdir().unwrap();
        let (service, database) = service(directory.path()).await;
        let made = service.add_join_token(&new(database, 9), None, &author()).await;
        let (grant, token) = made.unwrap();
        for name in ["", "a b", "a\n", "\u{202e}a", &"x".repeat(254)] {
            let refused = service.join(&token, name, None).await.unwrap_err();
            assert!(matches!(refused, ServiceError::Field { field: "hostname", .. }), "{name:?}");
        }
        let wrong = JoinToken { secret: "0".repeat(64), ..token.clone() };
        let unknown = JoinToken { id: Uuid::nil(), ..token.clone() };
        for token in [wrong, unknown] {
            let refused = service.join(&token, "db-1", None).await.unwrap_err();
            assert_eq!(refused, ServiceError::NotLetIn);
        }
        // One that has expired.
        let past = JoinGrant { expires_at: Timestamp::UNIX_EPOCH, ..grant.clone() };
        let txn = Txn::new().put(keys::join(grant.id), write(&past).unwrap());
        commit(service.store(), txn).await.unwrap();
        assert_eq!(service.join(&token, "db-1", None).await.unwrap_err(), ServiceError::NotLetIn);
        assert_eq!(service.join_tokens().await.unwrap(), []);
        // It goes with the next that is made.
        service.add_join_token(&new(database, 1), None, &author()).await.unwrap();
        assert!(service.store().get(&keys::join(grant.id)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_database_stays_while_hosts_read_its_list() {
        let directory = tempfile::tempdir().unwrap();
        let (service, database) = service(directory.path()).await;
        let made = service.add_join_token(&new(database, 1), None, &author()).await;
        let (host, token, _) = service.join(&made.unwrap().1, "db-1", None).await.unwrap();
        assert_eq!(service.authenticate_host(&token).await.unwrap().unwrap().id, host.id);
        let wrong = HostToken { secret: "0".repeat(64), ..token.clone() };
        assert!(service.authenticate_host(&wrong).await.unwrap().is_none());
        let refused = service.remove_database(database, &author()).await.unwrap_err();
        assert_eq!(refused, ServiceError::HasHosts(vec!["db-1".to_owned()]));
        service.remove_host(host.id, &author()).await.unwrap();
        assert_eq!(service.remove_host(host.id, &author()).await, Err(ServiceError::NoHost));
        assert!(service.authenticate_host(&token).await.unwrap().is_none());
        service.remove_database(database, &author()).await.unwrap();
    }
}
