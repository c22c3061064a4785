//! Strangers who get in although nothing failed, and filters that are not where they are looked for.

use std::{
    fs,
    net::{IpAddr, Shutdown, SocketAddr},
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish, veth},
    pair::{
        HOST4, HOST6, OTHER_PORT, PORT, Pair, STRANGER4, STRANGER6, TRUSTED4, interfaces, listed,
        orders, problems,
    },
    traffic::{self, Echo},
};
use nix::sys::signal::Signal;
use serde_json::Value;

const TRUSTED: &str = "trusted_sources = [\"ip_addr:10.77.0.2\"]";
const PATIENCE: Duration = Duration::from_secs(5);

/// A second way to the host, "db1", by which a stranger comes.
struct SideDoor {
    host: IpAddr,
    stranger: IpAddr,
}

impl SideDoor {
    fn new(pair: &Pair) -> Self {
        veth((&pair.db, "db1"), (&pair.clients, "cl1"));
        pair.db.address("db1", "10.78.0.1/24");
        pair.clients.address("cl1", "10.78.0.9/24");
        Self { host: [10, 78, 0, 1].into(), stranger: [10, 78, 0, 9].into() }
    }

    fn is_open(&self, pair: &Pair) -> bool {
        traffic::reaches(&pair.clients, self.stranger, SocketAddr::new(self.host, PORT))
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn an_interface_that_nothing_judges_is_told_by_every_command() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    let agent = |backstop: bool, exempt: &str| {
        format!("{}\nbackstop = {backstop}\nexempt_interfaces = [{exempt}]", interfaces())
    };
    host.configure(&agent(true, ""), &orders(TRUSTED));
    host.start();
    assert!(!side.is_open(&pair));
    assert_eq!(host.json(&["status"]).expect("JSON")["protected"], true);

    for (backstop, exempt, is_open, told) in [
        (false, "", true, "db1: no longer judged: tcp/5432 is open to everyone there"),
        (
            true,
            "",
            false,
            "db1: judged from now on: tcp/5432 is closed to sources that are not trusted",
        ),
        (true, "\"db1\"", true, "db1: no longer judged: tcp/5432 is open to everyone there"),
    ] {
        host.configure(&agent(backstop, exempt), &orders(TRUSTED));
        let document = host.json(&["reload"]).expect("JSON");
        let changes = document["changes"].as_array().cloned().unwrap_or_default();
        let change = changes.iter().find(|change| change["text"] == told);
        let effect = if is_open { "opens" } else { "closes" };
        assert_eq!(change.expect("the change")["effect"], effect, "{document}");
        assert_eq!(side.is_open(&pair), is_open, "{told}");
        assert!(!pair.reaches(STRANGER4));
        let status = host.json(&["status"]).expect("JSON");
        assert_eq!(status["protection"], "yes");
        assert_eq!(status["protected"], !is_open, "{status}");
        assert_eq!(status["enforced"], if is_open { "partly" } else { "yes" });
        let opening = match (is_open, backstop) {
            (false, _) => "",
            (true, false) => "db1 is not in agent.interfaces, and there is no backstop",
            (true, true) => "db1 is exempt, and not in agent.interfaces",
        };
        let openings = texts(&status["databases"][0]["openings"]);
        assert_eq!(openings, Vec::from_iter(is_open.then_some(opening)), "{status}");
        let explained = host.json(&["explain", "10.78.0.9", "--port", "5432"]).expect("JSON");
        let facts = texts(&explained[0]["facts"]);
        let is_told = facts.iter().any(|fact| fact.ends_with(opening));
        assert_eq!(is_told, is_open, "{explained}");
        // Without the agent it is the same.
        host.stop(Signal::SIGTERM);
        let offline = host.json(&["status"]).expect("JSON");
        assert_eq!(offline["enforced"], status["enforced"]);
        assert_eq!(offline["databases"][0]["openings"], status["databases"][0]["openings"]);
        host.start();
    }
}

#[test]
fn explain_and_doctor_go_by_what_is_attached() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    let agent = |backstop: bool, exempt: &str| {
        format!("{}\nbackstop = {backstop}\nexempt_interfaces = [{exempt}]", interfaces())
    };
    let explained = |host: &Host<'_>| {
        let line = ["explain", "10.78.0.9", "--port", "5432"];
        let document = host.json(&line).expect("JSON");
        let by = texts(&document[0]["let_in_by"]).join(",");
        let effect = document[0]["effect"].as_str().unwrap_or_default().to_owned();
        let output = host.dbfw(&line);
        let headline = String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned);
        (effect, by, output.status.code(), headline.unwrap_or_default())
    };
    let found = |host: &Host<'_>, check: &str| {
        let document = host.json(&["doctor"]).expect("JSON");
        let all = document["findings"].as_array().cloned().unwrap_or_default();
        let of_check = all.iter().filter(|finding| finding["check"] == check);
        of_check
            .map(|finding| format!("{}: {}", finding["state"], finding["detail"]))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (backstop, exempt, is_open, effect, by, code, headline, reach) in [
        (
            true,
            "",
            false,
            "dropped",
            "",
            1,
            "): dropped",
            "reached by db1, which is not covered: the backstop alone",
        ),
        (
            true,
            "\"db1\"",
            true,
            "partly",
            "db1",
            1,
            "let in by db1, where nothing judges it; dropped",
            "db1, which is not covered and is exempt",
        ),
        (
            false,
            "",
            true,
            "partly",
            "db1",
            1,
            "let in by db1, where nothing",
            "db1, which is not covered, and there is no backstop",
        ),
    ] {
        host.configure(&agent(backstop, exempt), &orders(TRUSTED));
        host.start();
        for runs in [true, false] {
            if !runs {
                host.stop(Signal::SIGTERM);
            }
            assert_eq!(side.is_open(&pair), is_open);
            let said = explained(&host);
            assert_eq!((&*said.0, &*said.1, said.2), (effect, by, Some(code)), "{said:?}");
            assert!(said.3.contains(headline), "{headline}: {said:?}");
            let told = found(&host, "reach");
            assert!(told.contains(reach) && !told.contains("db0"), "{reach}: {told}");
        }
    }
    // Renamed: the hook still filters, whatever the configuration says of the name.
    host.configure(&agent(true, ""), &orders(TRUSTED));
    host.start();
    host.stop(Signal::SIGTERM);
    pair.db.ip("link set db0 down");
    pair.db.ip("link set db0 name uplink");
    pair.db.ip("link set uplink up");
    assert!(!pair.reaches(STRANGER4));
    let told = found(&host, "reach");
    assert!(!told.contains("uplink"), "{told}");
    pair.db.ip("link set uplink down");
    pair.db.ip("link set uplink name db0");
    pair.db.ip("link set db0 up");
    host.start();
    // Only the hook: nobody judges what comes in by the side door.
    assert!(found(&host, "backstop").contains("no other socket lookup"));
    host.dbfw(&["detach", "--yes"]);
    for runs in [true, false] {
        if !runs {
            host.stop(Signal::SIGTERM);
        }
        assert!(side.is_open(&pair) && pair.reaches(STRANGER4));
        let said = explained(&host);
        if runs {
            let expected = ("let_in", "db0,db1", Some(0));
            assert_eq!((&*said.0, &*said.1, said.2), expected, "{said:?}");
            assert!(said.3.contains("the program would drop it"), "{said:?}");
        }
        let told = found(&host, "reach");
        for interface in ["db0", "db1"] {
            let told_of = format!("{interface}, and nothing judges what comes in there");
            assert!(told.contains(&told_of), "{told}");
        }
        assert!(!found(&host, "backstop").contains("alone"));
    }
}

