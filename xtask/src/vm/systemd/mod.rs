//! A Debian that systemd starts, with dbfw installed as the README says. What happens to a
//! host in its life happens to it, while the other end of its network counts who is answered.

mod disk;
mod docs;
mod guest;
mod peer;
mod traffic;

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::{
    Series,
    archive::Archive,
    checks::{CheckReport, Reports},
    image, kernel,
};
use crate::cmd;
use guest::{Guest, Hardware, PATIENCE};
use peer::Peer;
use traffic::{Client, DATABASE_PORT, Expected, Treatment};

/// The kernel it boots.
const KERNEL: Series = Series::Named(6, 12);

/// Where the sources lie in the machine; what is built there is built here.
const SOURCES: &str = "root/dbfw";

const LIST: &str = "/etc/dbfw/orders.list";
const CONFIGURATION: &str = "/etc/dbfw/dbfw.toml";
const DROP_IN: &str = "/etc/systemd/system/database.service.d/dbfw.conf";
const BAD: &str = "[[database]]\nname = \"orders\"\nports = [5432]\nmode = \"enforse\"\n";

/// What only the machine's own processes know.
const TOKEN: &str = "dop_v1_of_the_credential";

/// A check: an error tells what does not hold.
type Check = fn(&mut Site) -> Result<()>;

/// Every check by its name in `tests/vm/checks.txt`, in order. What one leaves, the next one
/// puts right.
const CHECKS: [(&str, Check); 20] = [
    ("systemd-before", Site::before),
    ("systemd-install", Site::install),
    ("systemd-journal", Site::journal),
    ("systemd-sandbox", Site::sandbox),
    ("systemd-group", Site::group),
    ("systemd-others", Site::others),
    ("systemd-reload", Site::reload),
    ("systemd-reload-bad", Site::reload_bad),
    ("systemd-restart", Site::restart),
    ("systemd-stop", Site::stop),
    ("systemd-watchdog", Site::watchdog),
    ("systemd-kill", Site::kill),
    ("systemd-database", Site::database),
    ("systemd-credential", Site::credential),
    ("systemd-reboot", Site::reboot),
    ("systemd-missing-list", Site::missing_list),
    ("systemd-bad-configuration", Site::bad_configuration),
    ("systemd-no-state", Site::no_state),
    ("systemd-nothing-good", Site::nothing_good),
    ("systemd-mended", Site::mended),
];

/// Boots the machine and runs every check.
pub(super) fn run(archive: &Archive, directory: &Path, dbfw: &Path) -> Result<Reports> {
    let kernel = kernel::provide(archive, directory, KERNEL)
        .with_context(|| format!("the kernel {KERNEL} cannot be had"))?;
    println!("\nvm systemd: {}", kernel.release);
    let system = disk::system(archive, directory)?;
    let run = directory.join("run").join("systemd");
    image::make_empty(&run)?;
    let root = cmd::root();
    let scripts = root.join("tests/vm/systemd");
    let mut files = disk::Files::new(run.join("files"))?;
    for script in ["commands.py", "listen.py", "digitalocean.py"] {
        files.program(&scripts.join(script), &format!("opt/dbfw/{script}"))?;
    }
    for unit in ["commands", "database", "other"] {
        let name = format!("{unit}.service");
        files.file(&scripts.join(&name), &format!("etc/systemd/system/{name}"))?;
    }
    files.file(&scripts.join("eth0.network"), "etc/systemd/network/eth0.network")?;
    let unit = "packaging/systemd/dbfw.service";
    files.file(&root.join(unit), &format!("{SOURCES}/{unit}"))?;
    files.program(dbfw, &format!("{SOURCES}/target/release/dbfw"))?;
    let disk = run.join("disk");
    disk::make(&system, &kernel.modules, &files, &run.join("tree"), &disk)?;
    let initrd = disk::initrd(archive, directory, &run, &kernel.modules)?;

    // The name of a socket has no more than 107 bytes.
    let sockets = tempfile::tempdir().context("cannot make a directory for sockets")?;
    let [own, machine, control] =
        ["peer", "machine", "control"].map(|name| sockets.path().join(name));
    let console = run.join("console.log");
    let peer = Peer::start(&own, &machine)?;
    let guest = Guest::start(&Hardware {
        kernel: &kernel.image,
        initrd: &initrd,
        disk: &disk,
        console: &console,
        control: &control,
        network: (&machine, &own),
        mac: peer::HOST_MAC,
    });
    let guest = guest.with_context(|| guest::last_words(&console))?;
    let mut reports = Reports { kernel: guest.kernel.clone(), ..Reports::default() };
    let log = File::create(run.join("checks.log")).context("cannot write what was seen")?;
    let mut site = Site { guest, peer, log, database: String::new() };
    for (name, check) in CHECKS {
        let begun = Instant::now();
        writeln!(site.log, "{name}").context("cannot write what was seen")?;
        let failure = check(&mut site).err().map(|error| format!("{error:#}"));
        let seconds = begun.elapsed().as_secs();
        let mark = if failure.is_some() { "FAIL" } else { "pass" };
        println!("  {mark} {name} ({seconds} s)");
        if let Some(failure) = &failure {
            writeln!(site.log, "{failure}").context("cannot write what was seen")?;
        }
        reports.checks.push(CheckReport { name: name.to_owned(), seconds, failure });
        if site.guest.is_gone() {
            reports.last_words = guest::last_words(&console);
            return Ok(reports);
        }
    }
    reports.ended = true;
    fs::remove_file(&disk).context("cannot remove the disk")?;
    Ok(reports)
}

