//! Hosts and the switch between them: network namespaces, joined by a bridge in one of
//! their own.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::program;

const DIRECTORY: &str = "/run/netns";
const SWITCH: Host = Host { name: "switch", addresses: &[] };

pub(super) const DB: Host = Host { name: "db", addresses: &["192.0.2.1/24", "2001:db8::1/64"] };
pub(super) const APP4: Host = Host { name: "app4", addresses: &["192.0.2.10/24"] };
pub(super) const APP6: Host = Host { name: "app6", addresses: &["2001:db8::10/64"] };
pub(super) const STRANGER: Host =
    Host { name: "stranger", addresses: &["192.0.2.66/24", "2001:db8::66/64"] };

/// The provider.
pub(super) const API: Host = Host { name: "api", addresses: &["192.0.2.80/24"] };
pub(super) const WORKER: Host = Host { name: "worker", addresses: &["192.0.2.20/24"] };

/// Every namespace of the demo.
pub(super) const ALL: [Host; 7] = [SWITCH, DB, APP4, APP6, STRANGER, API, WORKER];

/// A host: a namespace with an interface `eth0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    pub(super) name: &'static str,
    addresses: &'static [&'static str],
}

impl Host {
    /// Its name for `ip netns`.
    pub(super) fn namespace(&self) -> String {
        format!("dbfw-demo-{}", self.name)
    }

    /// The file that stands for it.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(self.namespace())
    }

    /// A command that runs in it. It enters the network namespace alone: `ip netns exec`
    /// would mount a fresh /sys, which hides the BPF file system.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = super::command("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread that is in it. Sockets it returns stay there.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let file = File::open(&path).with_context(|| path.display().to_string())?;
                setns(file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}", path.display()))?;
                work()
            });
            worker.join().map_err(|_| anyhow!("a thread in {} panicked", path.display()))?
        })
    }

    /// Its addresses, without their prefix lengths.
    pub(super) fn plain_addresses(&self) -> Vec<&'static str> {
        let plain = |address: &&'static str| address.split('/').next().unwrap_or(address);
        self.addresses.iter().map(plain).collect()
    }

    /// Its addresses, for the reader.
    pub(super) fn describe(&self) -> String {
        self.plain_addresses().join(", ")
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        let mut command = super::command("ip");
        command.arg("-netns").arg(self.namespace()).args(arguments.split_whitespace());
        program::succeed(&mut command).map(drop)
    }
}

/// Makes the switch.
pub(super) fn build() -> Result<()> {
    add(SWITCH)?;
    SWITCH.ip("link add br0 type bridge")?;
    SWITCH.ip("link set br0 up")
}

/// Makes hosts and joins them to the switch.
pub(super) fn join(hosts: &[Host]) -> Result<()> {
    for host in hosts {
        add(*host)?;
        let port = host.name;
        host.ip(&format!("link add eth0 type veth peer name {port} netns {}", SWITCH.namespace()))?;
        SWITCH.ip(&format!("link set {port} master br0 up"))?;
        host.ip("link set lo up")?;
        host.ip("link set eth0 up")?;
        for address in host.addresses {
            // Usable at once, instead of after duplicate address detection.
            let nodad = if address.contains(':') { "nodad" } else { "" };
            host.ip(&format!("address add {address} dev eth0 {nodad}"))?;
        }
    }
    Ok(())
}

fn add(host: Host) -> Result<()> {
    let mut command = super::command("ip");
    program::succeed(command.args(["netns", "add", &host.namespace()])).map(drop)
}

/// Whether any host is there.
pub(super) fn any() -> bool {
    ALL.iter().any(|host| host.path().exists())
}

/// Removes the hosts that are there. A signal to the demo does not keep it from that.
pub(super) fn remove() -> Result<()> {
    for host in ALL.into_iter().filter(|host| host.path().exists()) {
        let mut command = super::command("ip");
        crate::cmd::read(command.args(["netns", "delete", &host.namespace()]))?;
    }
    Ok(())
}
