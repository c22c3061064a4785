//! Maps and structures of the built object against the ABI that userspace is compiled with.

use std::mem::{offset_of, size_of};

use aya::maps::MapType;
use aya_obj::{Map, Object};
use dbfw_common::{
    BOUND_PREFIXES, BUCKET4_WORDS, BUCKET6_WORDS, Bound, Budget, Clock, Counter, DATABASE_SLOTS,
    Database, ENTRY_IDS, EVENTS_BYTES, Entry, Event, Exempt, FRONT4_WORDS, FRONT6_WORDS, MAPS,
    MAX_NETS, MAX_OWN, OWN_WORDS, PORT_INDEXES, PORT_WORDS, RULE_SLOTS, RuleCounter,
    SMALL_TABLE_BITS, STATS_SLOTS, TABLES, Trace,
};
use dbfw_datapath::OBJECT;
use dbfw_tests::{
    btf::{Btf, Field, Layout},
    kernel::Kernel,
};

/// The layout the compiler gave a structure. Every field must be named: the pattern does
/// not compile otherwise.
macro_rules! layout {
    ($type:ident { $($field:ident),+ $(,)? }) => {{
        fn _every_field_is_named(value: &$type) {
            let $type { $($field: _),+ } = value;
        }
        fn size_of_field<T>(_: fn(&$type) -> &T) -> usize {
            size_of::<T>()
        }
        let mut fields = vec![$(Field {
            offset: offset_of!($type, $field),
            name: stringify!($field).to_owned(),
            size: size_of_field(|value: &$type| &value.$field),
        }),+];
        fields.sort();
        (stringify!($type), Layout { size: size_of::<$type>(), fields })
    }};
}

#[test]
fn structures_are_laid_out_alike() {
    let btf = Btf::of(OBJECT);
    for (name, userspace) in [
        layout!(Entry { databases, rules }),
        layout!(Database { mode, flags, name }),
        layout!(Counter { packets, bytes }),
        layout!(RuleCounter { packets, last_hit }),
        layout!(Exempt { ifindex }),
        layout!(Bound { databases }),
        layout!(Budget { tokens, skipped }),
        layout!(Trace { runs, verdict, reason, database, family, rule }),
    ] {
        let Some(kernel) = btf.structure(name) else { panic!("the object's BTF has no {name}") };
        assert_eq!(kernel, userspace, "layout of {name}");
        let fields: usize = kernel.fields.iter().map(|field| field.size).sum();
        assert_eq!(fields, kernel.size, "{name} has padding");
    }
    // No map has it as its value, so BTF may leave it out; `events` reads one back.
    let (name, userspace) = layout!(Event {
        time,
        weight,
        source,
        ifindex,
        bytes,
        port,
        database,
        reason,
        verdict,
        family,
        protocol,
        reserved,
    });
    if let Some(kernel) = btf.structure(name) {
        assert_eq!(kernel, userspace, "layout of {name}");
    }
    let fields: usize = userspace.fields.iter().map(|field| field.size).sum();
    assert_eq!(fields, userspace.size, "{name} has padding");
}

struct Expected {
    name: &'static str,
    kind: MapType,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    /// Name of the value's structure in BTF; empty: it has none.
    structure: &'static str,
}

const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;

fn size<T>() -> u32 {
    size_of::<T>() as u32
}

