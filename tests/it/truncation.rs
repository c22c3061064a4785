//! The corpus cut at every byte that a test run takes: 14 bytes and more for XDP, a whole
//! fixed IP header behind the type for TCX. Shorter frames cannot be run; no driver hands
//! up a frame without its Ethernet header, and one without an IP header has no port.

use std::collections::BTreeMap;

use dbfw_common::Reason;
use dbfw_tests::{
    corpus::Scene,
    kernel::{Context, Kernel, Program, SMALLEST_FRAME},
    model::{self, Expected, Link},
    packets::{hex, padded},
    policy::Policy,
    stack,
};

/// Documented: these drop complete packets to other ports, cut or not.
const WHATEVER_THE_PORT: [Reason; 3] = [Reason::VlanDepth, Reason::Martian, Reason::PortHidden];

type Tally = BTreeMap<&'static str, usize>;

/// Returns what was tried.
fn cut_everywhere(programs: [Program; 2], link: Link, policy: &Policy) -> Tally {
    let mut kernel = Kernel::load();
    kernel.install(policy);
    let mut tally = Tally::new();
    let mut wrong = Vec::new();
    for case in Scene::default().corpus() {
        let frame = padded(&case.frame);
        let (whole, expected) = match link {
            Link::Ethernet => (frame, case.expected),
            Link::None => match case.without_link(&frame) {
                Some(packet) => packet,
                None => continue,
            },
        };
        for length in SMALLEST_FRAME..=whole.len() {
            let packet = &whole[..length];
            let fate = stack::fate(link, packet);
            let model = model::judge(policy, link, packet).expected;
            for program in programs {
                let Some(outcome) = kernel.run_if_accepted(program, packet, Context::default())
                else {
                    *tally.entry("runs the kernel does not take").or_default() += 1;
                    continue;
                };
                *tally.entry("runs").or_default() += 1;
                let judged = outcome.judged.expect("a traced run");
                let leaked = fate.is_leak(policy) && !outcome.dropped;
                let other = fate.is_elsewhere(policy) && outcome.dropped;
                let excepted = WHATEVER_THE_PORT.contains(&expected.reason);
                let differs = model
                    != Expected {
                        verdict: judged.verdict,
                        reason: judged.reason,
                        database: judged.database,
                    };
                *tally.entry("leaks tried").or_default() += usize::from(fate.is_leak(policy));
                *tally.entry("complete packets elsewhere").or_default() +=
                    usize::from(fate.is_elsewhere(policy));
                if leaked || (other && !excepted) || differs {
                    wrong.push(format!(
                        "{} cut at {length}, {program:?}: {judged:?}, the model says {model:?}, \
                         the stack {fate:?}: {}",
                        case.name,
                        hex(&packet[..length.min(200)])
                    ));
                }
            }
        }
    }
    let first = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} wrong verdicts, the first:\n{first}", wrong.len());
    assert!(tally["leaks tried"] > 10_000, "hardly a cut packet could have leaked: {tally:?}");
    assert!(tally["complete packets elsewhere"] > 1_000, "hardly a cut packet was complete");
    tally
}

#[test]
fn no_cut_frame_leaks_and_no_complete_one_is_lost() {
    let policy = Scene::default().policy();
    let tally = cut_everywhere([Program::Xdp, Program::Tcx], Link::Ethernet, &policy);
    println!("with link header: {tally:?}");
}

#[test]
fn no_cut_packet_leaks_and_no_complete_one_is_lost_without_a_link_header() {
    let policy = Scene::default().policy();
    let tally = cut_everywhere([Program::XdpL3, Program::TcxL3], Link::None, &policy);
    println!("without link header: {tally:?}");
}