/// The machine and the other end of its network.
struct Site {
    guest: Guest,
    peer: Peer,
    /// What was seen.
    log: File,
    /// The database's process and invocation since its drop-in was made.
    database: String,
}

impl Site {
    /// Watches the traffic while something happens.
    fn during(
        &mut self,
        expected: Expected,
        happens: impl FnOnce(&mut Guest) -> Result<()>,
    ) -> Result<()> {
        let phase = self.peer.begin();
        let happened = happens(&mut self.guest);
        let traffic = self.peer.end(phase, expected, PATIENCE);
        match (happened, traffic) {
            (Ok(()), Ok(seen)) => {
                writeln!(self.log, "  {seen}").context("cannot write what was seen")
            }
            (Ok(()), Err(traffic)) => Err(traffic),
            (Err(happened), Ok(_)) => Err(happened),
            (Err(happened), Err(traffic)) => bail!("{happened:#}\n{traffic:#}"),
        }
    }

    /// Watches the traffic while nothing happens.
    fn stands(&mut self, expected: Expected) -> Result<()> {
        self.during(expected, |_| Ok(()))
    }

    /// Whatever the check before left: the files are good, and dbfw protects by them.
    fn protecting(&mut self) -> Result<()> {
        self.guest.write(CONFIGURATION, &configuration(&[]))?;
        self.guest.write(LIST, &list())?;
        self.guest.run("systemctl is-active --quiet dbfw || systemctl start dbfw")?;
        self.guest.run("dbfw status || systemctl reload dbfw")?;
        protected(&mut self.guest)
    }

    fn before(&mut self) -> Result<()> {
        self.guest.wait("the services", "systemctl is-active database other")?;
        self.stands(Expected::OPEN)
    }

    fn install(&mut self) -> Result<()> {
        let readme = cmd::root().join("README.md");
        let readme = fs::read_to_string(readme).context("cannot read the README")?;
        let steps = docs::installation(&readme)?;
        let closes =
            Expected { late: Treatment::Either, stranger: Treatment::Either, ..Expected::CLOSED };
        self.during(closes, |guest| {
            for step in &steps {
                if step.starts_with("dbfw check") {
                    guest.write(CONFIGURATION, &configuration(&[]))?;
                    guest.write(LIST, &list())?;
                }
                guest.succeed(&format!("cd /{SOURCES} && {step}"))?;
            }
            Ok(())
        })?;
        self.stands(Expected::CLOSED)?;
        // From here on the database has the drop-in of the documentation.
        let operations = cmd::root().join("docs/operations.md");
        let operations = fs::read_to_string(operations).context("cannot read the operations")?;
        self.guest.write(DROP_IN, &docs::drop_in(&operations)?)?;
        self.guest.succeed("systemctl daemon-reload")?;
        self.database = database(&mut self.guest)?;
        Ok(())
    }

