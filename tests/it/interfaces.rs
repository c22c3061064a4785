//! Interfaces that come, go, move, change their name, or are somebody else's already.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use dbfw_tests::{
    agent::Host,
    features::{has_tcx, hooks, renames_while_up},
    netns::{Netns, finish},
    site::{
        Answer::{Refused, Served, Silent},
        Line, PATIENCE, answer, interface, link, wait_for_interface, wait_until_gone, xdp_of,
    },
    traffic::{Echo, SILENCE},
};
use nix::sys::signal::Signal;

const PORT: u16 = 5432;

/// A database on `port` that trusts the `.2` of every line.
fn trusting_all(name: &str, port: u16) -> String {
    let sources: Vec<String> = (1..=4)
        .map(|number| format!("\"ip_addr:10.90.{number}.2\", \"ip_addr:fd90:{number}::2\""))
        .collect();
    format!(
        "[[database]]\nname = \"{name}\"\nports = [{port}]\ntrusted_sources = [{}]",
        sources.join(", ")
    )
}

/// The hooks alone, so that silence and answers are theirs.
fn without_backstop(attach: &str) -> String {
    format!("interfaces = [\"db*\"]\nattach = \"{attach}\"\nbackstop = false")
}

/// The pinned links of interfaces.
fn link_pins(host: &Host<'_>) -> BTreeSet<String> {
    let entries = fs::read_dir(host.pins()).expect("read the pins");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("link_"))
        .collect()
}

fn pins(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn wait_for_pins(host: &Host<'_>, names: &[&str]) {
    let wanted = pins(names);
    host.wait(&format!("the pins to be {wanted:?}"), |host| link_pins(host) == wanted);
}

/// Lets one `ip` carry out several commands, one a line.
fn batch(host: &Host<'_>, netns: &Netns, commands: &str) {
    let file = host.path("batch");
    fs::write(&file, commands).expect("write the batch");
    finish(netns.command("ip").arg("-batch").arg(&file));
}

/// The two hooks that live by a link of their own; native alone before TCX.
fn native_and_tcx() -> impl Iterator<Item = &'static str> {
    hooks().iter().copied().filter(|hook| *hook != "generic")
}

/// The commands that rename an interface which is up. Where it has to be down for that, it keeps
/// its addresses.
fn renamed(netns: &Netns, old: &str, new: &str) -> String {
    let rename = format!("link set dev {old} name {new}\n");
    if renames_while_up() {
        return rename;
    }
    netns.sysctl("net.ipv6.conf.all.keep_addr_on_down", "1");
    format!("link set dev {old} down\n{rename}link set dev {new} up\n")
}

/// Whether an interface is set up, by `ip`.
fn is_up(netns: &Netns, interface: &str) -> bool {
    let flags = link(netns, interface)["flags"].to_string();
    flags.contains("\"UP\"")
}

#[test]
fn a_new_interface_is_filtered_before_it_is_up() {
    for attach in hooks() {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let mut host = Host::new(&db);
        host.configure(&without_backstop(attach), &trusting_all("orders", PORT));
        host.start();
        let _echo = Echo::start(&db, PORT);

        let second = Line::down((&db, "db1"), (&client, "cl1"), 2);
        assert_eq!(wait_for_interface(&host, "db1")["mode"], *attach);
        let xdp = xdp_of(&db, "db1").map(|(mode, _)| mode);
        assert_eq!(xdp, (*attach != "tcx").then_some(*attach), "what ip says");
        assert!(!is_up(&db, "db1"), "the interface came up by itself");
        second.up((&db, "db1"));
        second.assert_answers(PORT, Served, Silent);
        first.assert_answers(PORT, Served, Silent);
    }
}

