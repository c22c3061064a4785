//! What stays when the agent is killed, what a new one takes over, and how it is taken off.

use std::{fs, process::Command};

use dbfw_tests::{
    agent::Host,
    netns::finish,
    site::{
        Answer::{Served, Silent},
        Line, xdp_of,
    },
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    Check,
    machine::Machine,
    traffic::{self, Servers, orders},
};

pub(crate) const CHECKS: &[(&str, Check)] = &[("sigkill", sigkill), ("detach", detach)];

fn started<'m>(machine: &'m Machine, line: &Line<'_>) -> Host<'m> {
    let mut host = Host::new(&machine.host);
    host.configure("interfaces = [\"eth0\"]", &orders(&[line]));
    host.start();
    host
}

/// Id of the link that is pinned on eth0, whichever hook it is of.
fn link(host: &Host<'_>) -> Value {
    let pins = fs::read_dir(host.pins()).expect("read the pins").flatten();
    let pin = pins.map(|entry| entry.path()).find(|pin| {
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("link_") && name.ends_with("_eth0")
    });
    let pin = pin.expect("no link of eth0 is pinned");
    let text = finish(Command::new("bpftool").args(["--json", "link", "show", "pinned"]).arg(&pin));
    let link: Value = serde_json::from_str(&text).expect("bpftool writes JSON");
    assert!(link["id"].is_u64(), "{text}");
    link["id"].clone()
}

fn sigkill(machine: &Machine) {
    let line = machine.line();
    let _servers = Servers::start(&machine.host);
    let mut host = started(machine, &line);
    traffic::assert_filtered(&line, Silent);
    for _ in 0..3 {
        let before = link(&host);
        host.stop(Signal::SIGKILL);
        traffic::assert_filtered(&line, Silent);
        host.start();
        traffic::assert_filtered(&line, Silent);
        assert_eq!(link(&host), before, "the link was taken over");
    }
}

fn detach(machine: &Machine) {
    let line = machine.line();
    let _servers = Servers::start(&machine.host);
    let mut host = started(machine, &line);
    for offline in [false, true] {
        traffic::assert_filtered(&line, Silent);
        if offline {
            host.stop(Signal::SIGTERM);
            traffic::assert_filtered(&line, Silent);
        }
        let output = host.dbfw(&["detach", "--yes"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(xdp_of(&machine.host, "eth0"), None);
        let pins = fs::read_dir(host.pins()).into_iter().flatten().flatten();
        let left: Vec<_> = pins
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with("link_"))
            .collect();
        assert!(left.is_empty(), "still pinned: {left:?}");
        traffic::assert_filtered(&line, Served);
        if !offline {
            let output = host.dbfw(&["reload"]);
            assert!(output.status.success(), "{output:?}\n{}", host.log());
            host.wait("the filter to be back", |host| {
                host.dbfw(&["status"]).status.code() == Some(0)
            });
        }
    }
}
