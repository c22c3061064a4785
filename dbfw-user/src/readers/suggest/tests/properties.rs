use proptest::prelude::*;

use super::*;

/// Addresses close enough to each other that runs, networks and machines meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        4 => (0u8..2, 0u8..40).prop_map(|(net, host)| IpAddr::from([10, 0, net, host])),
        1 => (0u8..20).prop_map(|host| IpAddr::from([203, 0, 113, host])),
        1 => (0u16..12).prop_map(|host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host])),
    ]
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let machine = (
        1u32..25,
        prop::collection::btree_set(address(), 0..4),
        prop::collection::btree_set(0u8..4, 0..3),
        prop::option::weighted(0.2, 0u8..2),
    );
    let machines = prop::collection::vec(machine, 0..25).prop_map(|machines| {
        machines
            .into_iter()
            .map(|(id, addresses, tags, cluster)| {
                let mut groups: Vec<SourceKey> =
                    tags.iter().map(|tag| key(&format!("tag:t{tag}"))).collect();
                groups.extend(cluster.map(|cluster| key(&format!("k8s:c{cluster}"))));
                let prefixes = addresses.into_iter().map(Prefix::host).collect();
                let key = key(&format!("droplet:{id}"));
                Machine { name: format!("m{id}"), key, groups, prefixes }
            })
            .collect()
    });
    let networks = prop::collection::vec(0usize..4, 0..4).prop_map(|picked| {
        const KNOWN: [(&str, &str); 4] = [
            ("vpc:a", "10.0.0.0/24"),
            ("vpc:b", "10.0.0.0/22"),
            ("k8s:c0", "10.0.1.16/28"),
            ("vpc:six", "2001:db8::/120"),
        ];
        picked.into_iter().map(|at| network(KNOWN[at].0, "net", KNOWN[at].1)).collect()
    });
    (machines, networks).prop_map(|(machines, networks)| Inventory { machines, networks })
}

/// Prefixes that a source admits, by the inventory and its text alone.
fn admits(source: &str, inventory: &Inventory) -> Vec<Prefix> {
    let source: dbfw_core::source::TrustedSource = source.parse().unwrap();
    if let Some(prefixes) = source.key().prefixes() {
        return prefixes.to_vec();
    }
    let key = source.key().clone();
    let of_machines = inventory
        .machines
        .iter()
        .filter(|machine| {
            // A group is of a machine if any of its records says so.
            let named = inventory.machines.iter().filter(|other| other.key == machine.key);
            machine.key == key || named.flat_map(|other| &other.groups).any(|group| *group == key)
        })
        .flat_map(|machine| machine.prefixes.clone());
    let of_networks =
        inventory.networks.iter().filter(|network| network.key == key).map(|network| network.range);
    of_machines.chain(of_networks).collect()
}

fn holds(prefixes: &[Prefix], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(address))
}

/// Each address with the packets it sent; those with an odd number of them look unclear.
fn seen(packets: &BTreeMap<IpAddr, u64>) -> Observed {
    let looks_like =
        |packets: u64| if packets.is_multiple_of(2) { Visitor::Client } else { Visitor::Unclear };
    let one = |(address, packets): (&IpAddr, &u64)| {
        (*address, refused(*address, looks_like(*packets), *packets))
    };
    packets.iter().map(one).collect()
}

proptest! {
    #[test]
    fn all_are_let_in_by_no_more_than_needed(
        observed in prop::collection::btree_map(address(), 1u64..9, 0..40),
        inventory in inventory(),
    ) {
        let index = Index::new(&inventory);
        let found = of_database("orders", &seen(&observed), &Observed::new(), &index);
        let admitted: Vec<_> = found.iter().map(|one| admits(&one.source, &inventory)).collect();
        for address in observed.keys() {
            prop_assert!(admitted.iter().any(|prefixes| holds(prefixes, *address)), "{address}");
        }
        for (at, one) in found.iter().enumerate() {
            let covers: Vec<IpAddr> =
                observed.keys().copied().filter(|address| holds(&admitted[at], *address)).collect();
            let texts: Vec<_> = covers.iter().map(IpAddr::to_string).collect();
            prop_assert_eq!(&one.covers, &texts);
            prop_assert_eq!(one.activity.packets, covers.iter().map(|address| observed[address]).sum::<u64>());
            let named: Vec<_> = one.addresses.iter().map(|address| address.address).collect();
            prop_assert_eq!(&named, &covers);
            let are_clients = covers.iter().all(|address| observed[address].is_multiple_of(2));
            prop_assert_eq!(one.looks_like == Visitor::Client, are_clients);
            let spared = |address: &IpAddr| {
                let mut rest = admitted.iter().enumerate().filter(|(other, _)| *other != at);
                rest.any(|(_, prefixes)| holds(prefixes, *address))
            };
            prop_assert!(!covers.iter().all(spared), "{} is not needed", one.source);
            let distinct: BTreeSet<u128> = admitted[at]
                .iter()
                .flat_map(|prefix| {
                    let (first, last) = prefix.bounds();
                    // IPv6 is far above IPv4 here, so numbers tell them apart.
                    first..=last
                })
                .collect();
            prop_assert_eq!(one.others, (distinct.len() - covers.len()) as u64);
            if one.source.starts_with("ip_addr:") {
                prop_assert_eq!(one.others, 0);
            }
            if one.source.starts_with("vpc:") {
                prop_assert!(covers.len() >= 3 && one.others < 256 * covers.len() as u64);
            }
            if one.source.starts_with("tag:") {
                let group = key(&one.source);
                let members: BTreeSet<_> = inventory
                    .machines
                    .iter()
                    .filter(|machine| machine.groups.contains(&group))
                    .map(|machine| &machine.key)
                    .collect();
                let seen = members.iter().filter(|member| {
                    let mut records = inventory.machines.iter().filter(|one| one.key == ***member);
                    records.any(|one| {
                        observed.keys().any(|address| holds(&one.prefixes, *address))
                    })
                });
                let seen = seen.count();
                prop_assert!(seen >= 2 && members.len() - seen <= seen);
            }
        }
    }

    #[test]
    fn the_order_of_what_is_known_does_not_matter(
        observed in prop::collection::btree_map(address(), 1u64..9, 0..40),
        mut inventory in inventory(),
    ) {
        let (observed, scanning) = (seen(&observed), Observed::new());
        let found = of_database("orders", &observed, &scanning, &Index::new(&inventory));
        inventory.machines.reverse();
        inventory.networks.reverse();
        for machine in &mut inventory.machines {
            machine.groups.reverse();
            machine.prefixes.reverse();
        }
        let again = of_database("orders", &observed, &scanning, &Index::new(&inventory));
        prop_assert_eq!(again, found);
    }
}
