//! The tables of `dbfw status`: interfaces and databases.

use anstyle::Style;
use dbfw_wire::control::{
    BackstopStatus, DatabaseStatus, InterfaceStatus, ListState, Mode, Protection, ProviderStatus,
    Status,
};
use jiff::Timestamp;

use super::super::{
    table::{BAD, Cell, Column, FAIR, GOOD, NARROWEST, Table, left, right},
    words::{DASH, count, lasting, ports_at, rate},
};

/// Columns that the name of an interface keeps: the kernel's own have at most 15 characters.
const NAME: usize = 20;

/// A row about an interface or the backstop.
pub(super) struct HookRow {
    name: String,
    mode: &'static str,
    state: Cell,
}

impl HookRow {
    fn new(name: &str, mode: &'static str, state: Cell) -> Self {
        Self { name: name.to_owned(), mode, state }
    }
}

const HOOKS: [Column<HookRow>; 3] = [
    left("INTERFACE", |row, _| (&row.name).into()),
    left("MODE", |row, _| row.mode.into()),
    left("STATE", |row, _| row.state.clone()),
];

const DATABASES: [Column<DatabaseStatus>; 8] = [
    left("DATABASE", |database, _| (&database.name).into()),
    left("PORTS", |database, _| ports(database).into()),
    left("MODE", |database, _| {
        let style = if database.mode == Mode::Enforce { Style::new() } else { FAIR };
        Cell::styled(database.mode.as_str(), style)
    }),
    right("PREFIXES", |database, _| {
        count(database.prefixes_ipv4.saturating_add(database.prefixes_ipv6)).into()
    }),
    left("LIST", |database, _| list(database.provider.as_ref())),
    right("ALLOWED", |database, _| count(database.allowed_packets).into()),
    right("DROPPED", |database, _| match database.mode {
        Mode::Observe => format!("({})", count(database.observed_packets)).into(),
        Mode::Enforce | Mode::Off => count(database.dropped_packets).into(),
    }),
    right("NOW", |database, _| rate(database.drops_per_second).into()),
];

/// The rows of the table of interfaces. The backstop is last, unless not all have room: then
/// what is worst comes first.
pub(super) fn interface_rows(status: &Status, room: usize) -> Vec<HookRow> {
    if status.protection == Protection::Unknown {
        let unknown = |name| HookRow::new(name, DASH, Cell::styled("unknown", FAIR));
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

fn backstop_row(backstop: Option<&BackstopStatus>) -> HookRow {
    let Some(backstop) = backstop else {
        return HookRow::new("backstop", DASH, Cell::styled("off", FAIR));
    };
    let state = match (backstop.healthy, &backstop.detail, backstop.exempt.as_slice()) {
        (true, None, exempt @ [_, ..]) => {
            Cell::styled(&format!("ok, lets through {}", exempt.join(", ")), GOOD)
        }
        (healthy, detail, _) => health(healthy, detail.as_deref()),
    };
    HookRow::new("backstop", "sk_lookup", state)
}

fn interface_row(interface: &InterfaceStatus) -> HookRow {
    let detail = interface.detail.as_deref();
    let state = match (interface.ifindex, detail) {
        (0, None) => Cell::styled("gone", BAD),
        _ => health(interface.healthy, detail),
    };
    HookRow::new(&interface.name, interface.mode.as_str(), state)
}

fn health(healthy: bool, detail: Option<&str>) -> Cell {
    match (healthy, detail) {
        (true, None) => Cell::styled("ok", GOOD),
        (true, Some(detail)) => Cell::styled(&format!("ok, {detail}"), FAIR),
        (false, None) => Cell::styled("not filtering", BAD),
        (false, Some(detail)) => Cell::styled(&format!("not filtering: {detail}"), BAD),
    }
}

pub(super) fn interface_table(rows: &[HookRow], room: usize, now: Timestamp) -> String {
    let more = overflow(rows.len(), room);
    let mut table = Table::of(&HOOKS, &rows[..rows.len() - more], now);
    // A name of 100 characters must not leave the reason without room.
    table.fit(&[(0, NAME), (2, NARROWEST)]);
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

pub(super) fn database_table(databases: &[DatabaseStatus], room: usize, now: Timestamp) -> String {
    let more = overflow(databases.len(), room);
    let mut table = Table::of(&DATABASES, &databases[..databases.len() - more], now);
    table.fit(&[(0, NARROWEST), (1, NARROWEST)]);
    table.render() + &left_out(more)
}

/// The ports, of which nearly all are of TCP, and the addresses they are protected at.
fn ports(database: &DatabaseStatus) -> String {
    let ports: Vec<_> =
        database.ports.iter().map(|port| port.strip_prefix("tcp/").unwrap_or(port)).collect();
    ports_at(&ports, &database.addresses)
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
