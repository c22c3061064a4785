//! Every packet of the corpus through every program that judges packets.

use std::collections::BTreeMap;

use dbfw_common::{Counted, HOST, Mode, Reason, Verdict};
use dbfw_tests::{
    capabilities::without_perfmon,
    corpus::{Case, Scene},
    features::loads_without_perfmon,
    kernel::{Context, Counters, Judged, Kernel, Program},
    model::{self, Decision, Expected, Link},
    netns::{Netns, veth},
    packets::padded,
    policy::Policy,
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// A case as one program gets it.
struct Run<'a> {
    case: &'a Case,
    packet: Vec<u8>,
    expected: Expected,
}

/// The corpus for a program, as it is and padded.
fn runs(program: Program, cases: &[Case]) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    for case in cases {
        for frame in [case.frame.clone(), padded(&case.frame)] {
            if !program.is_l3() {
                runs.push(Run { case, packet: frame, expected: case.expected });
            } else if let Some((packet, expected)) = case.without_link(&frame) {
                runs.push(Run { case, packet, expected });
            }
        }
    }
    runs
}

fn link(program: Program) -> Link {
    if program.is_l3() { Link::None } else { Link::Ethernet }
}

pub(crate) fn expected(judged: &Judged) -> Expected {
    Expected { verdict: judged.verdict, reason: judged.reason, database: judged.database }
}

/// Runs the corpus and compares program, table and model; how many runs the kernel took.
fn compare(policy: &Policy, change: impl Fn(&Case, Expected) -> Expected) -> usize {
    let cases = Scene::default().corpus();
    compare_with(&mut Kernel::load_large(), policy, &cases, &change);
    compare_with(&mut Kernel::load(), policy, &cases, &change)
}

