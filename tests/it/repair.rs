//! Damage done behind the agent's back: it is noticed in the kernel, mended and told.

// What is pinned when the agent starts, and which capabilities it needs.
mod start;

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use dbfw_tests::{
    agent::Host,
    netns::finish,
    pair::{
        FRIEND4, INTERFACE, METRICS, Pair, STRANGER4, TRUSTED4, interfaces, listed, orders,
        problems,
    },
};
use nix::sys::signal::Signal;
use serde_json::Value;

const TRUSTED: &str = "trusted_sources = [\"ip_addr:10.77.0.2\"]";
const LINK: &str = "link_native_db0";
const BACKSTOP: &str = "link_backstop";
const PROGRAM: &str = "prog_dbfw_xdp";

fn started<'a>(pair: &'a Pair, keys: &str) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    host.configure(&format!("{}\n{METRICS}\n{keys}", interfaces()), &orders(TRUSTED));
    host.start();
    host
}

fn bpftool(arguments: &[&str], pin: &Path) -> Option<Value> {
    let output = Command::new("bpftool").arg("-j").args(arguments).arg(pin).output().ok()?;
    serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
}

/// Id of what is pinned under a name, which tells what it is.
fn id(host: &Host<'_>, name: &str) -> Option<u64> {
    let kind = match name {
        _ if name.starts_with("link_") => "link",
        _ if name.starts_with("prog_") => "prog",
        _ => "map",
    };
    bpftool(&[kind, "show", "pinned"], &host.pins().join(name))?["id"].as_u64()
}

fn has_log_line(host: &Host<'_>, words: &[&str]) -> bool {
    host.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
}

fn assert_filtered(pair: &Pair, host: &Host<'_>) {
    host.wait("the stranger to be refused", |_| !pair.reaches(STRANGER4));
    host.wait("the trusted client to be answered", |_| pair.reaches(TRUSTED4));
    host.wait("the agent to be ready", |_| {
        pair.http("/readyz").is_some_and(|(code, _)| code == 200)
    });
    assert_eq!(problems(host), "");
}

/// That a change still reaches the maps the programs use.
fn assert_follows(pair: &Pair, host: &Host<'_>) {
    let friend = |verb| host.dbfw(&["trust", verb, "ip_addr:10.77.0.3", "--database", "orders"]);
    assert_eq!(friend("add").status.code(), Some(0), "{}", host.log());
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    assert_eq!(friend("rm").status.code(), Some(0), "{}", host.log());
    assert!(!pair.reaches(FRIEND4), "the friend is still let in");
}

#[test]
fn a_pin_that_was_removed_is_there_again() {
    let pair = Pair::new();
    let host = started(&pair, "");
    for name in [
        "HOSTS4",
        "HOSTS4_SMALL",
        "NETS4",
        "STATS",
        "EVENTS",
        "prog_dbfw_backstop",
        PROGRAM,
        LINK,
        BACKSTOP,
    ] {
        let before = id(&host, name).unwrap_or_else(|| panic!("{name} is not pinned"));
        fs::remove_file(host.pins().join(name)).expect("remove the pin");
        host.wait(&format!("{name} to be there again"), |host| id(host, name) == Some(before));
        host.wait("the log to tell", |host| has_log_line(host, &["pins were missing", name]));
    }
    assert_filtered(&pair, &host);
    assert_follows(&pair, &host);
}

