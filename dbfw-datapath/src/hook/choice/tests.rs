use super::*;
use crate::interfaces::Kind;

const OLD: KernelVersion = KernelVersion { major: 6, minor: 1 };
const NEW: KernelVersion = KernelVersion { major: 6, minor: 12 };

use HookMode::{Generic, Native, Tcx};

fn nic(name: &str, index: u32, master: Option<u32>) -> Interface {
    Interface { hardware: true, master, ..Interface::ethernet(name, index) }
}

fn upper(name: &str, index: u32, kind: Kind, lower: Option<u32>) -> Interface {
    Interface { kind, lower, ..Interface::ethernet(name, index) }
}

fn driven(driver: &str, mtu: u32, up: bool) -> Interface {
    Interface { driver: Some(driver.to_owned()), mtu, up, ..nic("eth0", 2, None) }
}

/// The modes that are chosen for each interface that `covered` names; none: it needs none.
fn chosen(
    present: &[Interface],
    covered: &[u32],
    attach: Attach,
    kernel: KernelVersion,
) -> Vec<(String, Vec<HookMode>)> {
    let covers = |index: u32| covered.contains(&index);
    let has_tcx = kernel >= KernelVersion { major: 6, minor: 6 };
    let site = HookContext { present, covers: &covers, attach, has_tcx, kernel };
    present
        .iter()
        .filter(|interface| covers(interface.index))
        .map(|interface| {
            let modes = match Choice::of(interface, None, &site) {
                Choice::Modes { modes, .. } => modes,
                Choice::Below => Vec::new(),
            };
            (interface.name.clone(), modes)
        })
        .collect()
}

fn of(name: &str, modes: &[HookMode]) -> (String, Vec<HookMode>) {
    (name.to_owned(), modes.to_vec())
}

#[test]
fn no_way_of_naming_a_bond_puts_xdp_on_it() {
    let auto = &[Native, Tcx, Generic][..];
    for kind in [Kind::Bond, Kind::Team, Kind::Bridge, Kind::Vrf] {
        for enslaved in [false, true] {
            let master = enslaved.then_some(4);
            let present =
                [nic("eth0", 2, master), nic("eth1", 3, master), upper("top", 4, kind, None)];
            // Everything, whether the hardware was put into it before or will be.
            for attach in [Attach::Auto, Attach::Native] {
                let lower = if attach == Attach::Auto { auto } else { &[Native] };
                assert_eq!(
                    chosen(&present, &[2, 3, 4], attach, NEW),
                    [of("eth0", lower), of("eth1", lower), of("top", &[Tcx])],
                    "{kind:?}"
                );
                assert_eq!(
                    chosen(&present, &[2, 3, 4], attach, OLD),
                    [of("eth0", lower), of("eth1", lower), of("top", &[])],
                    "{kind:?}"
                );
            }
            // The master alone.
            assert_eq!(chosen(&present, &[4], Attach::Auto, NEW), [of("top", &[Tcx])]);
            assert_eq!(chosen(&present, &[4], Attach::Auto, OLD), [of("top", &[Generic])]);
            // The hardware alone.
            assert_eq!(
                chosen(&present, &[2, 3], Attach::Auto, OLD),
                [of("eth0", auto), of("eth1", auto)]
            );
        }
    }
}

#[test]
fn a_master_of_which_a_part_is_not_covered_is_filtered_itself() {
    let present = [
        nic("eth0", 2, Some(4)),
        nic("eth1", 3, Some(4)),
        upper("bond0", 4, Kind::Bond, None),
        nic("eth9", 5, None),
    ];
    let bond = chosen(&present, &[2, 4], Attach::Auto, OLD);
    assert_eq!(bond.last(), Some(&of("bond0", &[Generic])));
    // That something else is covered does not help.
    let bond = chosen(&present, &[4, 5], Attach::Auto, OLD);
    assert_eq!(bond.first(), Some(&of("bond0", &[Generic])));
}

#[test]
fn a_vlan_device_needs_no_program_where_the_one_below_has_one() {
    for kind in [Kind::Vlan, Kind::MacVlan] {
        let present = [nic("eth0", 2, None), upper("eth0.7", 3, kind, Some(2))];
        let vlan = |covered: &[u32], kernel| {
            chosen(&present, covered, Attach::Auto, kernel).pop().unwrap()
        };
        assert_eq!(vlan(&[2, 3], OLD), of("eth0.7", &[]));
        assert_eq!(vlan(&[3], OLD), of("eth0.7", &[Generic]));
        assert_eq!(vlan(&[2, 3], NEW), of("eth0.7", &[Tcx]));
    }
}

#[test]
fn the_driver_decides_about_native_xdp() {
    let site = |attach, kernel: KernelVersion| HookContext {
        present: &[],
        covers: &|_| true,
        attach,
        has_tcx: kernel >= NEW,
        kernel,
    };
    for (driver, mtu, up, kernel, native) in [
        ("virtio_net", 1500, true, OLD, false),
        ("virtio_net", 1500, false, OLD, false),
        ("virtio_net", 1500, true, NEW, true),
        ("virtio_net", 9000, true, NEW, false),
        ("virtio_net", 9000, false, NEW, true),
        ("virtio_net", 3506, true, NEW, true),
        ("ena", 1500, true, NEW, false),
        ("ena", 9001, true, OLD, false),
        ("mlx5_core", 9000, true, OLD, false),
        ("mlx5_core", 9000, true, NEW, true),
        ("gve", 1460, true, NEW, false),
        ("veth", 65535, true, OLD, true),
        ("r8169", 9000, true, NEW, true),
    ] {
        let interface = driven(driver, mtu, up);
        let choice = Choice::of(&interface, None, &site(Attach::Auto, kernel));
        assert_eq!(choice.allows(Native), native, "{driver} {mtu} {up} {kernel}");
        assert!(choice.allows(Tcx) && choice.allows(Generic), "{driver}");
        // Who forces a mode gets it.
        let choice = Choice::of(&interface, None, &site(Attach::Native, kernel));
        assert_eq!(choice, Choice::Modes { modes: vec![Native], why: None });
    }
    // The larger MTU came later: what is attached stays.
    let raised = driven("virtio_net", 9000, true);
    assert!(Choice::of(&raised, Some(Native), &site(Attach::Auto, NEW)).allows(Native));
    assert!(!Choice::of(&raised, Some(Tcx), &site(Attach::Auto, NEW)).allows(Native));
}

#[test]
fn links_without_an_ethernet_header_are_filtered_by_tcx_first() {
    let present = [Interface { layer: Some(Layer::Network), ..Interface::ethernet("wg0", 2) }];
    assert_eq!(chosen(&present, &[2], Attach::Auto, NEW), [of("wg0", &[Tcx, Generic])]);
    assert_eq!(chosen(&present, &[2], Attach::Native, NEW), [of("wg0", &[Native])]);
}

#[test]
fn a_tunnel_whose_carrier_xdp_would_judge_gets_tcx_alone() {
    let present =
        [Interface { layer: Some(Layer::Network), ..upper("sit0", 2, Kind::Tunnel, None) }];
    for attach in [Attach::Auto, Attach::Native, Attach::Tcx, Attach::Generic] {
        for kernel in [OLD, NEW] {
            assert_eq!(chosen(&present, &[2], attach, kernel), [of("sit0", &[Tcx])], "{attach:?}");
        }
    }
}
