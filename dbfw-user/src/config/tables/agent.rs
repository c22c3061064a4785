//! `[agent]`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use dbfw_core::toml::{Place, Report, Table, Value, quoted, shown};
use dbfw_datapath::{
    Attach, Interfaces,
    interfaces::{Unmatchable, is_glob},
};
use glob::Pattern;

use crate::config::types::{AgentConfig, Fragments};

/// Longest name of an interface in bytes: of an alternative one (kernel: ALTIFNAMSIZ less the zero).
const MAX_INTERFACE: usize = 127;

const DAY: Duration = Duration::from_secs(86_400);

const INTERFACES_FIX: &str = r#"write ["eth0"], or "auto" for every interface with hardware"#;

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::Auto,
            attach: Attach::Auto,
            backstop: true,
            exempt_interfaces: Vec::new(),
            fragments: Fragments::Pass,
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9787))),
            state_dir: PathBuf::from("/var/lib/dbfw"),
            run_dir: PathBuf::from("/run/dbfw"),
            pin_dir: PathBuf::from("/sys/fs/bpf/dbfw"),
            events_per_second: 1000,
            gone_after: Duration::from_secs(120),
            max_stale: None,
        }
    }
}

/// `[agent]` of all files: a later file's value replaces an earlier one's.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) config: AgentConfig,
    metrics_place: Option<Place>,
    max_stale_place: Option<Place>,
    /// Names in `interfaces` that can match nothing.
    unmatchable: Vec<(Place, String, Unmatchable)>,
}

