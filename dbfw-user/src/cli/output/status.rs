//! `dbfw status`, on one screen.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::{
    Render,
    table::{Cell, SCREEN, Table, left, right},
    words::{clean, count, cut, dash, fields, lasting, maybe, moment, rate, since, wrap},
};
use crate::control::wire::{
    AgentStatus, BackstopStatus, DatabaseStatus, InterfaceStatus, Protection, ProviderStatus,
    Status,
};

/// Lines of a terminal that nobody made longer, less the prompt.
const LINES: usize = 23;
/// Lines that are always there: headline, agent, two blank lines, two headers.
const FIXED: usize = 6;
/// Lines of problems, and of one problem.
const PROBLEM_LINES: usize = 6;
const LINES_A_PROBLEM: usize = 2;
/// Interfaces keep this many lines, however many databases there are.
const INTERFACE_LINES: usize = 5;

const GOOD: Style = AnsiColor::Green.on_default();
const FAIR: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

impl Render for Status {
    fn table(&self, now: Timestamp) -> String {
        let mut text = headline(self);
        text.push_str(&agent_line(self, now));
        let before = text.lines().count();
        text.push_str(&problems(&self.problems));
        text.push_str(&footnote(self));
        let used = text.lines().count() - before;

        let room = LINES.saturating_sub(FIXED + used);
        let for_interfaces = room.saturating_sub(self.databases.len()).max(INTERFACE_LINES);
        let interfaces = interface_rows(self, for_interfaces);
        let shown = interfaces.len().min(for_interfaces);
        text.push('\n');
        text.push_str(&interface_table(interfaces, for_interfaces));
        text.push('\n');
        text.push_str(&database_table(&self.databases, room.saturating_sub(shown).max(2)));
        text
    }

    fn plain(&self) -> String {
        let mut text = fields(["protected", self.protection.as_str(), &self.version]);
        for problem in &self.problems {
            text.push_str(&fields(["problem", problem]));
        }
        if let Some(agent) = &self.agent {
            text.push_str(&fields([
                "agent",
                &agent.pid.to_string(),
                &moment(Some(agent.started_at)),
                yes(agent.ready),
                yes(agent.detached),
                &agent.generation.to_string(),
                yes(agent.config_ok),
            ]));
        }
        for interface in &self.interfaces {
            text.push_str(&fields([
                "interface",
                &interface.name,
                &interface.ifindex.to_string(),
                &interface.mode,
                yes(interface.healthy),
                &maybe(interface.detail.as_ref()),
            ]));
        }
        if let Some(backstop) = &self.backstop {
            text.push_str(&fields([
                "backstop",
                yes(backstop.healthy),
                &backstop.exempt.join(","),
                &maybe(backstop.detail.as_ref()),
            ]));
        }
        self.databases.iter().for_each(|database| text.push_str(&database_fields(database)));
        text
    }
}

