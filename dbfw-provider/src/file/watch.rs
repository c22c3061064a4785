//! Watching files for changes with inotify.
//!
//! Directories are watched, not files: editors and configuration management replace a file by a
//! rename, Kubernetes swaps a symbolic link beside it. All links on the way to a file are
//! followed, again whenever it is read. What inotify does not tell (network file systems, a
//! directory that is not there yet, a rename further up) is for the caller to find by looking.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    path::{Component, Path, PathBuf},
    sync::Mutex,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use tokio::io::unix::AsyncFd;

use crate::lock::lock;

/// Symbolic links followed for one path before it counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Times the way to a file is followed again while it keeps changing.
const MAX_ROUNDS: usize = 8;

/// A watch over the files that are followed.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<Descriptor>,
    followed: Mutex<Followed>,
}

#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The files that are followed, and the kernel's watches for them.
#[derive(Debug, Default)]
struct Followed {
    trails: BTreeMap<PathBuf, LinkChain>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
}

impl Watch {
    /// A watch that follows no file yet.
    ///
    /// # Errors
    /// The system has no inotify instance left, or there is no runtime.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // SAFETY: `Descriptor` owns its descriptor, the same one for as long as it lives.
        let inotify = unsafe { AsyncFd::register(Descriptor(inotify)) }?;
        Ok(Self { inotify, followed: Mutex::default() })
    }

    /// Watches the directories on the way to a file, as it is now. Blocks. Read the file after
    /// this, not before: what changes in between is then not missed.
    pub(super) fn follow(&self, path: &Path) {
        let Ok(absolute) = std::path::absolute(path) else { return };
        for _ in 0..MAX_ROUNDS {
            let trail = LinkChain::of(&absolute);
            let mut followed = lock(&self.followed);
            let is_new = self.add(&mut followed, &trail);
            followed.trails.insert(path.to_owned(), trail);
            self.remove_unused(&mut followed);
            if !is_new {
                return;
            }
        }
    }

    /// Ends the watch of every other file.
    pub(super) fn retain(&self, paths: &BTreeSet<PathBuf>) {
        let mut followed = lock(&self.followed);
        followed.trails.retain(|path, _| paths.contains(path));
        self.remove_unused(&mut followed);
    }

    /// Waits until something happens that may have changed files; those files.
    pub(super) async fn changed(&self) -> BTreeSet<PathBuf> {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                return std::future::pending().await;
            };
            let events = match self.inotify.get_ref().0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                // Nothing more will be told: the caller looks by itself.
                Err(_) => return std::future::pending().await,
            };
            let followed = lock(&self.followed);
            let mut changed = BTreeSet::new();
            for event in events.iter().filter(|e| !e.mask.contains(AddWatchFlags::IN_IGNORED)) {
                let about =
                    |trail: &LinkChain| event.name.as_deref().is_none_or(|n| trail.may_concern(n));
                let files = followed.trails.iter().filter(|(_, trail)| about(trail));
                changed.extend(files.map(|(path, _)| path.clone()));
            }
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Watches the directories of a trail; whether one was not watched before.
    fn add(&self, followed: &mut Followed, trail: &LinkChain) -> bool {
        // Opening, reading and a write that is under way change nothing.
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let mut is_new = false;
        for directory in &trail.directories {
            // One that was made again under its name has another descriptor.
            match self.inotify.get_ref().0.add_watch(directory, changes) {
                Ok(descriptor) => {
                    let known = followed.watched.insert(directory.clone(), descriptor);
                    is_new |= known != Some(descriptor);
                }
                Err(error) => {
                    let directory = directory.display();
                    tracing::debug!(%directory, %error, "cannot watch; looking every second");
                }
            }
        }
        is_new
    }

    fn remove_unused(&self, followed: &mut Followed) {
        let used: BTreeSet<&PathBuf> =
            followed.trails.values().flat_map(|trail| &trail.directories).collect();
        followed.watched.retain(|directory, descriptor| {
            let is_used = used.contains(directory);
            if !is_used {
                // Fails if the directory is gone, and the watch with it.
                let _ = self.inotify.get_ref().0.rm_watch(*descriptor);
            }
            is_used
        });
    }
}

/// The way to a file through symbolic links, in paths without links.
#[derive(Debug, Default, PartialEq, Eq)]
struct LinkChain {
    /// The links and what they lead to in the end: a change of any of these is a change of
    /// the file.
    entries: BTreeSet<PathBuf>,
    /// The directories they are in.
    directories: BTreeSet<PathBuf>,
}

impl LinkChain {
    /// Whether an event about this name can be about the file.
    fn may_concern(&self, name: &OsStr) -> bool {
        let mut paths = self.entries.iter().chain(&self.directories);
        paths.any(|path| path.file_name() == Some(name))
    }

    /// Follows `path`, which is absolute, as far as it exists.
    fn of(path: &Path) -> Self {
        let mut trail = Self::default();
        let mut here = PathBuf::from("/");
        let mut ahead = Vec::new();
        push_components(&mut ahead, path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                here.pop();
                continue;
            }
            let entry = here.join(&name);
            let target = fs::read_link(&entry);
            let missing = matches!(&target, Err(e) if e.kind() == io::ErrorKind::NotFound);
            if target.is_err() && !missing && !ahead.is_empty() {
                here = entry;
                continue;
            }
            trail.entries.insert(entry);
            trail.directories.insert(here.clone());
            match target {
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    push_components(&mut ahead, &target);
                }
                _ => break,
            }
        }
        trail
    }
}

/// Every directory that is searched on the way to a file whose path is absolute, through
/// symbolic links.
pub fn directories_to(path: &Path) -> BTreeSet<PathBuf> {
    let trail = LinkChain::of(path);
    trail.directories.iter().flat_map(|path| path.ancestors()).map(Path::to_owned).collect()
}

/// Puts the components of `path` on the stack, the first on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    stack.extend(components);
}

#[cfg(test)]
mod tests;
