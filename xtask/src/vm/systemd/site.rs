//! The machine with the other end of its network, and the files it is set up with.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::{Context, Result, bail};

use super::{
    guest::{Guest, PATIENCE},
    peer::Peer,
    traffic::{Client, DATABASE_PORT, Expected, Treatment},
};

/// The agent's configuration.
pub(super) const CONFIGURATION: &str = "/etc/dbfw/dbfw.toml";

/// The provider's list.
pub(super) const LIST: &str = "/etc/dbfw/orders.list";

/// The machine and the other end of its network.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) guest: Guest,
    /// The database's process and invocation since its drop-in was made.
    pub(super) database: String,
    peer: Peer,
    /// The observation.
    log: File,
}

impl Site {
    /// A machine before dbfw is installed. What is seen goes to a file.
    pub(super) fn new(guest: Guest, peer: Peer, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self { guest, peer, log, database: String::new() })
    }

    /// Writes down what was seen.
    pub(super) fn note(&mut self, text: &str) -> Result<()> {
        writeln!(self.log, "{text}").context("cannot write what was seen")
    }

    /// Writes down what the machine's journal has of dbfw, if the machine still answers.
    pub(super) fn note_journal(&mut self) -> Result<()> {
        const JOURNAL: &str = "journalctl --unit dbfw --output short-monotonic --lines 40";
        match self.guest.run(JOURNAL) {
            Ok(done) => self.note(&done.output),
            Err(error) => self.note(&format!("{error:#}")),
        }
    }

    /// Watches the traffic while something happens.
    pub(super) fn during(
        &mut self,
        expected: Expected,
        happens: impl FnOnce(&mut Guest) -> Result<()>,
    ) -> Result<()> {
        let phase = self.peer.begin();
        let happened = happens(&mut self.guest);
        let traffic = self.peer.end(phase, expected, PATIENCE);
        match (happened, traffic) {
            (Ok(()), Ok(seen)) => self.note(&format!("  {seen}")),
            (Ok(()), Err(traffic)) => Err(traffic),
            (Err(happened), Ok(_)) => Err(happened),
            (Err(happened), Err(traffic)) => bail!("{happened:#}\n{traffic:#}"),
        }
    }

    /// Whatever the check before left: the files are good, and everything is protected by them.
    /// Strangers are kept out meanwhile.
    pub(super) fn protecting(&mut self) -> Result<()> {
        let changes =
            Expected { listed: Treatment::Either, late: Treatment::Either, ..Expected::CLOSED };
        self.during(changes, protecting)
    }

    /// Watches the traffic while nothing happens.
    pub(super) fn stands(&mut self, expected: Expected) -> Result<()> {
        self.during(expected, |_| Ok(()))
    }
}

/// The configuration, with clients that it trusts beside the one it always does.
pub(super) fn configuration(late: &[Client]) -> String {
    let trusted: Vec<String> = [Client::Configured]
        .iter()
        .chain(late)
        .flat_map(|client| client.addresses())
        .map(|address| format!("\"ip_addr:{address}\""))
        .collect();
    format!(
        "[agent]\ninterfaces = [\"eth0\"]\n\n[[database]]\nname = \"orders\"\nports = [{}]\n\
         trusted_sources = [{}]\nprovider = {{ kind = \"file\", path = \"{LIST}\" }}\n",
        DATABASE_PORT,
        trusted.join(", ")
    )
}

/// The provider's list.
pub(super) fn list() -> String {
    Client::Listed.addresses().map(|address| format!("{address}\n")).concat()
}

/// Makes the files good, and waits until everything is protected by them.
pub(super) fn protecting(guest: &mut Guest) -> Result<()> {
    guest.write(CONFIGURATION, &configuration(&[]))?;
    guest.write(LIST, &list())?;
    guest.run("systemctl is-active --quiet dbfw || systemctl start dbfw")?;
    guest.run("dbfw status || systemctl reload dbfw")?;
    protected(guest)
}

/// Waits until everything is protected.
pub(super) fn protected(guest: &mut Guest) -> Result<()> {
    guest.wait("protection", "dbfw status").map(drop)
}

/// Waits until the agent says that it is DEGRADED.
pub(super) fn degraded(guest: &mut Guest) -> Result<()> {
    guest.wait("DEGRADED", "dbfw status | grep ^DEGRADED")?;
    guest.fail(1, "dbfw status").map(drop)
}

/// Reboots the machine, and waits until everything on it is started.
pub(super) fn reboot(guest: &mut Guest) -> Result<()> {
    guest.reboot()?;
    guest.wait(
        "the boot's end",
        "systemctl is-system-running --wait; systemctl is-active database other",
    )?;
    Ok(())
}