/// The messages of the history, each with its kind and what went in and out.
fn told(host: &Host<'_>) -> String {
    let document = host.dbfw(&["history", "-o", "plain"]);
    String::from_utf8_lossy(&document.stdout).into_owned()
}

#[test]
fn a_start_tells_what_it_changes_of_what_the_kernel_held() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    let without_backstop = format!("{}\nbackstop = false", interfaces());
    let sources =
        |others: &str| orders(&format!("trusted_sources = [\"ip_addr:10.77.0.2\"{others}]"));
    // A snapshot and a copy of the configuration that are older than what is in force.
    for (former, latest, is_let_in) in
        [("", ", \"ip_addr:10.77.0.9\"", false), (", \"ip_addr:10.77.0.9\"", "", true)]
    {
        let state = ["state/snapshot.json", "state/config.json"];
        host.configure(&interfaces(), &sources(former));
        host.start();
        host.stop(Signal::SIGTERM);
        let kept = state.map(|name| fs::read(host.path(name)).expect("a file of the state"));
        host.configure(&interfaces(), &sources(latest));
        host.start();
        host.stop(Signal::SIGTERM);
        for (name, content) in state.iter().zip(kept) {
            fs::write(host.path(name), content).expect("put it back");
        }
        host.configure(&interfaces(), &sources(former));
        let lines = told(&host).lines().count();
        host.start();
        assert_eq!(pair.reaches(STRANGER4), is_let_in);
        host.stop(Signal::SIGTERM);
        let new: Vec<String> = told(&host).lines().skip(lines).map(str::to_owned).collect();
        let is_named = |line: &&String| line.contains("applied") && line.contains("10.77.0.9");
        assert_eq!(new.iter().filter(is_named).count(), 1, "{new:#?}");
        let counted = if is_let_in { "added=1 removed=0" } else { "added=0 removed=1" };
        assert!(host.log().contains(counted), "{counted}: {}", host.log());
    }

    // A database that has another name and mode, where nothing else tells of the one before.
    host.configure(&interfaces(), &sources(""));
    host.start();
    host.stop(Signal::SIGTERM);
    fs::remove_file(host.path("state/config.json")).expect("the copy");
    let renamed = sources("").replace("name = \"orders\"", "name = \"store\"\nmode = \"observe\"");
    host.configure(&interfaces(), &renamed);
    host.start();
    assert!(pair.reaches(STRANGER4));
    host.stop(Signal::SIGTERM);
    let (history, log) = (told(&host), host.log());
    for text in [&history, &log] {
        assert!(text.contains("orders") && text.contains("store"), "{text}");
        assert!(text.contains("is open to everyone"), "{text}");
    }

    // An interface that was renamed: this start detaches from it.
    host.configure(&without_backstop, &sources(""));
    host.start();
    assert!(side.is_open(&pair) && !pair.reaches(STRANGER4));
    host.stop(Signal::SIGTERM);
    pair.db.ip("link set db0 down");
    pair.db.ip("link set db0 name uplink");
    pair.db.ip("link set uplink up");
    assert!(!pair.reaches(STRANGER4));
    // Never ready: nothing that the configuration names is there.
    host.spawn();
    let change = "uplink: no longer judged: tcp/5432 is open to everyone there";
    host.wait("the start to tell", |host| host.log().contains(change));
    assert!(pair.reaches(STRANGER4));
    host.stop(Signal::SIGTERM);
    assert!(told(&host).contains(change), "{}", told(&host));
    assert!(host.log().contains(change), "{}", host.log());
}