fn maps() -> Vec<Expected> {
    let array = |name, value, entries, structure| Expected {
        name,
        kind: MapType::Array,
        key: 4,
        value,
        entries,
        flags: 0,
        structure,
    };
    let mapped = |name, value, entries, structure| Expected {
        flags: MMAPABLE,
        ..array(name, value, entries, structure)
    };
    let per_cpu = |name, value, entries, structure| Expected {
        kind: MapType::PerCpuArray,
        ..array(name, value, entries, structure)
    };
    let set = |name, kind, key, entries| Expected {
        name,
        kind,
        key,
        value: size::<Entry>(),
        entries,
        flags: NO_PREALLOC,
        structure: "Entry",
    };
    let own = |name, key| Expected {
        value: 4,
        structure: "",
        ..set(name, MapType::LpmTrie, key, MAX_OWN)
    };
    let bound = |name, key| Expected {
        value: size::<Bound>(),
        structure: "Bound",
        ..set(name, MapType::LpmTrie, key, BOUND_PREFIXES)
    };
    let tables = |name| Expected { kind: MapType::ArrayOfMaps, ..array(name, 4, TABLES, "") };
    vec![
        mapped("PORTS", 8, PORT_WORDS, ""),
        mapped("FRONT4", 8, FRONT4_WORDS, ""),
        mapped("FRONT6", 8, FRONT6_WORDS, ""),
        tables("HOSTS4"),
        tables("HOSTS6"),
        mapped("HOSTS4_SMALL", 8 * BUCKET4_WORDS, 1 << SMALL_TABLE_BITS, ""),
        mapped("HOSTS6_SMALL", 8 * BUCKET6_WORDS, 1 << SMALL_TABLE_BITS, ""),
        array("ENTRIES", size::<Entry>(), ENTRY_IDS, "Entry"),
        set("NETS4", MapType::LpmTrie, 8, MAX_NETS),
        set("NETS6", MapType::LpmTrie, 20, MAX_NETS),
        array("DATABASES", size::<Database>(), DATABASE_SLOTS, "Database"),
        per_cpu("STATS", size::<Counter>(), STATS_SLOTS, "Counter"),
        per_cpu("RULE_STATS", size::<RuleCounter>(), RULE_SLOTS, "RuleCounter"),
        Expected {
            name: "EVENTS",
            kind: MapType::RingBuf,
            key: 0,
            value: 0,
            entries: EVENTS_BYTES,
            flags: 0,
            structure: "",
        },
        per_cpu("BUDGET", size::<Budget>(), 1, "Budget"),
        per_cpu("CLOCK", size::<Clock>(), 1, "Clock"),
        per_cpu("TRACE", size::<Trace>(), 1, "Trace"),
        array("EXEMPT", size::<Exempt>(), 1, "Exempt"),
        mapped("OWN", 8, OWN_WORDS, ""),
        own("OWN4", 8),
        own("OWN6", 20),
        mapped("BOUND_PORTS", 8, PORT_INDEXES, ""),
        bound("BOUND4", 8),
        bound("BOUND6", 20),
    ]
}

#[test]
fn maps_are_what_the_abi_says() {
    let kernel = Kernel::load();
    let mut names: Vec<_> = maps().iter().map(|map| map.name).collect();
    let mut known = MAPS.to_vec();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known, "this test knows every map");
    for map in maps() {
        let info = kernel.map_info(map.name);
        let kind = info.map_type().expect("a map type aya knows");
        assert_eq!(kind, map.kind, "type of {}", map.name);
        assert_eq!(info.key_size(), map.key, "key size of {}", map.name);
        assert_eq!(info.value_size(), map.value, "value size of {}", map.name);
        assert_eq!(info.max_entries(), map.entries, "entries of {}", map.name);
        assert_eq!(info.map_flags(), map.flags, "flags of {}", map.name);
        assert_eq!(info.name_as_str(), Some(map.name), "the kernel keeps the whole name");
    }
}

#[test]
fn values_have_the_types_the_abi_says() {
    let btf = Btf::of(OBJECT);
    let object = Object::parse(OBJECT).expect("an object file");
    for map in maps() {
        let Some(Map::Btf(definition)) = object.maps.get(map.name) else {
            panic!("{} is not defined by BTF", map.name);
        };
        let (name, size) = btf.name_and_size(definition.def.btf_value_type_id);
        assert_eq!(size, map.value as usize, "value of {} in BTF", map.name);
        if !map.structure.is_empty() {
            assert_eq!(name, map.structure, "value of {} in BTF", map.name);
        }
        let (_, size) = btf.name_and_size(definition.def.btf_key_type_id);
        assert_eq!(size, map.key as usize, "key of {} in BTF", map.name);
    }
}

#[test]
fn patterns_of_tables_have_values_without_a_name() {
    // Up to 6.1 a structure in the pattern's BTF makes the kernel refuse tables without BTF.
    let btf = Btf::of(OBJECT);
    let object = Object::parse(OBJECT).expect("an object file");
    for (outer, words) in [("HOSTS4", BUCKET4_WORDS), ("HOSTS6", BUCKET6_WORDS)] {
        let Some(Map::Btf(pattern)) = object.maps[outer].inner() else {
            panic!("{outer} has no pattern with BTF");
        };
        let value = btf.name_and_size(pattern.def.btf_value_type_id);
        assert_eq!(value, (String::new(), 8 * words as usize), "value of {outer}'s pattern");
    }
}