fn compare_with(
    kernel: &mut Kernel,
    policy: &Policy,
    cases: &[Case],
    change: &impl Fn(&Case, Expected) -> Expected,
) -> usize {
    kernel.install(policy);
    let mut taken = 0;
    let mut wrong = Vec::new();
    for program in Program::PACKET {
        for run in runs(program, cases) {
            let table = change(run.case, run.expected);
            let model = model::judge(policy, link(program), &run.packet);
            let Some(outcome) = kernel.run_if_accepted(program, &run.packet, Context::default())
            else {
                continue;
            };
            taken += 1;
            let judged = outcome.judged.expect("a traced run");
            if expected(&judged) != table || model.expected != table {
                wrong.push(format!(
                    "{}, {program:?}, {} bytes: the table says {table:?}, the model {:?}, \
                     the program {judged:?}",
                    run.case.name,
                    run.packet.len(),
                    model.expected
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
    taken
}

#[test]
fn every_packet_is_judged_as_the_table_says() {
    let taken = compare(&Scene::default().policy(), |_, expected| expected);
    println!("{} packets, {taken} runs", Scene::default().corpus().len());
    assert!(Scene::default().corpus().len() >= 150, "the corpus has become small");
}

#[test]
fn without_cap_perfmon_every_packet_is_judged_alike() {
    // A kernel that refuses them there judges nothing.
    if loads_without_perfmon() {
        without_perfmon(|| compare(&Scene::default().policy(), |_, expected| expected));
    }
}

#[test]
fn observe_passes_what_enforce_drops_for_the_same_reason() {
    compare(&Scene::default().policy().in_mode(Mode::Observe), |_, expected| Expected {
        verdict: match expected.verdict {
            Verdict::Drop => Verdict::Observe,
            other => other,
        },
        ..expected
    });
}

#[test]
fn off_passes_everything_and_counts_nothing() {
    compare(&Scene::default().policy().in_mode(Mode::Off), |_, expected| Expected {
        verdict: Verdict::Pass,
        reason: match expected {
            Expected { reason: Reason::NotJudged, .. } | Expected { database: HOST, .. }
                if expected.reason != Reason::OtherPort =>
            {
                Reason::NotJudged
            }
            _ => Reason::OtherPort,
        },
        database: HOST,
    });
}

#[test]
fn later_fragments_are_dropped_where_the_configuration_says_so() {
    let policy = Policy { drop_fragments: true, ..Scene::default().policy() };
    compare(&policy, |case, expected| {
        if case.fragments_dropped == case.expected { expected } else { case.fragments_dropped }
    });
}

#[test]
fn a_packet_moves_one_counter_or_none() {
    let scene = Scene::default();
    let (cases, policy) = (scene.corpus(), scene.policy());
    let ns = Netns::new("counters");
    veth((&ns, "outside"), (&ns, "inside"));
    ns.enter();
    let context = Context::from_interface(ns.ifindex("inside"));
    let mut kernel = Kernel::load();
    kernel.install(&policy);

    let mut counters = Counters::new();
    let mut hits = BTreeMap::new();
    for program in Program::PACKET {
        for run in runs(program, &cases) {
            let decision = model::judge(&policy, link(program), &run.packet);
            if kernel.run_if_accepted(program, &run.packet, context).is_none() {
                continue;
            }
            count(&mut counters, &decision, program.counted(&run.packet));
            if decision.expected.verdict == Verdict::Allow {
                let rule = decision
                    .entry
                    .map_or(0, |net| kernel.rule_slot(net, decision.expected.database));
                *hits.entry(rule).or_insert(0) += 1;
            }
            assert_eq!(
                kernel.counters(),
                counters,
                "after {} ({program:?}, {} bytes)",
                run.case.name,
                run.packet.len()
            );
        }
    }
    let rules = kernel.rule_counters();
    let packets: BTreeMap<u32, u64> =
        rules.iter().map(|(slot, counter)| (*slot, counter.packets)).collect();
    assert_eq!(packets, hits, "packets per rule");
    assert!(rules.values().all(|counter| counter.last_hit > 0), "a hit without its time");

    kernel.reset();
    assert_eq!(kernel.counters(), Counters::new());
    assert!(kernel.rule_counters().is_empty());
}

/// Adds what a packet has to count.
pub(crate) fn count(counters: &mut Counters, decision: &Decision, length: usize) {
    let Expected { verdict, reason, database } = decision.expected;
    let counted = match verdict {
        Verdict::Pass => return,
        Verdict::Allow => Counted::Allowed,
        Verdict::Observe => Counted::Observed(reason),
        Verdict::Drop => Counted::Dropped(reason),
    };
    let counter = counters.entry((database, decision.family, counted)).or_default();
    counter.packets += 1;
    counter.bytes += length as u64;
}

#[test]
fn a_traced_run_counts_nothing() {
    let scene = Scene::default();
    let mut kernel = Kernel::load();
    kernel.install(&scene.policy());
    for case in scene.corpus().iter().step_by(7) {
        kernel.run(Program::Xdp, &case.frame, Context::default());
    }
    assert_eq!(kernel.counters(), Counters::new());
    assert!(kernel.rule_counters().is_empty());
}

/// Headers in the linear part, in the fragments, and across the border.
#[test]
fn the_verdict_does_not_depend_on_where_the_frame_is_split() {
    let scene = Scene::default();
    let cases = scene.corpus();
    let mut kernel = Kernel::load();
    kernel.install(&scene.policy());
    for program in [Program::Xdp, Program::XdpL3] {
        for run in runs(program, &cases).iter().filter(|run| run.packet.len() >= 14) {
            let last = run.packet.len().min(128);
            for linear in (0..=last).chain([run.packet.len() / 2]) {
                let outcome = kernel.run(program, &run.packet, Context::split_at(linear));
                let judged = outcome.judged.expect("a traced run");
                assert_eq!(
                    expected(&judged),
                    run.expected,
                    "{}, {program:?}, {linear} bytes linear",
                    run.case.name
                );
            }
        }
    }
}

/// The builders against somebody else's parser: headers that say what was asked for, and
/// right checksums, since the same frames are sent to real stacks.
#[test]
fn ordinary_packets_are_well_formed() {
    let scene = Scene::default();
    let mut checked = 0;
    for case in scene.corpus().iter().filter(|case| case.name.contains(", no tag, ")) {
        let packet = SlicedPacket::from_ethernet(&case.frame)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let (right, sum) = match (&packet.net, &packet.transport) {
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum, "{}", case.name);
                (tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()), tcp.checksum())
            }
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) => {
                let header = ip.header().to_header();
                (udp.to_header().calc_checksum_ipv4(&header, udp.payload()), udp.checksum())
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
                let header = ip.header().to_header();
                (tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()), tcp.checksum())
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
                let header = ip.header().to_header();
                (udp.to_header().calc_checksum_ipv6(&header, udp.payload()), udp.checksum())
            }
            _ => panic!("{} is neither TCP nor UDP over IP", case.name),
        };
        let right = right.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(sum, right, "checksum of {}", case.name);
        checked += 1;
    }
    assert_eq!(checked, 12, "two families, two protocols, three sources");
}
