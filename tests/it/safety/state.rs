use std::{
    fs::{self, File},
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, listed, orders, problems},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};

/// TRUSTED4 by a list, FRIEND4 by the configuration.
fn configured<'a>(pair: &'a Pair) -> Host<'a> {
    let host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    host.configure(
        &interfaces(),
        &listed(&host, "max_shrink = \"off\"\ntrusted_sources = [\"ip_addr:10.77.0.3\"]"),
    );
    host
}

fn assert_answered(pair: &Pair, host: &Host<'_>, client: IpAddr) {
    host.wait(&format!("{client} to be answered"), |_| pair.reaches(client));
}

fn assert_refused(pair: &Pair, host: &Host<'_>, client: IpAddr) {
    assert!(!pair.reaches(client), "{client} was let in\n{}", host.log());
}

/// What can happen to a file.
fn damages(good: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut flipped = good.to_vec();
    // In the address 10.77.0.2, which is then another one.
    let at = good.windows(9).position(|window| window == b"10.77.0.2").expect("the address");
    flipped[at + 8] = b'9';
    [
        ("one character changed", flipped),
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("garbage", vec![0xff; 4096]),
    ]
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_nothing_of_it_is_in_force() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    host.stop(Signal::SIGTERM);
    let (snapshot, aside) =
        (host.path("state/snapshot.json"), host.path("state/snapshot.json.bad"));
    let good = fs::read(&snapshot).expect("the snapshot");
    fs::remove_file(host.path("orders.list")).expect("delete the list");
    for (what, damaged) in damages(&good) {
        host.dbfw(&["detach", "--yes"]);
        fs::write(&snapshot, &damaged).expect("damage the snapshot");
        host.start();
        assert_answered(&pair, &host, FRIEND4);
        assert_refused(&pair, &host, TRUSTED4);
        assert_refused(&pair, &host, STRANGER4);
        assert_eq!(fs::read(&aside).expect("it was set aside"), damaged, "{what}");
        let told = problems(&host);
        assert!(told.contains("snapshot.json.bad"), "{what}: the status names it: {told}");
        assert!(host.log().contains("snapshot.json.bad"), "{what}: the log names it");
        host.stop(Signal::SIGTERM);
        fs::remove_file(&aside).expect("remove what was set aside");
    }
    // The good one would have been used.
    fs::write(&snapshot, &good).expect("restore the snapshot");
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
}

#[test]
fn a_damaged_file_of_sources_trusted_by_hand_is_set_aside_and_nobody_of_it_trusted() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = [\"ip_addr:10.77.0.3\"]");
    host.start();
    let add = ["trust", "add", "ip_addr:10.77.0.2", "--database", "orders"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    host.stop(Signal::SIGTERM);
    let (file, aside) = (host.path("state/trust.json"), host.path("state/trust.json.bad"));
    let good = fs::read(&file).expect("the sources trusted by hand");
    for (what, damaged) in damages(&good).into_iter().skip(1) {
        fs::write(&file, &damaged).expect("damage the file");
        host.start();
        assert_answered(&pair, &host, FRIEND4);
        assert_refused(&pair, &host, TRUSTED4);
        assert_refused(&pair, &host, STRANGER4);
        assert_eq!(fs::read(&aside).expect("it was set aside"), damaged, "{what}");
        assert!(host.log().contains("trust.json.bad"), "{what}: the log names it");
        let told = problems(&host);
        assert!(told.contains("trust.json.bad"), "{what}: the status names it: {told}");
        host.stop(Signal::SIGTERM);
        fs::remove_file(&aside).expect("remove what was set aside");
    }
}

/// A file system over a directory, for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).expect("a directory to mount on");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .unwrap_or_else(|error| panic!("cannot mount over {}: {error}", path.display()));
        Self(path.to_owned())
    }

    fn read_only(path: &Path) -> Self {
        let mounted = Self::tmpfs(path, "size=64k,mode=750");
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, path, None::<&str>, flags, None::<&str>).expect("make it read-only");
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Fills a file system to the last byte; removing the file makes room again.
fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("ballast");
    let mut file = File::create(&path).expect("make the ballast");
    while file.write_all(&[0; 512]).is_ok() {}
    path
}

