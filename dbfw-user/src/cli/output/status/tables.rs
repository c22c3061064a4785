//! The tables of `dbfw status`: interfaces and databases.

use anstyle::Style;
use dbfw_wire::control::{
    BackstopStatus, DatabaseStatus, InterfaceStatus, ListState, Mode, Protection, ProviderStatus,
    Status,
};

use super::super::{
    table::{BAD, Cell, FAIR, GOOD, Table, left, right},
    words::{count, dash, lasting, rate},
};

/// The backstop is last, unless not all have room: then what is worst comes first.
pub(super) fn interface_rows(status: &Status, room: usize) -> Vec<[Cell; 3]> {
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

pub(super) fn interface_table(rows: Vec<[Cell; 3]>, room: usize) -> String {
    let mut table = Table::new([left("INTERFACE"), left("MODE"), left("STATE")]);
    let more = overflow(rows.len(), room);
    let shown = rows.len() - more;
    rows.into_iter().take(shown).for_each(|row| table.row(row));
    table.fit(&[2, 0]);
    table.render() + &left_out(more)
}

/// Number of rows without a place if one line is kept to say so.
fn overflow(rows: usize, room: usize) -> usize {
    if rows <= room { 0 } else { rows - room.saturating_sub(1) }
}

fn left_out(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!("and {more} more: dbfw status --output plain\n"),
    }
}

pub(super) fn database_table(databases: &[DatabaseStatus], room: usize) -> String {
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
        let dropped = match database.mode {
            Mode::Observe => format!("({})", count(database.observed_packets)),
            Mode::Enforce | Mode::Off => count(database.dropped_packets),
        };
        let style = if database.mode == Mode::Enforce { Style::new() } else { FAIR };
        table.row([
            database.name.as_str().into(),
            ports.join(",").into(),
            Cell::styled(database.mode.as_str(), style),
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

/// State and age of the list.
fn list(provider: Option<&ProviderStatus>) -> Cell {
    let Some(provider) = provider else { return "config".into() };
    let style = match provider.state {
        ListState::Ok => Style::new(),
        ListState::Stale => FAIR,
        ListState::Refused | ListState::Never => BAD,
    };
    match provider.age_seconds {
        Some(age) => Cell::styled(&format!("{} {}", provider.state, lasting(age)), style),
        None => Cell::styled(provider.state.as_str(), style),
    }
}
