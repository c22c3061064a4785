//! dbfw as anybody runs it: the agent, a configuration and a list file. It is asked by its
//! command line alone.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::agent::Host;

use super::{Counts, System};
use crate::{
    PORT,
    line::{INTERFACE, Line},
    sets::{Set, write_short},
};

/// How long a list may take to be in force.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a scenario wants besides the list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust<'a> {
    /// One more trusted source.
    pub(crate) also: Option<&'a str>,
    /// Without the backstop.
    pub(crate) no_backstop: bool,
    /// The list is one address, until [`Dbfw::replace`].
    pub(crate) empty: bool,
}

/// An agent and its files.
#[derive(Debug)]
pub(crate) struct Dbfw<'a> {
    pub(crate) host: Host<'a>,
}

impl<'a> Dbfw<'a> {
    /// Everything but the running agent.
    pub(crate) fn configured(line: &'a Line, set: &Set, trust: Trust<'_>) -> Result<Self, String> {
        let host = Host::new(&line.sut);
        let started = Self { host };
        if trust.empty {
            started.host.replace("orders.list", "192.0.2.1\n");
        } else {
            let _ = started.replace(set)?;
        }
        let backstop = if trust.no_backstop { "\nbackstop = false" } else { "" };
        let also: Vec<String> =
            trust.also.map(|one| format!("\"ip_addr:{one}\"")).into_iter().collect();
        started.host.configure(
            &format!("interfaces = [\"{INTERFACE}\"]{backstop}"),
            &format!(
                "[[database]]\nname = \"orders\"\nports = [{PORT}]\nallow_any = true\n\
                 max_shrink = \"off\"\ntrusted_sources = [{}]\n\
                 provider = {{ kind = \"file\", path = \"{}\" }}",
                also.join(", "),
                started.host.path("orders.list").display()
            ),
        );
        Ok(started)
    }

    /// Puts the list in the place of the one that is there; when it began to be there.
    pub(crate) fn replace(&self, set: &Set) -> Result<Instant, String> {
        let list = list(set)?;
        let fresh = self.host.path("orders.list.new");
        fs::copy(list, &fresh).map_err(|error| error.to_string())?;
        let began = Instant::now();
        fs::rename(&fresh, self.host.path("orders.list")).map_err(|error| error.to_string())?;
        Ok(began)
    }

    /// Prefixes in force, as the agent says.
    pub(crate) fn prefixes(&self) -> u64 {
        let status = self.host.json(&["status"]).unwrap_or_default();
        let database = &status["databases"][0];
        ["prefixes_ipv4", "prefixes_ipv6"].iter().filter_map(|key| database[key].as_u64()).sum()
    }

    /// Starts the agent and waits until it enforces.
    pub(crate) fn spawn(&mut self) -> Result<(), String> {
        // The level it runs with elsewhere.
        self.host.spawn_through(&["env", "DBFW_LOG=info"]);
        ready(&self.host)
    }
}

/// The list as a file the agent reads.
pub(crate) fn list(set: &Set) -> Result<PathBuf, String> {
    set.file(
        "dbfw.list",
        "",
        |text, net| {
            write_short(text, net);
            text.push('\n');
        },
        "",
    )
    .map_err(|error| error.to_string())
}

/// Waits until the agent says that it enforces.
fn ready(host: &Host<'_>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = host.json(&["status"]).unwrap_or_default();
        if status["agent"]["ready"] == true {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = host.log();
            let last = log.lines().last().unwrap_or("it logged nothing");
            return Err(format!("the agent is not ready after {PATIENCE:?}: {last}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

impl System for Dbfw<'_> {
    fn counts(&self) -> Result<Counts, String> {
        let output = self.host.dbfw(&["metrics"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let sum = |name: &str| {
            let mine = text.lines().filter(|line| line.starts_with(name));
            mine.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        if !text.contains("dbfw_dropped_packets_total{") {
            return Err(format!("dbfw metrics: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Counts {
            dropped: sum("dbfw_dropped_packets_total{"),
            accepted: sum("dbfw_allowed_packets_total{"),
        })
    }
}