#[test]
fn a_full_disk_stops_neither_changes_nor_the_filter_and_is_told() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    let state = host.path("state");
    let _mounted = Mounted::tmpfs(&state, "size=64k,mode=750");
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    let ballast = fill(&state);

    host.replace("orders.list", "10.77.0.9\n");
    host.wait("the change to be in force", |_| !pair.reaches(TRUSTED4));
    assert_answered(&pair, &host, STRANGER4);
    host.wait("the status to tell", |host| problems(host).contains("snapshot.json"));
    assert!(host.log().contains("a restart would not know it"), "{}", host.log());

    // What a restart would not know must not be in force.
    let add = ["trust", "add", "ip_addr:10.77.0.2", "--database", "orders"];
    let output = host.dbfw(&add);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot remember it"), "{output:?}");
    assert_refused(&pair, &host, TRUSTED4);

    // The old snapshot is whole, and with room the new one is written.
    fs::remove_file(&ballast).expect("make room");
    host.wait("the status to be good again", |host| problems(host).is_empty());
    host.stop(Signal::SIGKILL);
    fs::remove_file(host.path("orders.list")).expect("delete the list");
    host.start();
    assert_answered(&pair, &host, STRANGER4);
    assert_refused(&pair, &host, TRUSTED4);
    host.stop(Signal::SIGTERM);
}

/// Since when the configuration in force is, to the second.
fn config_since(host: &Host<'_>) -> String {
    let status = host.json(&["status"]).expect("a status");
    status["agent"]["config_since"].as_str().expect("a time")[..19].to_owned()
}

#[test]
fn a_configuration_that_a_full_disk_keeps_out_is_told_and_no_restart_says_what_is_false() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let sources = |source: &str| orders(&format!("trusted_sources = [\"ip_addr:{source}\"]\n"));
    host.configure(&interfaces(), &sources("10.77.0.2"));
    let state = host.path("state");
    let _mounted = Mounted::tmpfs(&state, "size=64k,mode=750");
    host.start();
    host.wait("the last good configuration", |_| state.join("config.json").exists());
    let first = config_since(&host);
    let ballast = fill(&state);
    std::thread::sleep(std::time::Duration::from_millis(1100));

    host.configure(&interfaces(), &sources("10.77.0.9"));
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    assert_answered(&pair, &host, STRANGER4);
    let restart = format!("a restart with a bad file would use the configuration of {first}");
    host.wait("the status to tell", |host| problems(host).contains(&restart));
    let second = config_since(&host);
    assert_ne!(first, second);
    let told =
        |host: &Host<'_>| host.log().matches("the configuration in force is not on disk").count();
    host.wait("some tries", |host| {
        host.json(&["status"]).is_some() && host.log().contains(&restart)
    });
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(told(&host), 1, "once while it lasts: {}", host.log());

    // The files on disk are what was in force: since then, however the agent ended.
    for end in [Signal::SIGKILL, Signal::SIGTERM] {
        host.stop(end);
        host.start();
        assert_eq!(config_since(&host), second);
        assert_answered(&pair, &host, STRANGER4);
        host.wait("the status to tell", |host| problems(host).contains(&restart));
    }
    // A bad file: the one before, and it is said which.
    host.stop(Signal::SIGKILL);
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &(good.clone() + "ports_ = 1\n"));
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    let told = problems(&host);
    assert!(told.contains("was not written to config.json"), "{told}");
    assert!(told.contains(&second) && told.contains(&first), "{told}");
    assert!(![first.clone(), second.clone()].contains(&config_since(&host)), "since the start");

    // With room it is written, and nothing is wrong.
    fs::remove_file(&ballast).expect("make room");
    host.replace("dbfw.toml", &good);
    host.wait("the good file to be taken", |_| pair.reaches(STRANGER4));
    host.wait("it to be on disk", |_| {
        fs::read_to_string(state.join("config.json")).is_ok_and(|text| text.contains("10.77.0.9"))
    });
    let third = config_since(&host);
    host.stop(Signal::SIGKILL);
    host.start();
    assert_eq!(config_since(&host), third);
    host.wait("the status to be good again", |host| problems(host).is_empty());
    let names = fs::read_dir(&state).expect("the directory").flatten();
    let copies = names.filter(|entry| entry.file_name().to_string_lossy().starts_with("config"));
    assert_eq!(copies.count(), 1, "one copy is left");
    host.stop(Signal::SIGTERM);
}

