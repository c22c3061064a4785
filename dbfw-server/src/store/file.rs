//! The store in a file: redb, with one thread that writes.
//!
//! Commits that wait together go to the disk together, each with a revision of its own. After a
//! failed write the file is opened again: redb refuses everything until then.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable,
    TableDefinition, backends::FileBackend,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    lease::LocalLeases,
    txn::{
        Batch, CommitError, Entry, PATIENCE, Require, Revision, Snapshot, StoreError, Txn, Write,
    },
    watch::{Ring, Watch},
};

/// A value, behind the revision that wrote it in 8 bytes, the highest first.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kv");
/// The store's own numbers.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
const FORMAT: &str = "format";
/// The format of the tables.
const CURRENT_FORMAT: u64 = 1;

/// Commits that wait for the writer.
const WAITING: usize = 1024;
/// Commits that go to the disk together.
const TOGETHER: usize = 64;
/// Memory for pages.
const CACHE: usize = 16 << 20;
/// Time for readers to finish before the file is opened again.
const READERS: Duration = Duration::from_secs(1);

/// A store in a file. Cheap to clone; the file is closed with the last clone.
#[derive(Clone, Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    ring: Arc<Ring>,
    leases: LocalLeases,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// `None` while it is opened again, or could not be.
    database: RwLock<Option<Arc<Database>>>,
}

#[derive(Debug)]
struct Job {
    txn: Txn,
    reply: oneshot::Sender<Result<Revision, CommitError>>,
}

/// Any of redb's errors, as text.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Failed(error.into().to_string())
}

impl FileStore {
    /// Opens the store in a file, which is made if it is not there, and which nobody but its owner
    /// may read.
    ///
    /// # Errors
    /// Another process has it open, it is no store, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = open(path)?;
        let newest = prepare(&database)?;
        let ring = Ring::new(newest);
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            database: RwLock::new(Some(Arc::new(database))),
        });
        let (jobs, waiting) = mpsc::channel(WAITING);
        let writer = Writer { shared: Arc::clone(&shared), ring: Arc::clone(&ring), jobs: waiting };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { shared, jobs, ring, leases: LocalLeases::default() })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |database| {
            let read = database.begin_read().map_err(failed)?;
            let table = read.open_table(ENTRIES).map_err(failed)?;
            let found = table.get(key.as_str()).map_err(failed)?;
            found.map(|stored| entry(stored.value())).transpose()
        })
        .await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |database| {
            let read = database.begin_read().map_err(failed)?;
            let meta = read.open_table(META).map_err(failed)?;
            let newest = meta.get(REVISION).map_err(failed)?.map_or(0, |stored| stored.value());
            let table = read.open_table(ENTRIES).map_err(failed)?;
            let mut entries = Vec::new();
            for found in table.range(prefix.as_str()..).map_err(failed)? {
                let (key, stored) = found.map_err(failed)?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                entries.push((key.value().to_owned(), entry(stored.value())?));
            }
            Ok(Snapshot { revision: Revision(newest), entries })
        })
        .await
    }

    pub(super) async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            let closed = || StoreError::Failed("it is closed".to_owned());
            self.jobs.send(Job { txn, reply }).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        timeout(PATIENCE, ask).await.unwrap_or(Err(StoreError::Timeout.into()))
    }

    pub(super) fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.ring.watch(prefix, after)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.ring.restarts()
    }

    pub(super) fn leases(&self) -> &LocalLeases {
        &self.leases
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || read(&*shared.database()?));
        match timeout(PATIENCE, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panicked)) => Err(StoreError::Failed(panicked.to_string())),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}