#[test]
fn an_interface_that_is_up_at_once_serves_no_stranger() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut host = Host::new(&db);
    host.configure("interfaces = [\"db*\"]", &trusting_all("orders", PORT));
    host.start();
    let _echo = Echo::start(&db, PORT);
    for _ in 0..5 {
        // The agent may be late: then the backstop answers.
        let second = Line::new((&db, "db1"), (&client, "cl1"), 2);
        for ends in second.ends() {
            let target = SocketAddr::new(ends.server, PORT);
            let given = answer(&client, ends.stranger, target, SILENCE);
            assert_ne!(given, Served, "{} at {target}", ends.stranger);
        }
        wait_for_interface(&host, "db1");
        second.assert_answers(PORT, Served, Silent);
        db.ip("link delete db1");
    }
    first.assert_answers(PORT, Served, Silent);
}

#[test]
fn a_renamed_interface_stays_filtered() {
    for attach in native_and_tcx() {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let mut host = Host::new(&db);
        host.configure(&without_backstop(attach), &trusting_all("orders", PORT));
        host.start();
        let _echo = Echo::start(&db, PORT);
        let index = db.ifindex("db0");
        let program = xdp_of(&db, "db0");
        // The second name is one the configuration does not know.
        for (old, new) in [("db0", "db7"), ("db7", "wan0")] {
            batch(&host, &db, &renamed(&db, old, new));
            line.assert_answers(PORT, Served, Silent);
            let status = wait_for_interface(&host, new);
            assert_eq!((&status["mode"], &status["ifindex"]), (&attach.into(), &index.into()));
            wait_for_pins(&host, &[&format!("link_{attach}_{new}")]);
            assert!(interface(&host, old).is_none(), "{old} is still listed");
            assert_eq!(xdp_of(&db, new), program, "it was attached anew");
        }
        line.assert_answers(PORT, Served, Silent);
    }
}

#[test]
fn interfaces_that_swap_their_names_stay_filtered() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let second = Line::new((&db, "db1"), (&client, "cl1"), 2);
    let mut host = Host::new(&db);
    host.configure(&without_backstop("native"), &trusting_all("orders", PORT));
    host.start();
    let _echo = Echo::start(&db, PORT);
    let before = (db.ifindex("db0"), db.ifindex("db1"));
    // In one batch, so that the agent may see the three changes as one.
    let swap = [("db0", "tmp"), ("db1", "db0"), ("tmp", "db1")];
    batch(&host, &db, &swap.map(|(old, new)| renamed(&db, old, new)).concat());
    host.wait("the new names", |host| {
        let index = |name| interface(host, name).map(|interface| interface["ifindex"].clone());
        (index("db1"), index("db0")) == (Some(before.0.into()), Some(before.1.into()))
    });
    for line in [&first, &second] {
        line.assert_answers(PORT, Served, Silent);
    }
    wait_for_pins(&host, &["link_native_db0", "link_native_db1"]);
    // What is pinned is what filters: it is taken over after a crash.
    host.stop(Signal::SIGKILL);
    for line in [&first, &second] {
        line.assert_answers(PORT, Served, Silent);
    }
    host.start();
    for line in [&first, &second] {
        line.assert_answers(PORT, Served, Silent);
    }
    assert!(!host.log().contains("were missing or not ours"), "pins were lost:\n{}", host.log());
}

#[test]
fn an_interface_made_again_under_its_name_is_filtered_again() {
    for attach in native_and_tcx() {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
        Line::new((&db, "db1"), (&client, "cl1"), 2);
        let mut host = Host::new(&db);
        host.configure(&without_backstop(attach), &trusting_all("orders", PORT));
        host.start();
        let _echo = Echo::start(&db, PORT);
        let (pin0, pin1) = (format!("link_{attach}_db0"), format!("link_{attach}_db1"));

        let old = db.ifindex("db1");
        db.ip("link delete db1");
        wait_until_gone(&host, "db1");
        wait_for_pins(&host, &[&pin0]);
        first.assert_answers(PORT, Served, Silent);

        for _ in 0..3 {
            let line = Line::down((&db, "db1"), (&client, "cl1"), 2);
            let index = db.ifindex("db1");
            assert_ne!(index, old, "the kernel gave the same index again");
            host.wait("the new db1 to be attached", |host| {
                interface(host, "db1").is_some_and(|db1| db1["ifindex"] == index)
            });
            line.up((&db, "db1"));
            line.assert_answers(PORT, Served, Silent);
            wait_for_pins(&host, &[&pin0, &pin1]);
            // The next one comes at once: the agent may see both changes as one.
            db.ip("link delete db1");
        }
        assert!(
            !host.log().contains("were missing or not ours"),
            "pins were lost:\n{}",
            host.log()
        );
    }
}

