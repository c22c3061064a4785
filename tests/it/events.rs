//! Drop events, and the budget that bounds them.

use std::net::IpAddr;

use dbfw_common::{Event, Family, Reason, Verdict};
use dbfw_tests::{
    corpus::{CACHE_PORT, OTHER_PORT, PORT, Scene},
    kernel::{Context, Kernel, Program},
    netns::{Netns, veth},
    packets::{self, IPV4, IPV6, Ip4, Ip6, MF, Tcp, protocol},
};

/// The loaded programs with the corpus' policy, the thread in a namespace, and the
/// interface packets come from.
fn bench(ns: &Netns) -> (Kernel, Scene, u32) {
    veth((ns, "outside"), (ns, "inside"));
    ns.enter();
    let scene = Scene::default();
    let mut kernel = Kernel::load();
    kernel.install(&scene.policy());
    (kernel, scene, ns.ifindex("inside"))
}

fn syn(scene: &Scene, source: IpAddr, port: u16) -> Vec<u8> {
    match source {
        IpAddr::V4(address) => {
            let segment = Tcp::syn(port).bytes(source, scene.host4.into());
            let packet = Ip4::new(address, scene.host4).packet(protocol::TCP, &segment);
            packets::ethernet(scene.macs, &[], IPV4, &packet)
        }
        IpAddr::V6(address) => {
            let segment = Tcp::syn(port).bytes(source, scene.host6.into());
            let packet = Ip6::new(address, scene.host6).packet(protocol::TCP, &segment);
            packets::ethernet(scene.macs, &[], IPV6, &packet)
        }
    }
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let (chunk, _) = bytes[at..].split_first_chunk::<8>().expect("8 bytes");
    u64::from_ne_bytes(*chunk)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let (chunk, _) = bytes[at..].split_first_chunk::<4>().expect("4 bytes");
    u32::from_ne_bytes(*chunk)
}

/// The ring buffer has no value type, so this is where the event's layout is checked: the
/// bytes at the places the ABI documents.
#[test]
fn an_event_has_every_field_in_its_place() {
    let ns = Netns::new("event");
    let (mut kernel, scene, ifindex) = bench(&ns);
    let context = Context::from_interface(ifindex);
    for (source, family, address) in [
        (IpAddr::V4(scene.stranger4), Family::V4, scene.stranger4.octets().to_vec()),
        (IpAddr::V6(scene.stranger6), Family::V6, scene.stranger6.octets().to_vec()),
    ] {
        for program in Program::PACKET {
            let frame = syn(&scene, source, PORT);
            let packet = if program.is_l3() { &frame[14..] } else { &frame[..] };
            kernel.reset();
            kernel.set_budget(1);
            assert!(kernel.run(program, packet, context).dropped);
            let events = kernel.events();
            let [event] = &events[..] else { panic!("{} events of one drop", events.len()) };
            assert_eq!(event.len(), size_of::<Event>(), "size of an event");
            assert_eq!(event.len(), 48, "size of an event");
            assert!(read_u64(event, 0) > 0, "time");
            assert_eq!(read_u64(event, 8), 1, "weight");
            assert_eq!(event[16..16 + address.len()], address, "source");
            assert!(event[16 + address.len()..32].iter().all(|byte| *byte == 0), "source");
            assert_eq!(read_u32(event, 32), ifindex, "ifindex");
            assert_eq!(read_u32(event, 36), packet.len() as u32, "bytes");
            assert_eq!(event[40..42], PORT.to_ne_bytes(), "port");
            assert_eq!(event[42], 1, "database");
            assert_eq!(event[43], Reason::Untrusted as u8, "reason");
            assert_eq!(event[44], Verdict::Drop as u8, "verdict");
            assert_eq!(event[45], family as u8, "family");
            assert_eq!(event[46], protocol::TCP, "protocol");
            assert_eq!(event[47], 0, "reserved");
        }
    }
    let offsets = [
        std::mem::offset_of!(Event, time),
        std::mem::offset_of!(Event, weight),
        std::mem::offset_of!(Event, source),
        std::mem::offset_of!(Event, ifindex),
        std::mem::offset_of!(Event, bytes),
        std::mem::offset_of!(Event, port),
        std::mem::offset_of!(Event, database),
        std::mem::offset_of!(Event, reason),
        std::mem::offset_of!(Event, verdict),
        std::mem::offset_of!(Event, family),
        std::mem::offset_of!(Event, protocol),
        std::mem::offset_of!(Event, reserved),
    ];
    assert_eq!(offsets, [0, 8, 16, 32, 36, 40, 42, 43, 44, 45, 46, 47], "offsets of the ABI");
}