impl Shared {
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database
            .clone()
            .ok_or_else(|| StoreError::Failed("it could not be opened again".to_owned()))
    }

    /// Closes the file and opens it again.
    fn open_again(&self) -> Result<(), StoreError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut database) = slot.take() {
            let patience = Instant::now() + READERS;
            // The file can be locked once: every reader has to be done.
            while let Err(shared) = Arc::try_unwrap(database) {
                database = shared;
                if Instant::now() > patience {
                    *slot = Some(database);
                    return Err(StoreError::Failed("a reader does not end".to_owned()));
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        let database = open(&self.path)?;
        prepare(&database)?;
        *slot = Some(Arc::new(database));
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let refused = |error: io::Error| StoreError::Failed(format!("{}: {error}", path.display()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(refused)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    let opened = |error: DatabaseError| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        // Both are redb's words for content; the others are the system's.
        DatabaseError::Storage(redb::StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            refused(error)
        }
        error => damaged(error.to_string()),
    };
    // A file of random bytes is an error and not a panic, as far as redb's tests go; beyond that
    // a damaged store must not take the server with it.
    let made = std::panic::catch_unwind(|| {
        let backend = FileBackend::new(file)?;
        Builder::new().set_cache_size(CACHE).create_with_backend(backend)
    });
    made.unwrap_or_else(|_| Err(redb::StorageError::Corrupted("it breaks off".to_owned()).into()))
        .map_err(opened)
}

/// Makes what has to be there; the last revision.
fn prepare(database: &Database) -> Result<Revision, StoreError> {
    let write = database.begin_write().map_err(failed)?;
    let newest = {
        write.open_table(ENTRIES).map_err(failed)?;
        let mut meta = write.open_table(META).map_err(failed)?;
        let number = |name: &str| -> Result<Option<u64>, StoreError> {
            Ok(meta.get(name).map_err(failed)?.map(|stored| stored.value()))
        };
        let (format, newest) = (number(FORMAT)?, number(REVISION)?.unwrap_or(0));
        match format {
            Some(CURRENT_FORMAT) => return Ok(Revision(newest)),
            Some(other) => {
                let reason =
                    format!("it has format {other}, and this version knows {CURRENT_FORMAT}");
                return Err(StoreError::Failed(reason));
            }
            None => meta.insert(FORMAT, CURRENT_FORMAT).map_err(failed)?,
        };
        newest
    };
    write.commit().map_err(failed)?;
    Ok(Revision(newest))
}

fn entry(stored: &[u8]) -> Result<Entry, StoreError> {
    let Some((revision, value)) = stored.split_first_chunk::<8>() else {
        return Err(StoreError::Failed("an entry has no revision".to_owned()));
    };
    Ok(Entry { value: value.into(), revision: Revision(u64::from_be_bytes(*revision)) })
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    ring: Arc<Ring>,
    jobs: mpsc::Receiver<Job>,
}

/// A commit's answer, and what it wrote.
type Done = Result<Batch, CommitError>;

impl Writer {
    fn run(mut self) {
        let mut jobs = Vec::with_capacity(TOGETHER);
        while self.jobs.blocking_recv_many(&mut jobs, TOGETHER) > 0 {
            // A client that gave up does not want it any more.
            jobs.retain(|job| !job.reply.is_closed());
            let txns: Vec<&Txn> = jobs.iter().map(|job| &job.txn).collect();
            let results = self.write(&txns).or_else(|_| {
                self.shared.open_again()?;
                self.write(&txns)
            });
            match results {
                Ok(results) => self.answer(jobs.drain(..).zip(results)),
                Err(error) => {
                    tracing::error!(%error, "the store does not write");
                    for job in jobs.drain(..) {
                        let _ = job.reply.send(Err(error.clone().into()));
                    }
                }
            }
        }
    }

    fn answer(&self, results: impl Iterator<Item = (Job, Done)>) {
        for (job, done) in results {
            let answer = done.map(|batch| {
                let revision = batch.revision;
                self.ring.push(batch);
                revision
            });
            let _ = job.reply.send(answer);
        }
    }

    /// Commits all whose conditions hold, each after those before it.
    fn write(&self, txns: &[&Txn]) -> Result<Vec<Done>, StoreError> {
        let database = self.shared.database()?;
        let mut write = database.begin_write().map_err(failed)?;
        write
            .set_durability(Durability::Immediate)
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let mut results = Vec::with_capacity(txns.len());
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            let mut table = write.open_table(ENTRIES).map_err(failed)?;
            let mut newest = meta.get(REVISION).map_err(failed)?.map_or(0, |stored| stored.value());
            for txn in txns {
                if let Some(key) = violated(&table, txn)? {
                    results.push(Err(CommitError::Conflict(key)));
                    continue;
                }
                newest += 1;
                let mut writes = Vec::with_capacity(txn.writes.len());
                for change in &txn.writes {
                    let is_done = match change {
                        Write::Put(key, value) => {
                            let stored = [&newest.to_be_bytes(), &**value].concat();
                            table.insert(key.as_str(), stored.as_slice()).map_err(failed)?;
                            true
                        }
                        Write::Delete(key) => table.remove(key.as_str()).map_err(failed)?.is_some(),
                    };
                    writes.extend(is_done.then(|| change.clone()));
                }
                results.push(Ok(Batch { revision: Revision(newest), writes }));
            }
            meta.insert(REVISION, newest).map_err(failed)?;
        }
        if results.iter().any(Result::is_ok) {
            write.commit().map_err(failed)?;
        } else {
            write.abort().map_err(failed)?;
        }
        Ok(results)
    }
}

/// The key of a condition that does not hold.
fn violated(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    txn: &Txn,
) -> Result<Option<String>, StoreError> {
    for (key, condition) in &txn.require {
        let found = table.get(key.as_str()).map_err(failed)?;
        let found = found.map(|stored| entry(stored.value())).transpose()?;
        let holds = match (condition, found) {
            (Require::Absent, None) => true,
            (Require::At(revision), Some(found)) => found.revision == *revision,
            (Require::Absent, Some(_)) | (Require::At(_), None) => false,
        };
        if !holds {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