/// While no agent runs, indexes and addresses of this host may become those of others.
#[test]
fn what_a_dead_agent_leaves_to_others_is_told() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    host.configure(&format!("{}\nexempt_interfaces = [\"db1\"]", interfaces()), &orders(TRUSTED));
    host.start();
    host.stop(Signal::SIGTERM);
    let exempt = |host: &Host<'_>| {
        let status = host.json(&["status"]).expect("JSON");
        let shown = host.dbfw(&["status"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        (texts(&status["backstop"]["exempt"]).join(","), shown, status)
    };
    let (names, shown, _) = exempt(&host);
    assert_eq!(names, "db1");
    assert!(shown.contains("lets through db1"), "{shown}");
    // Another interface gets the index of the exempt one.
    let index = pair.db.ifindex("db1");
    pair.db.ip("link del db1");
    let peer = pair.clients.name();
    pair.db.ip(&format!("link add db2 index {index} type veth peer name cl1 netns {peer}"));
    pair.db.up("db2");
    pair.clients.up("cl1");
    pair.db.address("db2", "10.78.0.1/24");
    pair.clients.address("cl1", "10.78.0.9/24");
    assert!(side.is_open(&pair));
    let (names, shown, status) = exempt(&host);
    assert_eq!(names, "db2");
    assert!(shown.contains("lets through db2"), "{shown}");
    assert_eq!((&status["protected"], &status["enforced"]), (&false.into(), &"partly".into()));
    let told = problems(&host);
    assert!(told.contains("db2 is let through by the backstop until an agent runs"), "{told}");
    host.start();
    assert!(!side.is_open(&pair));
    assert_eq!(exempt(&host).0, "");

    // Another machine gets an address of this host, and comes by an interface without a hook.
    pair.db.address("db2", "10.78.0.7/24");
    host.wait("the agent to see the address", |host| {
        host.json(&["explain", "10.78.0.7", "--port", "5432"])
            .is_some_and(|document| document[0]["reason"] == "martian")
    });
    host.stop(Signal::SIGTERM);
    assert_eq!(host.json(&["status"]).expect("JSON")["protection"], "yes", "{}", problems(&host));
    // What others have as well is not lost to one of them: link-local, anycast, broadcast.
    for kind in ["-6 addr flush dev db2 scope link", "route del table local broadcast 10.78.0.255"]
    {
        pair.db.ip(kind);
        assert_eq!(
            host.json(&["status"]).expect("JSON")["protection"],
            "yes",
            "{}",
            problems(&host)
        );
    }
    pair.db.ip("addr del 10.78.0.7/24 dev db2");
    pair.clients.address("cl1", "10.78.0.7/24");
    let taken = IpAddr::from([10, 78, 0, 7]);
    assert!(traffic::reaches(&pair.clients, taken, SocketAddr::new(side.host, PORT)));
    let status = host.json(&["status"]).expect("JSON");
    assert_eq!((&status["protection"], &status["protected"]), (&"no".into(), &false.into()));
    let told = problems(&host);
    assert!(told.contains("10.78.0.7") && told.contains("gets in by db2"), "{told}");
    host.start();
    assert!(!traffic::reaches(&pair.clients, taken, SocketAddr::new(side.host, PORT)));
    assert_eq!(host.json(&["status"]).expect("JSON")["protection"], "yes", "{}", problems(&host));
}

#[test]
fn sources_that_let_in_most_of_the_world_do_not_look_protected() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "");
    let open_list = listed(&host, "on_empty = \"open\"");
    let everyone = "trusted_sources = [\"ip_addr:0.0.0.0/0\", \"ip_addr:::/0\"]";
    let halves = "trusted_sources = [\"ip_addr:0.0.0.0/1\", \"ip_addr:128.0.0.0/1\"]";
    let most = "trusted_sources = [\"ip_addr:0.0.0.0/1\", \"ip_addr:128.0.0.0/2\"]";
    for (databases, enforced, told) in [
        (
            orders(everyone),
            "no",
            "orders: every public IPv4 address is trusted (ip_addr:0.0.0.0/0)",
        ),
        (
            orders(halves),
            "partly",
            "orders: every public IPv4 address is trusted (ip_addr:0.0.0.0/1, ",
        ),
        (
            orders(most),
            "partly",
            "orders: 75 % of all public IPv4 addresses are trusted (ip_addr:0.0.0.0/1, ",
        ),
        (open_list, "no", "orders: every public IPv4 address is trusted ("),
    ] {
        host.configure(&interfaces(), &databases);
        host.start();
        assert!(pair.reaches(STRANGER4), "{databases}");
        for runs in [true, false] {
            if !runs {
                host.stop(Signal::SIGTERM);
            }
            let status = host.json(&["status"]).expect("JSON");
            let said = (&status["protection"], &status["enforced"], &status["protected"]);
            assert_eq!(said, (&"yes".into(), &enforced.into(), &false.into()), "{status}");
            assert!(problems(&host).contains(told), "{told}: {}", problems(&host));
        }
    }
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    assert_eq!(host.json(&["status"]).expect("JSON")["protected"], true, "{}", problems(&host));
}

/// The defaults stand for directories that a bad configuration does not tell.
#[test]
fn a_filter_that_is_pinned_elsewhere_is_not_denied() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    host.stop(Signal::SIGTERM);
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    let cut = good.find("pin_dir").expect("the key");
    for bad in ["", "[agent\n", &good[..cut], &good.replace("pin_dir = \"", "pin_dir = \"\\q")] {
        fs::write(host.path("dbfw.toml"), bad).expect("a bad configuration");
        let status = host.json(&["status"]).expect("JSON");
        assert_eq!(
            (&status["protection"], &status["protected"]),
            (&"unknown".into(), &false.into())
        );
        let told =
            "db0, new connections are filtered by a program of dbfw that is not pinned below";
        assert!(problems(&host).contains(told), "{}", problems(&host));
        assert_eq!(host.dbfw(&["status"]).status.code(), Some(1));
        let detached = host.dbfw(&["detach", "--yes"]);
        assert_eq!(detached.status.code(), Some(69), "{detached:?}");
        assert!(String::from_utf8_lossy(&detached.stderr).contains(told), "{detached:?}");
        let history = host.dbfw(&["history"]);
        let told = String::from_utf8_lossy(&history.stderr).contains("cannot be used");
        let shown = String::from_utf8_lossy(&history.stdout).contains("applied");
        assert!(told || shown, "an empty history is doubted: {history:?}");
        assert!(!pair.reaches(STRANGER4) && pair.reaches(TRUSTED4));
    }
    // Without the copy of the last good configuration, which is in state_dir, it cannot start.
    fs::write(host.path("dbfw.toml"), "[agent\n").expect("a bad configuration");
    host.spawn();
    assert_eq!(host.ended(), Some(78), "{}", host.log());
    let log = host.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("goes on filtering"), "{log}");
    fs::write(host.path("dbfw.toml"), good).expect("the good configuration");
    assert_eq!(host.json(&["status"]).expect("JSON")["protected"], true, "{}", problems(&host));
}

