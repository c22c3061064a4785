//! Lists of trusted sources in files.
//!
//! A file is read off the loop's thread, when it is wanted and whenever it may have changed:
//! inotify tells within milliseconds, and a look at every file once a second finds the rest.

mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dbfw_core::{
    answers::{Cause, FetchError, ListId, ListOutcome, SourceList},
    toml::{Problem, Problems},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use tokio::task::spawn_blocking;

use self::watch::Watch;
pub use self::watch::directories_to;
use crate::{
    backoff::Backoff,
    fs::{Stamp, read_file},
    list,
    poller::{self, Task, Wanted},
    worker::{Demand, Mailbox, Report},
};

/// Bytes a list may have.
pub const MAX_BYTES: u64 = 64 << 20;

/// Time between two readings of a file that does not change: changes are noticed otherwise.
const UNCHANGED: Duration = Duration::from_secs(24 * 3600);

/// A worker that keeps lists in files fresh.
#[derive(Debug, Default)]
pub struct Files {
    /// `None`: inotify cannot be had.
    watch: Option<Arc<Watch>>,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Default)]
struct File {
    /// The file just before it was last read.
    stamp: Option<Stamp>,
    outcome: Option<ListOutcome>,
}

/// A file that was looked at, and read if it may have changed.
#[derive(Debug)]
pub(crate) struct Reading {
    stamp: Stamp,
    /// `None`: it is the same as before.
    list: Option<Result<SourceList, FetchError>>,
}

impl Files {
    /// A worker that has read nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(mut self, mailbox: Mailbox) {
        match Watch::new() {
            Ok(watch) => self.watch = Some(Arc::new(watch)),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "changes of lists are noticed within a second, not at once: raise \
                     fs.inotify.max_user_instances"
                );
            }
        }
        poller::run(self, mailbox).await;
    }
}

impl Task for Files {
    type Key = PathBuf;
    type Reply = Option<Reading>;

    fn want(&mut self, demand: &Demand) -> Wanted<PathBuf> {
        let path = |list: &ListId| match list {
            ListId::File(path) => Some(path.clone()),
            ListId::DigitalOcean(_) | ListId::Aptible(_) | ListId::Server(_) => None,
        };
        let all: BTreeSet<PathBuf> = demand.lists.iter().filter_map(path).collect();
        self.files.retain(|path, _| all.contains(path));
        for path in &all {
            self.files.entry(path.clone()).or_default();
        }
        if let Some(watch) = &self.watch {
            watch.retain(&all);
        }
        Wanted { all, ..Wanted::default() }
    }

    fn ask(&mut self, path: &PathBuf) -> BoxFuture<'static, Option<Reading>> {
        let (path, watch) = (path.clone(), self.watch.clone());
        let known = self.files.get(&path).filter(|file| file.outcome.is_some());
        let stamp = known.and_then(|file| file.stamp);
        let read = spawn_blocking(move || {
            if let Some(watch) = watch {
                watch.follow(&path);
            }
            let now = Stamp::of(&path);
            let is_same = stamp.is_some_and(|stamp| stamp.proves_unchanged(&now));
            Reading { stamp: now, list: (!is_same).then(|| read(&path)) }
        });
        // Fails only if reading panicked: the file is read again at the next look.
        read.map(Result::ok).boxed()
    }

    fn handle_reply(
        &mut self,
        path: &PathBuf,
        reading: Option<Reading>,
        _: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        let file = self.files.entry(path.clone()).or_default();
        if let Some(Reading { stamp, list }) = reading {
            file.stamp = Some(stamp);
            match list {
                Some(Ok(list)) => file.outcome = Some(list.into()),
                Some(Err(error)) => {
                    if error.cause == Cause::Io {
                        // Descriptors or memory ran out: that passes, and does not show at the file.
                        file.stamp = None;
                    }
                    file.outcome = Some(ListOutcome::Failed(error));
                }
                None => {}
            }
        }
        let list = ListId::File(path.clone());
        let report = |outcome: &ListOutcome| Report::List { list, outcome: outcome.clone() };
        (file.outcome.as_ref().map(report).into_iter().collect(), UNCHANGED)
    }

    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<PathBuf>>> {
        let files: Vec<(PathBuf, Option<Stamp>)> =
            self.files.iter().map(|(path, file)| (path.clone(), file.stamp)).collect();
        let changed = move || {
            let changed = |(path, stamp): &(PathBuf, Option<Stamp>)| {
                stamp.is_none_or(|stamp| !stamp.proves_unchanged(&Stamp::of(path)))
            };
            files.into_iter().filter(changed).map(|(path, _)| path).collect()
        };
        Some(spawn_blocking(changed).map(Result::unwrap_or_default).boxed())
    }

    fn events(&mut self) -> BoxFuture<'static, BTreeSet<PathBuf>> {
        match self.watch.clone() {
            Some(watch) => async move { watch.changed().await }.boxed(),
            None => pending().boxed(),
        }
    }
}

