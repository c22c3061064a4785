//! The programs against the model, on random packets and policies.
//!
//! `DBFW_FUZZ_PACKETS` sets how many packets are tried (default 100,000) and
//! `DBFW_FUZZ_SEED` the seed, which every run prints.

use std::{
    collections::BTreeMap,
    env, fmt,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use dbfw_common::{Reason, Verdict};
use dbfw_tests::{
    corpus::Scene,
    kernel::{Context, Counters, Judged, Kernel, Program, SMALLEST_FRAME},
    model::{self, Decision, Expected, Link},
    mutate::Generator,
    netns::{Netns, veth},
    packets::hex,
    policy::Policy,
};

use crate::corpus::count;

const DEFAULT_PACKETS: u64 = 100_000;
/// Packets tried on one policy.
const ROUND: u64 = 1_000;

/// What judges beside the program.
type Model = dyn Fn(&Policy, Link, &[u8]) -> Decision + Sync;

#[derive(Default)]
struct Report {
    packets: u64,
    policies: u64,
    runs: BTreeMap<&'static str, u64>,
    verdicts: BTreeMap<(Reason, Verdict), u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets tried on {} policies", self.packets, self.policies)?;
        for (program, runs) in &self.runs {
            writeln!(f, "  {program:<22} {runs:>10} runs")?;
        }
        for ((reason, verdict), number) in &self.verdicts {
            writeln!(f, "  {:<12}{:<10} {number:>10}", reason.as_str(), verdict.as_str())?;
        }
        Ok(())
    }
}

/// Tries `packets` packets; the first difference is an error that says all about it.
fn fuzz(seed: u64, packets: u64, model: &Model) -> Result<Report, String> {
    let ns = Netns::new("fuzz");
    veth((&ns, "outside"), (&ns, "inside"));
    ns.run(|| {
        let counted = Context::from_interface(ns.ifindex("inside"));
        let mut generator = Generator::new(Scene::default(), seed);
        let mut kernels = [Kernel::load(), Kernel::load_large()];
        let mut counters = [Counters::new(), Counters::new()];
        let mut report = Report::default();
        while report.packets < packets {
            let policy = generator.policy();
            let turn = usize::from(report.policies % 2 == 1);
            let (kernel, counters) = (&mut kernels[turn], &mut counters[turn]);
            kernel.install(&policy);
            report.policies += 1;
            for _ in 0..ROUND.min(packets - report.packets) {
                report.packets += 1;
                let frame = generator.frame(&policy);
                let mut round =
                    Round { policy: &policy, model, kernel, counters, report: &mut report };
                let number = round.report.packets as usize;
                let linear = generator.one_in(4).then(|| generator.below(frame.len() + 1));
                round.try_frame(&frame, number, linear, counted).map_err(|difference| {
                    format!(
                        "seed {seed}, packet {number}: {difference}\nframe {}\n{policy:#?}",
                        hex(&frame)
                    )
                })?;
            }
            let found = kernel.counters();
            if found != *counters {
                return Err(format!(
                    "seed {seed}, after packet {}: the counters are\n{found:?}\nand should \
                     be\n{counters:?}\n{policy:#?}",
                    report.packets
                ));
            }
        }
        Ok(report)
    })
}

struct Round<'a> {
    policy: &'a Policy,
    model: &'a Model,
    kernel: &'a mut Kernel,
    counters: &'a mut Counters,
    report: &'a mut Report,
}

impl Round<'_> {
    /// Every program on one frame, one of them counting.
    fn try_frame(
        &mut self,
        frame: &[u8],
        number: usize,
        linear: Option<usize>,
        counted: Context,
    ) -> Result<(), String> {
        for (index, program) in Program::PACKET.into_iter().enumerate() {
            let (link, packet) = if program.is_l3() {
                (Link::None, &frame[SMALLEST_FRAME..])
            } else {
                (Link::Ethernet, frame)
            };
            let decision = (self.model)(self.policy, link, packet);
            let context = match linear {
                Some(linear) if program.is_xdp() => Context::split_at(linear.min(packet.len())),
                _ => Context::default(),
            };
            let Some(outcome) = self.kernel.run_if_accepted(program, packet, context) else {
                continue;
            };
            *self.report.runs.entry(program.name()).or_default() += 1;
            let judged = outcome.judged.expect("a traced run");
            if let Some(difference) = difference(self.kernel, &decision, &judged) {
                return Err(format!("{program:?}: {difference}"));
            }
            let seen = (judged.reason, judged.verdict);
            *self.report.verdicts.entry(seen).or_default() += 1;
            if number % Program::PACKET.len() == index {
                self.kernel.run(program, packet, counted);
                count(self.counters, &decision, program.counted(packet));
                *self.report.runs.entry("counted").or_default() += 1;
            }
        }
        Ok(())
    }
}