#[test]
fn what_the_pins_alone_tell_is_told_as_such() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let sources = "trusted_sources = [\"ip_addr:10.77.0.2\", \"ip_addr:10.77.0.3\", \
                   \"ip_addr:fd77::/64\"]";
    host.configure(&interfaces(), &orders(sources));
    host.start();
    host.stop(Signal::SIGTERM);
    fs::remove_file(host.path("state/snapshot.json")).expect("the snapshot");
    let status = host.json(&["status"]).expect("JSON");
    let database = &status["databases"][0];
    assert_eq!((&database["prefixes_ipv4"], &database["prefixes_ipv6"]), (&2.into(), &1.into()));
    let shown = String::from_utf8(host.dbfw(&["explain", "10.77.0.2"]).stdout).expect("text");
    assert!(shown.contains("let in") && !shown.contains("not trusted"), "{shown}");
    // Nothing is attached where the link is gone.
    fs::remove_file(host.pins().join("link_native_db0")).expect("the link");
    let explained = host.json(&["explain", "10.77.0.9"]).expect("JSON");
    assert_eq!(explained[0]["verdict"], "drop");
    let facts = texts(&explained[0]["facts"]);
    assert!(facts.iter().any(|fact| fact.starts_with("this host is not protected (")), "{facts:?}");
}

#[test]
fn clients_of_a_port_that_moves_are_cut_off_and_those_refused_before_are_not() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let table = |name: &str, port: u16, mode: &str, source: &str| {
        format!(
            "[[database]]\nname = \"{name}\"\nports = [{port}]\nmode = \"{mode}\"\n\
             trusted_sources = [\"ip_addr:{source}\"]\n"
        )
    };
    host.configure(&interfaces(), &table("orders", PORT, "enforce", "10.77.0.2"));
    host.start();
    let target = SocketAddr::new(HOST4, PORT);
    // Enforce mode refuses the stranger: to close the port cuts nobody off who got in.
    assert!(!pair.reaches(STRANGER4));
    let mut open = traffic::connect(&pair.clients, TRUSTED4, target, PATIENCE).expect("let in");
    host.wait("the stranger to be seen", |host| {
        host.json(&["suggest", "--all"]).unwrap_or_default()["observed"] == 1
    });
    host.configure(&interfaces(), &table("orders", PORT, "observe", "10.77.0.2"));
    assert_eq!(host.json(&["reload"]).expect("JSON")["cut_off"], Value::Array(vec![]));
    host.configure(&interfaces(), &table("orders", PORT, "enforce", "10.77.0.2"));
    let document = host.json(&["reload"]).expect("JSON");
    assert_eq!(document["cut_off"], Value::Array(vec![]), "{document}");
    // Another database that does not trust the client takes the port over.
    let moved = table("orders", OTHER_PORT, "enforce", "10.77.0.2")
        + &table("store", PORT, "enforce", "10.77.0.3");
    host.configure(&interfaces(), &moved);
    let document = host.json(&["reload"]).expect("JSON");
    let cut_off = document["cut_off"].as_array().cloned().unwrap_or_default();
    assert_eq!(cut_off.len(), 1, "{document}");
    assert_eq!(
        (&cut_off[0]["database"], &cut_off[0]["source"], &cut_off[0]["connections"]),
        (&"store".into(), &TRUSTED4.to_string().into(), &1.into())
    );
    assert!(traffic::round_trip(&mut open, Duration::from_secs(1)).is_err(), "it is cut");
}

#[test]
fn a_client_that_connected_before_the_agent_and_is_silent_is_suggested() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let target = SocketAddr::new(HOST4, PORT);
    let idle = traffic::connect(&pair.clients, STRANGER4, target, PATIENCE).expect("no filter");
    let own = pair.db.run(|| std::net::TcpStream::connect(target)).expect("no filter");
    host.configure(&interfaces(), &orders(&format!("mode = \"observe\"\n{TRUSTED}")));
    host.start();
    let suggested = |host: &Host<'_>| {
        let document = host.json(&["suggest", "--all"]).unwrap_or_default();
        let suggestions = document["suggestions"].as_array().cloned().unwrap_or_default();
        suggestions.iter().map(|one| one["source"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(suggested(&host), ["ip_addr:10.77.0.9"]);
    // The agent keeps it, also over a restart, when the connection is gone.
    drop((idle, own));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(suggested(&host), ["ip_addr:10.77.0.9"]);
    host.stop(Signal::SIGTERM);
    host.start();
    assert_eq!(suggested(&host), ["ip_addr:10.77.0.9"]);
}

#[test]
fn a_list_in_a_file_is_checked_with_the_configuration() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    for (list, strict, told) in [
        (Some("10.77.0.2\n"), 0, ""),
        (Some("10.77.0.2\nnot an address\n"), 78, "orders.list:2"),
        (Some(""), 78, "names nobody"),
        (Some("0.0.0.0/0\n"), 78, "not allowed"),
        (None, 78, "does not exist"),
    ] {
        match list {
            Some(list) => host.replace("orders.list", list),
            None => fs::remove_file(host.path("orders.list")).expect("the list"),
        }
        host.configure(&interfaces(), &listed(&host, ""));
        let output = host.dbfw(&["check"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "the agent would start: {text}");
        assert!(text.contains(told), "{told}: {text}");
        assert_eq!(host.dbfw(&["check", "--strict"]).status.code(), Some(strict), "{list:?}");
    }
    // What the configuration permits is no doubt.
    host.replace("orders.list", "0.0.0.0/0\n");
    host.configure(&interfaces(), &listed(&host, "allow_any = true"));
    assert_eq!(host.dbfw(&["check", "--strict"]).status.code(), Some(0));
}

#[test]
fn a_running_agent_without_descriptors_claims_no_loss() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    let pid = host.pid().to_string();
    let limit = |files: u32| {
        let output = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={files}:")])
            .output()
            .expect("run prlimit");
        assert!(output.status.success(), "{output:?}");
    };
    limit(3);
    host.wait_for_log("nobody would notice that pins are lost");
    std::thread::sleep(Duration::from_millis(2500));
    limit(4096);
    host.wait_for_log("resolved: nobody would notice that pins are lost");
    let log = host.log();
    for lie in ["was lost", "pins were missing", "the filter ends with the agent"] {
        assert!(!log.contains(lie), "{lie}: {log}");
    }
    assert!(!pair.reaches(STRANGER4) && pair.reaches(TRUSTED4));
    assert_eq!(host.json(&["status"]).expect("JSON")["protected"], true, "{}", problems(&host));
}