    fn journal(&mut self) -> Result<()> {
        for fact in ["attached .*eth0.*native", "the policy changed .*added=[1-9]"] {
            self.guest.succeed(&format!(
                "journalctl --boot --unit dbfw --output cat | grep -E '{fact}' || \
                 {{ journalctl --boot --unit dbfw; exit 1; }}"
            ))?;
        }
        Ok(())
    }

    fn sandbox(&mut self) -> Result<()> {
        self.protecting()?;
        let status = self.guest.succeed(
            "grep -E '^(CapEff|NoNewPrivs|Seccomp):' \
             /proc/$(systemctl show --property MainPID --value dbfw)/status",
        )?;
        let found: Vec<&str> = status.split_whitespace().collect();
        // CAP_BPF alone, and a filter of system calls.
        let wanted = ["CapEff:", "0000008000000000", "NoNewPrivs:", "1", "Seccomp:", "2"];
        if found != wanted {
            bail!("the agent has {found:?}, not {wanted:?}");
        }
        Ok(())
    }

    fn group(&mut self) -> Result<()> {
        self.protecting()?;
        self.guest.succeed("useradd --groups dbfw member")?;
        for reader in readers() {
            self.guest.succeed(&format!("runuser -u member -- dbfw {reader}"))?;
        }
        for change in CHANGES {
            self.guest.fail(77, &format!("runuser -u member -- dbfw {change}"))?;
        }
        self.stands(Expected::CLOSED)
    }

    fn others(&mut self) -> Result<()> {
        self.protecting()?;
        self.guest.succeed("useradd other")?;
        for command in readers().iter().map(String::as_str).chain(CHANGES) {
            self.guest.fail(77, &format!("runuser -u other -- dbfw {command}"))?;
        }
        self.stands(Expected::CLOSED)
    }

    fn reload(&mut self) -> Result<()> {
        self.protecting()?;
        let changes = Expected { late: Treatment::Either, ..Expected::CLOSED };
        let added = Expected { late: Treatment::In, ..Expected::CLOSED };
        self.during(changes, |guest| {
            guest.write(CONFIGURATION, &configuration(&[Client::Late]))?;
            guest.succeed("systemctl reload dbfw")?;
            protected(guest)
        })?;
        self.stands(added)?;
        self.during(changes, |guest| {
            guest.write(CONFIGURATION, &configuration(&[]))?;
            guest.succeed("systemctl reload dbfw")?;
            protected(guest)
        })?;
        self.stands(Expected::CLOSED)
    }

