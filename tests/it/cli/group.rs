//! Who may do what: root, members of the group `dbfw`, everybody else.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Command, Output},
};

use dbfw_tests::{agent::Host, netns::finish};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
    unistd::Group,
};

use super::{Net, assert_exit, assert_snapshot, record, text};

const NOBODY: &str = "65534";
const READERS: [&str; 9] = [
    "status",
    "sources",
    "map dump",
    "map lookup 10.77.0.2",
    "explain 10.77.0.2",
    "drops",
    "metrics",
    "trust list",
    "explain 10.77.0.2 --port 22",
];
const CHANGES: [&str; 4] = [
    "trust add ip_addr:10.77.0.9 -d orders",
    "trust rm ip_addr:10.77.0.9 -d orders",
    "reload",
    "detach --yes",
];

/// The group `dbfw`, which is removed again if it was not there before.
pub(crate) struct DbfwGroup {
    made: bool,
    pub(crate) gid: u32,
    /// One test at a time makes and removes it.
    _lock: Flock<File>,
}

impl DbfwGroup {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join("dbfw-test-group.lock");
        let file = File::create(&path).expect("a lock file");
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .unwrap_or_else(|(_, error)| panic!("cannot lock {}: {error}", path.display()));
        let found = || Group::from_name("dbfw").expect("the groups of this system");
        let made = found().is_none();
        if made {
            finish(Command::new("groupadd").args(["--system", "dbfw"]));
        }
        let gid = found().expect("the group that was made").gid.as_raw();
        Self { made, gid, _lock: lock }
    }
}

impl Drop for DbfwGroup {
    fn drop(&mut self) {
        if self.made {
            let _ = Command::new("groupdel").arg("dbfw").output();
        }
    }
}

/// Puts a copy of the program where everybody can start it, and lets everybody in.
fn open_to_all(host: &Host<'_>) {
    let copy = host.path("dbfw");
    let binary = dbfw_tests::agent::binary();
    fs::hard_link(&binary, &copy)
        .or_else(|_| fs::copy(&binary, &copy).map(|_| ()))
        .expect("a copy of the program");
    fs::set_permissions(host.path(""), Permissions::from_mode(0o755)).expect("open the directory");
}

/// Runs the program as user nobody, in one group, without capabilities.
fn as_nobody(net: &Net, host: &Host<'_>, gid: &str, line: &str) -> Output {
    net.database
        .command("setpriv")
        .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")])
        .args([&format!("--groups={gid}"), "--inh-caps=-all"])
        .arg(host.path("dbfw"))
        .args(line.split(' '))
        .arg("--config")
        .arg(host.path("dbfw.toml"))
        .output()
        .expect("run setpriv")
}

#[test]
fn strangers_are_not_permitted() {
    let net = Net::new();
    let mut host = net.host();
    open_to_all(&host);
    host.start();
    for line in READERS.iter().chain(&CHANGES) {
        let output = as_nobody(&net, &host, NOBODY, line);
        assert_exit(&output, 77, &format!("{line} as nobody"));
        assert!(output.stdout.is_empty(), "{line} as nobody prints data");
    }
    let status = as_nobody(&net, &host, NOBODY, "status");
    assert_snapshot("nobody_status", &record(&host, "status", &status));

    host.stop(Signal::SIGKILL);
    for line in ["status", "map dump", "metrics", "detach --yes"] {
        let output = as_nobody(&net, &host, NOBODY, line);
        assert_exit(&output, 77, &format!("{line} as nobody without the agent"));
    }
    let run = as_nobody(&net, &host, NOBODY, "run");
    assert_snapshot("nobody_run", &record(&host, "run", &run));
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(0), "nothing was detached");
}

#[test]
fn members_of_the_group_read() {
    let group = DbfwGroup::new();
    let gid = group.gid.to_string();
    let net = Net::new();
    let mut host = net.host();
    open_to_all(&host);
    // As the unit sets it.
    host.start_through(&["sh", "-c", "umask 077 && exec \"$@\"", "sh"]);
    let mode = |path: &str| {
        let found = fs::metadata(host.pins().join(path)).expect("a pin");
        (found.mode() & 0o777, found.gid())
    };
    assert_eq!(mode("."), (0o750, group.gid));
    assert_eq!(mode("NETS4"), (0o640, group.gid));
    assert_eq!(mode("link_native_db0").0, 0o600);

    let history = fs::metadata(host.path("state").join("history.log")).expect("a history");
    assert_eq!((history.mode() & 0o777, history.gid()), (0o640, group.gid));
    for line in READERS.into_iter().chain(["history", "suggest"]) {
        let output = as_nobody(&net, &host, &gid, line);
        assert_exit(&output, 0, &format!("{line} as a member"));
        assert_eq!(text(&output.stderr), "", "{line} as a member");
    }
    for line in CHANGES {
        let output = as_nobody(&net, &host, &gid, line);
        assert_exit(&output, 77, &format!("{line} as a member"));
    }
    let refused = as_nobody(&net, &host, &gid, "reload");
    assert_snapshot("member_reload", &record(&host, "reload", &refused));

    // systemd mounts bpffs 0700: then only the socket is left.
    let pin_dir = host.pins().parent().expect("the pin directory").to_owned();
    let traversable = |mode| {
        fs::set_permissions(&pin_dir, Permissions::from_mode(mode)).expect("change the mode");
    };
    traversable(0o700);
    for line in READERS {
        let output = as_nobody(&net, &host, &gid, line);
        assert_exit(&output, 0, &format!("{line} as a member through the socket"));
    }
    // Its record is root's alone: a member is told nothing of it, and nothing false.
    assert_exit(&host.dbfw(&["reload", "--trial", "1h"]), 0, "a trial");
    host.stop(Signal::SIGKILL);
    assert!(text(&host.dbfw(&["status"]).stdout).contains("was on trial"), "root is told");
    let output = as_nobody(&net, &host, &gid, "map dump");
    assert_exit(&output, 77, "map dump as a member without socket and pins");

    traversable(0o750);
    for line in ["map dump", "map lookup 10.77.0.2", "metrics"] {
        let output = as_nobody(&net, &host, &gid, line);
        assert_exit(&output, 0, &format!("{line} as a member, from the pins"));
        assert!(text(&output.stderr).contains("no agent answers on "), "{line}");
    }
    let doctor = as_nobody(&net, &host, &gid, "doctor -o plain");
    let found = text(&doctor.stdout);
    let xdp = found.lines().find(|line| line.contains("\txdp db0\t")).expect("the check of db0");
    assert!(xdp.starts_with("ok\t") && xdp.contains("only root can find out whose it is"), "{xdp}");
    let status = as_nobody(&net, &host, &gid, "status");
    assert_snapshot("member_offline_status", &record(&host, "status", &status));
    let explain = as_nobody(&net, &host, &gid, "explain 10.77.0.2 --port 5432");
    assert_snapshot("member_offline_explain", &record(&host, "explain", &explain));
    assert_exit(&as_nobody(&net, &host, &gid, "detach --yes"), 77, "detach as a member");
}