fn table(name: &str, ports: &str, sources: &[&str]) -> String {
    format!("[[database]]\nname = \"{name}\"\nports = [{ports}]\ntrusted_sources = {sources:?}\n")
}

fn changes(document: &Value) -> Vec<(String, String)> {
    let changes = document["changes"].as_array().cloned().unwrap_or_default();
    let text = |change: &Value, key: &str| change[key].as_str().unwrap_or_default().to_owned();
    changes.iter().map(|change| (text(change, "effect"), text(change, "text"))).collect()
}

/// A container's interface often has the index, in its namespace, of one of the host's.
#[test]
fn the_index_of_a_peer_elsewhere_is_nobodys_here() {
    let pair = Pair::new();
    let container = Netns::new("container");
    let index = pair.db.ifindex(dbfw_tests::pair::INTERFACE);
    pair.db.ip(&format!(
        "link add vethc type veth peer name eth0 index {index} netns {}",
        container.name()
    ));
    pair.db.address("vethc", "10.79.0.1/24");
    pair.db.up("vethc");
    container.address("eth0", "10.79.0.2/24");
    container.up("eth0");
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    let gets_in =
        || traffic::reaches(&container, [10, 79, 0, 2].into(), ([10, 79, 0, 1], PORT).into());
    assert!(!gets_in());
    host.configure(&format!("{}\nbackstop = false", interfaces()), &orders(TRUSTED));
    let document = host.json(&["reload"]).expect("JSON");
    let told = "vethc: no longer judged: tcp/5432 is open to everyone there";
    assert!(changes(&document).iter().any(|(_, text)| text == told), "{document}");
    assert!(gets_in());
    assert_eq!(host.json(&["status"]).expect("JSON")["protected"], false);
}

#[test]
fn whom_a_reload_lets_in_is_told_whatever_lets_them_in() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let apart = table("orders", "5432", &["ip_addr:10.77.0.2"])
        + &table("shop", "8080", &["ip_addr:0.0.0.0/0"]);
    host.configure(&interfaces(), &apart);
    host.start();
    assert!(host.log().contains("shop: every public IPv4 address is trusted"), "{}", host.log());
    assert!(!pair.reaches(STRANGER4));
    // A port that goes to a database which trusts everyone.
    let moved = table("orders", "5433", &["ip_addr:10.77.0.2"])
        + &table("shop", "8080, 5432", &["ip_addr:0.0.0.0/0"]);
    host.configure(&interfaces(), &moved);
    let document = host.json(&["reload"]).expect("JSON");
    assert!(pair.reaches(STRANGER4));
    let opens = |document: &Value, told: &str| {
        changes(document).iter().any(|(effect, text)| effect == "opens" && text.contains(told))
    };
    let told = "shop: every public IPv4 address is trusted (ip_addr:0.0.0.0/0): tcp/8080, tcp/5432 are open";
    assert!(
        opens(&document, told) || opens(&document, "tcp/5432, tcp/8080 are open"),
        "{document}"
    );
    let said = "orders (enforce) → shop (enforce): tcp/5432 is open to the sources of shop alone";
    assert!(changes(&document).iter().any(|(_, text)| text == said), "{document}");
    // Sources that are everyone, and back.
    host.configure(&interfaces(), &table("orders", "5432", &["ip_addr:10.77.0.2"]));
    host.json(&["reload"]).expect("JSON");
    assert!(!pair.reaches(STRANGER4));
    let everyone = table("orders", "5432", &["ip_addr:0.0.0.0/1", "ip_addr:128.0.0.0/1"]);
    host.configure(&interfaces(), &everyone);
    let document = host.json(&["reload"]).expect("JSON");
    assert!(opens(&document, "orders: every public IPv4 address is trusted"), "{document}");
    let history = String::from_utf8(host.dbfw(&["history", "-o", "plain"]).stdout).expect("text");
    assert!(history.contains("config_changed") && history.contains("orders: every public IPv4"));
    host.configure(&interfaces(), &table("orders", "5432", &["ip_addr:10.77.0.2"]));
    let document = host.json(&["reload"]).expect("JSON");
    let closes = |(effect, text): &(String, String)| {
        effect == "closes" && text.starts_with("no longer so: orders: every public IPv4")
    };
    assert!(changes(&document).iter().any(closes), "{document}");
    // One more database trusts who is in the maps already.
    let both = table("orders", "5432", &["ip_addr:10.77.0.2"])
        + &table("shop", "8080", &["ip_addr:10.77.0.2"]);
    host.configure(&interfaces(), &both);
    let document = host.json(&["reload"]).expect("JSON");
    assert_eq!((&document["added"], &document["removed"]), (&1.into(), &0.into()), "{document}");
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    let document = host.json(&["reload"]).expect("JSON");
    let told = "attached again: tcp/5432, tcp/8080 are closed to sources that are not trusted";
    assert!(changes(&document).iter().any(|(_, text)| text == told), "{document}");
    assert!(!pair.reaches(STRANGER4));
}