impl Agent {
    /// Reads the table of one file.
    pub(crate) fn read(&mut self, mut table: Table<'_>, report: &mut Report) {
        let config = &mut self.config;
        table.set("interfaces", &mut config.interfaces, report, |value, report| {
            self.unmatchable = unmatchable(value);
            interfaces(value, report)
        });
        table.set("attach", &mut config.attach, report, |value, report| {
            let words = Attach::ALL.map(|attach| (attach.as_str(), attach));
            value.word(&words, "an attach mode", report)
        });
        table.set("backstop", &mut config.backstop, report, Value::boolean);
        table.set("exempt_interfaces", &mut config.exempt_interfaces, report, |value, report| {
            globs(value, r#"write ["docker0"]"#, report)
        });
        table.set("fragments", &mut config.fragments, report, |value, report| {
            let words = [("pass", Fragments::Pass), ("drop", Fragments::Drop)];
            value.word(&words, "a way to treat fragments", report)
        });
        let place = table.set("metrics_listen", &mut config.metrics_listen, report, metrics_listen);
        self.metrics_place = place.or(self.metrics_place.take());
        for (name, directory, example) in [
            ("state_dir", &mut config.state_dir, "/var/lib/dbfw"),
            ("run_dir", &mut config.run_dir, "/run/dbfw"),
            ("pin_dir", &mut config.pin_dir, "/sys/fs/bpf/dbfw"),
        ] {
            table.set(name, directory, report, |value, report| value.path(example, report));
        }
        table.set("events_per_second", &mut config.events_per_second, report, |value, report| {
            value.integer(0..=100_000, "a possible rate", report)
        });
        table.set("gone_after", &mut config.gone_after, report, |value, report| {
            value.duration(Duration::ZERO..=DAY, "a possible delay", report)
        });
        let place = table.set("max_stale", &mut config.max_stale, report, max_stale);
        self.max_stale_place = place.or(self.max_stale_place.take());
        table.finish(report);
    }

    /// Warns about the settings of all files together. `polls` are the tables whose lists and
    /// sources can become stale, each with its interval.
    pub(crate) fn warn<'t>(
        &self,
        polls: impl Iterator<Item = (&'t str, Duration)>,
        report: &mut Report,
    ) {
        if let (Some(address), Some(place)) = (self.config.metrics_listen, &self.metrics_place)
            && !address.ip().to_canonical().is_loopback()
        {
            report.warning(
                place,
                format!("anyone who can reach {address} can read the metrics without a password"),
                "use 127.0.0.1, or make sure that only the scraper can reach it",
            );
        }
        for (place, name, why) in &self.unmatchable {
            report.warning(place, format!("{} covers nothing: {why}", quoted(name)), why.fix());
        }
        if let (Some(max_stale), Some(place)) = (self.config.max_stale, &self.max_stale_place) {
            for (table, poll) in polls.filter(|(_, poll)| *poll * 2 > max_stale) {
                report.warning(
                    place,
                    format!(
                        "a single failed request would cut off clients: {table} polls every {}",
                        shown(poll)
                    ),
                    "make it several times that, or \"off\"",
                );
            }
        }
    }
}

fn interfaces(value: &Value<'_>, report: &mut Report) -> Option<Interfaces> {
    match value.get().as_str() {
        Some("auto") => Some(Interfaces::Auto),
        Some(other) => {
            let message = format!("{} is not an array of interfaces", quoted(other));
            report.problem(&value.place(), message, INTERFACES_FIX);
            None
        }
        None => {
            let globs = globs(value, INTERFACES_FIX, report)?;
            if globs.is_empty() {
                report.problem(&value.place(), "lists no interface", INTERFACES_FIX);
                return None;
            }
            Some(Interfaces::Matching(globs))
        }
    }
}

/// The names in `interfaces` that can match nothing, with their places.
fn unmatchable(value: &Value<'_>) -> Vec<(Place, String, Unmatchable)> {
    // What is no array of names is a problem already.
    let Some(elements) = value.array(INTERFACES_FIX, &mut Report::default()) else {
        return Vec::new();
    };
    elements
        .filter_map(|element| {
            let name = element.get().as_str()?;
            Some((element.place(), name.to_owned(), Unmatchable::of(name)?))
        })
        .collect()
}

fn globs(value: &Value<'_>, fix: &str, report: &mut Report) -> Option<Vec<Pattern>> {
    // In two steps: collecting into an Option would stop at the first problem.
    let elements = value.array(fix, report)?;
    let globs: Vec<_> = elements.map(|element| glob(&element, fix, report)).collect();
    globs.into_iter().collect()
}

fn glob(value: &Value<'_>, fix: &str, report: &mut Report) -> Option<Pattern> {
    let written = value.string(fix, report)?;
    let place = value.place();
    let literal = !is_glob(written);
    if written.is_empty() {
        report.problem(&place, "an interface has a name", fix);
        return None;
    }
    if written == "auto" {
        report.problem(
            &place,
            r#""auto" cannot be combined with others"#,
            r#"write interfaces = "auto""#,
        );
        return None;
    }
    if literal && (written.len() > MAX_INTERFACE || written.contains(['/', ' '])) {
        report.problem(
            &place,
            format!("no interface can be called {}", quoted(written)),
            format!("use at most {MAX_INTERFACE} bytes, without \"/\" and spaces"),
        );
        return None;
    }
    match Pattern::new(written) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("{} is not a glob ({})", quoted(written), error.msg);
            report.problem(&place, message, r#"write a pattern like "eth*" or "enp[0-9]s0""#);
            None
        }
    }
}

/// `Some(None)` is "off".
fn metrics_listen(value: &Value<'_>, report: &mut Report) -> Option<Option<SocketAddr>> {
    const FIX: &str = r#"write "127.0.0.1:9787", "[::1]:9787" or "off""#;
    let written = value.string(FIX, report)?;
    if written == "off" {
        return Some(None);
    }
    match written.parse() {
        Ok(address) => Some(Some(address)),
        Err(_) => {
            let message = format!("{} is not an address with a port", quoted(written));
            report.problem(&value.place(), message, FIX);
            None
        }
    }
}

/// `Some(None)` is "off".
fn max_stale(value: &Value<'_>, report: &mut Report) -> Option<Option<Duration>> {
    if value.get().as_str() == Some("off") {
        return Some(None);
    }
    let range = Duration::from_secs(1)..=365 * DAY;
    value.duration(range, "\"off\" or a possible age", report).map(Some)
}