#[test]
fn files_put_back_behind_a_full_disk_are_told() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let of = |mode: &str| {
        orders(&format!("mode = \"{mode}\"\ntrusted_sources = [\"ip_addr:10.77.0.2\"]\n"))
    };
    for (first, second, is_open, change) in [
        ("enforce", "observe", false, "orders: observe → enforce: tcp/5432 is closed"),
        ("observe", "enforce", true, "orders: enforce → observe: tcp/5432 is open to everyone"),
    ] {
        host.configure(&interfaces(), &of(first));
        let state = host.path("state");
        let _mounted = Mounted::tmpfs(&state, "size=64k,mode=750");
        host.start();
        host.wait("the last good configuration", |_| state.join("config.json").exists());
        let ballast = fill(&state);
        host.configure(&interfaces(), &of(second));
        assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
        host.wait("the status to tell", |host| problems(host).contains("a restart with a bad"));
        host.stop(Signal::SIGKILL);
        fs::remove_file(&ballast).expect("make room");
        host.configure(&interfaces(), &of(first));
        host.start();
        assert_eq!(pair.reaches(STRANGER4), is_open);
        host.stop(Signal::SIGTERM);
        let log = host.log();
        let history = host.dbfw(&["history", "-o", "plain"]);
        let history = String::from_utf8_lossy(&history.stdout).into_owned();
        for text in [&log, &history] {
            assert!(text.contains("is not in force any more"), "{text}");
            assert!(text.contains(change), "{change}: {text}");
        }
    }
}

#[test]
fn a_change_that_may_be_older_than_a_start_is_told_as_such() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let of = |mode: &str, source: &str| {
        orders(&format!("mode = \"{mode}\"\ntrusted_sources = [\"ip_addr:{source}\"]\n"))
    };
    host.configure(&interfaces(), &of("enforce", "10.77.0.2"));
    let state = host.path("state");
    let _mounted = Mounted::tmpfs(&state, "size=64k,mode=750");
    host.start();
    host.wait("the last good configuration", |_| state.join("config.json").exists());
    fill(&state);
    host.configure(&interfaces(), &of("enforce", "10.77.0.3"));
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    host.wait("the status to tell", |host| problems(host).contains("a restart with a bad file"));
    let second = config_since(&host);
    host.stop(Signal::SIGKILL);
    // As after a reboot: the maps, which know what was in force, are gone.
    fs::remove_dir_all(host.pins()).expect("the pins");
    host.configure(&interfaces(), &of("observe", "10.77.0.3"));
    host.start();
    assert_answered(&pair, &host, STRANGER4);
    let told = format!(
        "tcp/5432 is open to everyone (by this start, or by the configuration that came in force \
         at {second}"
    );
    host.wait(&told, |host| host.log().contains(&told));
    host.stop(Signal::SIGTERM);
}