#[test]
fn an_interface_that_moves_away_is_let_go_and_taken_again() {
    for attach in hooks() {
        let (db, client, other) = (Netns::new("db"), Netns::new("client"), Netns::new("other"));
        let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let second = Line::new((&db, "db1"), (&client, "cl1"), 2);
        let mut host = Host::new(&db);
        host.configure(&without_backstop(attach), &trusting_all("orders", PORT));
        host.start();
        let _echo = Echo::start(&db, PORT);
        let _elsewhere = Echo::start(&other, PORT);
        let (pin0, pin1) = (format!("link_{attach}_db0"), format!("link_{attach}_db1"));
        second.assert_answers(PORT, Served, Silent);

        db.ip(&format!("link set dev db1 netns {}", other.name()));
        wait_until_gone(&host, "db1");
        wait_for_pins(&host, &[&pin0]);
        second.up((&other, "db1"));
        // It is another host's now, whose database this agent does not protect.
        second.assert_answers(PORT, Served, Served);

        other.down("db1");
        other.ip(&format!("link set dev db1 netns {}", db.name()));
        wait_for_interface(&host, "db1");
        second.up((&db, "db1"));
        second.assert_answers(PORT, Served, Silent);
        wait_for_pins(&host, &[&pin0, &pin1]);

        db.ip(&format!("link set dev db1 netns {}", other.name()));
        other.ip("link delete db1");
        wait_until_gone(&host, "db1");
        wait_for_pins(&host, &[&pin0]);
        first.assert_answers(PORT, Served, Silent);
    }
}

/// An index says nothing: the one of an interface that moved away is free for the next,
/// whether the agent looks on or finds it so when it starts.
#[test]
fn an_interface_with_the_index_of_one_that_moved_away_is_filtered() {
    let cases = [("native", true), ("generic", false), ("tcx", true), ("tcx", false)];
    for (attach, running) in cases.into_iter().filter(|(attach, _)| hooks().contains(attach)) {
        let (db, client, other) = (Netns::new("db"), Netns::new("client"), Netns::new("other"));
        let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
        Line::new((&db, "db1"), (&client, "cl1"), 2);
        let mut host = Host::new(&db);
        host.configure(&without_backstop(attach), &trusting_all("orders", PORT));
        host.start();
        let _echo = Echo::start(&db, PORT);
        if !running {
            host.stop(Signal::SIGKILL);
        }
        let index = db.ifindex("db1");
        // In one batch, so that the agent sees the new one where the old one was.
        let (away, to_client) = (other.name(), client.name());
        batch(
            &host,
            &db,
            &format!(
                "link set dev db1 netns {away}\n\
                 link add name db2 index {index} type veth peer name cl2 netns {to_client}\n"
            ),
        );
        assert_eq!(db.ifindex("db2"), index);
        let third = Line::over((&client, "cl2"), 3);
        if !running {
            host.start();
        }
        assert_eq!(wait_for_interface(&host, "db2")["mode"], attach);
        third.up((&db, "db2"));
        third.assert_answers(PORT, Served, Silent);
        first.assert_answers(PORT, Served, Silent);
        wait_for_pins(&host, &[&format!("link_{attach}_db0"), &format!("link_{attach}_db2")]);
    }
}

