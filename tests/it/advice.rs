//! Every fix that `dbfw doctor` prints, applied as it is printed: the check is good after it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
};

use dbfw_tests::{
    agent::{Host, binary},
    netns::{Netns, finish, veth},
    pair::{PORT, Pair, interfaces, orders},
    traffic::{self, Echo},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Where the fix of a check is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    /// By a test of this file.
    Here,
    /// By another test, which is named.
    By(&'static str),
    /// Nowhere in these tests, for this reason.
    Not(&'static str),
}

/// Every check there is, by the first word of its name.
const CHECKS: [(&str, Applied); 27] = [
    ("backstop", Applied::Not("the fix shows a program; to remove it is for its owner")),
    ("bpf_jit", Applied::Not("a setting of the whole host, which its other users would feel")),
    ("bpffs", Applied::Here),
    ("bpffs_mount", Applied::Not("the fix is another way to start dbfw")),
    ("btf", Applied::Not("the fix is another kernel")),
    ("capabilities", Applied::By("repair::start, which starts the agent with those of the unit")),
    ("config", Applied::By("cli::setup, which runs dbfw check; what that says is for a human")),
    ("destinations", Applied::By("destinations, which checks and then configures what is advised")),
    ("files", Applied::By("safety::permissions")),
    ("group", Applied::Not("a group of the whole host")),
    ("interfaces", Applied::Here),
    ("kernel", Applied::Not("the fix is another kernel")),
    ("link", Applied::Here),
    ("listener", Applied::Here),
    ("local_ports", Applied::Here),
    ("lro", Applied::Not("no virtual device here has it")),
    ("mtu", Applied::Not("no virtual device here has a driver with a limit")),
    ("native", Applied::Not("no virtual device here has a link that goes down")),
    ("pin_dir", Applied::Here),
    ("programs", Applied::Not("the fix is another kernel, or one more capability")),
    ("reach", Applied::Not("the fix is a line of the configuration")),
    ("route_localnet", Applied::Here),
    ("run_dir", Applied::Here),
    ("state_dir", Applied::Here),
    ("tcp_syncookies", Applied::Here),
    ("writers", Applied::Here),
    ("xdp", Applied::Here),
];

/// Checks that never fail, or are of the whole host.
const ONLY_TOLD: [&str; 3] = ["hook", "rp_filter", "unprivileged_bpf"];

fn kind(finding: &Value) -> &str {
    finding["check"].as_str().and_then(|check| check.split(' ').next()).expect("a check")
}

fn findings(host: &Host<'_>) -> Vec<Value> {
    let found = host.json(&["doctor"]).expect("doctor prints JSON");
    found["findings"].as_array().expect("findings").clone()
}

/// The fixes of a check that is not good.
fn fixes(host: &Host<'_>, check: &str) -> Vec<String> {
    let found = findings(host);
    let of_kind: Vec<&Value> = found.iter().filter(|finding| kind(finding) == check).collect();
    assert!(!of_kind.is_empty(), "there is no check {check}");
    let bad = of_kind.into_iter().filter(|finding| finding["state"] != "ok");
    bad.map(|finding| finding["fix"].as_str().expect("a fix").to_owned()).collect()
}

/// Runs in the namespace what doctor says of a check that is not good; it is good then.
fn mend(netns: &Netns, host: &Host<'_>, check: &str) {
    let told = fixes(host, check);
    assert!(!told.is_empty(), "nothing is the matter with {check}");
    for fix in &told {
        finish(netns.command("sh").args(["-c", fix]));
    }
    assert_eq!(fixes(host, check), [""; 0], "{check} is not good after: {told:?}");
}

#[test]
fn every_check_has_a_place_where_its_advice_is_tried() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(""));
    host.start();
    for finding in findings(&host) {
        let kind = kind(&finding);
        let known = ONLY_TOLD.contains(&kind) || CHECKS.iter().any(|(check, _)| *check == kind);
        assert!(known, "where is the advice of {kind} tried? {finding}");
        let told = CHECKS.iter().find(|(check, _)| *check == kind).map(|(_, applied)| *applied);
        assert!(finding["fix"].is_null() || told.is_some(), "{finding}");
    }
}

#[test]
fn files_and_directories_that_others_can_write() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(""));
    host.start();
    host.stop(Signal::SIGTERM);
    for (check, name) in [
        ("state_dir", "state"),
        ("state_dir", "state/snapshot.json"),
        ("run_dir", "run"),
        ("writers", "dbfw.toml"),
    ] {
        let path = host.path(name);
        let before = fs::metadata(&path).expect("look at it").permissions();
        for (owner, mode) in [(65534, 0o750), (0, 0o777)] {
            chown(&path, Some(owner), None).expect("give it away");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("open it");
            mend(&pair.db, &host, check);
        }
        fs::set_permissions(&path, before).expect("close it");
    }
    host.start();
}