#[test]
fn a_configuration_is_written_also_if_the_snapshot_cannot_be() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    let config = host.path("state/config.json");
    host.wait("the last good configuration", |_| config.exists());
    fs::create_dir(host.path("state/.new-snapshot.json")).expect("block the snapshot");
    let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &text.replace("10.77.0.3", "10.77.0.9"));
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    host.wait("it to be on disk", |_| {
        fs::read_to_string(&config).is_ok_and(|text| text.contains("10.77.0.9"))
    });
    let told = problems(&host);
    assert!(told.contains("cannot write the snapshot"), "{told}");
    assert!(!told.contains("cannot write the configuration"), "{told}");
    fs::remove_dir(host.path("state/.new-snapshot.json")).expect("unblock the snapshot");
    host.wait("nothing to be wrong", |host| problems(host).is_empty());
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_and_the_filter_works() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    let _mounted = Mounted::read_only(&host.path("state"));
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    let told = problems(&host);
    assert!(told.contains("cannot write the snapshot"), "{told}");
    host.stop(Signal::SIGTERM);
}

#[test]
fn a_run_directory_that_cannot_be_written_is_told_and_the_filter_works() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    let run = host.path("run");
    let _mounted = Mounted::read_only(&run);
    host.spawn();
    host.wait_for_log("ready: ");
    let log = host.log();
    assert!(log.contains("there is no control socket"), "{log}");
    assert!(log.contains(&run.display().to_string()), "it names the directory: {log}");
    assert!(log.contains("Read-only file system"), "it says why: {log}");
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    host.stop(Signal::SIGTERM);
}

#[test]
fn a_state_directory_of_others_is_refused_and_the_filter_goes_on() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    host.stop(Signal::SIGTERM);
    let (state, trust) = (host.path("state"), host.path("state/trust.json"));
    let planted = r#"[{"database":"orders","source":{"type":"ip_addr","value":"10.77.0.9"},
        "added_at":"2026-01-01T00:00:00Z"}]"#;
    fs::write(&trust, planted).expect("plant a trusted source");
    for (owner, mode, reason) in [
        (65534, 0o777, "uid 65534"),
        (65534, 0o700, "uid 65534"),
        (0, 0o777, "is writable by others (mode 0777)"),
        (0, 0o1777, "is writable by others (mode 1777)"),
        (0, 0o770, "is writable by others (mode 0770)"),
    ] {
        chown(&state, Some(owner), None).expect("give it away");
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).expect("change its mode");
        host.spawn();
        assert_eq!(host.ended(), Some(1), "{}", host.log());
        let log = host.log();
        let told = log.lines().find(|line| line.contains("state_dir")).unwrap_or_default();
        assert!(told.contains(reason), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("goes on filtering by the last policy"), "{log}");
        let doctor = String::from_utf8(host.dbfw(&["doctor"]).stdout).expect("text");
        assert!(doctor.contains(reason), "{doctor}");
        assert_answered(&pair, &host, TRUSTED4);
        assert_refused(&pair, &host, STRANGER4);
        fs::write(host.path("agent.log"), "").expect("empty the log");
    }
    // After a reboot nothing filters, and the last line says so.
    fs::remove_dir_all(host.pins().parent().expect("a pin directory")).expect("remove the pins");
    host.spawn();
    assert_eq!(host.ended(), Some(1), "{}", host.log());
    let log = host.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("the ports of the databases are OPEN to everyone"), "{log}");
    host.wait("the port to be open, as it says", |_| pair.reaches(STRANGER4));
    // As the message says. What was planted is root's file: only root could have written it.
    chown(&state, Some(0), None).expect("take it back");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o750)).expect("close it");
    chown(&trust, Some(65534), None).expect("as if it had been planted");
    host.start();
    assert!(problems(&host).contains("trust.json.bad"), "{}", problems(&host));
    assert_refused(&pair, &host, STRANGER4);
    assert_answered(&pair, &host, TRUSTED4);
}