#[test]
fn what_opens_while_the_agent_runs_is_logged() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    let agent = format!("{}\nbackstop = false", interfaces());
    host.configure(&agent, &listed(&host, "on_empty = \"open\"\nmax_shrink = \"off\""));
    host.start();
    let side = SideDoor::new(&pair);
    host.wait_for_log("orders: db1 is not in agent.interfaces, and there is no backstop: tcp/5432");
    assert!(side.is_open(&pair));
    pair.db.ip("link del db1");
    host.wait_for_log("no longer so: orders: db1 is not in");
    host.replace("orders.list", "");
    host.wait_for_log("orders: every public IPv4 address is trusted (");
    assert!(pair.reaches(STRANGER4));
    // A covered interface under another name is filtered as before.
    host.replace("orders.list", "10.77.0.2\n");
    host.wait_for_log("no longer so: orders: every public IPv4");
    pair.db.down("db0");
    pair.db.ip("link set db0 name lan0");
    pair.db.up("lan0");
    host.wait("the new name", |host| problems(host).contains("db0: no such interface"));
    assert!(!problems(&host).contains("lan0"), "{}", problems(&host));
    assert!(!pair.reaches(STRANGER4));
    // A reload of the same files detaches it.
    let document = host.json(&["reload"]).expect("JSON");
    let told = "lan0: no longer judged: tcp/5432 is open to everyone there";
    assert!(changes(&document).iter().any(|(_, text)| text == told), "{document}");
    assert!(pair.reaches(STRANGER4));
}

#[test]
fn a_backstop_that_is_detached_is_told_at_once_with_and_without_the_agent() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    let detach = || {
        let link = host.pins().join("link_backstop");
        let output = std::process::Command::new("bpftool")
            .args(["link", "detach", "pinned"])
            .arg(link)
            .output()
            .expect("run bpftool");
        assert!(output.status.success(), "{output:?}");
    };
    for _ in 0..5 {
        detach();
        let status = host.json(&["status"]).expect("JSON");
        assert_eq!(
            status["protection"] == "yes",
            status["backstop"]["healthy"] == true,
            "{status}"
        );
        host.wait("the repair", |host| {
            host.json(&["status"]).unwrap_or_default()["protected"] == true
        });
    }
    detach_and_kill(&mut host);
    let status = host.json(&["status"]).expect("JSON");
    assert_eq!(
        (&status["protection"], &status["backstop"]["healthy"]),
        (&"no".into(), &false.into())
    );
    assert!(side.is_open(&pair));
}

fn detach_and_kill(host: &mut Host<'_>) {
    host.stop(Signal::SIGKILL);
    let link = host.pins().join("link_backstop");
    let output =
        std::process::Command::new("bpftool").args(["link", "detach", "pinned"]).arg(link).output();
    assert!(output.expect("run bpftool").status.success());
}

#[test]
fn ports_that_databases_exchange_are_open_to_nobody_meanwhile() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let one = table("orders", "5432", &["ip_addr:10.77.0.2"])
        + &table("shop", "8080", &["ip_addr:0.0.0.0/0"]);
    let other = table("orders", "8080", &["ip_addr:0.0.0.0/0"])
        + &table("shop", "5432", &["ip_addr:10.77.0.2"]);
    host.configure(&interfaces(), &one);
    host.start();
    let target = SocketAddr::new(HOST4, PORT);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (tried, got_in, refused) = std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            let (mut tried, mut got_in) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let glimpse = Duration::from_millis(1);
                tried += 1;
                got_in +=
                    u32::from(traffic::connect(&pair.clients, STRANGER4, target, glimpse).is_ok());
            }
            (tried, got_in)
        });
        let trusted = scope.spawn(|| {
            let mut refused = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let patience = Duration::from_millis(900);
                refused +=
                    u32::from(traffic::connect(&pair.clients, TRUSTED4, target, patience).is_err());
                std::thread::sleep(Duration::from_millis(1));
            }
            refused
        });
        let dropped = |host: &Host<'_>| {
            let status = host.json(&["status"]).unwrap_or_default();
            let databases = status["databases"].as_array().cloned().unwrap_or_default();
            databases.iter().filter_map(|one| one["dropped_packets"].as_u64()).sum::<u64>()
        };
        host.wait("the stranger to be refused", |host| dropped(host) > 20);
        for swap in 0..30 {
            let before = dropped(&host);
            host.configure(&interfaces(), if swap % 2 == 0 { &other } else { &one });
            let document = host.json(&["reload"]).expect("JSON");
            assert_eq!(document["cut_off"], Value::Array(vec![]), "nobody who got in");
            assert!(dropped(&host) >= before, "the counters go on");
            let drops = host.json(&["drops"]).expect("JSON").to_string();
            assert!(drops.contains("10.77.0.9"), "what was refused is remembered: {drops}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (tried, got_in) = stranger.join().expect("the stranger");
        (tried, got_in, trusted.join().expect("the client"))
    });
    assert!(tried > 500, "{tried} tries");
    assert_eq!((got_in, refused), (0, 0), "of {tried} tries");
}