#[test]
fn settings_of_the_network() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(""));
    for (check, settings) in [
        ("local_ports", &[("net.ipv4.ip_local_port_range", "5000 60999")][..]),
        (
            "local_ports",
            &[
                ("net.ipv4.ip_local_reserved_ports", "8080,9148-9150"),
                ("net.ipv4.ip_local_port_range", "1024 65535"),
            ],
        ),
        ("tcp_syncookies", &[("net.ipv4.tcp_syncookies", "0")]),
        ("route_localnet", &[("net.ipv4.conf.db0.route_localnet", "1")]),
        (
            "route_localnet",
            &[("net.ipv4.conf.all.route_localnet", "1"), ("net.ipv4.conf.lo.route_localnet", "1")],
        ),
    ] {
        settings.iter().for_each(|(name, value)| pair.db.sysctl(name, value));
        mend(&pair.db, &host, check);
    }
    let reserved = pair.db.run(|| {
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").expect("the setting")
    });
    assert_eq!(reserved.trim(), "5432,8080,9148-9150", "what was reserved stays so");
}

/// A host whose containers go out through it: `inside` is one, `outside` what they ask.
struct Router {
    host: Netns,
    inside: Netns,
    outside: Netns,
}

const MYSQLX: u16 = 33060;

impl Router {
    fn new() -> Self {
        let router = Self {
            host: Netns::new("router"),
            inside: Netns::new("inside"),
            outside: Netns::new("outside"),
        };
        veth((&router.host, "db0"), (&router.outside, "out0"));
        veth((&router.host, "docker0"), (&router.inside, "eth0"));
        router.host.address("db0", "192.0.2.1/24");
        router.outside.address("out0", "192.0.2.200/24");
        router.host.address("docker0", "172.17.0.1/16");
        router.inside.address("eth0", "172.17.0.2/16");
        router.inside.ip("route add default via 172.17.0.1");
        router.host.sysctl("net.ipv4.ip_forward", "1");
        router.host.sysctl("net.ipv4.ip_local_reserved_ports", &MYSQLX.to_string());
        // The container chooses its ports as it likes.
        router.inside.sysctl("net.ipv4.ip_local_port_range", &format!("{MYSQLX} {MYSQLX}"));
        router
    }

    fn nft(&self, script: &str) {
        finish(self.host.command("nft").arg(script));
    }

    /// Whether the container reaches a server outside; a port for each try, as the kernel
    /// remembers what it gave to a connection.
    fn goes_out(&self, port: u16) -> bool {
        let _server = Echo::start(&self.outside, port);
        let client: IpAddr = "172.17.0.2".parse().expect("an address");
        let server: IpAddr = "192.0.2.200".parse().expect("an address");
        traffic::reaches(&self.inside, client, SocketAddr::new(server, port))
    }
}

/// Starts an agent on the router, whose container cannot go out by its one port until what
/// doctor says of a rule is done. `keeps_ports`: the rule gives a connection its own port if it
/// can.
fn assert_mended(router: &Router, rule: &str, keeps_ports: bool) {
    let mut host = Host::new(&router.host);
    let database = format!("[[database]]\nname = \"mysqlx\"\nports = [{MYSQLX}]\n");
    host.configure(&interfaces(), &database);
    host.start();
    assert!(!keeps_ports || !router.goes_out(443), "{rule}: there is nothing to mend");
    mend(&router.host, &host, "local_ports");
    assert!(router.goes_out(444), "{rule}");
    assert_eq!(host.stop(Signal::SIGTERM), Some(0));
}

#[test]
fn masqueraded_connections_are_given_no_protected_port() {
    for rule in [
        "oifname \"db0\" masquerade",
        "oifname \"db0\" counter masquerade random comment \"for containers\"",
        "ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade",
        "ip saddr 172.17.0.0/16 meta l4proto tcp masquerade to :1024-65535",
        "oifname \"db0\" snat to 192.0.2.1",
        "oifname \"db0\" ip protocol tcp snat to 192.0.2.1:33000-34000",
    ] {
        let router = Router::new();
        router.nft("add table ip nat");
        router.nft("add chain ip nat post { type nat hook postrouting priority srcnat; }");
        router.nft("add rule ip nat post ip daddr 203.0.113.0/24 accept");
        router.nft(&format!("add rule ip nat post {rule}"));
        assert_mended(&router, rule, !rule.contains("random"));
    }
}

#[test]
fn connections_that_iptables_masquerades_are_given_no_protected_port() {
    for rule in [
        "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        "-s 172.17.0.0/16 -p tcp -j MASQUERADE --to-ports 1024-65535",
        "-o db0 -m comment --comment \"a b\" -j SNAT --to-source 192.0.2.1",
    ] {
        let router = Router::new();
        let words = format!("iptables-nft -t nat -A POSTROUTING {rule}");
        finish(
            router
                .host
                .command("sh")
                .args(["-c", "iptables-nft -t nat -A POSTROUTING -j RETURN -d 203.0.113.1"]),
        );
        finish(router.host.command("sh").args(["-c", &words]));
        assert_mended(&router, rule, true);
    }
}

