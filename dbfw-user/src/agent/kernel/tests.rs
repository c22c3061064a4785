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
    assign_ids(&ids(known), &databases(&names))
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
    let full = assign_ids(&BTreeMap::new(), &databases(&names));
    assert_eq!(full.len(), MAX_DATABASES as usize);
    let mut renamed = names;
    renamed[6] = "new".to_owned();
    let after = assign_ids(&full, &databases(&renamed));
    assert_eq!(after["new"], full["db7"]);
    assert_eq!(after.len(), full.len());
}