#[test]
fn beside_another_xdp_program_tcx_filters() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    // The other program is one of ours that protects something else.
    let mut other = Host::new(&db);
    other.configure(
        "interfaces = [\"db0\"]\nattach = \"native\"\nbackstop = false",
        &trusting_all("cache", 6379),
    );
    other.start();
    let (mode, id) = xdp_of(&db, "db0").expect("the other program is attached");
    assert_eq!(mode, "native");
    let _echo = Echo::start(&db, PORT);
    line.assert_answers(PORT, Served, Served);

    let mut host = Host::new(&db);
    host.configure(&without_backstop("auto"), &trusting_all("orders", PORT));
    let holder = format!("XDP program {id} ");
    if !has_tcx() {
        host.spawn();
        host.wait("the agent to say who holds the hook", |host| {
            let db0 = interface(host, "db0");
            db0.is_some_and(|db0| {
                db0["mode"] == "none" && db0["detail"].to_string().contains(&holder)
            })
        });
        let status = host.json(&["status"]).expect("a status");
        assert_eq!(
            (&status["protected"], &status["agent"]["ready"]),
            (&false.into(), &false.into())
        );
        return;
    }
    host.start();
    line.assert_answers(PORT, Served, Silent);
    let status = wait_for_interface(&host, "db0");
    assert_eq!(status["mode"], "tcx");
    let detail = status["detail"].to_string();
    assert!(detail.contains(&holder), "who holds the hook: {detail}");
    assert_eq!(xdp_of(&db, "db0"), Some(("native", id)), "the other program was disturbed");
    let _cache = Echo::start(&db, 6379);
    line.assert_answers(6379, Served, Silent);
}

#[test]
fn native_alone_waits_for_the_other_program_to_go() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut other = Host::new(&db);
    other.configure(
        "interfaces = [\"db0\"]\nattach = \"native\"\nbackstop = false",
        &trusting_all("cache", 6379),
    );
    other.start();
    let (_, id) = xdp_of(&db, "db0").expect("the other program is attached");
    let _echo = Echo::start(&db, PORT);

    let mut host = Host::new(&db);
    let agent = "interfaces = [\"db0\"]\nattach = \"native\"";
    host.configure(agent, &trusting_all("orders", PORT));
    host.spawn();
    host.wait("the agent to say who holds the hook", |host| {
        interface(host, "db0")
            .is_some_and(|db0| db0["detail"].to_string().contains(&format!("XDP program {id} ")))
    });
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(status["protected"], false);
    assert_eq!(status["agent"]["ready"], false);
    let problem = status["problems"][0].to_string();
    assert!(
        problem.contains("cannot attach to db0") && problem.contains(&format!("program {id} ")),
        "{problem}"
    );
    // Meanwhile the backstop stands.
    line.assert_answers(PORT, Served, Refused);

    drop(other);
    host.wait("the agent to be ready", |host| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
    });
    assert_eq!(wait_for_interface(&host, "db0")["mode"], "native");
    line.assert_answers(PORT, Served, Silent);
    let (mode, ours) = xdp_of(&db, "db0").expect("our program is attached");
    assert_eq!(mode, "native");
    assert_ne!(ours, id, "that is the other program still");
    let given = answer(&client, line.v4.trusted, SocketAddr::new(line.v4.server, PORT), PATIENCE);
    assert_eq!(given, Served);
}

#[test]
fn an_interface_that_could_not_be_had_is_forgotten_with_the_configuration_that_named_it() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    db.ip("tuntap add dev tun9 mode tun");
    let mut host = Host::new(&db);
    let database = format!(
        "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = [{}]",
        line.trusted_sources()
    );
    let protected = |host: &Host<'_>, wanted: bool| {
        host.json(&["status"]).is_some_and(|status| status["protected"] == wanted)
    };
    host.configure("interfaces = [\"db0\", \"tun9\"]\nattach = \"native\"", &database);
    host.spawn();
    host.wait("tun9 to be refused", |host| protected(host, false));
    host.configure("interfaces = [\"db0\"]\nattach = \"native\"", &database);
    host.wait("the reload to be taken", |host| host.dbfw(&["reload"]).status.success());
    host.wait("db0 alone to be protected", |host| protected(host, true));
}
