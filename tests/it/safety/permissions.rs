use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use dbfw_tests::{
    agent::Host,
    netns::finish,
    pair::{Pair, STRANGER4, TRUSTED4, database, interfaces, list_state, listed, orders},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cli::group::DbfwGroup;

/// Nobody, and its group.
const OTHER: u32 = 65534;

/// Gives a file to a user and group, with a mode.
fn give(path: &Path, owner: u32, group: u32, mode: u32) {
    chown(path, Some(owner), Some(group)).expect("give it away");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set its mode");
}

/// What doctor says of the files, as state and fix.
fn files(host: &Host<'_>) -> Vec<(String, Option<String>)> {
    let found = host.json(&["doctor"]).expect("doctor prints JSON");
    let found = found["findings"].as_array().expect("findings");
    let found = found.iter().filter(|finding| finding["check"] == "files");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    found.map(|f| (text(&f["state"]).expect("a state"), text(&f["fix"]))).collect()
}

/// Applies what doctor says about the one file that it finds fault with.
fn mend(host: &Host<'_>, state: &str) {
    let found = files(host);
    let [(found, Some(fix))] = &found[..] else { panic!("one file is unreadable: {found:?}") };
    assert_eq!(found, state);
    finish(Command::new("sh").args(["-c", fix]));
    assert_eq!(files(host), [("ok".to_owned(), None)], "after: {fix}");
}

#[test]
fn a_list_that_the_agent_may_not_read_is_stale_from_the_start_and_the_advice_mends_it() {
    let group = DbfwGroup::new();
    for (directory, list) in [
        ((0, 0, 0o755), (OTHER, OTHER, 0o600)),
        ((OTHER, OTHER, 0o700), (OTHER, OTHER, 0o640)),
        ((OTHER, OTHER, 0o750), (OTHER, OTHER, 0o644)),
        ((OTHER, group.gid, 0o700), (OTHER, group.gid, 0o600)),
        // Neither the right to read it nor that of everybody: not even root's own.
        ((0, 0, 0o600), (0, 0, 0o200)),
    ] {
        let pair = Pair::new();
        let mut host = Host::new(&pair.db);
        let path = host.path("it's app");
        fs::create_dir(&path).expect("a directory");
        let file = path.join("orders.list");
        fs::write(&file, "10.77.0.2\n").expect("a list");
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("open it");
        give(&file, list.0, list.1, list.2);
        give(&path, directory.0, directory.1, directory.2);
        let provider = format!("provider = {{ kind = \"file\", path = \"{}\" }}", file.display());
        host.configure(&interfaces(), &orders(&provider));

        let checked = host.dbfw(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(0), "the configuration is valid: {said}");
        assert!(said.contains("warning: ") && said.contains("the agent may not read it"), "{said}");
        assert!(files(&host)[0].0 == "warn", "{:?}", files(&host));

        host.start();
        assert_eq!(list_state(&host), "never", "{}", host.log());
        let error = database(&host)["provider"]["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains("sudo dbfw doctor"), "{error}");
        assert!(!pair.reaches(TRUSTED4), "nobody read the list");

        mend(&host, "warn");
        host.wait("the list to be read", |host| list_state(host) == "ok");
        assert!(pair.reaches(TRUSTED4) && !pair.reaches(STRANGER4));
        assert_eq!(host.stop(Signal::SIGTERM), Some(0));
        host.start();
        assert_eq!(list_state(&host), "ok", "it is read at the start as well");
    }
}

/// Everything else that a configuration names, and the configuration itself.
#[test]
fn other_files_of_other_users_are_named_and_mended() {
    let _group = DbfwGroup::new();
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    fs::create_dir(host.path("conf.d")).expect("a directory");
    let names = ["dbfw.toml", "conf.d/more.toml", "token", "ca.pem", "feed"];
    for name in &names[1..] {
        host.replace(
            name,
            if *name == "conf.d/more.toml" { "[feeds]\npoll = \"1h\"\n" } else { "x\n" },
        );
    }
    give(&host.path("token"), 0, 0, 0o600);
    let at = |name: &str| host.path(name).display().to_string();
    let source = format!("trusted_sources = [\"feed:{}\"]", at("feed"));
    let api = format!(
        "[digitalocean]\ntoken_file = \"{}\"\nca_file = \"{}\"\n",
        at("token"),
        at("ca.pem")
    );
    host.configure(&interfaces(), &format!("{}\n{source}\n{api}", listed(&host, "")));
    assert_eq!(files(&host), [("ok".to_owned(), None)]);

    for name in names {
        give(&host.path(name), OTHER, OTHER, 0o600);
        let is_configuration = name.ends_with(".toml");
        let checked = host.dbfw(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(said.contains(&at(name)) && said.contains("chmod"), "{name}: {said}");
        assert_eq!(checked.status.code(), Some(if is_configuration { 78 } else { 0 }), "{said}");
        if is_configuration {
            let run = host.second_agent();
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(run.status.code(), Some(78), "{said}");
            assert!(said.contains("dbfw check"), "{said}");
        }
        mend(&host, if is_configuration { "fail" } else { "warn" });
        assert_eq!(host.dbfw(&["check"]).status.code(), Some(0));
        let mode = fs::metadata(host.path(name)).expect("the file").permissions().mode();
        assert!(name != "token" || mode & 0o077 == 0, "a token is nobody else's: {mode:o}");
    }
}
