//! Databases: adding, finding, changing their settings, removing.

use std::time::Duration;

use dbfw_core::policy::USUAL_MIN_LEN;
use rustls::pki_types::ServerName;
use uuid::Uuid;

use super::{
    Service, audit,
    documents::{commit, get, list, write},
    error::ServiceError,
    lists::Author,
    now,
};
use crate::{
    list::List,
    model::{AuditAction, Connection, Database, MAX_WAIT, Name, keys},
    store::{Require, Txn},
};

/// Bytes of a label.
const MAX_LABEL: usize = 128;

/// Labels of a database.
const MAX_TAGS: usize = 32;

/// Bytes of a certificate authority.
const MAX_CA: usize = 64 << 10;

/// Times that settings are changed where others write them too, as a host does that joins.
const ATTEMPTS: u32 = 16;

/// A database to add.
#[derive(Clone, Debug)]
pub struct NewDatabase {
    /// Its id, if it has one elsewhere.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: Name,
    /// Its settings, as far as they are not the usual ones.
    pub settings: DatabasePatch,
}

/// Settings of a database to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct DatabasePatch {
    /// `pg`, `mysql`, …
    pub engine: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// A label.
    pub region: Option<String>,
    /// Labels.
    pub tags: Option<Vec<String>>,
    /// A host name or an address.
    pub host: Option<String>,
    /// A port.
    pub port: Option<u16>,
    /// The certificate authority of the database, PEM; empty: none.
    pub ca: Option<String>,
    /// Whether its list may trust everybody.
    pub allow_any: Option<bool>,
    /// The lengths of the shortest prefixes, IPv4 and IPv6.
    pub min_prefix: [Option<u8>; 2],
    /// Whether a change without If-Match is merged with others'.
    pub merge: Option<bool>,
    /// Time that the answer to a change waits for the hosts; `Some(None)`: as the server's
    /// configuration says.
    pub wait: Option<Option<Duration>>,
}

impl DatabasePatch {
    fn apply(&self, database: &mut Database) -> Result<(), ServiceError> {
        for (name, text, setting) in [
            ("engine", &self.engine, &mut database.engine),
            ("version", &self.version, &mut database.version),
            ("region", &self.region, &mut database.region),
            ("host", &self.host, &mut database.connection.host),
        ] {
            if let Some(text) = text {
                check_label(name, text)?;
                setting.clone_from(text);
            }
        }
        let is_engine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !database.engine.chars().all(is_engine) || database.engine.is_empty() {
            let fix = "use lower-case letters and digits, such as pg, mysql or redis";
            return Err(ServiceError::field("engine", "is no name of an engine", fix));
        }
        let host = &database.connection.host;
        if !host.is_empty() && ServerName::try_from(host.as_str()).is_err() {
            let fix = "use a host name or an address";
            return Err(ServiceError::field("host", "is neither", fix));
        }
        if let Some(tags) = &self.tags {
            if tags.len() > MAX_TAGS {
                let fix = format!("use at most {MAX_TAGS}");
                return Err(ServiceError::field("tags", format!("there are {}", tags.len()), fix));
            }
            tags.iter().try_for_each(|tag| check_label("tags", tag))?;
            if tags.iter().any(String::is_empty) {
                return Err(ServiceError::field("tags", "has an empty one", "leave it out"));
            }
            database.tags.clone_from(tags);
        }
        if let Some(ca) = &self.ca {
            let is_pem = ca.contains("-----BEGIN CERTIFICATE-----") && ca.len() <= MAX_CA;
            if !ca.is_empty() && !is_pem {
                let fix = "give one in PEM, at most 64 KiB";
                return Err(ServiceError::field("ca", "is not a certificate", fix));
            }
            database.ca = (!ca.is_empty()).then(|| ca.clone());
        }
        for (at, longest) in [(0, 32), (1, 128)] {
            if let Some(length) = self.min_prefix[at] {
                if !(1..=longest).contains(&length) {
                    let fix = format!("use 1 to {longest}; allow_any lets everybody in");
                    let reason = format!("{length} is not the length of a prefix");
                    return Err(ServiceError::field("min_prefix", reason, fix));
                }
                database.min_prefix[at] = length;
            }
        }
        database.connection.port = self.port.unwrap_or(database.connection.port);
        database.allow_any = self.allow_any.unwrap_or(database.allow_any);
        if let Some(wait) = self.wait {
            if wait.is_some_and(|wait| wait > MAX_WAIT) {
                return Err(ServiceError::field("wait", "is too long", "use at most 30s"));
            }
            database.wait_ms = wait.and_then(|wait| u32::try_from(wait.as_millis()).ok());
        }
        database.merge = self.merge.unwrap_or(database.merge);
        Ok(())
    }
}

