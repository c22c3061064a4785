//! Large frames: whatever the mode, and whenever the MTU was raised, a trusted client's frame
//! of every size arrives, or the status says that the mode cannot carry it.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    features::has_tcx,
    site::{Answer::Silent, Line, PATIENCE},
    traffic::{connect, datagram},
};

use crate::{
    Check,
    machine::{Machine, NICS, PEERS},
    traffic::{self, PORT, Servers, orders},
};

const MTU: u32 = 9000;

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("mtu-auto-raised-before", |machine| raised(machine, "auto", Order::Before)),
    ("mtu-auto-raised-after", |machine| raised(machine, "auto", Order::After)),
    ("mtu-auto-boot", |machine| raised(machine, "auto", Order::Boot)),
    ("mtu-native-raised-before", |machine| raised(machine, "native", Order::Before)),
    ("mtu-native-raised-after", |machine| raised(machine, "native", Order::After)),
    ("mtu-native-boot", |machine| raised(machine, "native", Order::Boot)),
    ("mtu-generic-raised-before", |machine| raised(machine, "generic", Order::Before)),
    ("mtu-generic-raised-after", |machine| raised(machine, "generic", Order::After)),
    ("mtu-tcx-raised-before", |machine| tcx(machine, Order::Before)),
    ("mtu-tcx-raised-after", |machine| tcx(machine, Order::After)),
];

/// When the MTU is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The interface runs with it when the agent starts.
    Before,
    /// The interface runs without it when the agent attaches.
    After,
    /// The agent attaches while the interface is down; then it is raised, and the interface up.
    Boot,
}

/// How long a frame may fail to arrive before it counts as lost. Lost frames stay lost for
/// much longer.
const LOST: Duration = Duration::from_secs(6);

/// How long what an operator forced may need until it carries every frame.
const SETTLES: Duration = Duration::from_secs(150);

fn tcx(machine: &Machine, order: Order) {
    // Without TCX the check `tcx-virtio_net` has shown that it is refused.
    if has_tcx() {
        raised(machine, "tcx", order);
    }
}

fn raised(machine: &Machine, attach: &str, order: Order) {
    let line = Line::over((&machine.client, PEERS[0]), 1);
    machine.client.mtu(PEERS[0], MTU);
    if order == Order::Before {
        machine.host.mtu(NICS[0], MTU);
    }
    let _servers = Servers::start(&machine.host);
    if order != Order::Boot {
        line.up((&machine.host, NICS[0]));
    }
    let mut host = Host::new(&machine.host);
    host.configure(&format!("interfaces = [\"eth0\"]\nattach = \"{attach}\""), &orders(&[&line]));
    host.spawn();
    host.wait("eth0 to be looked at", |host| {
        let interface = dbfw_tests::site::interface(host, "eth0").unwrap_or_default();
        let status = host.json(&["status"]).unwrap_or_default();
        interface["healthy"] == true || status["problems"].to_string().contains("eth0")
    });
    if order != Order::Before {
        machine.host.mtu(NICS[0], MTU);
    }
    if order == Order::Boot {
        line.up((&machine.host, NICS[0]));
    }
    let deadline = Instant::now() + SETTLES;
    loop {
        let lost = lost(&line);
        if lost.is_empty() {
            break;
        }
        let status = host.dbfw(&["status"]);
        let text = String::from_utf8_lossy(&status.stdout);
        let forced = attach != "auto";
        if forced && status.status.code() == Some(1) && text.contains("MTU") {
            return;
        }
        assert!(
            forced && Instant::now() < deadline,
            "lost: {}\n{text}\n{}",
            lost.join(", "),
            host.log()
        );
    }
    host.wait("the status to be PROTECTED, or to name the MTU where the mode was forced", |host| {
        let status = host.dbfw(&["status"]);
        let named = String::from_utf8_lossy(&status.stdout).contains("MTU");
        status.status.success() || attach != "auto" && named
    });
    if host.dbfw(&["status"]).status.success() {
        traffic::assert_filtered(&line, Silent);
    }
}

/// Lengths of IP packets up to the MTU: the steps between, and what is around a page, half a
/// page, and what one buffer holds.
fn lengths() -> Vec<usize> {
    let near = [1500, 1536, 2048, 3000, 3498, 3520, 3768, 4096, 8192, MTU as usize];
    let near = near.into_iter().flat_map(|at| at - 2..=at + 2);
    let mut lengths: Vec<usize> = (100..=MTU as usize).step_by(300).chain(near).collect();
    lengths.retain(|length| *length <= MTU as usize);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// What a trusted client sent and did not get back.
fn lost(line: &Line<'_>) -> Vec<String> {
    thread::scope(|scope| {
        let asking = line.ends().map(|ends| {
            scope.spawn(move || {
                let target = SocketAddr::new(ends.server, PORT);
                let headers = if ends.server.is_ipv4() { 28 } else { 48 };
                let mut lost = Vec::new();
                for length in lengths() {
                    let sent = datagram(line.client, ends.trusted, target, length - headers, LOST);
                    if let Err(error) = sent {
                        lost.push(format!("{length} bytes from {}: {error}", ends.trusted));
                    }
                    if lost.len() > 2 {
                        return lost;
                    }
                }
                if let Err(error) = transfer(line, ends.trusted, target) {
                    lost.push(format!("a megabyte over TCP from {}: {error}", ends.trusted));
                }
                lost
            })
        });
        asking.into_iter().flat_map(|asking| asking.join().expect("an answer")).collect()
    })
}

/// Sends a megabyte to an echo server and reads it back.
fn transfer(line: &Line<'_>, source: std::net::IpAddr, target: SocketAddr) -> std::io::Result<()> {
    const BYTES: usize = 1 << 20;
    let mut stream = connect(line.client, source, target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut writing = stream.try_clone()?;
    thread::scope(|scope| {
        let writer = scope.spawn(move || writing.write_all(&vec![7; BYTES]));
        let mut back = vec![0; BYTES];
        stream.read_exact(&mut back)?;
        writer.join().expect("a writer")
    })
}