#[test]
fn the_pin_of_a_large_table_is_there_again_and_a_short_list_needs_none() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let list = host.path("orders.list");
    let short = format!("{TRUSTED4}\n");
    fs::write(&list, &short).expect("write the list");
    // Two more than the small table of IPv4 takes.
    let many: String = (0..12_290u32)
        .map(|n| format!("{}\n", Ipv4Addr::from_bits(0x0a64_0000 + n)))
        .chain([format!("{TRUSTED4}\n")])
        .collect();
    host.configure(&format!("{}\n{METRICS}", interfaces()), &listed(&host, "max_shrink = \"off\""));
    host.start();
    assert_eq!(id(&host, "HOSTS4_0"), None);
    fs::write(&list, &many).expect("write the list");
    host.wait("the large table", |host| id(host, "HOSTS4_0").is_some());
    // What is not in use does not look as if it were.
    host.wait("the small table to be empty", |host| {
        let dump = bpftool(&["map", "dump", "pinned"], &host.pins().join("HOSTS4_SMALL"));
        let buckets = dump.as_ref().and_then(Value::as_array).expect("a dump");
        let bytes = buckets.iter().flat_map(|bucket| bucket["value"].as_array().expect("bytes"));
        bytes.clone().count() == 64 << 12 && bytes.into_iter().all(|byte| byte == "0x00")
    });
    let before = id(&host, "HOSTS4_0");
    fs::remove_file(host.pins().join("HOSTS4_0")).expect("remove the pin");
    host.wait("the pin to be there again", |host| id(host, "HOSTS4_0") == before);
    assert_filtered(&pair, &host);
    // The next agent takes the large table over and frees what one that was killed while it changed
    // tables left in the other place.
    host.stop(Signal::SIGKILL);
    let (outer, table) = (host.pins().join("HOSTS4"), host.pins().join("HOSTS4_0"));
    let place = ["key", "1", "0", "0", "0"];
    let tool = |words: &[&str]| finish(Command::new("bpftool").args(words));
    let path = |path: &Path| path.to_str().expect("a path of text").to_owned();
    let (outer, table) = (path(&outer), path(&table));
    let update = [&["map", "update", "pinned", &outer][..], &place, &["value", "pinned", &table]];
    tool(&update.concat());
    tool(&["map", "pin", "pinned", &table, &path(&host.pins().join("HOSTS4_1"))]);
    host.start();
    assert_eq!((id(&host, "HOSTS4_0"), id(&host, "HOSTS4_1")), (before, None));
    let lookup = [&["map", "lookup", "pinned", &outer][..], &place].concat();
    let left = Command::new("bpftool").args(lookup).output().expect("run bpftool");
    assert!(!left.status.success(), "{}", String::from_utf8_lossy(&left.stdout));
    assert_filtered(&pair, &host);
    fs::write(&list, &short).expect("write the list");
    host.wait("the small table", |host| id(host, "HOSTS4_0").is_none());
    assert_filtered(&pair, &host);
}

#[test]
fn a_pin_directory_that_was_removed_is_there_again_with_all_that_was_in_it() {
    let pair = Pair::new();
    let mut host = started(&pair, "");
    let pin_dir = host.pins().parent().expect("the pins have a parent").to_owned();
    for directory in [host.pins(), pin_dir] {
        let names = ["HOSTS4", PROGRAM, LINK, BACKSTOP];
        let before = names.map(|name| id(&host, name));
        fs::remove_dir_all(&directory).expect("remove the directory");
        host.wait("everything to be there again", |host| names.map(|n| id(host, n)) == before);
        assert_filtered(&pair, &host);
        assert_follows(&pair, &host);
        // There is one writer, also when the lock was removed with the directory.
        let second = host.second_agent();
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("pid {}", host.pid())), "{said}");
    }
    // What is pinned there is what the next agent takes over.
    let link = id(&host, LINK);
    host.stop(Signal::SIGKILL);
    assert!(!pair.reaches(STRANGER4), "the links are held by their pins");
    host.start();
    assert_eq!(id(&host, LINK), link);
    assert_filtered(&pair, &host);
}

/// Makes a map with bpftool and pins it under `name`, in place of what was there.
fn replace_map(host: &Host<'_>, name: &str, kind: &str, shape: &Value) {
    let pin = host.pins().join(name);
    fs::remove_file(&pin).expect("remove the pin");
    let number = |key: &str| shape[key].as_u64().unwrap_or_default().to_string();
    finish(
        Command::new("bpftool")
            .args(["map", "create"])
            .arg(&pin)
            .args(["type", kind, "key", &number("bytes_key"), "value", &number("bytes_value")])
            .args(["entries", &number("max_entries"), "name", name, "flags", &number("flags")]),
    );
}

#[test]
fn a_map_that_was_replaced_is_ours_again_and_nobody_of_it_is_trusted() {
    let pair = Pair::new();
    let host = started(&pair, "");
    let ours = id(&host, "HOSTS4");
    let shape = bpftool(&["map", "show", "pinned"], &host.pins().join("HOSTS4"));
    let shape = shape.expect("bpftool shows the map");
    let mut larger = shape.clone();
    larger["bytes_value"] = Value::from(32);
    for shape in [&shape, &larger] {
        host.signal(Signal::SIGSTOP);
        replace_map(&host, "HOSTS4", "hash", shape);
        let pin = host.pins().join("HOSTS4");
        let bytes = shape["bytes_value"].as_u64().unwrap_or_default();
        let value = vec!["0xff"; usize::try_from(bytes).expect("a small number")];
        finish(
            Command::new("bpftool")
                .args(["map", "update", "pinned"])
                .arg(&pin)
                .args(["key", "10", "77", "0", "9", "value"])
                .args(value),
        );
        assert_ne!(id(&host, "HOSTS4"), ours);
        assert!(!pair.reaches(STRANGER4), "the programs use the maps they were loaded with");
        host.signal(Signal::SIGCONT);
        host.wait("our map to be pinned again", |host| id(host, "HOSTS4") == ours);
        host.wait("the log to tell", |host| has_log_line(host, &["not ours", "HOSTS4"]));
        assert_filtered(&pair, &host);
    }
    assert_follows(&pair, &host);
}

