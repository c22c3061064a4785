//! Bonds: whatever the configuration calls them, and whoever was there first, the kernel builds
//! the bond and strangers stay out.

use std::fs;

use dbfw_tests::{
    agent::Host,
    site::{Answer::Silent, Line},
};

use crate::{
    Check,
    machine::{Machine, NICS, PEERS},
    traffic::{self, Servers, orders},
};

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("bond-first", |machine| every_name(machine, First::Bond)),
    ("bond-agent-first", |machine| every_name(machine, First::Agent)),
    ("bond-failover", failover),
];

/// Every way to name a bond of eth0 and eth1.
const NAMES: [&str; 6] = [
    "\"auto\"",
    "[\"bond0\"]",
    "[\"eth0\", \"eth1\"]",
    "[\"bond0\", \"eth0\", \"eth1\"]",
    "[\"bond*\", \"eth*\"]",
    "[\"eth*\", \"bond0\"]",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Bond,
    Agent,
}

/// A bridge that stands for the switch between the bond and the clients, and its line.
fn switch(machine: &Machine) -> Line<'_> {
    // It forgets soon where an address is: a bond changes its NIC.
    machine.client.ip("link add br0 type bridge forward_delay 0 ageing_time 200");
    for peer in PEERS {
        machine.client.ip(&format!("link set dev {peer} master br0 up"));
    }
    Line::over((&machine.client, "br0"), 1)
}

fn build(machine: &Machine, line: &Line<'_>) {
    machine.host.ip("link add bond0 type bond mode active-backup miimon 50 num_grat_arp 5");
    for nic in NICS {
        machine.host.down(nic);
        machine.host.ip(&format!("link set dev {nic} master bond0"));
    }
    line.up((&machine.host, "bond0"));
    let found = bonding("slaves");
    assert!(NICS.iter().all(|nic| found.contains(nic)), "the bond has {found:?}");
}

/// What the bond says of itself.
fn bonding(file: &str) -> String {
    fs::read_to_string(format!("/sys/class/net/bond0/bonding/{file}")).expect("a bond")
}

fn every_name(machine: &Machine, first: First) {
    let _servers = Servers::start(&machine.host);
    let mut wrong = Vec::new();
    for names in NAMES {
        machine.reset();
        // One that fails must not hide the others.
        let attempt = std::panic::AssertUnwindSafe(|| one_name(machine, names, first));
        if let Err(panic) = std::panic::catch_unwind(attempt) {
            let said = panic.downcast::<String>().map_or_else(|_| String::new(), |said| *said);
            wrong.push(format!("interfaces = {names}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn one_name(machine: &Machine, names: &str, first: First) {
    let line = switch(machine);
    let mut host = Host::new(&machine.host);
    host.configure(&format!("interfaces = {names}\nbackstop = false"), &orders(&[&line]));
    if first == First::Bond {
        build(machine, &line);
    }
    host.spawn();
    host.wait("the agent to answer", |host| host.json(&["status"]).is_some());
    if first == First::Agent {
        build(machine, &line);
    }
    protected(&host);
    traffic::assert_filtered(&line, Silent);
}

fn protected(host: &Host<'_>) {
    host.wait("the status to be PROTECTED", |host| host.dbfw(&["status"]).status.code() == Some(0));
}

fn failover(machine: &Machine) {
    let _servers = Servers::start(&machine.host);
    for names in NAMES {
        machine.reset();
        let line = switch(machine);
        build(machine, &line);
        let mut host = Host::new(&machine.host);
        host.configure(&format!("interfaces = {names}\nbackstop = false"), &orders(&[&line]));
        host.start();
        for (lost, takes_over) in [("eth0", "eth1"), ("eth1", "eth0")] {
            machine.host.down(lost);
            host.wait("the other NIC to take over", |_| {
                bonding("active_slave").trim() == takes_over
            });
            traffic::assert_filtered(&line, Silent);
            machine.host.up(lost);
            protected(&host);
        }
    }
}
