//! What the programs cost the verifier, and what loading them takes.

use std::{env, fs, process::Command};

use dbfw_common::{PROGRAM_XDP, PROGRAM_XDP_LEAN};
use dbfw_datapath::variant;
use dbfw_tests::{
    capabilities::without_perfmon,
    kernel::{Kernel, Program},
    netns::finish,
};

/// Verified instructions a program may need; the kernel takes a million.
const MOST_INSTRUCTIONS: u32 = 60_000;

const EVERY_PROGRAM: [Program; 5] =
    [Program::Xdp, Program::XdpL3, Program::Tcx, Program::TcxL3, Program::Backstop];

#[test]
fn the_verifier_needs_few_instructions() {
    let kernel = Kernel::load();
    for program in EVERY_PROGRAM {
        let instructions = kernel.verified_instructions(program);
        println!("{:<14} {instructions:>6} verified instructions", program.name());
        assert!(instructions > 0, "{} was not verified", program.name());
        assert!(instructions <= MOST_INSTRUCTIONS, "{} is too large", program.name());
    }
}

#[test]
fn cap_perfmon_keeps_barriers_out() {
    let sizes = || {
        let kernel = Kernel::load();
        EVERY_PROGRAM.map(|program| kernel.translated_bytes(program))
    };
    let (without, with) = (sizes(), without_perfmon(sizes));
    assert_eq!(variant(PROGRAM_XDP), PROGRAM_XDP_LEAN);
    assert_eq!(without_perfmon(|| variant(PROGRAM_XDP)), PROGRAM_XDP);
    for ((program, without), with) in EVERY_PROGRAM.iter().zip(without).zip(with) {
        println!("{:<14} {without} bytes, {with} with barriers", program.name());
        assert!(without < with, "{}: no less for CAP_PERFMON", program.name());
    }
}

/// Set for the process that this test starts without other capabilities.
const CHILD: &str = "DBFW_TEST_WITHOUT_CAPABILITIES";
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_BPF: u64 = 1 << 39;

#[test]
fn cap_bpf_and_cap_net_admin_suffice_to_load() {
    if env::var_os(CHILD).is_some() {
        assert_eq!(effective_capabilities(), CAP_BPF | CAP_NET_ADMIN);
        Kernel::load();
        println!("loaded with CAP_BPF and CAP_NET_ADMIN alone");
        return;
    }
    let test = env::current_exe().expect("the path of this test");
    let output = finish(
        Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin"])
            .arg(test)
            .args(["--exact", "--nocapture"])
            .arg("limits::cap_bpf_and_cap_net_admin_suffice_to_load")
            .env(CHILD, "1"),
    );
    // A filter that names no test would succeed as well.
    assert!(output.contains("loaded with CAP_BPF"), "the child ran no test: {output}");
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(line.expect("a line CapEff").trim(), 16).expect("a hexadecimal mask")
}
