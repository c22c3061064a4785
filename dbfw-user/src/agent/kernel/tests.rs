use std::path::PathBuf;

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
    assign_ids(&ids(known), &BTreeMap::new(), &databases(&names))
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
    let full = assign_ids(&BTreeMap::new(), &BTreeMap::new(), &databases(&names));
    assert_eq!(full.len(), MAX_DATABASES as usize);
    let mut renamed = names;
    renamed[6] = "new".to_owned();
    let after = assign_ids(&full, &BTreeMap::new(), &databases(&renamed));
    assert_eq!(after["new"], full["db7"]);
    assert_eq!(after.len(), full.len());
}

/// The owners of ports, numbered as those of [`databases`].
fn owners_of(names: &[&str]) -> BTreeMap<Port, String> {
    let port = |at: u16| Port { udp: false, port: 5000 + at };
    (0..).zip(names).map(|(at, name)| (port(at), (*name).to_owned())).collect()
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
        let found = assign_ids(&known, &owners_of(&owners), &databases(&names));
        assert_eq!(names.clone().map(|name| found[&name]), wanted, "{owners:?}");
    }
    // Where too few are free each keeps its own.
    let names: Vec<String> = (1..MAX_DATABASES).map(|n| format!("db{n}")).collect();
    let full = assign_ids(&BTreeMap::new(), &BTreeMap::new(), &databases(&names));
    assert_eq!(assign_ids(&full, &owners_of(&["db2", "db1"]), &databases(&names)), full);
}