/// The text of a list as it is now.
///
/// # Errors
/// It cannot be read, or it is too large.
pub fn text(path: &Path) -> Result<Vec<u8>, FetchError> {
    read_file(path, MAX_BYTES).map_err(|error| {
        error.of_list(
            "list",
            &path.display().to_string(),
            "create it, or change the path of the provider",
            "summarise addresses as CIDRs, or split the list",
        )
    })
}

/// The list as it is now: all of it, or an error.
fn read(path: &Path) -> Result<SourceList, FetchError> {
    list::parse(path, &text(path)?).map_err(|Problems(problems)| {
        let reasons: Vec<String> = problems.iter().map(Problem::within_file).collect();
        FetchError::new(Cause::Invalid, reasons.join("\n")).about(path.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    fn list_in(dir: &Path) -> PathBuf {
        let path = dir.join("orders.list");
        fs::write(&path, "10.0.0.1\n").unwrap();
        path
    }

    #[tokio::test]
    async fn what_the_system_could_not_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = list_in(dir.path());
        let mut files = Files::new();
        files.want(&Demand { lists: [ListId::File(path.clone())].into(), ..Demand::default() });
        // So long that a change of the file would show.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let settled = Stamp::of(&path);
        for (cause, again) in [(Cause::Io, true), (Cause::Invalid, false), (Cause::NotFound, false)]
        {
            let error = FetchError::new(cause, "no");
            let reading = Reading { stamp: settled, list: Some(Err(error)) };
            files.handle_reply(&path, Some(reading), &mut Backoff::default());
            assert_eq!(!files.look().unwrap().await.is_empty(), again, "{cause:?}");
            let asked = files.ask(&path).await.unwrap();
            assert_eq!(asked.list.is_some(), again, "{cause:?}");
        }
    }

    #[test]
    fn reads_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = list_in(dir.path());
        let SourceList { sources, .. } = read(&path).unwrap();
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].to_string(), "ip_addr:10.0.0.1");
    }

    #[test]
    fn says_why_it_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = read(&missing).unwrap_err();
        assert_eq!(error.cause, Cause::NotFound);
        assert_eq!(
            error.to_string(),
            format!(
                "the list does not exist: create it, or change the path of the provider ({})",
                missing.display()
            )
        );

        let error = read(dir.path()).unwrap_err();
        assert_eq!(error.cause, Cause::Invalid);
        assert!(error.to_string().contains("is not a regular file"), "{error}");

        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read(&pipe).unwrap_err().cause, Cause::Invalid);
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().cause, Cause::Invalid);

        let path = list_in(dir.path());
        let below = path.join("below");
        assert_eq!(read(&below).unwrap_err().cause, Cause::Io);

        fs::write(&path, "10.0.0.1\nnonsense\n").unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.cause, Cause::Invalid);
        assert!(error.to_string().contains("line 2: "), "{error}");

        fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.cause, Cause::TooLarge);
        assert!(error.to_string().contains("is larger than 67108864 bytes"), "{error}");

        fs::write(&path, "10.0.0.1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        // Root reads it all the same.
        if fs::File::open(&path).is_err() {
            assert_eq!(read(&path).unwrap_err().cause, Cause::Permission);
        }
    }
}
