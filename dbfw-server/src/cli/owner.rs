//! Files and directories that root makes for the server, which runs as another user.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::unistd::geteuid;

use crate::config::Config;

/// Makes the directories of the state and of the store, for their owner alone, unless they are there.
pub(super) fn make_directories(config: &Config) -> anyhow::Result<()> {
    let store = config.store.file();
    for path in [Some(&*config.state_dir), store.and_then(Path::parent)].into_iter().flatten() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

/// Gives the files of the store and the certificates to the owner of the state directory: systemd gives the
/// directory to the server's user, and does not look into it again.
pub(super) fn hand_over(config: &Config) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let tls = config.state_dir.join("tls");
    let mut paths: Vec<PathBuf> = vec![tls.clone()];
    paths.extend(config.store.files().into_iter().map(Path::to_owned));
    paths.extend(fs::read_dir(&tls).into_iter().flatten().flatten().map(|entry| entry.path()));
    let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid()));
    let (uid, gid) = owner(&config.state_dir)
        .with_context(|| format!("cannot look at {}", config.state_dir.display()))?;
    for path in paths.iter().filter(|path| path.starts_with(&config.state_dir)) {
        match lchown(path, Some(uid), Some(gid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot give {} away", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