#[test]
fn a_link_or_program_pinned_in_place_of_ours_is_replaced() {
    let pair = Pair::new();
    let host = started(&pair, "");
    let (link, backstop, program) = (id(&host, LINK), id(&host, BACKSTOP), id(&host, PROGRAM));
    // Each name gets another object of ours: what lies there is of the right kind, or not.
    for (name, other) in [(LINK, BACKSTOP), (BACKSTOP, PROGRAM), (PROGRAM, "HOSTS4")] {
        host.signal(Signal::SIGSTOP);
        let ids = [LINK, BACKSTOP, PROGRAM].map(|name| id(&host, name));
        let pin = host.pins().join(name);
        let other_id = id(&host, other).expect("the other is pinned").to_string();
        fs::remove_file(&pin).expect("remove the pin");
        let kind = match other {
            BACKSTOP => "link",
            PROGRAM => "prog",
            _ => "map",
        };
        finish(Command::new("bpftool").args([kind, "pin", "id", &other_id]).arg(&pin));
        host.signal(Signal::SIGCONT);
        host.wait(&format!("{name} to be ours again"), |host| {
            [LINK, BACKSTOP, PROGRAM].map(|name| id(host, name)) == ids
        });
        host.wait("the log to tell", |host| has_log_line(host, &["not ours", name]));
    }
    assert_eq!(
        [id(&host, LINK), id(&host, BACKSTOP), id(&host, PROGRAM)],
        [link, backstop, program]
    );
    assert_filtered(&pair, &host);
}

fn detach(host: &Host<'_>, name: &str) {
    finish(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(host.pins().join(name)));
}

#[test]
fn a_program_that_was_detached_is_attached_again() {
    let pair = Pair::new();
    // Without the backstop the hole can be seen.
    let host = started(&pair, "backstop = false");
    assert_filtered(&pair, &host);
    for _ in 0..3 {
        let before = id(&host, LINK);
        host.signal(Signal::SIGSTOP);
        detach(&host, LINK);
        host.wait("the hole to be seen", |_| pair.reaches(STRANGER4));
        host.signal(Signal::SIGCONT);
        host.wait("a new link", |host| id(host, LINK).is_some_and(|now| Some(now) != before));
        host.wait("the log to tell", |host| has_log_line(host, &["was lost", INTERFACE]));
        assert_filtered(&pair, &host);
    }
    assert_follows(&pair, &host);
}

#[test]
fn a_backstop_that_was_detached_is_attached_again() {
    let pair = Pair::new();
    let host = started(&pair, "");
    let before = id(&host, BACKSTOP);
    detach(&host, BACKSTOP);
    host.wait("a new link", |host| id(host, BACKSTOP).is_some_and(|now| Some(now) != before));
    host.wait("the log to tell", |host| has_log_line(host, &["the backstop was lost"]));
    let link = bpftool(&["link", "show", "pinned"], &host.pins().join(BACKSTOP));
    assert!(link.is_some_and(|link| link["netns_ino"].as_u64() > Some(0)), "it is attached");
    host.wait("the status to be good", |host| {
        host.json(&["status"]).is_some_and(|status| status["backstop"]["healthy"] == true)
    });
    assert_filtered(&pair, &host);
}

#[test]
fn while_the_hook_cannot_be_had_nothing_says_that_all_is_well() {
    let pair = Pair::new();
    let host = started(&pair, "backstop = false\nattach = \"native\"");
    host.signal(Signal::SIGSTOP);
    detach(&host, LINK);
    // Somebody else takes the hook in the meantime.
    let program = host.pins().join(PROGRAM).display().to_string();
    // Not by `ip -netns`, which hides the bpffs behind a fresh /sys.
    let take = ["link", "set", "dev", INTERFACE, "xdpdrv", "pinned", &program];
    finish(pair.db.command("ip").args(take));
    host.signal(Signal::SIGCONT);
    host.wait("/readyz to say no", |_| pair.http("/readyz").is_some_and(|(code, _)| code == 503));
    let (_, why) = pair.http("/readyz").expect("the agent answers");
    assert!(why.contains(INTERFACE), "it says what is the matter: {why}");
    let status = host.json(&["status"]).expect("the status");
    assert_eq!(status["protected"], false, "{status}");
    assert!(problems(&host).contains("holds the hook"), "{}", problems(&host));
    assert!(pair.http("/healthz").is_some_and(|(code, _)| code == 200), "the agent itself runs");
    pair.db.ip(&format!("link set dev {INTERFACE} xdpdrv off"));
    assert_filtered(&pair, &host);
}