#[test]
fn the_pin_directory() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(""));
    let directory = host.pins().parent().expect("the pin directory").to_owned();
    let make = |directory: &Path| fs::create_dir(directory).expect("a directory on bpffs");
    make(&directory);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("open it");
    mend(&pair.db, &host, "pin_dir");
    chown(&directory, Some(65534), None).expect("give it away");
    mend(&pair.db, &host, "pin_dir");
    make(&host.pins());
    fs::set_permissions(host.pins(), fs::Permissions::from_mode(0o770)).expect("open it");
    mend(&pair.db, &host, "pin_dir");
    fs::remove_dir_all(&directory).expect("remove it");
    symlink("nowhere", &directory).expect("a link on bpffs");
    mend(&pair.db, &host, "pin_dir");
}

#[test]
fn no_bpf_file_system() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(""));
    let doctor = format!(
        "{} doctor -o json --config {}",
        binary().display(),
        host.path("dbfw.toml").display()
    );
    // In a mount namespace of its own, where nobody misses it.
    let script = format!(
        "while mountpoint -q /sys/fs/bpf; do umount /sys/fs/bpf || exit; done; {doctor}; \
         echo; echo =; read fix; sh -c \"$fix\" || exit; {doctor}"
    );
    let run = |fix: &str| {
        let mut command = pair.db.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("echo '{fix}' | {{ {script}; }}"));
        let output = command.output().expect("run unshare");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let bpffs = |text: &str| {
            let found: Value = serde_json::from_str(text).expect("doctor prints JSON");
            let found = found["findings"].as_array().expect("findings").clone();
            let bpffs = found.iter().find(|finding| finding["check"] == "bpffs");
            bpffs.expect("the check of the file system").clone()
        };
        let (before, after) = text
            .split_once("\n=\n")
            .unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        (bpffs(before), bpffs(after))
    };
    let fix = run("true").0["fix"].as_str().expect("a fix").to_owned();
    let (before, after) = run(&fix);
    assert_eq!((&before["state"], &after["state"]), (&"fail".into(), &"ok".into()), "{fix}");

    // Elsewhere no mount there helps.
    let text = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    let pins = host.pins().parent().expect("the pin directory").display().to_string();
    let elsewhere = host.path("pins").display().to_string();
    host.replace("dbfw.toml", &text.replace(&pins, &elsewhere));
    let told = fixes(&host, "bpffs");
    assert_eq!(told.len(), 1);
    let (_, below) = told[0].split_once("a directory below ").expect("where it belongs");
    host.replace("dbfw.toml", &text.replace(&pins, &format!("{below}/dbfw-test-advice")));
    assert_eq!(fixes(&host, "bpffs"), [""; 0], "{told:?}");
}

#[test]
fn interfaces_and_listeners() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    let unused = PORT + 1;
    let database = format!("[[database]]\nname = \"orders\"\nports = [{unused}]\n");
    host.configure("interfaces = [\"nope0\"]", &database);
    let told = fixes(&host, "interfaces");
    let (_, names) = told[0].split_once("some of: ").expect("names of interfaces");
    assert_eq!(names, "db0");
    host.configure(&format!("interfaces = [\"{names}\"]"), &database);
    assert_eq!(fixes(&host, "interfaces"), [""; 0]);

    // "lo" is never filtered.
    host.configure("interfaces = [\"db0\", \"lo\"]", &database);
    assert_eq!(fixes(&host, "interfaces").len(), 1);
    host.configure("interfaces = [\"db0\"]", &database);
    assert_eq!(fixes(&host, "interfaces"), [""; 0]);

    assert_eq!(fixes(&host, "listener").len(), 1);
    let database = Echo::start(&pair.db, unused);
    assert_eq!(fixes(&host, "listener"), [""; 0], "started");
    drop(database);
    host.configure("interfaces = [\"db0\"]", &orders(""));
    assert_eq!(fixes(&host, "listener"), [""; 0], "the port corrected");
}

#[test]
fn a_program_of_somebody_else() {
    let pair = Pair::new();
    // One of ours, taken over by hand.
    let mut other = Host::new(&pair.db);
    other.configure(&interfaces(), &orders(""));
    other.start();
    let pinned = other.pins().join("prog_dbfw_xdp");
    assert_eq!(other.stop(Signal::SIGTERM), Some(0));
    for link in fs::read_dir(other.pins()).expect("the pins").flatten() {
        if link.file_name().to_string_lossy().starts_with("link_") {
            fs::remove_file(link.path()).expect("detach");
        }
    }
    let mut attach = pair.db.command("bpftool");
    finish(attach.args(["net", "attach", "xdp", "pinned"]).arg(&pinned).args(["dev", "db0"]));

    let host = Host::new(&pair.db);
    host.configure(&format!("{}\nattach = \"native\"", interfaces()), &orders(""));
    let told = fixes(&host, "xdp");
    assert_eq!(told.len(), 1);
    let remove = "ip link set dev db0 xdp off";
    assert!(told[0].contains(remove), "{told:?}");
    finish(pair.db.command("sh").args(["-c", remove]));
    assert_eq!(fixes(&host, "xdp"), [""; 0]);
}
