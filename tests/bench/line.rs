//! Two namespaces and a veth pair: a flood on one end, the system under test on the other.

use std::{
    io,
    os::fd::OwnedFd,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use dbfw_common::Family;
use dbfw_tests::{
    netns::{Netns, veth},
    packets::{IPV4, IPV6, Ip4, Ip6, Macs, Tcp, ethernet, padded, protocol},
    site::link,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    PORT,
    bpf::{Map, Xdp, programs, run_live},
    sets::Pattern,
};

/// The interface of the system under test.
pub(crate) const INTERFACE: &str = "sut0";
const GENERATOR: &str = "gen0";

/// Packets of a generator's first call into the kernel, which shows how many fit a time.
const FIRST: u32 = 1 << 14;

/// What a flood was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    /// Time it took to send and receive them.
    pub(crate) took: Duration,
}

/// The pair, of a family.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) family: Family,
    /// Where the system under test is.
    pub(crate) sut: Netns,
    /// Where its clients and attackers are.
    pub(crate) outside: Netns,
    macs: Macs,
    ifindex: u32,
    /// Without an XDP program of its own the kernel sends no live frames out of a veth.
    _opener: (Xdp, OwnedFd),
}

/// A pattern's program, ready to send.
#[derive(Debug)]
pub(crate) struct Generator {
    program: Xdp,
    frame: Vec<u8>,
    /// Of a packet in the last flood; 0: there was none.
    ns: AtomicU32,
    _networks: Option<Map>,
}

impl Line {
    pub(crate) fn new(family: Family) -> Result<Self, String> {
        let (sut, outside) = (Netns::new("sut"), Netns::new("flood"));
        for ns in [&sut, &outside] {
            for which in ["all", "default"] {
                ns.sysctl(&format!("net/ipv4/conf/{which}/rp_filter"), "0");
            }
        }
        veth((&sut, INTERFACE), (&outside, GENERATOR));
        for (ns, interface, host) in [(&sut, INTERFACE, 1), (&outside, GENERATOR, 2)] {
            ns.address(interface, &format!("10.99.0.{host}/24"));
            ns.address(interface, &format!("fd99::{host}/64"));
        }
        // NAPI on the receiving end, which takes the frames.
        run(sut.command("ethtool").args(["-K", INTERFACE, "gro", "on"]))?;
        let macs = Macs { destination: mac(&sut, INTERFACE)?, source: mac(&outside, GENERATOR)? };
        let ifindex = outside.ifindex(GENERATOR);
        let program = programs::constant(false).map_err(|error| error.to_string())?;
        let attached = outside
            .run(|| program.attach(ifindex))
            .map_err(|error| format!("an empty XDP program does not attach to a veth: {error}"))?;
        Ok(Self { family, sut, outside, macs, ifindex, _opener: (program, attached) })
    }

    /// The address of the system under test.
    pub(crate) fn server(&self) -> &'static str {
        match self.family {
            Family::V4 => "10.99.0.1",
            Family::V6 => "fd99::1",
        }
    }

    /// The client's own address.
    pub(crate) fn client(&self) -> &'static str {
        match self.family {
            Family::V4 => "10.99.0.2",
            Family::V6 => "fd99::2",
        }
    }

    /// The interface that floods are sent out of, in `outside`.
    pub(crate) fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// SYNs to the protected port.
    pub(crate) fn generator(&self, pattern: &Pattern) -> io::Result<Generator> {
        let frame = self.frame(pattern);
        let mut networks = None;
        let program = match pattern {
            Pattern::Uniform => programs::random(self.family, &frame)?,
            Pattern::One(_) => programs::fixed()?,
            Pattern::Inside(list) => {
                let (program, map) = programs::inside(self.family, &frame, list)?;
                networks = Some(map);
                program
            }
        };
        Ok(Generator { program, frame, ns: AtomicU32::new(0), _networks: networks })
    }

    /// The frame that a pattern's packets begin as.
    pub(crate) fn frame(&self, pattern: &Pattern) -> Vec<u8> {
        let tcp = Tcp::syn(PORT);
        let one = match pattern {
            Pattern::One(source) => Some(*source),
            _ => None,
        };
        let server = self.server().parse().expect("an address of this file");
        let source = one.unwrap_or(self.client().parse().expect("an address of this file"));
        let segment = tcp.bytes(source, server);
        let (kind, packet) = match (source, server) {
            (std::net::IpAddr::V4(source), std::net::IpAddr::V4(server)) => {
                (IPV4, Ip4::new(source, server).packet(protocol::TCP, &segment))
            }
            (std::net::IpAddr::V6(source), std::net::IpAddr::V6(server)) => {
                (IPV6, Ip6::new(source, server).packet(protocol::TCP, &segment))
            }
            _ => panic!("{source} is not of the line's family"),
        };
        padded(&ethernet(self.macs, &[], kind, &packet))
    }

    /// Floods for about a time, from [`flood_cpu`]: receiving happens there too, in the same
    /// system calls.
    pub(crate) fn flood(&self, generator: &Generator, time: Duration) -> io::Result<Sent> {
        self.outside.run(|| {
            pin(flood_cpu())?;
            let mut sent = Sent::default();
            let mut send = |count: u32| -> io::Result<()> {
                let ns = self.send(generator, count)?.max(1);
                generator.ns.store(ns, Ordering::Relaxed);
                // The kernel cuts off fractions.
                let took = u64::from(ns) * u64::from(count) + u64::from(count) / 2;
                sent.took += Duration::from_nanos(took);
                sent.packets += u64::from(count);
                Ok(())
            };
            if generator.ns.load(Ordering::Relaxed) == 0 {
                send(FIRST)?;
            }
            let count = time.as_nanos() / u128::from(generator.ns.load(Ordering::Relaxed));
            send(count.clamp(1, 1 << 30) as u32)?;
            Ok(sent)
        })
    }

    /// Sends some packets from the calling thread, which is in the namespace `outside`, and
    /// returns nanoseconds a packet.
    pub(crate) fn send(&self, generator: &Generator, count: u32) -> io::Result<u32> {
        run_live(&generator.program, &generator.frame, self.ifindex, count)
    }
}

/// The CPU that sends and receives floods: the last one.
pub(crate) fn flood_cpu() -> usize {
    cpus() - 1
}

/// CPUs of the machine.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Pins the calling thread to a CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    pin_process(0, cpu)
}

/// Pins a process's first thread, and what it starts from then on.
pub(crate) fn pin_process(pid: i32, cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(pid), &set)?)
}

/// Runs a command to its end; what it printed, or what went wrong.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_args().chain([command.get_program()]).next().map(|word| word.to_owned());
    let output = command.output().map_err(|error| format!("cannot run {name:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("it said nothing").to_owned();
        return Err(format!("{command:?}: {}: {first}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn mac(ns: &Netns, interface: &str) -> Result<[u8; 6], String> {
    let link = link(ns, interface);
    let text = link["address"].as_str().unwrap_or_default();
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{interface} has the hardware address {text:?}"))
}
