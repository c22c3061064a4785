use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use tokio::{runtime::Runtime, time::timeout};

use super::*;

/// Files under watch.
struct Watched {
    runtime: Runtime,
    watch: Watch,
}

impl Watched {
    fn new(paths: &[PathBuf]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let watch = runtime.block_on(async { Watch::new() }).unwrap();
        for path in paths {
            watch.follow(path);
        }
        Self { runtime, watch }
    }

    fn changed(&self, within: Duration) -> Option<BTreeSet<PathBuf>> {
        self.runtime.block_on(async { timeout(within, self.watch.changed()).await.ok() })
    }

    /// Waits for a change, follows the file as its reader does, and waits until nothing more
    /// comes.
    #[track_caller]
    fn expect(&self, path: &Path) {
        let mut change = self.changed(Duration::from_secs(5));
        assert!(change.is_some(), "no change");
        while let Some(paths) = change {
            assert!(paths.contains(path), "{paths:?}");
            self.watch.follow(path);
            change = self.changed(Duration::from_millis(300));
        }
    }

    #[track_caller]
    fn expect_nothing(&self) {
        assert_eq!(self.changed(Duration::from_millis(300)), None);
    }
}

fn list_in(dir: &Path) -> PathBuf {
    let path = dir.join("orders.list");
    fs::write(&path, "10.0.0.1\n").unwrap();
    path
}

#[test]
fn notices_a_write_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = list_in(dir.path());
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::write(&path, "10.0.0.2\n").unwrap();
    watched.expect(&path);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    watched.expect(&path);
}

#[test]
fn reading_is_no_change_nor_are_the_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let path = list_in(dir.path());
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::read(&path).unwrap();
    fs::write(dir.path().join("other"), "").unwrap();
    watched.expect_nothing();
}

#[test]
fn notices_a_rename_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = list_in(dir.path());
    let watched = Watched::new(std::slice::from_ref(&path));
    for _ in 0..2 {
        let new = dir.path().join(".orders.list.new");
        fs::write(&new, "10.0.0.2\n").unwrap();
        fs::rename(&new, &path).unwrap();
        watched.expect(&path);
    }
}

#[test]
fn notices_that_it_is_deleted_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = list_in(dir.path());
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::remove_file(&path).unwrap();
    watched.expect(&path);
    list_in(dir.path());
    watched.expect(&path);
}

#[test]
fn notices_that_its_directory_is_deleted_or_moved_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let lists = dir.path().join("etc/lists");
    fs::create_dir_all(&lists).unwrap();
    let path = list_in(&lists);
    let watched = Watched::new(std::slice::from_ref(&path));

    fs::remove_dir_all(dir.path().join("etc")).unwrap();
    watched.expect(&path);
    fs::create_dir_all(&lists).unwrap();
    list_in(&lists);
    watched.expect(&path);
    fs::write(&path, "10.0.0.3\n").unwrap();
    watched.expect(&path);

    fs::rename(&lists, dir.path().join("old")).unwrap();
    watched.expect(&path);
    fs::write(dir.path().join("old/orders.list"), "10.0.0.4\n").unwrap();
    watched.expect_nothing();
    fs::create_dir(&lists).unwrap();
    list_in(&lists);
    watched.expect(&path);
}

#[test]
fn notices_the_link_swap_of_kubernetes() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str| {
        let version = dir.path().join(name);
        fs::create_dir(&version).unwrap();
        list_in(&version);
    };
    version("..1");
    symlink("..1", dir.path().join("..data")).unwrap();
    let path = dir.path().join("orders.list");
    symlink("..data/orders.list", &path).unwrap();
    let watched = Watched::new(std::slice::from_ref(&path));
    for next in ["..2", "..3"] {
        version(next);
        symlink(next, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        watched.expect(&path);
        // The watch follows to the new target.
        fs::write(dir.path().join(next).join("orders.list"), "10.0.0.9\n").unwrap();
        watched.expect(&path);
    }
    fs::write(dir.path().join("..1/orders.list"), "10.0.0.9\n").unwrap();
    watched.expect_nothing();
}

#[test]
fn follows_links_into_other_directories() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let target = list_in(&dir.path().join("b"));
    symlink(&target, dir.path().join("a/link")).unwrap();
    symlink("../a", dir.path().join("c/dir")).unwrap();
    let path = dir.path().join("c/dir/link");
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::write(&target, "10.0.0.2\n").unwrap();
    watched.expect(&path);
    fs::remove_file(dir.path().join("c/dir")).unwrap();
    watched.expect(&path);
}

#[test]
fn tells_which_of_several() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let watched = Watched::new(&paths);
    for path in paths.iter().rev() {
        fs::write(path, "").unwrap();
        let changed = watched.changed(Duration::from_secs(5));
        assert_eq!(changed, Some(BTreeSet::from([path.clone()])));
        while watched.changed(Duration::from_millis(300)).is_some() {}
    }
}

#[test]
fn a_loop_of_links_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    symlink("b", &path).unwrap();
    symlink("a", dir.path().join("b")).unwrap();
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::remove_file(dir.path().join("b")).unwrap();
    watched.expect(&path);
}

#[test]
fn notices_that_a_directory_which_was_not_there_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let lists = dir.path().join("etc/lists");
    let path = lists.join("orders.list");
    let watched = Watched::new(std::slice::from_ref(&path));
    fs::create_dir_all(&lists).unwrap();
    watched.expect(&path);
    list_in(&lists);
    watched.expect(&path);
}

#[test]
fn what_is_not_wanted_is_not_watched() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| {
        fs::create_dir(dir.path().join(name)).unwrap();
        list_in(&dir.path().join(name))
    });
    let watched = Watched::new(&paths);
    watched.watch.retain(&BTreeSet::from([paths[0].clone()]));
    fs::write(&paths[1], "").unwrap();
    watched.expect_nothing();
    fs::write(&paths[0], "").unwrap();
    watched.expect(&paths[0]);
}