#[test]
fn root_writes_nothing_through_a_link_in_the_state_directory() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    let (state, victim) = (host.path("state"), host.path("victim"));
    fs::create_dir(&state).expect("make the state directory");
    fs::write(&victim, "precious").expect("write the victim");
    let files =
        ["history.log", "snapshot.json", "trust.json", "config.json", "refused.json", "audit.log"];
    for name in files.into_iter().flat_map(|name| [name.to_owned(), format!(".new-{name}")]) {
        symlink(&victim, state.join(name)).expect("plant a link");
    }
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    let add = ["trust", "add", "ip_addr:10.77.0.9", "--database", "orders"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    host.wait("the history's link to be told", |host| {
        problems(host).contains("it is a symbolic link")
    });
    host.stop(Signal::SIGTERM);
    assert_eq!(fs::read_to_string(&victim).expect("the victim"), "precious");
    assert!(!fs::symlink_metadata(state.join("snapshot.json")).expect("stat").is_symlink());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    // A file is in the way.
    fs::write(host.path("state"), "").expect("a file");
    host.spawn();
    assert_eq!(host.ended(), Some(1), "{}", host.log());
    let state = host.path("state").display().to_string();
    assert!(host.log().contains(&format!("cannot make {state}")), "{}", host.log());
}

#[test]
fn without_a_snapshot_and_without_the_list_what_the_maps_hold_stays_in_force() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    host.stop(Signal::SIGTERM);
    fs::write(host.path("state/snapshot.json"), "{").expect("damage the snapshot");
    fs::remove_file(host.path("orders.list")).expect("delete the list");
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    assert_answered(&pair, &host, FRIEND4);
    assert_refused(&pair, &host, STRANGER4);
    assert!(host.log().contains("what the maps hold stays in force"), "{}", host.log());
    assert!(problems(&host).contains("set aside"), "{}", problems(&host));
    host.replace("orders.list", "10.77.0.9\n");
    assert_answered(&pair, &host, STRANGER4);
}

#[test]
fn without_a_snapshot_an_empty_list_is_refused_as_with_one() {
    let pair = Pair::new();
    let mut host = configured(&pair);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    host.stop(Signal::SIGTERM);
    fs::remove_file(host.path("state/snapshot.json")).expect("remove the snapshot");
    host.replace("orders.list", "");
    host.start();
    assert!(problems(&host).contains("empty list"), "{}", problems(&host));
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
}

/// The agent has given up the right to read other users' files.
#[test]
fn a_file_of_sources_by_hand_that_may_not_be_read_is_kept_and_read_later() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]\n"));
    host.start();
    let trust = |host: &Host<'_>, words: &[&str], source: IpAddr| {
        let source = format!("ip_addr:{source}");
        host.dbfw(&[&["trust"], words, &[&*source, "-d", "orders"]].concat())
    };
    for client in [FRIEND4, STRANGER4] {
        assert!(trust(&host, &["add"], client).status.success());
    }
    host.wait("both to be let in", |_| pair.reaches(FRIEND4) && pair.reaches(STRANGER4));
    host.stop(Signal::SIGTERM);
    let (file, copy) = (host.path("state/trust.json"), host.path("run/trust.json"));
    let content = fs::read_to_string(&file).expect("the sources");
    chown(&file, Some(65534), None).expect("give it away");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("close it");
    host.start();
    assert!(problems(&host).contains("trust.json: Permission denied"), "{}", problems(&host));
    host.wait("the copy to count", |_| pair.reaches(FRIEND4) && pair.reaches(STRANGER4));
    // Nothing is added meanwhile, and what is removed stays removed.
    let refused = trust(&host, &["add"], TRUSTED4);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(trust(&host, &["rm"], STRANGER4).status.success());
    host.wait("it to be cut", |_| !pair.reaches(STRANGER4));
    assert_eq!(fs::read_to_string(&file).expect("the sources"), content, "it is not written");
    assert!(fs::read_to_string(&copy).expect("the copy").contains(&FRIEND4.to_string()));
    chown(&file, Some(0), None).expect("take it back");
    host.wait("nothing to be wrong", |host| !problems(host).contains("trust.json"));
    host.wait("the removal to be written", |_| {
        fs::read_to_string(&file).is_ok_and(|text| !text.contains(&STRANGER4.to_string()))
    });
    assert!(pair.reaches(FRIEND4) && !pair.reaches(STRANGER4), "{}", host.log());
    assert!(trust(&host, &["add"], STRANGER4).status.success());
}