    fn reload_bad(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED, |guest| {
            guest.write(CONFIGURATION, BAD)?;
            let done = guest.run("systemctl reload dbfw")?;
            if done.code == 0 {
                bail!("systemctl reload succeeds with a bad configuration");
            }
            degraded(guest)
        })?;
        self.during(Expected::CLOSED, |guest| {
            guest.write(CONFIGURATION, &configuration(&[]))?;
            guest.succeed("systemctl reload dbfw")?;
            protected(guest)
        })
    }

    fn restart(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED, |guest| {
            for _ in 0..3 {
                guest.succeed("systemctl restart dbfw")?;
                protected(guest)?;
            }
            Ok(())
        })
    }

    fn stop(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED, |guest| guest.succeed("systemctl stop dbfw").map(drop))?;
        self.stands(Expected::CLOSED)?;
        self.during(Expected::CLOSED, |guest| {
            guest.succeed("systemctl start dbfw")?;
            protected(guest)
        })
    }

    fn watchdog(&mut self) -> Result<()> {
        self.signalled("STOP")
    }

    fn kill(&mut self) -> Result<()> {
        self.signalled("KILL")
    }

    /// systemd starts the agent again after a signal, and the filter goes on meanwhile.
    fn signalled(&mut self, signal: &str) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED, |guest| {
            let restarts = "systemctl show --property NRestarts --value dbfw";
            let before = guest.succeed(restarts)?;
            guest.succeed(&format!("systemctl kill --kill-whom=main --signal={signal} dbfw"))?;
            guest.wait("another start", &format!("[ $({restarts}) -gt {before} ]"))?;
            protected(guest)
        })
    }

    fn database(&mut self) -> Result<()> {
        let now = database(&mut self.guest)?;
        if now != self.database {
            bail!("the database was {}, and is {now}", self.database);
        }
        Ok(())
    }

    fn credential(&mut self) -> Result<()> {
        self.protecting()?;
        let [address, _] = Client::Late.addresses();
        self.during(Expected::CLOSED, |guest| {
            guest.succeed(&format!(
                "install -D -m 0600 /dev/stdin /etc/credstore/do-token <<<{TOKEN} && systemd-run \
                 --quiet --unit digitalocean /opt/dbfw/digitalocean.py {TOKEN} {address}"
            ))?;
            let reports = "[digitalocean]\napi_url = \"http://127.0.0.1:8081\"\n\n[[database]]\n\
                           name = \"reports\"\nports = [5433]\nprovider = { kind = \"digitalocean\", \
                           cluster = \"9cc10173-e9ea-4176-9dbc-a4cee4c4ff30\" }\n";
            guest.write(CONFIGURATION, &format!("{}\n{reports}", configuration(&[])))?;
            guest.succeed("systemctl restart dbfw")?;
            guest.wait("the list", &format!(
                "dbfw explain {address} --port 5433 || {{ dbfw status; journalctl --unit dbfw \
                 --lines 10; exit 1; }}"
            ))?;
            let told = guest.run(&format!("journalctl --unit dbfw | grep {TOKEN}"))?;
            if told.code == 0 {
                bail!("the log tells the token: {}", told.output);
            }
            guest.succeed("systemctl stop digitalocean && rm /etc/credstore/do-token")?;
            Ok(())
        })
    }

    fn reboot(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED.boots(), reboot)?;
        self.stands(Expected::CLOSED)?;
        // Microseconds since the machine began.
        let when = |guest: &mut Guest, property: &str, unit: &str| -> Result<u64> {
            let at =
                guest.succeed(&format!("systemctl show --property {property} --value {unit}"))?;
            at.parse().with_context(|| format!("{property} of {unit} is {at}"))
        };
        let ready = when(&mut self.guest, "ActiveEnterTimestampMonotonic", "dbfw")?;
        let network = when(&mut self.guest, "ActiveEnterTimestampMonotonic", "network-pre.target")?;
        let database = when(&mut self.guest, "ExecMainStartTimestampMonotonic", "database")?;
        if ready == 0 || ready > network || ready > database {
            bail!(
                "dbfw is ready at {ready}, the network begins at {network}, the database at {database}"
            );
        }
        Ok(())
    }

    fn missing_list(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED.boots(), |guest| {
            guest.succeed(&format!("rm {LIST}"))?;
            reboot(guest)?;
            protected(guest)?;
            guest.succeed("dbfw status | grep -w stale").map(drop)
        })?;
        self.stands(Expected::CLOSED)
    }

    fn bad_configuration(&mut self) -> Result<()> {
        self.protecting()?;
        self.during(Expected::CLOSED.boots(), |guest| {
            guest.write(CONFIGURATION, BAD)?;
            reboot(guest)?;
            degraded(guest)
        })?;
        self.stands(Expected::CLOSED)?;
        self.during(Expected::CLOSED, |guest| {
            guest.write(CONFIGURATION, &configuration(&[]))?;
            protected(guest)
        })
    }

    fn no_state(&mut self) -> Result<()> {
        self.protecting()?;
        let unlisted = Expected { listed: Treatment::Out, ..Expected::CLOSED };
        self.during(Expected { listed: Treatment::Either, ..Expected::CLOSED }.boots(), |guest| {
            guest.succeed(&format!("systemctl stop dbfw && rm -r {LIST} /var/lib/dbfw"))?;
            reboot(guest)?;
            protected(guest)
        })?;
        self.stands(unlisted)
    }

    fn nothing_good(&mut self) -> Result<()> {
        self.protecting()?;
        let opens =
            Expected { late: Treatment::Either, stranger: Treatment::Either, ..Expected::CLOSED };
        self.during(opens.boots(), |guest| {
            guest.succeed("systemctl stop dbfw && rm -r /var/lib/dbfw")?;
            guest.write(CONFIGURATION, BAD)?;
            reboot(guest)?;
            guest.wait("the database", "systemctl is-active database").map(drop)
        })?;
        self.stands(Expected::OPEN)?;
        // A restart would have come by now, after RestartSec=.
        let state = self.guest.succeed(
            "sleep 10; systemctl show --property ActiveState,ExecMainStatus,NRestarts dbfw | sort",
        )?;
        if state.lines().ne(["ActiveState=failed", "ExecMainStatus=78", "NRestarts=0"]) {
            bail!("the unit has {state}");
        }
        self.guest.succeed("journalctl --boot --unit dbfw --output cat | grep -iw open").map(drop)
    }

    fn mended(&mut self) -> Result<()> {
        let closes =
            Expected { late: Treatment::Either, stranger: Treatment::Either, ..Expected::CLOSED };
        let phase = self.peer.begin();
        self.protecting()?;
        self.peer.end(phase, closes, PATIENCE)?;
        self.stands(Expected::CLOSED)
    }
}