#[test]
fn clients_that_any_change_cuts_off_are_named_and_those_that_go_on_as_well() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    let sources = |sources: &[&str]| table("orders", "5432", sources);
    let both = ["ip_addr:10.77.0.2", "ip_addr:10.77.0.9", "ip_addr:10.78.0.9"];
    host.configure(&interfaces(), &sources(&both));
    host.start();
    let target = SocketAddr::new(HOST4, PORT);
    let mut gone = traffic::connect(&pair.clients, STRANGER4, target, PATIENCE).expect("trusted");
    let mut kept = traffic::connect(&pair.clients, TRUSTED4, target, PATIENCE).expect("trusted");
    let by_side = SocketAddr::new(side.host, PORT);
    let mut aside =
        traffic::connect(&pair.clients, side.stranger, by_side, PATIENCE).expect("trusted");
    host.configure(&interfaces(), &sources(&both[..1]));
    let document = host.json(&["reload"]).expect("JSON");
    let cut_off = document["cut_off"].as_array().cloned().unwrap_or_default();
    let mut told: Vec<_> = cut_off
        .iter()
        .map(|one| (one["source"].to_string(), one["connections"].clone(), one["going_on"].clone()))
        .collect();
    told.sort_by_key(|(source, _, _)| source.clone());
    assert_eq!(
        told,
        [
            ("\"10.77.0.9\"".to_owned(), 1.into(), 0.into()),
            ("\"10.78.0.9\"".to_owned(), 0.into(), 1.into())
        ],
        "{document}"
    );
    assert!(traffic::round_trip(&mut gone, Duration::from_secs(1)).is_err());
    assert!(traffic::round_trip(&mut kept, PATIENCE).is_ok());
    assert!(traffic::round_trip(&mut aside, PATIENCE).is_ok(), "only new ones are judged there");
    // Likewise of what is removed by hand, as long as it is open.
    let change = |verb| host.json(&["trust", verb, "ip_addr:10.78.0.9", "--database", "orders"]);
    let going_on = || {
        change("add").expect("JSON");
        change("rm").expect("JSON")["going_on"].clone()
    };
    assert_eq!(going_on(), 1);
    assert!(traffic::round_trip(&mut aside, PATIENCE).is_ok());
    aside.shutdown(Shutdown::Both).expect("an open connection");
    host.wait("the connection to be over", |_| going_on().is_null());
    // Removed by hand from a database that lets everyone in.
    let observed = sources(&both[..1]).replace("ports", "mode = \"observe\"\nports");
    host.configure(&interfaces(), &observed);
    host.json(&["reload"]).expect("JSON");
    host.json(&["trust", "add", "ip_addr:10.77.0.9", "--database", "orders"]).expect("JSON");
    let removed =
        host.json(&["trust", "rm", "ip_addr:10.77.0.9", "--database", "orders"]).expect("JSON");
    assert_eq!(texts(&removed["still_open"]), ["mode = \"observe\""], "{removed}");
    host.json(&["trust", "add", "ip_addr:10.77.0.9", "--database", "orders"]).expect("JSON");
    host.configure(&interfaces(), &sources(&both[..1]));
    host.json(&["reload"]).expect("JSON");
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    let removed = host.json(&["trust", "rm", "ip_addr:10.77.0.9", "--database", "orders"]);
    let removed = removed.expect("JSON");
    assert_eq!(texts(&removed["still_open"]), ["everything is detached"], "{removed}");
    host.configure(&interfaces(), &observed);
    host.json(&["reload"]).expect("JSON");
    // Over in a moment, and known at once.
    assert!(pair.reaches(STRANGER4));
    let found = host.json(&["suggest", "--all"]).expect("JSON").to_string();
    assert!(found.contains("\"established\":true"), "{found}");
}

/// The backstop sees sockets of the host alone, and a container's is none.
#[test]
fn a_port_that_nat_passes_on_past_the_programs_is_told() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let container = Netns::new("container");
    veth((&pair.db, "vethc"), (&container, "eth0"));
    pair.db.address("vethc", "10.79.0.1/24");
    container.address("eth0", "10.79.0.2/24");
    container.ip("route add default via 10.79.0.1");
    pair.db.sysctl("net/ipv4/ip_forward", "1");
    finish(pair.db.command("nft").arg(
        "table ip mine {\nchain pre {\ntype nat hook prerouting priority -100;\n\
         iifname != \"vethc\" tcp dport 5432 dnat to 10.79.0.2;\n}\n}",
    ));
    let _served = Echo::start(&container, PORT);
    let mut host = Host::new(&pair.db);
    let agent = |covered: &str| format!("interfaces = [\"db0\"{covered}]");
    host.configure(&agent(""), &orders(TRUSTED));
    host.start();
    let nat = "a NAT rule passes tcp/5432 on to 10.79.0.2: what comes in by db1 meets no program";
    for (covered, is_open) in [("", true), (", \"db1\"", false)] {
        host.configure(&agent(covered), &orders(TRUSTED));
        host.json(&["reload"]).expect("JSON");
        assert_eq!(side.is_open(&pair), is_open, "{covered}");
        assert!(!pair.reaches(STRANGER4) && pair.reaches(TRUSTED4));
        let findings = host.json(&["doctor"]).expect("JSON").to_string();
        assert_eq!(findings.contains(nat), is_open, "{findings}");
        let explained = host.json(&["explain", "10.78.0.9"]).expect("JSON");
        let facts = explained[0]["facts"].to_string();
        let ways = if is_open { "what enters by db1, vethc" } else { "what enters by vethc" };
        assert!(facts.contains(ways), "{explained}");
    }
}

/// A client of each network, which reaches the host by the other network's address: addresses do
/// not tell by which interface it comes.
struct Crossed {
    by_hook: IpAddr,
    aside: IpAddr,
    /// The host's addresses that they connect to.
    targets: [IpAddr; 2],
}

