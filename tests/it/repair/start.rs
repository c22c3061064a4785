use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use dbfw_tests::{
    agent::Host,
    features::loads_without_perfmon,
    netns::finish,
    pair::{INTERFACE, METRICS, Pair, STRANGER4, TRUSTED4, interfaces, orders},
};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, chown},
};

use super::{LINK, PROGRAM, TRUSTED, assert_filtered, assert_follows, detach, id, started};

/// Expects the agent to refuse to start and returns what it said last.
fn refusal(host: &mut Host<'_>) -> String {
    let before = host.log().len();
    host.spawn();
    assert_eq!(host.ended(), Some(1), "{}", host.log());
    host.log().split_off(before)
}

fn assert_still_filtered(pair: &Pair, host: &Host<'_>) {
    host.wait("the trusted client to be answered", |_| pair.reaches(TRUSTED4));
    assert!(!pair.reaches(STRANGER4), "the stranger was let in\n{}", host.log());
}

#[test]
fn a_wrong_object_under_a_maps_name_is_refused_and_the_old_filter_goes_on() {
    let pair = Pair::new();
    let mut host = started(&pair, "");
    host.stop(Signal::SIGTERM);
    let pin = host.pins().join("HOSTS4");
    let (link, program) = (id(&host, LINK), id(&host, PROGRAM));
    let hash = ["type", "hash", "key", "4", "value", "16", "entries", "7", "name", "x"];
    let array = ["type", "array", "key", "4", "value", "16", "entries", "1", "name", "x"];
    let program_id = program.expect("the program is pinned").to_string();
    let wrong: [(&[&str], &[&str]); 3] = [
        (&["map", "create"], &array),
        (&["map", "create"], &hash),
        (&["prog", "pin", "id", &program_id], &[]),
    ];
    for (before, after) in wrong {
        fs::remove_file(&pin).expect("remove the pin");
        finish(Command::new("bpftool").args(before).arg(&pin).args(after));
        let said = refusal(&mut host);
        assert!(said.contains(&format!("{} is not dbfw's map", pin.display())), "{said}");
        assert!(said.contains(&format!("rm {}", pin.display())), "it says what to do: {said}");
        assert_still_filtered(&pair, &host);
    }
    assert_eq!(id(&host, LINK), link, "the link was left alone");
    fs::remove_file(&pin).expect("remove the pin, as the message says");
    host.start();
    assert_filtered(&pair, &host);
    assert_follows(&pair, &host);
}

#[test]
fn a_pin_directory_that_others_could_write_to_is_refused() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    let versioned = host.pins();
    let pin_dir = versioned.parent().expect("the pins have a parent").to_owned();
    let nobody = Uid::from_raw(65_534);
    for directory in [&pin_dir, &versioned] {
        fs::create_dir_all(directory).expect("make the directory");
        fs::set_permissions(&pin_dir, fs::Permissions::from_mode(0o750)).expect("chmod");
        fs::set_permissions(directory, fs::Permissions::from_mode(0o770)).expect("chmod");
        let said = refusal(&mut host);
        let path = directory.display().to_string();
        assert!(said.contains(&path) && said.contains("mode 770"), "{said}");

        fs::set_permissions(directory, fs::Permissions::from_mode(0o750)).expect("chmod");
        chown(directory.as_path(), Some(nobody), None).expect("chown");
        let said = refusal(&mut host);
        assert!(said.contains(&path) && said.contains("uid 65534"), "{said}");
        chown(directory.as_path(), Some(Uid::from_raw(0)), None).expect("chown");
    }
    fs::remove_dir_all(&pin_dir).expect("remove the directory");
    // A link to a directory of somebody else's.
    let elsewhere = Path::new("/sys/fs/bpf").join(format!("{}-else", pair.db.name()));
    fs::create_dir(&elsewhere).expect("make the other directory");
    symlink(&elsewhere, &pin_dir).expect("make the link");
    let said = refusal(&mut host);
    let left = fs::read_dir(&elsewhere).map(Iterator::count);
    fs::remove_file(&pin_dir).expect("remove the link");
    fs::remove_dir(&elsewhere).expect("remove the other directory");
    assert!(said.contains(&pin_dir.display().to_string()), "{said}");
    assert_eq!(left.expect("list the other directory"), 0);

    host.start();
    assert_still_filtered(&pair, &host);
}

