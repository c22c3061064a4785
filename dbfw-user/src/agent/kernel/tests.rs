use std::path::PathBuf;

use dbfw_common::Mode;
use dbfw_core::{Destinations, Port};

use super::*;
use crate::config::{ConfigFile, parse};

fn ids(ids: &[(&str, u8)]) -> BTreeMap<String, u8> {
    ids.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
}

fn databases(names: &[String]) -> Vec<DatabaseConfig> {
    let table = |(at, name)| format!("[[database]]\nname = \"{name}\"\nports = [{}]\n", 5000 + at);
    let text = names.iter().enumerate().map(table).collect();
    parse(vec![ConfigFile { path: PathBuf::from("/dbfw.toml"), text }]).unwrap().databases
}

fn assign(known: &[(&str, u8)], names: &[&str]) -> BTreeMap<String, u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    assign_ids(&ids(known), &[], &databases(&names))
}

#[test]
fn databases_keep_their_ids_and_new_ones_avoid_those_in_use() {
    assert_eq!(assign(&[], &["a", "b"]), ids(&[("a", 1), ("b", 2)]));
    assert_eq!(assign(&[("a", 1), ("b", 2)], &["b", "a"]), ids(&[("a", 1), ("b", 2)]));
    assert_eq!(
        assign(&[("a", 1), ("b", 2)], &["b", "c"]),
        ids(&[("b", 2), ("c", 3)]),
        "the id that is free now has the counters of another database"
    );
}

#[test]
fn where_every_id_is_taken_a_new_database_gets_one_that_is_free_now() {
    let names: Vec<String> = (1..=MAX_DATABASES).map(|n| format!("db{n}")).collect();
    let full = assign_ids(&BTreeMap::new(), &[], &databases(&names));
    assert_eq!(full.len(), MAX_DATABASES as usize);
    let mut renamed = names;
    renamed[6] = "new".to_owned();
    let after = assign_ids(&full, &[], &databases(&renamed));
    assert_eq!(after["new"], full["db7"]);
    assert_eq!(after.len(), full.len());
}

/// The databases that have ports, numbered as those of [`databases`].
fn slots_of(names: &[&str]) -> Vec<DatabaseSlot> {
    (0..).zip(names).map(|(at, name)| slot(name, 5000 + at, Destinations::default())).collect()
}

fn slot(name: &str, port: u16, destinations: Destinations) -> DatabaseSlot {
    let ports = Port { udp: false, port }.into();
    DatabaseSlot { id: 1, name: name.to_owned(), mode: Mode::Enforce, ports, destinations }
}

#[test]
fn databases_that_exchange_a_port_get_ids_that_no_port_knows() {
    let known = ids(&[("a", 1), ("b", 2), ("c", 3)]);
    for (owners, names, wanted) in [
        (["a", "b", "c"], ["a", "b", "c"], [1, 2, 3]),
        (["b", "a", "c"], ["a", "b", "c"], [4, 5, 3]),
        // One gives a port, one takes it.
        (["a", "a", "c"], ["a", "b", "c"], [4, 5, 3]),
        (["a", "gone", "c"], ["a", "b", "c"], [1, 4, 3]),
        (["a", "b", "c"], ["a", "b", "new"], [1, 2, 4]),
    ] {
        let names = names.map(str::to_owned);
        let found = assign_ids(&known, &slots_of(&owners), &databases(&names));
        assert_eq!(names.clone().map(|name| found[&name]), wanted, "{owners:?}");
    }
    // Where too few are free each keeps its own.
    let names: Vec<String> = (1..MAX_DATABASES).map(|n| format!("db{n}")).collect();
    let full = assign_ids(&BTreeMap::new(), &[], &databases(&names));
    assert_eq!(assign_ids(&full, &slots_of(&["db2", "db1"]), &databases(&names)), full);
}

#[test]
fn databases_that_exchange_an_address_get_other_ids_as_well() {
    let to = |text: &str| Destinations::new(false, vec![text.parse().unwrap()]);
    let bound = |name: &str, address: &str| {
        format!("[[database]]\nname = \"{name}\"\nports = [5432]\naddresses = [\"{address}\"]\n")
    };
    let known = ids(&[("a", 1), ("b", 2)]);
    let slots = [slot("a", 5432, to("192.0.2.1")), slot("b", 5432, to("192.0.2.2"))];
    for (a, b, wanted) in [
        ("192.0.2.1", "192.0.2.2", [1, 2]),
        ("192.0.2.2", "192.0.2.1", [3, 4]),
        ("192.0.2.3", "192.0.2.2", [1, 2]),
        ("192.0.2.3", "192.0.2.0/31", [3, 4]),
    ] {
        let text = bound("a", a) + &bound("b", b);
        let file = ConfigFile { path: PathBuf::from("/dbfw.toml"), text };
        let found = assign_ids(&known, &slots, &parse(vec![file]).unwrap().databases);
        assert_eq!([found["a"], found["b"]], wanted, "{a} {b}");
    }
}
