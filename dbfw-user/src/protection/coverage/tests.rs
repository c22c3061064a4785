use dbfw_datapath::{Kind, Layer};
use glob::Pattern;

use super::*;

fn patterns(names: &[&str]) -> Vec<Pattern> {
    names.iter().map(|name| Pattern::new(name).unwrap()).collect()
}

fn agent(interfaces: &[&str], exempt: &[&str]) -> AgentConfig {
    AgentConfig {
        interfaces: Interfaces::Matching(patterns(interfaces)),
        exempt_interfaces: patterns(exempt),
        ..AgentConfig::default()
    }
}

/// Loopback, two NICs of which one has an alternative name, a tunnel, and two links that no
/// program fits.
fn present() -> Vec<Interface> {
    let named = |name: &str, index, altnames: &[&str]| Interface {
        altnames: altnames.iter().map(|name| (*name).to_owned()).collect(),
        ..Interface::ethernet(name, index)
    };
    vec![
        Interface { layer: None, loopback: true, ..Interface::ethernet("lo", 1) },
        named("eno1", 2, &["enp3s0", "enx001122334455"]),
        named("eno2", 3, &[]),
        Interface { layer: Some(Layer::Network), ..Interface::ethernet("wg0", 4) },
        Interface { layer: None, ..named("gre1", 5, &["tunnel1"]) },
        Interface { layer: None, ..Interface::ethernet("ib0", 6) },
    ]
}

fn absent(name: &str) -> Degradation {
    Degradation::Absent { name: name.to_owned() }
}

fn unfit(interface: &str, index: u32) -> Degradation {
    Degradation::Unfit { interface: interface.to_owned(), index }
}

fn unmatchable(name: &str) -> Degradation {
    let reason = Unmatchable::of(name).unwrap();
    Degradation::Unmatchable { name: name.to_owned(), reason }
}

#[test]
fn what_is_named_is_covered_or_told() {
    for (interfaces, covered, told) in [
        (&["eno1"][..], &[2][..], vec![]),
        // By an alternative name, by both, by a glob that matches either.
        (&["enp3s0"], &[2], vec![]),
        (&["enp3s0", "eno1", "enx*"], &[2], vec![]),
        (&["enp*"], &[2], vec![]),
        (&["wg*"], &[4], vec![]),
        // A glob may match nothing, and never means loopback.
        (&["eno2", "ppp*", "l?"], &[3], vec![]),
        (&["eth7", "eno1", "enp3s1"], &[2], vec![absent("enp3s1"), absent("eth7")]),
        (&["eno1", "gre*"], &[2], vec![unfit("gre1", 5)]),
        (&["tunnel1"], &[], vec![unfit("gre1", 5)]),
        (&["gre1", "tunnel1", "tunnel*"], &[], vec![unfit("gre1", 5)]),
        (&["*"], &[2, 3, 4], vec![unfit("gre1", 5), unfit("ib0", 6)]),
        (
            &["eno1:1", "eno1@if9", "lo"],
            &[],
            vec![unmatchable("eno1:1"), unmatchable("eno1@if9"), unmatchable("lo")],
        ),
    ] {
        let coverage = Coverage::of(&present(), &agent(interfaces, &[]));
        assert_eq!(coverage.degradations(), told, "{interfaces:?}");
        let indexes: Vec<u32> = (1..=6).filter(|&index| coverage.covers(index)).collect();
        assert_eq!(indexes, covered, "{interfaces:?}");
    }
}

#[test]
fn a_name_that_looks_like_none_may_be_an_alternative_one() {
    let mut present = present();
    present[1].altnames.push("wan:1".to_owned());
    let coverage = Coverage::of(&present, &agent(&["wan:1"], &[]));
    assert!(coverage.covers(2));
    assert_eq!(coverage.degradations(), []);
}

#[test]
fn auto_covers_hardware_and_degrades_nothing() {
    let mut present = present();
    present[2].hardware = true;
    let config = AgentConfig::default();
    let coverage = Coverage::of(&present, &config);
    assert!(coverage.covers(3));
    assert!(!coverage.covers(2));
    assert_eq!(coverage.degradations(), []);
}

