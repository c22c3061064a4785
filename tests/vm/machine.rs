//! The machine a check has: a database host, which is the machine itself, and a namespace that
//! stands for the other machines. Two networks join them, by the virtio NICs of both.

use std::{
    fs,
    process::{Command, Stdio},
};

use dbfw_tests::{
    netns::{Netns, finish},
    site::Line,
};
use nix::sys::utsname::uname;
use serde_json::Value;

/// The NICs of the database host, one a network.
pub(crate) const NICS: [&str; 2] = ["eth0", "eth1"];

/// The NICs at the other ends.
pub(crate) const PEERS: [&str; 2] = ["cl0", "cl1"];

/// How the kernel named [`PEERS`].
const FOUND: [&str; 2] = ["eth2", "eth3"];

const HOST: &str = "host";
const CLIENT: &str = "client";

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: Netns,
    pub(crate) client: Netns,
}

impl Machine {
    /// Gives the namespaces their names; once, before the first check.
    pub(crate) fn prepare() {
        finish(Command::new("ip").args(["netns", "attach", HOST, "1"]));
        finish(Command::new("ip").args(["netns", "add", CLIENT]));
        Self::new().client.ip("link set lo up");
    }

    /// The machine as it was prepared.
    pub(crate) fn new() -> Self {
        Self { host: Netns::existing(HOST), client: Netns::existing(CLIENT) }
    }

    /// Takes away what the check before left (links, addresses, attachments), and gives both
    /// namespaces new NICs: what 6.1's driver drops because of a program it drops until it is
    /// loaded anew.
    pub(crate) fn reset(&self) {
        for entry in fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
        for netns in [&self.host, &self.client] {
            for link in virtual_links(netns) {
                // The other end of a pair is gone already; a fallback device stays.
                let _ = Command::new("ip")
                    .args(["-netns", netns.name(), "link", "delete", "dev", &link])
                    .stderr(Stdio::null())
                    .status();
            }
        }
        finish(Command::new("modprobe").args(["--remove", "virtio_net"]));
        finish(Command::new("modprobe").arg("virtio_net"));
        for (found, peer) in FOUND.into_iter().zip(PEERS) {
            self.host.ip(&format!("link set dev {found} netns {CLIENT} name {peer}"));
        }
    }

    /// The first network, with addresses at both ends.
    pub(crate) fn line(&self) -> Line<'_> {
        let line = Line::over((&self.client, PEERS[0]), 1);
        line.up((&self.host, NICS[0]));
        line
    }
}

/// What the kernel says of itself: its release and its version.
pub(crate) fn kernel_version() -> String {
    let name = uname().expect("uname");
    format!("{} {}", name.release().to_string_lossy(), name.version().to_string_lossy())
}

fn virtual_links(netns: &Netns) -> Vec<String> {
    let text = finish(Command::new("ip").args([
        "-netns",
        netns.name(),
        "-json",
        "-details",
        "link",
        "show",
    ]));
    let links: Value = serde_json::from_str(&text).expect("ip writes JSON");
    links
        .as_array()
        .into_iter()
        .flatten()
        .filter(|link| link["linkinfo"]["info_kind"].is_string())
        .filter_map(|link| link["ifname"].as_str().map(str::to_owned))
        .collect()
}
