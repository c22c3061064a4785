//! Noticing that a file may have changed.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};

use super::ProviderError;

/// Symbolic links followed for one path before it counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Times the way to the files is followed anew while it keeps changing.
const MAX_ROUNDS: usize = 8;

/// Calls `on_change` with one of `paths` whenever its content may have changed.
///
/// Directories are watched, not files: editors and configuration management replace a file
/// by a rename, Kubernetes swaps a symbolic link beside it. All links on the way to the file
/// are followed, again after each change. It calls too often rather than too seldom, several
/// times for one change; what changed is for the caller to find out.
///
/// Read the files after this returns, not before: what changes in between is then not
/// missed. The directory of each path must exist. One that is removed later is picked up when it
/// comes back. What inotify does not tell (network file systems, a rename of a directory
/// further up) is not noticed.
pub fn watch(
    paths: &[PathBuf],
    on_change: impl Fn(PathBuf) + Send + 'static,
) -> Result<Watcher, ProviderError> {
    let (sender, receiver) = mpsc::channel();
    let events = sender.clone();
    let first = paths.first().map_or(Path::new("/"), PathBuf::as_path);
    let watcher = notify::recommended_watcher(move |event| {
        if is_change(&event) {
            // Fails only when the thread is gone, and nobody listens.
            let _ = events.send(Message::Event(event));
        }
    })
    .map_err(|source| failed(first.to_path_buf(), source))?;

    let mut files = Vec::new();
    for path in paths {
        let absolute = std::path::absolute(path)
            .map_err(|source| ProviderError::io(path.to_path_buf(), source))?;
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        let metadata = fs::metadata(directory)
            .map_err(|source| ProviderError::io(directory.to_path_buf(), source))?;
        if !metadata.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(ProviderError::io(directory.to_path_buf(), source));
        }
        files.push(File { given: path.clone(), absolute, trail: Trail::default() });
    }
    let mut state = State { watcher, watched: BTreeSet::new(), files };
    state.settle().map_err(|(directory, source)| failed(directory, source))?;

    thread::Builder::new()
        .name("dbfw-watch".to_owned())
        .spawn(move || state.run(&receiver, on_change))
        .map_err(|source| ProviderError::io(first.to_path_buf(), source))?;
    Ok(Watcher { sender })
}

fn failed(path: PathBuf, error: notify::Error) -> ProviderError {
    match error.kind {
        ErrorKind::PathNotFound => ProviderError::NotFound { path },
        ErrorKind::Io(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            ProviderError::Permission { path }
        }
        _ => ProviderError::Watch { path, source: error },
    }
}

/// A watch begun with [`watch`]. It ends when this is dropped; a call that is under way then
/// is not waited for.
#[derive(Debug)]
pub struct Watcher {
    sender: Sender<Message>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails only when the thread is gone already.
        let _ = self.sender.send(Message::Stop);
    }
}

#[derive(Debug)]
enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// Opening and reading, our own for instance, changes nothing.
fn is_change(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        },
        Err(_) => true,
    }
}

#[derive(Debug)]
struct File {
    given: PathBuf,
    absolute: PathBuf,
    trail: Trail,
}

/// The way to a file through symbolic links, in paths without links.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trail {
    /// The links and what they lead to in the end: a change of any of these is a change of
    /// the file.
    entries: BTreeSet<PathBuf>,
    /// The directories they are in.
    directories: BTreeSet<PathBuf>,
}

impl Trail {
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
    let trail = Trail::of(path);
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

/// What the thread works with.
#[derive(Debug)]
struct State {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    files: Vec<File>,
}

impl State {
    fn run(mut self, messages: &Receiver<Message>, on_change: impl Fn(PathBuf)) {
        while let Ok(Message::Event(event)) = messages.recv() {
            let concerned = match &event {
                Ok(event) if !event.need_rescan() => self.concerned(event),
                // Events were lost: any file may have changed.
                _ => (0..self.files.len()).collect(),
            };
            if concerned.is_empty() {
                continue;
            }
            // Before the caller is told: what happens from now on is either seen by the new
            // watches or already in what the caller reads.
            if let Err((directory, error)) = self.settle() {
                tracing::warn!(
                    directory = %directory.display(),
                    %error,
                    "changes of a list may go unnoticed: the directory cannot be watched"
                );
            }
            for &i in &concerned {
                on_change(self.files[i].given.clone());
            }
        }
    }

    /// The files an event may be about.
    fn concerned(&mut self, event: &Event) -> Vec<usize> {
        let gone =
            matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        for path in &event.paths {
            // A directory that is removed or moved away takes its watch along, and may come
            // back under the same name.
            if gone && self.watched.remove(path) {
                let _ = self.watcher.unwatch(path);
            }
        }
        let concerns = |file: &File| {
            event.paths.iter().any(|path| {
                file.trail.entries.contains(path) || file.trail.directories.contains(path)
            })
        };
        let files = self.files.iter().enumerate();
        files.filter(|(_, file)| concerns(file)).map(|(i, _)| i).collect()
    }

    /// Follows the files' trails until every directory on them is watched, and nothing
    /// changed on the way while the watches were being set up.
    fn settle(&mut self) -> Result<(), (PathBuf, notify::Error)> {
        let mut result = Ok(());
        for _ in 0..MAX_ROUNDS {
            for file in &mut self.files {
                file.trail = Trail::of(&file.absolute);
            }
            match self.sync() {
                Ok(false) => return Ok(()),
                Ok(true) => result = Ok(()),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Watches exactly the directories of the trails. True: there were new ones.
    fn sync(&mut self) -> Result<bool, (PathBuf, notify::Error)> {
        let wanted: BTreeSet<PathBuf> =
            self.files.iter().flat_map(|file| file.trail.directories.iter().cloned()).collect();
        for directory in self.watched.difference(&wanted) {
            // It may have gone with the directory.
            let _ = self.watcher.unwatch(directory);
        }
        self.watched.retain(|directory| wanted.contains(directory));
        let mut result = Ok(false);
        for directory in wanted {
            if self.watched.contains(&directory) {
                continue;
            }
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory);
                    result = result.map(|_| true);
                }
                Err(error) => result = Err((directory, error)),
            }
        }
        result
    }
}

#[cfg(test)]
mod tests;
