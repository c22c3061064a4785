mod properties;

use dbfw_provider::inventory::{Machine, Network};

use super::*;
use crate::traffic::drops::Clock;

fn key(text: &str) -> SourceKey {
    text.parse::<dbfw_core::source::TrustedSource>().unwrap().key().clone()
}

fn machine(id: u32, name: &str, groups: &[&str], addresses: &[&str]) -> Machine {
    Machine {
        name: name.to_owned(),
        key: key(&format!("droplet:{id}")),
        groups: groups.iter().map(|group| key(group)).collect(),
        prefixes: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn network(source: &str, name: &str, range: &str) -> Network {
    Network { name: name.to_owned(), key: key(source), range: range.parse().unwrap() }
}

fn refused(address: IpAddr, looks_like: Visitor, packets: u64) -> RefusedAddress {
    let at = "2026-03-01T12:00:00Z".parse().unwrap();
    RefusedAddress {
        database: "orders".to_owned(),
        address,
        looks_like,
        activity: Activity {
            first_seen: at,
            last_seen: at,
            minutes: 1,
            packets,
            ports: BTreeSet::from([5432]),
            established: false,
            last_connected: None,
        },
        belongs_to: None,
        why: whose(address, None),
    }
}

fn observed(addresses: &[&str], looks_like: Visitor) -> Observed {
    let addresses = addresses.iter().map(|address| address.parse().unwrap());
    addresses.map(|address| (address, refused(address, looks_like, 1))).collect()
}

/// Each address was refused once, with one packet.
fn suggestions(addresses: &[&str], inventory: &Inventory) -> Vec<String> {
    let observed = observed(addresses, Visitor::Client);
    of_database("orders", &observed, &Observed::new(), &Index::new(inventory))
        .into_iter()
        .map(|found| {
            format!("{} +{} [{}] {}", found.source, found.others, found.covers.join(" "), found.why)
        })
        .collect()
}

#[test]
fn nothing_known_is_written_as_addresses() {
    let found = suggestions(
        &["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.9", "203.0.113.7", "2001:db8::1"],
        &Inventory::default(),
    );
    assert_eq!(
        found,
        [
            "ip_addr:10.0.0.4/30 +0 [10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7] private, unknown",
            "ip_addr:10.0.0.9 +0 [10.0.0.9] private, unknown",
            "ip_addr:203.0.113.7 +0 [203.0.113.7] public, unknown",
            "ip_addr:2001:db8::1 +0 [2001:db8::1] public, unknown",
        ]
    );
    assert_eq!(suggestions(&[], &Inventory::default()), [""; 0]);
}

/// A laptop has another address every day: the network is what can be trusted.
#[test]
fn of_temporary_addresses_the_network_is_proposed() {
    let public = "public, and nothing known has them: make sure whose the network is";
    assert_eq!(
        suggestions(
            &[
                "2001:db8:0:1:d4a1:3c5f:9be2:71f0",
                "2001:db8:0:1:5d0b:e1f4:2a77:c839",
                "2001:db8:0:1::7",
                "2001:db8:0:2:d4a1:3c5f:9be2:71f0",
                "2001:db8:0:3::1",
                "2001:db8:0:3::2",
                "2001:db8:0:3:5054:ff:fe12:3456",
            ],
            &Inventory::default()
        ),
        [
            format!(
                "ip_addr:2001:db8:0:1::/64 +{} [2001:db8:0:1::7 2001:db8:0:1:5d0b:e1f4:2a77:c839 \
                 2001:db8:0:1:d4a1:3c5f:9be2:71f0] 2 look like temporary addresses (RFC 8981), \
                 which a host changes every day; {public}",
                u64::MAX - 2
            ),
            "ip_addr:2001:db8:0:2:d4a1:3c5f:9be2:71f0 +0 [2001:db8:0:2:d4a1:3c5f:9be2:71f0] \
             public, unknown"
                .to_owned(),
            "ip_addr:2001:db8:0:3::1 +0 [2001:db8:0:3::1] public, unknown".to_owned(),
            "ip_addr:2001:db8:0:3::2 +0 [2001:db8:0:3::2] public, unknown".to_owned(),
            "ip_addr:2001:db8:0:3:5054:ff:fe12:3456 +0 [2001:db8:0:3:5054:ff:fe12:3456] public, \
             unknown"
                .to_owned(),
        ]
    );
    // Of a private network, and of one whose machine is known.
    let office =
        ["fd00::a1f0:3c5f:9be2:71f0", "fd00::5d0b:e1f4:2a77:c839", "fd00::8c2e:19f1:7a03:5d61"];
    let [found] = &suggestions(&office, &Inventory::default())[..] else { panic!() };
    assert!(found.starts_with("ip_addr:fd00::/64 "), "{found}");
    assert!(found.ends_with("3 look like temporary addresses (RFC 8981), which a host changes every day; nothing known has them"), "{found}");
    let machines = vec![machine(1, "web", &[], &office[..2])];
    let inventory = Inventory { machines, networks: Vec::new() };
    let found = suggestions(&office, &inventory);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("droplet:1 "), "{found:?}");
    assert!(found[1].starts_with(&format!("ip_addr:{} ", office[2])), "{found:?}");
}

#[test]
fn a_machine_is_named_and_a_tag_where_it_fits() {
    let inventory = Inventory {
        machines: vec![
            machine(1, "web-1", &["tag:web", "tag:all"], &["10.0.0.1", "203.0.113.1"]),
            machine(2, "web-2", &["tag:web", "tag:all"], &["10.0.0.2", "203.0.113.2"]),
            machine(3, "web-3", &["tag:web", "tag:all"], &["10.0.0.3"]),
            machine(4, "etl", &["tag:all"], &["10.0.0.4"]),
            machine(5, "old", &["tag:all", "tag:old"], &["10.0.0.5"]),
            machine(6, "x", &["tag:all", "tag:old"], &["10.0.0.6"]),
        ],
        networks: Vec::new(),
    };
    assert_eq!(
        suggestions(&["10.0.0.1", "203.0.113.1", "10.0.0.2", "10.0.0.5"], &inventory),
        ["tag:all +4 [10.0.0.1 10.0.0.2 10.0.0.5 203.0.113.1] 3 of its 6 machines were seen; \
             it would also let in etl, web-3, x",]
    );
    assert_eq!(
        suggestions(&["10.0.0.1", "10.0.0.2", "10.0.0.4"], &inventory),
        ["tag:all +5 [10.0.0.1 10.0.0.2 10.0.0.4] 3 of its 6 machines were seen; it would \
             also let in old, web-3, x",],
        "as many strangers as were seen may come with it",
    );
    assert_eq!(
        suggestions(&["10.0.0.1", "10.0.0.2"], &inventory),
        ["tag:web +3 [10.0.0.1 10.0.0.2] 2 of its 3 machines were seen; it would also let in \
             web-3",],
        "four strangers for two are too many",
    );
    assert_eq!(suggestions(&["10.0.0.1"], &inventory), ["droplet:1 +1 [10.0.0.1] web-1"]);
    assert_eq!(
        suggestions(&["10.0.0.1", "10.0.0.5"], &inventory),
        ["droplet:1 +1 [10.0.0.1] web-1", "droplet:5 +0 [10.0.0.5] old"],
        "tag:all would let in four more",
    );
}

#[test]
fn a_node_stands_for_its_cluster() {
    let inventory = Inventory {
        machines: vec![
            machine(1, "pool-a", &["k8s:c1", "tag:k8s"], &["10.0.0.1"]),
            machine(2, "pool-b", &["k8s:c1", "tag:k8s"], &["10.0.0.2"]),
            machine(3, "pool-c", &["k8s:c1", "tag:k8s"], &["10.0.0.3"]),
        ],
        networks: vec![network("k8s:c1", "pods", "10.244.0.0/16")],
    };
    assert_eq!(
        suggestions(&["10.0.0.2", "10.244.3.7"], &inventory),
        ["k8s:c1 +65537 [10.0.0.2 10.244.3.7] 1 of its 3 nodes were seen; it would also let \
             in pool-a, pool-c",]
    );
    assert_eq!(
        suggestions(&["10.244.3.7", "10.244.3.8"], &inventory),
        ["k8s:c1 +65537 [10.244.3.7 10.244.3.8] 2 addresses of its network were seen"]
    );
}

#[test]
fn a_network_is_proposed_for_many_without_a_name() {
    let inventory = Inventory {
        machines: vec![machine(1, "web-1", &[], &["10.0.0.1", "203.0.113.1"])],
        networks: vec![
            network("vpc:wide", "all", "10.0.0.0/8"),
            network("vpc:a", "default-fra1", "10.0.0.0/24"),
        ],
    };
    assert_eq!(
        suggestions(&["10.0.0.1", "10.0.0.7", "10.0.0.9"], &inventory),
        [
            "droplet:1 +1 [10.0.0.1] web-1",
            "ip_addr:10.0.0.7 +0 [10.0.0.7] private, unknown",
            "ip_addr:10.0.0.9 +0 [10.0.0.9] private, unknown",
        ]
    );
    assert_eq!(
        suggestions(&["10.0.0.1", "10.0.0.7", "10.0.0.9", "10.0.0.200"], &inventory),
        ["vpc:a +252 [10.0.0.1 10.0.0.7 10.0.0.9 10.0.0.200] 3 addresses of default-fra1 that no \
             known machine has",],
        "the droplet is in it too",
    );
}

/// A network with far more addresses than were seen is not proposed for them.
#[test]
fn a_network_is_proposed_only_if_it_is_not_far_wider_than_what_was_seen() {
    let addresses: Vec<String> = (1..=17).map(|last| format!("10.0.0.{}", last * 2)).collect();
    for (range, seen, is_proposed) in [
        ("10.0.0.0/24", 3, true),
        ("10.0.0.0/23", 3, true),
        ("10.0.0.0/22", 3, false),
        ("10.0.0.0/22", 4, true),
        ("10.0.0.0/20", 15, false),
        ("10.0.0.0/20", 16, true),
        ("10.0.0.0/16", 17, false),
        ("10.0.0.0/8", 17, false),
    ] {
        let inventory = Inventory {
            machines: Vec::new(),
            networks: vec![network("vpc:a", "default-fra1", range)],
        };
        let addresses: Vec<&str> = addresses[..seen].iter().map(String::as_str).collect();
        let found = suggestions(&addresses, &inventory);
        assert_eq!(
            found.iter().any(|one| one.starts_with("vpc:a ")),
            is_proposed,
            "{range} {seen}"
        );
        assert_eq!(found.len(), if is_proposed { 1 } else { seen }, "{found:?}");
    }
}

#[test]
fn what_is_doubtful_is_kept_apart_from_clients() {
    let mut both = observed(&["10.0.0.4", "10.0.0.5"], Visitor::Client);
    both.extend(observed(&["10.0.0.6", "10.0.0.7"], Visitor::Unclear));
    let scanning = observed(&["10.0.0.8"], Visitor::Scanner);
    let found = |inventory: &Inventory| {
        let found = of_database("orders", &both, &scanning, &Index::new(inventory));
        found
            .into_iter()
            .map(|one| format!("{} {} {}", one.source, one.looks_like, one.why))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(&Inventory::default()),
        [
            "ip_addr:10.0.0.4/31 client private, unknown",
            "ip_addr:10.0.0.6/31 unclear private, unknown"
        ]
    );
    let mut inventory =
        Inventory { machines: Vec::new(), networks: vec![network("vpc:a", "lab", "10.0.0.0/29")] };
    let network_of = "4 addresses of lab that no known machine has";
    assert_eq!(found(&inventory), [format!("vpc:a unclear {network_of}")]);
    inventory.networks[0].range = "10.0.0.0/28".parse().unwrap();
    assert_eq!(
        found(&inventory),
        [format!("vpc:a unclear {network_of}; 1 that look like scanners would come with it")]
    );
}

fn event(source: [u8; 4], port: u16, minute: u64) -> dbfw_common::Event {
    dbfw_common::Event {
        time: minute * 60_000_000_000,
        weight: 1,
        source: [u32::from_ne_bytes(source), 0, 0, 0],
        ifindex: 2,
        bytes: 74,
        port,
        database: 1,
        reason: dbfw_common::Reason::Untrusted as u8,
        verdict: dbfw_common::Verdict::Observe as u8,
        family: 0,
        protocol: 6,
        reserved: 0,
    }
}

/// Facts of every database count, and connections that are not known are not held against anybody.
#[test]
fn scanners_are_told_from_clients() {
    let clock = Clock::new("2026-03-01T12:00:00Z".parse().unwrap(), 0);
    let mut refused = RefusedSources::default();
    let (client, neighbour, scanner, other) =
        ([203, 0, 113, 7], [10, 0, 3, 9], [198, 51, 100, 3], [198, 51, 100, 4]);
    for (source, database, port, minute) in [
        (client, "orders", 5432, 0),
        (client, "orders", 5432, 1),
        (client, "orders", 5432, 2),
        (client, "orders", 5432, 3),
        (client, "orders", 5432, 4),
        (neighbour, "orders", 5432, 0),
        (scanner, "orders", 5432, 0),
        (scanner, "orders", 6432, 0),
        (scanner, "reports", 3306, 0),
        (other, "orders", 5432, 0),
        (other, "orders", 5432, 0),
        (other, "orders", 5432, 0),
    ] {
        refused.add(database, &event(source, port, minute), &clock);
    }
    let connected = clock.at(200_000_000_000);
    refused.note_connected("orders", client.into(), connected);
    refused.note_connected("orders", neighbour.into(), connected);
    refused.note_connected("orders", [10, 9, 9, 9].into(), connected);
    let local = [("10.0.3.0/24".parse().unwrap(), "eth0".to_owned())].into_iter().collect();
    let inventory = Inventory::default();
    let mut known = Knowledge { inventory: &inventory, local: &local, connections_error: None };
    let shown = |known: &Knowledge<'_>| {
        let found = suggest(&refused, None, known, &|_, _| false);
        let line = |one: &RefusedAddress| {
            format!("{} {} {}: {}", one.database, one.address, one.looks_like, one.why)
        };
        let proposed = found.suggestions.iter().flat_map(|one| &one.addresses).map(line);
        (proposed.collect::<Vec<_>>(), found.scanners.iter().map(line).collect::<Vec<_>>())
    };
    let restarted = RefusedSources::from_json(&refused.to_json().unwrap()).unwrap();
    for refused in [&refused, &restarted] {
        let found = suggest(refused, Some("orders"), &known, &|_, _| false);
        assert_eq!((found.observed, found.scanners.len()), (4, 1));
        let [neighbour, client, ..] = &found.suggestions[..] else { panic!("{found:?}") };
        assert_eq!((&*client.source, client.looks_like), ("ip_addr:203.0.113.7", Visitor::Client));
        let activity = &client.activity;
        assert_eq!((activity.established, activity.last_connected), (true, Some(connected)));
        assert_eq!((activity.minutes, activity.packets), (5, 5));
        assert_eq!(activity.ports, BTreeSet::from([5432]));
        assert_eq!(
            neighbour.addresses[0].belongs_to,
            Some(BelongsTo::LocalNetwork {
                interface: "eth0".to_owned(),
                network: "10.0.3.0/24".to_owned()
            })
        );
    }
    let scans = ["orders", "reports"].map(|database| {
        format!(
            "{database} 198.51.100.3 scanner: public, unknown, never connected, within a minute to \
             3 ports"
        )
    });
    let clients = [
        "orders 10.0.3.9 client: private, in eth0's network 10.0.3.0/24, connected, within a minute",
        "orders 203.0.113.7 client: public, unknown, connected, in 5 minutes",
    ];
    let unclear = "orders 198.51.100.4 unclear: public, unknown, never connected, within a minute";
    assert_eq!(
        shown(&known),
        (
            [&clients[..], &[unclear]].concat().iter().map(|one| (*one).to_owned()).collect(),
            scans.to_vec()
        )
    );
    known.connections_error = Some("no tcp_diag".to_owned());
    let (proposed, scanners) = shown(&known);
    assert_eq!(scanners.len(), 2);
    assert!(proposed.iter().all(|one| !one.contains("never connected")), "{proposed:?}");
}