impl Crossed {
    fn new(pair: &Pair, v6: bool) -> Self {
        let side = SideDoor::new(pair);
        if !v6 {
            Self::route(pair, "", [("10.77.0.9", "10.77.0.1"), ("10.78.0.9", "10.78.0.1")]);
            let targets = [side.host, HOST4];
            return Self { by_hook: STRANGER4, aside: side.stranger, targets };
        }
        pair.db.address("db1", "fd78::1/64");
        pair.clients.address("cl1", "fd78::9/64");
        let [hooked, gateway] = [STRANGER6, HOST6].map(|address| address.to_string());
        Self::route(pair, "-6 ", [(&hooked, &gateway), ("fd78::9", "fd78::1")]);
        let address = |text: &str| text.parse().expect("an address");
        let targets = [address("fd78::1"), HOST6];
        Self { by_hook: STRANGER6, aside: address("fd78::9"), targets }
    }

    fn route(pair: &Pair, family: &str, ways: [(&str, &str); 2]) {
        for (table, (from, by)) in (100..).zip(ways) {
            pair.clients.ip(&format!("{family}rule add from {from} lookup {table}"));
            pair.clients.ip(&format!("{family}route add default via {by} table {table}"));
        }
    }
}

#[test]
fn connections_are_told_by_the_interface_that_they_use() {
    for v6 in [false, true] {
        let pair = Pair::new();
        let clients = Crossed::new(&pair, v6);
        let mut host = Host::new(&pair.db);
        let sources = |sources: &[&str]| table("orders", "5432", sources);
        let both = [clients.by_hook, clients.aside].map(|address| format!("ip_addr:{address}"));
        let both = both.each_ref().map(String::as_str);
        host.configure(&interfaces(), &sources(&both));
        host.start();
        let open = |from, to| {
            let target = SocketAddr::new(to, PORT);
            traffic::connect(&pair.clients, from, target, PATIENCE).expect("trusted")
        };
        let mut hooked = open(clients.by_hook, clients.targets[0]);
        let mut aside = open(clients.aside, clients.targets[1]);
        let told = |document: &Value| -> Vec<(String, u64, u64)> {
            let cut_off = document["cut_off"].as_array().into_iter().flatten();
            let number = |one: &Value, key: &str| one[key].as_u64().unwrap_or_default();
            let mut told: Vec<_> = cut_off
                .map(|one| {
                    let source = one["source"].as_str().unwrap_or_default().to_owned();
                    (source, number(one, "connections"), number(one, "going_on"))
                })
                .collect();
            told.sort();
            told
        };
        let change = |verb: &str, source: &str| {
            host.json(&["trust", verb, source, "--database", "orders"]).expect("JSON")
        };
        for (source, going_on) in [(both[0], Value::Null), (both[1], 1.into())] {
            change("add", source);
            let others: Vec<&str> = both.into_iter().filter(|other| *other != source).collect();
            host.configure(&interfaces(), &sources(&others));
            host.json(&["reload"]).expect("JSON");
            assert_eq!(change("rm", source)["going_on"], going_on, "{source}");
            host.configure(&interfaces(), &sources(&both));
            host.json(&["reload"]).expect("JSON");
        }
        assert!(traffic::round_trip(&mut aside, PATIENCE).is_ok());
        assert!(traffic::round_trip(&mut hooked, PATIENCE).is_ok(), "trusted again in time");
        host.configure(&interfaces(), &sources(&["ip_addr:10.77.0.2"]));
        let document = host.json(&["reload"]).expect("JSON");
        let mut expected = [(clients.by_hook.to_string(), 1, 0), (clients.aside.to_string(), 0, 1)];
        expected.sort();
        assert_eq!(told(&document), expected, "{document}");
        assert!(traffic::round_trip(&mut hooked, Duration::from_secs(1)).is_err());
        assert!(
            traffic::round_trip(&mut aside, PATIENCE).is_ok(),
            "only new ones are judged there"
        );
    }
}

#[test]
fn who_was_refused_before_is_not_cut_off_and_who_gets_in_is_not_either() {
    let pair = Pair::new();
    let side = SideDoor::new(&pair);
    let mut host = Host::new(&pair.db);
    let observed = table("orders", "5432", &["ip_addr:10.77.0.2"])
        .replace("ports", "mode = \"observe\"\nports");
    host.configure(&interfaces(), &observed);
    host.start();
    let cut_off = |databases: &str, keys: &str| -> Vec<String> {
        host.configure(&format!("{}\n{keys}", interfaces()), databases);
        let document = host.json(&["reload"]).expect("JSON");
        let found = document["cut_off"].as_array().cloned().unwrap_or_default();
        found.iter().filter_map(|one| one["source"].as_str().map(str::to_owned)).collect()
    };
    let nobody: [&str; 0] = [];
    assert!(pair.reaches(STRANGER4));
    let enforced = |ports: &str| table("orders", ports, &["ip_addr:10.77.0.2"]);
    assert_eq!(cut_off(&enforced("5432"), ""), ["10.77.0.9"]);
    assert_eq!(cut_off(&enforced("5432, 5434"), ""), nobody);
    assert_eq!(cut_off(&enforced("5434"), ""), nobody);
    assert_eq!(cut_off(&enforced("5432"), ""), nobody);
    let by_side = SocketAddr::new(side.host, PORT);
    let exempt = "exempt_interfaces = [\"db1\"]";
    assert_eq!(cut_off(&enforced("5432"), exempt), nobody);
    let open = traffic::connect(&pair.clients, side.stranger, by_side, PATIENCE).expect("exempt");
    assert_eq!(cut_off(&enforced("5432"), "backstop = false"), nobody);
    assert_eq!(cut_off(&enforced("5432"), exempt), nobody);
    assert_eq!(cut_off(&enforced("5432"), ""), ["10.78.0.9"]);
    drop(open);
    // Both in one change: the port is enforced, and nothing judges who comes by the side.
    assert_eq!(cut_off(&observed, ""), nobody);
    assert!(traffic::reaches(&pair.clients, side.stranger, by_side), "observe mode lets it in");
    assert!(pair.reaches(STRANGER4));
    assert_eq!(cut_off(&enforced("5432"), "backstop = false"), ["10.77.0.9"]);
    assert!(traffic::reaches(&pair.clients, side.stranger, by_side), "and still does");
}