fn database_fields(database: &DatabaseStatus) -> String {
    let provider = database.provider.as_ref();
    fields([
        "database",
        &database.name,
        &database.ports.join(","),
        &database.mode,
        &database.sources.to_string(),
        &database.prefixes_ipv4.to_string(),
        &database.prefixes_ipv6.to_string(),
        &database.allowed_packets.to_string(),
        &database.dropped_packets.to_string(),
        &database.observed_packets.to_string(),
        &database.drops_per_second.map(|rate| format!("{rate:.1}")).unwrap_or_default(),
        provider.map_or("", |provider| &provider.name),
        provider.map_or("", |provider| &provider.state),
        &maybe(provider.and_then(|provider| provider.age_seconds.as_ref())),
        &maybe(provider.and_then(|provider| provider.error.as_ref())),
    ])
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn headline(status: &Status) -> String {
    let enforcing = status.databases.iter().any(|database| database.mode == "enforce");
    let (word, style) = match (status.protection, enforcing) {
        (Protection::Yes, true) => ("PROTECTED", GOOD),
        (Protection::Yes, false) => ("NOTHING ENFORCED, as configured", FAIR),
        (Protection::No, _) => ("NOT PROTECTED", BAD),
        (Protection::Unknown, _) => ("PROTECTION UNKNOWN: be root, or start the agent", FAIR),
    };
    let style = style.bold();
    format!("{style}{word}{style:#}  dbfw {}\n", clean(&status.version))
}

fn agent_line(status: &Status, now: Timestamp) -> String {
    let Some(agent) = &status.agent else {
        return "no agent answers; this was read from the pinned maps\n".to_owned();
    };
    let up = since(agent.started_at, now);
    let AgentStatus { pid, generation, .. } = agent;
    let mut text = format!("agent pid {pid}, up {up}, policy {generation}");
    for (unusual, words) in [
        (agent.detached, "detached"),
        (!agent.ready && !agent.detached, "not ready"),
        (!agent.config_ok, "last reload failed"),
    ] {
        if unusual {
            text.push_str(&format!(", {BAD}{words}{BAD:#}"));
        }
    }
    text.push('\n');
    text
}

fn problems(problems: &[String]) -> String {
    let mut text = String::new();
    let mut lines = 0;
    for (i, problem) in problems.iter().enumerate() {
        let mut wrapped = wrap(problem, SCREEN - 2);
        if wrapped.len() > LINES_A_PROBLEM {
            let rest = wrapped.split_off(LINES_A_PROBLEM - 1).join(" ");
            wrapped.push(cut(&rest, SCREEN - 2));
        }
        // The last line is kept for the number of those that are left out.
        let room = PROBLEM_LINES - usize::from(i + 1 < problems.len());
        if lines + wrapped.len() > room {
            let left_out = problems.len() - i;
            text.push_str(&format!("  and {left_out} more: dbfw status --output plain\n"));
            break;
        }
        lines += wrapped.len();
        for (k, line) in wrapped.iter().enumerate() {
            let mark = if k == 0 { "!" } else { " " };
            text.push_str(&format!("{BAD}{mark}{BAD:#} {line}\n"));
        }
    }
    text
}

/// What the numbers in brackets are, if there are any.
fn footnote(status: &Status) -> String {
    match status.databases.iter().any(|database| database.mode == "observe") {
        true => "(n): packets let in by observe mode that enforce would have dropped\n".to_owned(),
        false => String::new(),
    }
}

/// The backstop is last, unless not all have room: then what is worst comes first.
fn interface_rows(status: &Status, room: usize) -> Vec<[Cell; 3]> {
    if status.protection == Protection::Unknown {
        let unknown = |name: &str| [name.into(), dash().into(), Cell::styled("unknown", FAIR)];
        return vec![unknown("interfaces"), unknown("backstop")];
    }
    let mut interfaces: Vec<_> = status.interfaces.iter().collect();
    let crowded = interfaces.len() >= room;
    if crowded {
        interfaces.sort_by_key(|interface| interface.healthy);
    }
    let mut rows: Vec<_> = interfaces.into_iter().map(interface_row).collect();
    let place = if crowded { 0 } else { rows.len() };
    rows.insert(place, backstop_row(status.backstop.as_ref()));
    rows
}

fn backstop_row(backstop: Option<&BackstopStatus>) -> [Cell; 3] {
    let Some(backstop) = backstop else {
        return ["backstop".into(), dash().into(), Cell::styled("off", FAIR)];
    };
    let state = match (backstop.healthy, &backstop.detail, backstop.exempt.as_slice()) {
        (true, None, exempt @ [_, ..]) => {
            Cell::styled(&format!("ok, lets through {}", exempt.join(", ")), GOOD)
        }
        (healthy, detail, _) => health(healthy, detail.as_deref()),
    };
    ["backstop".into(), "sk_lookup".into(), state]
}

fn interface_row(interface: &InterfaceStatus) -> [Cell; 3] {
    let detail = interface.detail.as_deref();
    let state = match (interface.ifindex, detail) {
        (0, None) => Cell::styled("gone", BAD),
        _ => health(interface.healthy, detail),
    };
    [interface.name.as_str().into(), interface.mode.as_str().into(), state]
}

fn health(healthy: bool, detail: Option<&str>) -> Cell {
    match (healthy, detail) {
        (true, None) => Cell::styled("ok", GOOD),
        (true, Some(detail)) => Cell::styled(&format!("ok, {detail}"), FAIR),
        (false, None) => Cell::styled("not filtering", BAD),
        (false, Some(detail)) => Cell::styled(&format!("not filtering: {detail}"), BAD),
    }
}

fn interface_table(rows: Vec<[Cell; 3]>, room: usize) -> String {
    let mut table = Table::new([left("INTERFACE"), left("MODE"), left("STATE")]);
    let more = overflow(rows.len(), room);
    let shown = rows.len() - more;
    rows.into_iter().take(shown).for_each(|row| table.row(row));
    table.fit(&[2, 0]);
    table.render() + &left_out(more)
}

/// How many rows have no place if one line is kept to say so.
fn overflow(rows: usize, room: usize) -> usize {
    if rows <= room { 0 } else { rows - room.saturating_sub(1) }
}

fn left_out(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!("and {more} more: dbfw status --output plain\n"),
    }
}

fn database_table(databases: &[DatabaseStatus], room: usize) -> String {
    let mut table = Table::new([
        left("DATABASE"),
        left("PORTS"),
        left("MODE"),
        right("PREFIXES"),
        left("LIST"),
        right("ALLOWED"),
        right("DROPPED"),
        right("NOW"),
    ]);
    let more = overflow(databases.len(), room);
    for database in &databases[..databases.len() - more] {
        let ports: Vec<_> =
            database.ports.iter().map(|port| port.strip_prefix("tcp/").unwrap_or(port)).collect();
        let dropped = match database.mode.as_str() {
            "observe" => format!("({})", count(database.observed_packets)),
            _ => count(database.dropped_packets),
        };
        let mode = match database.mode.as_str() {
            "enforce" => database.mode.as_str().into(),
            mode => Cell::styled(mode, FAIR),
        };
        table.row([
            database.name.as_str().into(),
            ports.join(",").into(),
            mode,
            count(database.prefixes_ipv4.saturating_add(database.prefixes_ipv6)).into(),
            list(database.provider.as_ref()),
            count(database.allowed_packets).into(),
            dropped.into(),
            rate(database.drops_per_second).into(),
        ]);
    }
    table.fit(&[0, 1]);
    table.render() + &left_out(more)
}

/// How the list is and how old.
fn list(provider: Option<&ProviderStatus>) -> Cell {
    let Some(provider) = provider else { return "config".into() };
    let style = match provider.state.as_str() {
        "ok" => Style::new(),
        "stale" => FAIR,
        _ => BAD,
    };
    match provider.age_seconds {
        Some(age) => Cell::styled(&format!("{} {}", provider.state, lasting(age)), style),
        None => Cell::styled(&provider.state, style),
    }
}