#[test]
fn what_is_trusted_by_now_and_other_databases_are_left_out() {
    let mut refused = RefusedSources::default();
    let clock = Clock::new("2026-03-01T12:00:00Z".parse().unwrap(), 0);
    for (database, last) in [("orders", 1), ("orders", 2), ("reports", 3)] {
        let mut event = event([10, 0, 0, last], 5432, 0);
        event.weight = 5;
        refused.add(database, &event, &clock);
    }
    let (inventory, local) = (Inventory::default(), LocalNetworks::default());
    let none = Knowledge { inventory: &inventory, local: &local, connections_error: None };
    let trusted =
        |database: &str, address: IpAddr| database == "orders" && address.to_string() == "10.0.0.1";
    let all = suggest(&refused, None, &none, &trusted);
    let sources: Vec<_> =
        all.suggestions.iter().map(|found| (found.database.as_str(), &*found.source)).collect();
    assert_eq!(sources, [("orders", "ip_addr:10.0.0.2"), ("reports", "ip_addr:10.0.0.3")]);
    assert_eq!((all.observed, all.suggestions[0].activity.packets), (2, 5));
    assert_eq!(all.since, Some("2026-03-01T12:00:00Z".parse().unwrap()));
    let one = suggest(&refused, Some("reports"), &none, &trusted);
    assert_eq!((one.observed, one.suggestions.len()), (1, 1));
}