/// What the program did otherwise than the model says.
fn difference(kernel: &Kernel, decision: &Decision, judged: &Judged) -> Option<String> {
    let found =
        Expected { verdict: judged.verdict, reason: judged.reason, database: judged.database };
    let database = decision.expected.database;
    let rule = decision.entry.map_or(0, |net| kernel.rule_slot(net, database));
    let family = judged.verdict == Verdict::Pass || judged.family == decision.family;
    let same = found == decision.expected && judged.rule == rule && family;
    (!same).then(|| format!("the program said {judged:?}, expected {decision:?}, rule {rule}"))
}

/// The number in a variable of the environment.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text} is no number: {error}")))
}

#[test]
fn the_programs_and_the_model_agree() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
    let seed = variable("DBFW_FUZZ_SEED").unwrap_or(clock.as_nanos() as u64);
    let packets = variable("DBFW_FUZZ_PACKETS").unwrap_or(DEFAULT_PACKETS);
    println!("DBFW_FUZZ_SEED={seed} DBFW_FUZZ_PACKETS={packets}");
    let start = Instant::now();
    let report = fuzz(seed, packets, &model::judge).unwrap_or_else(|error| panic!("{error}"));
    println!("{report}in {:.1} s", start.elapsed().as_secs_f64());
    if packets < DEFAULT_PACKETS {
        return;
    }
    for reason in Reason::ALL {
        let seen = report.verdicts.keys().any(|(seen, _)| *seen == reason);
        // The backstop alone gives this one, and it sees no packet.
        assert!(seen || reason == Reason::Backstop, "no packet met {}", reason.as_str());
    }
    for verdict in Verdict::ALL {
        let seen = report.verdicts.keys().any(|(_, seen)| *seen == verdict);
        assert!(seen, "no packet got the verdict {}", verdict.as_str());
    }
}

/// Models with one mistake each. What does not find them finds nothing.
#[test]
fn a_wrong_model_is_noticed() {
    let flipped = |policy: &Policy, link, packet: &[u8]| {
        let mut decision = model::judge(policy, link, packet);
        // One packet in some hundred.
        let sum = packet.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31) + u32::from(*byte));
        if sum.is_multiple_of(499) {
            decision.expected.verdict = match decision.expected.verdict {
                Verdict::Drop => Verdict::Pass,
                _ => Verdict::Drop,
            };
        }
        decision
    };
    let without_union = |policy: &Policy, link, packet: &[u8]| {
        let mut policy = policy.clone();
        let whole = policy.trusted.clone();
        // The most specific prefix alone decides.
        policy.trusted.retain(|trusted| {
            !whole.iter().any(|other| *other != *trusted && trusted.net.contains(&other.net))
        });
        model::judge(&policy, link, packet)
    };
    let fragments_always_pass = |policy: &Policy, link, packet: &[u8]| {
        let policy = Policy { drop_fragments: false, ..policy.clone() };
        model::judge(&policy, link, packet)
    };
    let without_padding = |policy: &Policy, link, packet: &[u8]| {
        let end = packet.len() - usize::from(packet.len() > 40);
        model::judge(policy, link, &packet[..end])
    };
    let wrong_family = |policy: &Policy, link, packet: &[u8]| {
        let mut decision = model::judge(policy, link, packet);
        if decision.expected.reason == Reason::Malformed {
            decision.family = dbfw_common::Family::V4;
        }
        decision
    };
    let models: [(&str, &Model); 5] = [
        ("one verdict in some hundred is flipped", &flipped),
        ("prefixes do not unite", &without_union),
        ("fragments always pass", &fragments_always_pass),
        ("the last byte is not seen", &without_padding),
        ("IPv6 is counted as IPv4", &wrong_family),
    ];
    for (name, model) in models {
        match fuzz(7, 20_000, model) {
            Ok(report) => panic!("{} packets did not notice that {name}", report.packets),
            Err(error) => assert!(error.starts_with("seed 7, packet "), "{name}: {error}"),
        }
    }
}
