//! The table `[agent]` of the configuration: its keys, their checks and defaults.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use dbfw_core::toml::{Report, Table, Value, quoted, shown};
use dbfw_datapath::{
    Attach, Interfaces,
    interfaces::{Unmatchable, is_glob},
};
use glob::Pattern;

use crate::config::types::{AgentConfig, Fragments};

/// Longest name of an interface in bytes: of an alternative one (kernel: ALTIFNAMSIZ less the zero).
const MAX_INTERFACE: usize = 127;

/// The usual port of the metrics.
const METRICS_PORT: u16 = 9787;

const INTERFACES_FIX: &str = r#"write ["eth0"], or "auto" for every interface with hardware"#;

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::Auto,
            attach: Attach::Auto,
            backstop: true,
            exempt_interfaces: Vec::new(),
            fragments: Fragments::Pass,
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT))),
            state_dir: PathBuf::from("/var/lib/dbfw"),
            run_dir: PathBuf::from("/run/dbfw"),
            pin_dir: PathBuf::from("/sys/fs/bpf/dbfw"),
            events_per_second: 1000,
            gone_after: Duration::from_secs(120),
            max_stale: None,
        }
    }
}

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub(crate) fn read_agent(config: &mut AgentConfig, mut table: Table<'_>, report: &mut Report) {
    table.set("interfaces", &mut config.interfaces, report, interfaces);
    table.set("attach", &mut config.attach, report, |value, report| {
        let words = Attach::ALL.iter().map(|attach| (attach.as_str(), *attach));
        value.word(&Vec::from_iter(words), "an attach mode", report)
    });
    table.set("backstop", &mut config.backstop, report, Value::boolean);
    table.set("exempt_interfaces", &mut config.exempt_interfaces, report, |value, report| {
        let fix = r#"write ["docker0"]"#;
        value.list(fix, report, |element, report| glob(element, fix, report))
    });
    table.set("fragments", &mut config.fragments, report, |value, report| {
        let words = [("pass", Fragments::Pass), ("drop", Fragments::Drop)];
        value.word(&words, "a way to treat fragments", report)
    });
    table.set("metrics_listen", &mut config.metrics_listen, report, |value, report| {
        value.metrics_listen(METRICS_PORT, report)
    });
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
    table.set("gone_after", &mut config.gone_after, report, Value::gone_after);
    table.set("max_stale", &mut config.max_stale, report, Value::max_stale);
    table.finish(report);
}

/// Warns where `max_stale` allows no second try. `polls` are the tables whose lists and sources
/// can become stale, each with its interval.
pub(crate) fn warn_max_stale<'t>(
    config: &AgentConfig,
    polls: impl Iterator<Item = (&'t str, Duration)>,
    report: &mut Report,
) {
    let (Some(max_stale), Some(place)) = (config.max_stale, report.place_of("agent.max_stale"))
    else {
        return;
    };
    for (table, poll) in polls.filter(|(_, poll)| *poll * 2 > max_stale) {
        report.warning(
            &place,
            format!(
                "a single failed request would cut off clients: {table} polls every {}",
                shown(poll)
            ),
            "make it several times that, or \"off\"",
        );
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
            let globs = value.list(INTERFACES_FIX, report, interface)?;
            if globs.is_empty() {
                report.problem(&value.place(), "lists no interface", INTERFACES_FIX);
                return None;
            }
            Some(Interfaces::Matching(globs))
        }
    }
}

/// Reads a name or glob, and warns of one that can match nothing.
fn interface(value: &Value<'_>, report: &mut Report) -> Option<Pattern> {
    let pattern = glob(value, INTERFACES_FIX, report)?;
    if let Some(why) = Unmatchable::of(pattern.as_str()) {
        let message = format!("{} covers nothing: {why}", quoted(pattern.as_str()));
        report.warning(&value.place(), message, why.fix());
    }
    Some(pattern)
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