/// What members of the group may run, by docs/operations.md.
fn readers() -> Vec<String> {
    let [address, _] = Client::Configured.addresses();
    let plain =
        ["status", "sources", "drops", "map dump", "metrics", "suggest", "trust list", "audit"];
    plain
        .into_iter()
        .map(str::to_owned)
        .chain([format!("explain {address}"), format!("map lookup {address}")])
        .collect()
}

/// What only root may.
const CHANGES: [&str; 4] = [
    "reload",
    "detach --yes",
    "trust add ip_addr:192.0.2.66 --database orders --why no",
    "trust rm ip_addr:192.0.2.10 --database orders",
];

/// The configuration, with clients that it trusts beside the one it always does.
fn configuration(late: &[Client]) -> String {
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

fn list() -> String {
    Client::Listed.addresses().map(|address| format!("{address}\n")).concat()
}

fn protected(guest: &mut Guest) -> Result<()> {
    guest.wait("protection", "dbfw status").map(drop)
}

fn degraded(guest: &mut Guest) -> Result<()> {
    guest.wait("DEGRADED", "dbfw status | grep ^DEGRADED")?;
    guest.fail(1, "dbfw status").map(drop)
}

fn reboot(guest: &mut Guest) -> Result<()> {
    guest.reboot()?;
    guest.wait(
        "the boot's end",
        "systemctl is-system-running --wait; systemctl is-active database other",
    )?;
    Ok(())
}

/// Tells one run of the database from another.
fn database(guest: &mut Guest) -> Result<String> {
    guest.succeed("systemctl show --property ActiveState,InvocationID,MainPID,NRestarts database | tr '\\n' ' '")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::checks::{Checks, List};

    #[test]
    fn every_check_is_in_the_list_in_order() {
        let names = CHECKS.map(|(name, _)| format!("{name}\n")).concat();
        let listed = Checks::read().and_then(|checks| checks.select(&[List::Systemd], &[]));
        assert_eq!(listed.expect("the list").names(), names);
    }

    #[test]
    fn the_documentation_has_what_the_machine_is_set_up_with() {
        let read = |path: &str| fs::read_to_string(cmd::root().join(path)).expect(path);
        let steps = docs::installation(&read("README.md")).expect("steps");
        for step in ["groupadd", "dbfw check", "dbfw doctor", "systemctl enable --now dbfw"] {
            assert!(steps.iter().any(|line| line.starts_with(step)), "{step} in {steps:?}");
        }
        assert!(docs::drop_in(&read("docs/operations.md")).expect("a drop-in").contains("[Unit]"));
    }
}