#[test]
fn more_exempt_interfaces_than_fit_are_told() {
    let bridges = |count: u32| -> Vec<Interface> {
        let named = |n: u32| Interface {
            altnames: vec![format!("alt{n}")],
            ..Interface::ethernet(&format!("br{n}"), n)
        };
        (1..=count).map(named).collect()
    };
    for (count, exempt, left_out) in [
        (15, &["br*"][..], &[][..]),
        (16, &["br*"], &[]),
        (17, &["br*"], &["br17"]),
        (18, &["alt*"], &["br17", "br18"]),
        (18, &["alt1", "br1"], &[]),
    ] {
        let mut config = agent(&["br*"], exempt);
        let coverage = Coverage::of(&bridges(count), &config);
        assert!(coverage.exempt().len() <= MAX_EXEMPT);
        let told = coverage.degradations().iter().find_map(|told| match told {
            Degradation::TooManyExempt { left_out, .. } => Some(left_out.as_slice()),
            _ => None,
        });
        assert_eq!(told.unwrap_or_default(), left_out, "{count} {exempt:?}");
        // Nothing is exempt from a backstop that is off.
        config.backstop = false;
        assert_eq!(Coverage::of(&bridges(count), &config).degradations(), []);
    }
}

#[test]
fn ways_in_that_no_hook_judges_are_named() {
    let link = |name: &str, index| Interface::ethernet(name, index);
    let of =
        |kind, lower, master, interface: Interface| Interface { kind, lower, master, ..interface };
    let present = [
        Interface { layer: None, loopback: true, ..link("lo", 1) },
        link("eth0", 2),
        link("eth1", 3),
        Interface { up: false, ..link("eth2", 4) },
        Interface { layer: Some(Layer::Network), ..link("wg0", 5) },
        // Judged below: a VLAN and a macvlan of eth0, a bond of eth0's kind.
        of(Kind::Vlan, Some(2), None, link("eth0.5", 6)),
        of(Kind::MacVlan, Some(2), None, link("mac0", 7)),
        of(Kind::Vlan, Some(3), None, link("eth1.5", 8)),
        // A bridge with a port that is covered and one that is not.
        of(Kind::Bridge, None, None, link("br0", 9)),
        of(Kind::Plain, None, Some(9), link("eth3", 10)),
        of(Kind::Plain, None, Some(9), link("veth1", 11)),
        // A bond of which every port is covered.
        of(Kind::Bond, None, None, link("bond0", 12)),
        of(Kind::Plain, None, Some(12), link("eth4", 13)),
        // A routing domain, and the interface in it.
        of(Kind::Vrf, None, None, link("vrf0", 14)),
        of(Kind::Plain, None, Some(14), link("eth5", 15)),
        // No program fits it, and it is a way in all the same.
        Interface { layer: None, ..link("ib0", 16) },
        link("docker0", 17),
    ];
    let covered = ["eth0", "eth3", "eth4"];
    let ways = ["br0", "docker0", "eth1", "eth1.5", "eth5", "ib0", "wg0"];
    for (backstop, unjudged) in [(false, &ways[..]), (true, &["docker0"])] {
        let config = AgentConfig { backstop, ..agent(&covered, &["docker0"]) };
        let coverage = Coverage::of(&present, &config);
        let without_hook = coverage.without_hook();
        let is_way = |interface: &&Interface| ways.contains(&&*interface.name);
        let expected: BTreeSet<u32> =
            present.iter().filter(is_way).map(|interface| interface.index).collect();
        assert_eq!(without_hook, expected);
        let found = coverage.unjudged(&coverage.wanted());
        let why = if backstop { WhyUnjudged::Exempt } else { WhyUnjudged::NoBackstop };
        assert!(found.iter().all(|unjudged| unjudged.why == why), "{found:?}");
        let names = coverage.unjudged_names(&coverage.wanted());
        assert!(names.iter().eq(unjudged), "backstop {backstop}: {names:?}");
        let indexes = coverage.unjudged_indexes(&coverage.wanted());
        assert_eq!(indexes.len(), names.len());
        assert!(indexes.is_subset(&without_hook));
        // eth1 was attached under another name.
        let attached = coverage.unjudged_names(&Attachments::new([3], backstop, [17]));
        assert!(!attached.contains("eth1"));
        // docker0 is gone, and eth5 has the index that the backstop lets through.
        let reused = coverage.unjudged(&Attachments::new([2, 10, 13], true, [15]));
        let names = vec!["eth5".to_owned()];
        assert_eq!(reused, [Unjudged { names, why: WhyUnjudged::LeftExempt }]);
        // Without the backstop that it wants.
        let lost = coverage.unjudged_names(&Attachments::new([2, 10, 13], false, [17]));
        assert!(lost.iter().eq(unjudged), "backstop {backstop}: {lost:?}");
    }
}
