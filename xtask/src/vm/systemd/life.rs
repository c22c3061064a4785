//! The life of a host with dbfw, as checks.

use std::fs;

use anyhow::{Context, Result, bail};

use super::{
    SOURCES, docs,
    guest::Guest,
    site::{
        CONFIGURATION, LIST, Site, configuration, degraded, list, protected, protecting, reboot,
    },
    traffic::{Client, Expected, Treatment},
};
use crate::cmd;

/// The drop-in of the documentation, for the database of the machine.
const DROP_IN: &str = "/etc/systemd/system/database.service.d/dbfw.conf";

/// A bad configuration.
const BAD: &str = "[[database]]\nname = \"orders\"\nports = [5432]\nmode = \"enforse\"\n";

/// Facts that only the machine's own processes know.
const TOKEN: &str = "dop_v1_of_the_credential";

/// A check: an error tells what does not hold.
pub(super) type Check = fn(&mut Site) -> Result<()>;

/// Every check by its name in `tests/vm/checks.txt`, in order. What one leaves, the next one
/// puts right.
pub(super) const CHECKS: [(&str, Check); 20] = [
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

impl Site {
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
        self.during(closes, protecting)?;
        self.stands(Expected::CLOSED)
    }
}

/// Commands that members of the group may run, by docs/operations.md.
fn readers() -> Vec<String> {
    let [address, _] = Client::Configured.addresses();
    let plain =
        ["status", "sources", "drops", "map dump", "metrics", "suggest", "trust list", "history"];
    plain
        .into_iter()
        .map(str::to_owned)
        .chain([format!("explain {address}"), format!("map lookup {address}")])
        .collect()
}

/// Commands that only root may run.
const CHANGES: [&str; 4] = [
    "reload",
    "detach --yes",
    "trust add ip_addr:192.0.2.66 --database orders --why no",
    "trust rm ip_addr:192.0.2.10 --database orders",
];

/// Tells one run of the database from another.
fn database(guest: &mut Guest) -> Result<String> {
    guest.succeed("systemctl show --property ActiveState,InvocationID,MainPID,NRestarts database | tr '\\n' ' '")
}