#[test]
fn a_bpffs_of_the_service_alone_is_refused() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    // The agent compares with what process 1 sees: in a process namespace of its own that is
    // the outer shell, which keeps the host's mounts.
    let inner = "mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
    let outer = format!("unshare --mount sh -c '{inner}' sh \"$@\"; exit $?");
    host.spawn_through(&["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", &outer, "sh"]);
    assert_eq!(host.ended(), Some(1), "{}", host.log());
    assert!(host.log().contains("of this service alone"), "{}", host.log());
}

#[test]
fn a_pin_directory_that_is_not_on_a_bpffs_is_refused() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    let elsewhere = host.path("pins").display().to_string();
    let pin_dir = host.pins().parent().map(|path| path.display().to_string()).unwrap_or_default();
    let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &text.replace(&pin_dir, &elsewhere));
    let said = refusal(&mut host);
    assert!(said.contains("is not on a BPF file system"), "{said}");
    assert!(said.contains("mount -t bpf bpf /sys/fs/bpf"), "it says what to do: {said}");
    assert!(!host.path("pins").exists(), "nothing was made");
}

/// The capability sets of a process, all of them.
fn capabilities(pid: u32) -> Vec<(String, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.starts_with("Cap"))
        .map(|(name, mask)| {
            (name.to_owned(), u64::from_str_radix(mask.trim(), 16).expect("a hexadecimal mask"))
        })
        .collect()
}

#[test]
fn a_ready_agent_holds_cap_bpf_alone_and_can_still_mend_everything() {
    let pair = Pair::new();
    let host = started(&pair, "");
    assert_cap_bpf_alone(&host);
    assert_mends(&pair, &host);
}

#[test]
fn an_agent_with_few_capabilities_works() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&format!("{}\n{METRICS}", interfaces()), &orders(TRUSTED));
    // The second, as the unit grants them, and with the pins of the first where that loads.
    for (granted, slow) in [("+bpf,+net_admin", true), ("+bpf,+net_admin,+perfmon", false)] {
        let bounding = format!("--bounding-set=-all,{granted}");
        let before = host.log().len();
        host.spawn_through(&["setpriv", "--inh-caps=-all", &bounding]);
        if slow && !loads_without_perfmon() {
            assert_eq!(host.ended(), Some(1), "{}", host.log());
            assert!(host.log().contains("add it to the unit's CapabilityBoundingSet="));
            continue;
        }
        host.wait("the agent to be ready", |host| host.log()[before..].contains("ready: "));
        let warned = host.log()[before..].contains("without CAP_PERFMON");
        assert_eq!(warned, slow, "{granted}: {}", &host.log()[before..]);
        assert_filtered(&pair, &host);
        // Only who may change the bounding set can narrow it; it gives nothing by itself.
        let held = capabilities(host.pid());
        assert!(
            held.iter().all(|(name, mask)| *mask == kept(name) || name == "CapBnd"),
            "{held:x?}"
        );
        assert_mends(&pair, &host);
        host.stop(Signal::SIGTERM);
    }
}

/// What is kept of a set: a larger table of hosts is a new map.
fn kept(set: &str) -> u64 {
    const CAP_BPF: u64 = 1 << 39;
    if matches!(set, "CapEff" | "CapPrm" | "CapBnd") { CAP_BPF } else { 0 }
}

fn assert_cap_bpf_alone(host: &Host<'_>) {
    let held = capabilities(host.pid());
    assert!(held.len() >= 5, "five sets: {held:x?}");
    assert!(held.iter().all(|(name, mask)| *mask == kept(name)), "{held:x?}");
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("the status");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
}

/// Everything the agent does without CAP_NET_ADMIN: attach, pin, write maps and files.
fn assert_mends(pair: &Pair, host: &Host<'_>) {
    let before = id(host, LINK);
    detach(host, LINK);
    host.wait("a new link", |host| id(host, LINK).is_some_and(|now| Some(now) != before));
    fs::remove_dir_all(host.pins()).expect("remove the pins");
    host.wait("the pins to be there again", |host| id(host, LINK).is_some());
    assert_filtered(pair, host);
    assert_follows(pair, host);
    pair.db.ip(&format!("link set dev {INTERFACE} mtu 1400"));
    assert_filtered(pair, host);
}