#[test]
fn a_drop_without_a_port_is_the_hosts() {
    let ns = Netns::new("hidden");
    let (mut kernel, scene, ifindex) = bench(&ns);
    let header = Ip4 { fragment: MF, ..Ip4::new(scene.stranger4, scene.host4) };
    let packet = header.packet(protocol::TCP, &[]);
    let frame = packets::padded(&packets::ethernet(scene.macs, &[], IPV4, &packet));
    kernel.set_budget(1);
    assert!(kernel.run(Program::Xdp, &frame, Context::from_interface(ifindex)).dropped);
    let events = kernel.events();
    let [event] = &events[..] else { panic!("{} events of one drop", events.len()) };
    assert_eq!(event[16..20], scene.stranger4.octets(), "source");
    assert_eq!(event[40..42], [0, 0], "port");
    assert_eq!(event[42], 0, "database");
    assert_eq!(event[43], Reason::PortHidden as u8, "reason");
    assert_eq!(event[46], protocol::TCP, "protocol");
}

#[test]
fn events_and_what_was_skipped_add_up_to_the_drops() {
    const DROPS: u64 = 100;
    let ns = Netns::new("budget");
    let (mut kernel, scene, ifindex) = bench(&ns);
    let context = Context::from_interface(ifindex);
    let frame = syn(&scene, scene.stranger4.into(), CACHE_PORT);

    kernel.set_budget(3);
    for _ in 0..DROPS {
        assert!(kernel.run(Program::Xdp, &frame, context).dropped);
    }
    let events = kernel.events();
    let budget = kernel.budget();
    let cpus = budget.len() as u64;
    assert!((1..=3 * cpus).contains(&(events.len() as u64)), "{} events", events.len());
    let weights: u64 = events.iter().map(|event| read_u64(event, 8)).sum();
    let skipped: u64 = budget.iter().map(|budget| budget.skipped).sum();
    assert_eq!(weights + skipped, DROPS, "{budget:?}");

    // The next event of a CPU stands for what it skipped, so nothing is lost.
    let mut refilled = kernel.budget();
    refilled.iter_mut().for_each(|budget| budget.tokens = 1);
    kernel.write_budget(refilled);
    for _ in 0..DROPS {
        kernel.run(Program::Xdp, &frame, context);
    }
    let weights: u64 =
        weights + kernel.events().iter().map(|event| read_u64(event, 8)).sum::<u64>();
    let skipped: u64 = kernel.budget().iter().map(|budget| budget.skipped).sum();
    assert_eq!(weights + skipped, 2 * DROPS);
}

#[test]
fn only_refusals_make_events() {
    let ns = Netns::new("silent");
    let (mut kernel, scene, ifindex) = bench(&ns);
    kernel.set_budget(1_000);
    for frame in [
        syn(&scene, scene.trusted4.into(), PORT),
        syn(&scene, scene.trusted6.into(), PORT),
        syn(&scene, scene.stranger4.into(), OTHER_PORT),
    ] {
        for program in [Program::Xdp, Program::Tcx] {
            kernel.run(program, &frame, Context::from_interface(ifindex));
        }
    }
    // A traced run leaves nothing but its trace.
    kernel.run(Program::Xdp, &syn(&scene, scene.stranger4.into(), PORT), Context::default());
    assert!(kernel.events().is_empty());
    assert!(kernel.budget().iter().all(|budget| budget.tokens == 1_000 && budget.skipped == 0));
}

/// A ring buffer nobody reads: packets are still dropped and counted.
#[test]
fn a_full_ring_buffer_costs_events_alone() {
    const DROPS: u64 = 10_000;
    let ns = Netns::new("full");
    let (mut kernel, scene, ifindex) = bench(&ns);
    kernel.set_budget(u64::MAX / 2);
    let frame = syn(&scene, scene.stranger4.into(), PORT);
    for _ in 0..DROPS {
        let outcome = kernel.run(Program::Xdp, &frame, Context::from_interface(ifindex));
        assert!(outcome.dropped);
    }
    let counted: u64 = kernel.counters().values().map(|counter| counter.packets).sum();
    assert_eq!(counted, DROPS);
    let events = kernel.events();
    assert!(events.len() < DROPS as usize, "the ring buffer held {} events", events.len());
    let weights: u64 = events.iter().map(|event| read_u64(event, 8)).sum();
    let skipped: u64 = kernel.budget().iter().map(|budget| budget.skipped).sum();
    assert_eq!(weights + skipped, DROPS);
}