fn check_label(field: &'static str, text: &str) -> Result<(), ServiceError> {
    let is_odd = |c: char| c.is_control() || dbfw_core::misleads(c);
    if text.len() <= MAX_LABEL && !text.chars().any(is_odd) {
        return Ok(());
    }
    let fix = format!("use at most {MAX_LABEL} bytes, on one line");
    Err(ServiceError::field(field, "is no label", fix))
}

impl Service {
    /// Every database, by name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn databases(&self) -> Result<Vec<Database>, ServiceError> {
        let found = list::<Database>(&self.store, keys::DATABASES).await?;
        let mut databases: Vec<Database> =
            found.into_iter().map(|(_, read)| read.document).collect();
        databases.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(databases)
    }

    /// The database that an id or a name is of; `None` if there is none.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn find(&self, id_or_name: &str) -> Result<Option<Database>, ServiceError> {
        let id = match (id_or_name.parse::<Uuid>(), id_or_name.parse::<Name>()) {
            (Ok(id), _) => Some(id),
            (_, Ok(name)) => {
                get::<Uuid>(&self.store, &keys::name(&name)).await?.map(|read| read.document)
            }
            _ => None,
        };
        let Some(id) = id else { return Ok(None) };
        let read = get::<Database>(&self.store, &keys::database(id)).await?;
        Ok(read.map(|read| read.document))
    }

    /// Adds a database with an empty list: nobody is trusted.
    ///
    /// # Errors
    /// Its name or id is taken, a setting cannot be, or the store does not answer.
    pub async fn add_database(
        &self,
        new: &NewDatabase,
        author: &Author,
    ) -> Result<Database, ServiceError> {
        let id = new.id.unwrap_or_else(Uuid::new_v4);
        let mut database = Database {
            id,
            name: new.name.clone(),
            engine: "pg".to_owned(),
            version: String::new(),
            region: String::new(),
            tags: Vec::new(),
            connection: Connection::default(),
            ca: None,
            allow_any: false,
            min_prefix: USUAL_MIN_LEN,
            merge: true,
            wait_ms: None,
            created_at: now(),
            created_by: author.by.name(),
        };
        new.settings.apply(&mut database)?;
        let txn = Txn::new()
            .require(keys::name(&database.name), Require::Absent)
            .require(keys::database(id), Require::Absent)
            .put(keys::name(&database.name), write(&id)?)
            .put(keys::database(id), write(&database)?)
            .put(keys::list(id), write(&List::default())?);
        let txn = audit::add(txn, AuditAction::DatabaseAdded, author, new.name.as_str())?;
        if commit(&self.store, txn).await?.is_none() {
            let what = format!("there is a database with the name {} or the id {id}", new.name);
            return Err(ServiceError::Exists(what));
        }
        self.look();
        tracing::info!(database = %database.name, %id, by = author.by.name(), "a database was added");
        Ok(database)
    }

    /// Changes settings of a database.
    ///
    /// # Errors
    /// There is no such database, a setting cannot be, or the store does not answer.
    pub async fn change_database(
        &self,
        id: Uuid,
        patch: &DatabasePatch,
        author: &Author,
    ) -> Result<Database, ServiceError> {
        let key = keys::database(id);
        for _ in 0..ATTEMPTS {
            let read = get::<Database>(&self.store, &key).await?.ok_or(ServiceError::NoDatabase)?;
            let mut database = read.document;
            patch.apply(&mut database)?;
            let txn = Txn::new()
                .require(key.clone(), Require::At(read.entry.revision))
                .put(key.clone(), write(&database)?);
            let name = database.name.as_str();
            let txn = audit::add(txn, AuditAction::DatabaseChanged, author, name)?;
            if commit(&self.store, txn).await?.is_some() {
                self.look();
                let by = author.by.name();
                tracing::info!(database = %database.name, %id, by, "settings were changed");
                return Ok(database);
            }
        }
        Err(ServiceError::Busy)
    }

    /// Removes a database, with its list and its history.
    ///
    /// # Errors
    /// There is no such database, hosts read its list, or the store does not answer.
    pub async fn remove_database(&self, id: Uuid, author: &Author) -> Result<(), ServiceError> {
        let lock = self.lock(id);
        let _alone = lock.lock().await;
        let read = get::<Database>(&self.store, &keys::database(id)).await?;
        let read = read.ok_or(ServiceError::NoDatabase)?;
        self.needs_no_host(id).await?;
        let mut txn = Txn::new()
            .require(keys::database(id), Require::At(read.entry.revision))
            .delete(keys::name(&read.document.name))
            .delete(keys::database(id))
            .delete(keys::list(id));
        for (change, _) in self.store.list(&keys::changes(id)).await?.entries {
            txn = txn.delete(change);
        }
        let name = read.document.name.as_str();
        txn = audit::add(txn, AuditAction::DatabaseRemoved, author, name)?;
        commit(&self.store, txn).await?.ok_or(ServiceError::Busy)?;
        self.look();
        let name = read.document.name;
        tracing::info!(database = %name, %id, by = author.by.name(), "a database was removed");
        Ok(())
    }
}
