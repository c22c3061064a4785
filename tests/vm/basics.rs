//! Loading, every hook, and what clients get there.

use dbfw_tests::{
    agent::Host,
    features::has_tcx,
    site::{
        Answer::{Refused, Served, Silent},
        Line, assert_answer, dropped, interface, wait_for_interface, xdp_of,
    },
};

use crate::{
    Check,
    machine::{Machine, NICS},
    traffic::{self, PORT, Servers, orders},
};

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("doctor", doctor),
    ("load", load),
    ("native-virtio_net", |machine| hook_on_nic(machine, "native")),
    ("native-veth", native_veth),
    ("generic-virtio_net", |machine| hook_on_nic(machine, "generic")),
    ("tcx-virtio_net", tcx),
    ("backstop", backstop),
];

/// The hook alone, so that silence is its own.
fn covering(interface: &str, attach: &str) -> String {
    format!("interfaces = [\"{interface}\"]\nattach = \"{attach}\"\nbackstop = false")
}

fn doctor(machine: &Machine) {
    let line = machine.line();
    let host = Host::new(&machine.host);
    host.configure("interfaces = [\"eth0\"]", &orders(&[&line]));
    let output = host.dbfw(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{error}", output.status);
}

fn load(machine: &Machine) {
    let line = machine.line();
    let mut host = Host::new(&machine.host);
    host.configure("interfaces = [\"eth0\"]", &orders(&[&line]));
    host.start();
    let output = host.dbfw(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("PROTECTED"), "{text}\n{}", host.log());
    // The loaded program is asked.
    for (source, code) in [(line.v4.trusted, 0), (line.v6.trusted, 0), (line.v4.stranger, 1)] {
        let output = host.dbfw(&["explain", &source.to_string()]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{source}: {text}");
    }
}

fn hook_on_nic(machine: &Machine, attach: &str) {
    let line = machine.line();
    hook(machine, NICS[0], &line, attach);
}

fn native_veth(machine: &Machine) {
    let line = Line::new((&machine.host, "veth0"), (&machine.client, "veth1"), 3);
    hook(machine, "veth0", &line, "native");
}

/// Everything that is to hold at a hook.
fn hook(machine: &Machine, nic: &str, line: &Line<'_>, attach: &str) {
    let mut host = Host::new(&machine.host);
    host.configure(&covering(nic, attach), &orders(&[line]));
    let _servers = Servers::start(&machine.host);
    host.start();
    assert_eq!(wait_for_interface(&host, nic)["mode"], attach);
    let kernel = xdp_of(&machine.host, nic).map(|(mode, _)| mode);
    assert_eq!(kernel, (attach != "tcx").then_some(attach), "what ip says");
    traffic::assert_filtered(line, Silent);
    for family in ["ipv4", "ipv6"] {
        // A SYN and a datagram at the least.
        assert!(dropped(&host, family, "untrusted") >= 2.0, "counted over {family}");
    }
    let output = host.dbfw(&["detach", "--yes"]);
    assert!(output.status.success(), "{output:?}\n{}", host.log());
    traffic::assert_filtered(line, Served);
}

fn tcx(machine: &Machine) {
    if has_tcx() {
        return hook_on_nic(machine, "tcx");
    }
    let line = machine.line();
    let mut host = Host::new(&machine.host);
    host.configure("interfaces = [\"eth0\"]\nattach = \"tcx\"", &orders(&[&line]));
    let _servers = Servers::start(&machine.host);
    host.spawn();
    host.wait("the status to say why eth0 is not filtered", |host| {
        let status = host.json(&["status"]).unwrap_or_default();
        let problems = status["problems"].to_string();
        problems.contains("eth0") && problems.contains("does not know this hook")
    });
    assert_eq!(interface(&host, "eth0").expect("eth0 in the status")["healthy"], false);
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(1), "not protected");
    traffic::assert_filtered(&line, Refused);
}

fn backstop(machine: &Machine) {
    let line = machine.line();
    let other = Line::new((&machine.host, "veth0"), (&machine.client, "veth1"), 3);
    let mut host = Host::new(&machine.host);
    host.configure("interfaces = [\"eth0\"]", &orders(&[&line, &other]));
    let _servers = Servers::start(&machine.host);
    host.start();
    traffic::assert_filtered(&line, Silent);
    traffic::assert_filtered(&other, Refused);
    for ends in other.ends() {
        let target = (ends.server, PORT).into();
        assert_answer(&machine.client, ends.stranger, target, Refused);
    }
    for family in ["ipv4", "ipv6"] {
        assert!(dropped(&host, family, "backstop") >= 1.0, "counted over {family}");
    }
}
