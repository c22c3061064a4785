//! Following the store: databases, lists and hosts as they are now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    Fleet,
    published::{Content, Published},
    sets::Sets,
};
use crate::{
    list::List,
    model::{Change, Database, Host, Resolved, keys},
    service::{Service, ServiceError, parse},
    store::{Batch, Event, Revision, Write},
};

/// Changes within this time are sent as one.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Time until the store is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Fleet {
    /// Follows the store until it is dropped. `ready` is called once everything is known.
    pub async fn follow(self: Arc<Self>, service: Arc<Service>, ready: impl FnOnce() + Send) {
        follow(&self, &service, ready).await;
    }
}

/// Follows until it is dropped. Failures are told, and tried again.
async fn follow(fleet: &Fleet, service: &Service, ready: impl FnOnce() + Send) {
    let mut ready = Some(ready);
    loop {
        match load(fleet, service).await {
            Ok((seen, sets)) => {
                if let Some(ready) = ready.take() {
                    ready();
                }
                changes(fleet, service, seen, sets).await;
            }
            Err(error) => {
                tracing::error!(%error, "the lists cannot be read for the agents; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The commits up to which databases, hosts and lists were read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    databases: Revision,
    hosts: Revision,
    resolved: Revision,
    lists: Revision,
}

impl Seen {
    fn first(self) -> Revision {
        self.databases.min(self.hosts).min(self.resolved).min(self.lists)
    }

    /// Whether a write of a commit was read already.
    fn has(self, key: &str, revision: Revision) -> bool {
        let seen = if key.starts_with(keys::DATABASES) {
            self.databases
        } else if key.starts_with(keys::HOSTS) {
            self.hosts
        } else if key.starts_with(keys::RESOLVED) {
            self.resolved
        } else {
            self.lists
        };
        revision <= seen
    }
}

/// Reads everything anew.
async fn load(fleet: &Fleet, service: &Service) -> Result<(Seen, Sets), ServiceError> {
    let store = service.store();
    // Lists first: that of a database which comes between is a commit that the watch has. The other way
    // round it would be one without its database, and count as seen.
    let lists = store.list(keys::LISTS).await?;
    let databases = store.list(keys::DATABASES).await?;
    let hosts = store.list(keys::HOSTS).await?;
    let resolved = store.list(keys::RESOLVED).await?;
    let seen = Seen {
        databases: databases.revision,
        hosts: hosts.revision,
        resolved: resolved.revision,
        lists: lists.revision,
    };
    let mut sets = Sets::default();
    for (key, entry) in resolved.entries {
        if let Some(resolved) = read::<Resolved>(&key, &entry.value) {
            sets.put(store, &key, resolved, entry.revision).await?;
        }
    }
    let (mut gone, mut left) = fleet.lock().known();
    let mut is_new = false;
    for (key, entry) in databases.entries {
        if let Some(database) = read::<Database>(&key, &entry.value) {
            gone.retain(|id| *id != database.id);
            is_new |= fleet.lock().put_database(database);
        }
    }
    for (key, entry) in lists.entries {
        let Some(id) = keys::database_of_list(&key) else { continue };
        let Some(list) = read::<List>(&key, &entry.value) else { continue };
        let by = author(service, id, &list).await?;
        publish(fleet, id, (&list, entry.revision), &sets, by, Instant::now());
    }
    // Whoever is new finds its lists.
    for (key, entry) in hosts.entries {
        if let Some(host) = read::<Host>(&key, &entry.value) {
            left.retain(|id| *id != host.id);
            is_new |= fleet.lock().put_host(host);
        }
    }
    {
        let mut state = fleet.lock();
        for id in gone {
            is_new |= state.remove_database(id);
        }
        for id in left {
            is_new |= state.remove_host(id);
        }
    }
    if is_new {
        fleet.directory.send_modify(|count| *count = count.wrapping_add(1));
    }
    Ok((seen, sets))
}

/// Makes a list the newest of its database, unless a later one is there already.
fn publish(
    fleet: &Fleet,
    id: Uuid,
    list: (&List, Revision),
    sets: &Sets,
    by: Option<String>,
    committed: Instant,
) {
    let Some((database, before)) = fleet.lock().before(id) else { return };
    let resolvable = fleet.settings.resolvable;
    let content = Content::new(list, sets, resolvable, before.as_deref());
    if before.as_ref().is_some_and(|before| before.bundle.revision >= content.revision.0) {
        return;
    }
    // Nobody else publishes: what was before stays that while this is made.
    let epoch = fleet.settings.meta.epoch;
    let new = Published::new(&database, content, epoch, by, committed, before.as_deref());
    fleet.lock().publish(id, new);
}

/// Publishes the lists anew that have one of these sources.
fn publish_again(fleet: &Fleet, sources: &BTreeSet<String>, sets: &Sets, committed: Instant) {
    let (databases, _) = fleet.lock().known();
    for id in databases {
        let Some((database, Some(before))) = fleet.lock().before(id) else { continue };
        let mut listed = before.bundle.sources.iter();
        if !listed.any(|source| sources.contains(&format!("{}:{}", source.kind, source.value))) {
            continue;
        }
        let content = Content::again(&before, sets);
        if before.bundle.revision >= content.revision.0 {
            continue;
        }
        let epoch = fleet.settings.meta.epoch;
        let new = Published::new(&database, content, epoch, None, committed, Some(&before));
        fleet.lock().publish(id, new);
    }
}

/// The name of who made the last change of a list.
async fn author(
    service: &Service,
    database: Uuid,
    list: &List,
) -> Result<Option<String>, ServiceError> {
    if list.version == 0 {
        return Ok(None);
    }
    let key = keys::change(database, list.version);
    let entry = service.store().get(&key).await?;
    let change = entry.and_then(|entry| read::<Change>(&key, &entry.value));
    Ok(change.map(|change| change.by.name()))
}

/// The document of an entry. One that cannot be read is told, and the others go on.
fn read<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    parse(key, value)
        .map_err(|error| tracing::error!(%error, "agents do not get what it says"))
        .ok()
}

/// The writes of several commits, the newest of each key.
#[derive(Debug, Default)]
struct Gathered {
    writes: BTreeMap<String, (Write, Revision)>,
    /// The first of them.
    since: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, batch: Batch, seen: Seen) {
        for write in batch.writes {
            let key = write.key();
            let concerns =
                [keys::DATABASES, keys::HOSTS, keys::RESOLVED, keys::LISTS, keys::CHANGES];
            let concerns = concerns.iter().any(|prefix| key.starts_with(prefix));
            if concerns && !seen.has(key, batch.revision) {
                self.since.get_or_insert_with(Instant::now);
                self.writes.insert(key.to_owned(), (write, batch.revision));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// Follows the commits behind what was read; returns when it has to be read anew.
async fn changes(fleet: &Fleet, service: &Service, seen: Seen, mut sets: Sets) {
    let mut watch = service.store().watch("", seen.first());
    loop {
        let mut gathered = Gathered::default();
        while gathered.is_empty() {
            match watch.next().await {
                Some(Event::Batch(batch)) => gathered.add(batch, seen),
                Some(Event::Resync) | None => return,
            }
        }
        let end = Instant::now() + DEBOUNCE;
        let mut is_over = false;
        while let Ok(event) =
            timeout(end.saturating_duration_since(Instant::now()), watch.next()).await
        {
            match event {
                Some(Event::Batch(batch)) => gathered.add(batch, seen),
                Some(Event::Resync) | None => {
                    is_over = true;
                    break;
                }
            }
        }
        if let Err(error) = apply(fleet, service, gathered, &mut sets).await {
            tracing::error!(%error, "a change cannot be read for the agents; reading all of it anew");
            sleep(PAUSE).await;
            return;
        }
        if is_over {
            return;
        }
    }
}

async fn apply(
    fleet: &Fleet,
    service: &Service,
    gathered: Gathered,
    sets: &mut Sets,
) -> Result<(), ServiceError> {
    let Gathered { mut writes, since } = gathered;
    let committed = since.unwrap_or_else(Instant::now);
    let mut is_new = false;
    let below = |prefix: &str, writes: &BTreeMap<String, (Write, Revision)>| {
        let keys = writes.range(prefix.to_owned()..).map(|(key, _)| key);
        keys.take_while(|key| key.starts_with(prefix)).cloned().collect::<Vec<_>>()
    };
    // Databases before their lists, hosts last: whoever is new finds everything.
    for key in below(keys::DATABASES, &writes) {
        let Some((write, _)) = writes.remove(&key) else { continue };
        match write {
            Write::Put(_, value) => {
                if let Some(database) = read::<Database>(&key, &value) {
                    is_new |= fleet.lock().put_database(database);
                }
            }
            Write::Delete(_) => {
                let id = key.strip_prefix(keys::DATABASES).and_then(|id| id.parse().ok());
                is_new |= id.is_some_and(|id| fleet.lock().remove_database(id));
            }
        }
    }
    let mut resolved = BTreeSet::new();
    for key in below(keys::RESOLVED, &writes) {
        match writes.remove(&key) {
            Some((Write::Put(_, value), revision)) => {
                if let Some(new) = read::<Resolved>(&key, &value) {
                    resolved.extend(sets.put(service.store(), &key, new, revision).await?);
                }
            }
            Some((Write::Delete(_), _)) => sets.remove(&key),
            None => {}
        }
    }
    for key in below(keys::LISTS, &writes) {
        let Some((Write::Put(_, value), revision)) = writes.remove(&key) else { continue };
        let Some(id) = keys::database_of_list(&key) else { continue };
        let Some(list) = read::<List>(&key, &value) else { continue };
        let key = keys::change(id, list.version);
        let by = match writes.get(&key) {
            Some((Write::Put(_, value), _)) => read::<Change>(&key, value),
            _ => None,
        };
        let by = by.map(|change| change.by.name());
        publish(fleet, id, (&list, revision), sets, by, committed);
    }
    if !resolved.is_empty() {
        publish_again(fleet, &resolved, sets, committed);
    }
    for key in below(keys::HOSTS, &writes) {
        let Some((write, _)) = writes.remove(&key) else { continue };
        match write {
            Write::Put(_, value) => {
                if let Some(host) = read::<Host>(&key, &value) {
                    is_new |= fleet.lock().put_host(host);
                }
            }
            Write::Delete(_) => {
                let id = key.strip_prefix(keys::HOSTS).and_then(|id| id.parse().ok());
                is_new |= id.is_some_and(|id| fleet.lock().remove_host(id));
            }
        }
    }
    if is_new {
        fleet.directory.send_modify(|count| *count = count.wrapping_add(1));
    }
    Ok(())
}
