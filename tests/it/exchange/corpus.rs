//! The packet corpus through the table that `dbfw export nft` prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use dbfw_common::{HOST, Reason, Verdict};
use dbfw_tests::{
    agent::Host,
    corpus::{CACHE_PORT, Case, LAST_PORT, PORT, SECOND_PORT, Scene},
    link::FrameSocket,
    model::{Expected, Link},
    netns::{Netns, finish, veth},
    policy::Policy,
    stack::{self, Fate},
};
use serde_json::Value;

use super::text;

/// Tables of nftables around the exported one: each notes the source of every frame that comes so far.
const NOTES: &str = "table inet notes {
    set seen { type ether_addr; size 65535; flags dynamic; }
    set passed { type ether_addr; size 65535; flags dynamic; }
    set delivered { type ether_addr; size 65535; flags dynamic; }
    chain before { type filter hook prerouting priority -301; add @seen { ether saddr }; }
    chain after { type filter hook prerouting priority -299; add @passed { ether saddr }; }
    chain input { type filter hook input priority 0; add @delivered { ether saddr }; }
}";

/// The place at which a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// The kernel discarded it before any table.
    Nowhere,
    /// The exported table dropped it.
    Dropped,
    /// The exported table let it through, and the kernel discarded it.
    Passed,
    /// Up to the host's own protocols.
    Delivered,
}

/// A host whose packets an exported table judges.
struct Judge {
    host: Netns,
    wire: FrameSocket,
    _client: Netns,
}

impl Judge {
    /// Exports the databases of the corpus, each with this key, and loads the table.
    fn new(scene: &Scene, key: &str) -> Self {
        let (host, client) = (Netns::new("db"), Netns::new("client"));
        veth((&host, "db0"), (&client, "cl0"));
        for (netns, interface) in [(&host, "db0"), (&client, "cl0")] {
            netns.mtu(interface, 65_535);
        }
        let mac = scene.macs.destination.map(|byte| format!("{byte:02x}")).join(":");
        host.ip(&format!("link set db0 address {mac}"));
        host.address("db0", &format!("{}/24", scene.host4));
        host.address("db0", &format!("{}/64", scene.host6));
        // Sources of the corpus are everywhere.
        for setting in ["all", "db0"] {
            host.sysctl(&format!("net/ipv4/conf/{setting}/rp_filter"), "0");
        }
        host.ip("route add default dev db0");
        host.ip("-6 route add default dev db0");
        let mut agent = Host::new(&host);
        let database = |name: &str, ports: &str, trusted: &[&str]| {
            let trusted: Vec<String> =
                trusted.iter().map(|prefix| format!("\"ip_addr:{prefix}\"")).collect();
            format!(
                "[[database]]\nname = \"{name}\"\nports = [{ports}]\n{key}\ntrusted_sources = [{}]\n",
                trusted.join(", ")
            )
        };
        let (friend4, friend6) = (scene.trusted4.to_string(), scene.trusted6.to_string());
        let shared = ["198.51.100.0/24", "2001:db8:2::/48"];
        let last = ["198.51.100.128/25", "203.0.113.7", "2001:db8:2:8000::/49", "2001:db8:7::7"];
        agent.configure(
            "interfaces = [\"db0\"]",
            &[
                database(
                    "orders",
                    &format!("{PORT}, {SECOND_PORT}"),
                    &[&friend4, &friend6, shared[0], shared[1]],
                ),
                database("cache", &format!("{CACHE_PORT}, \"udp/{CACHE_PORT}\""), &shared),
                database("last", &LAST_PORT.to_string(), &last),
            ]
            .concat(),
        );
        agent.start();
        let exported = text(&agent, &["export", "nft"]);
        assert!(agent.dbfw(&["detach", "--yes"]).status.success(), "{}", agent.log());
        for (name, rules) in [("exported.nft", &*exported), ("notes.nft", NOTES)] {
            let file = agent.path(name);
            fs::write(&file, rules).expect("write the table");
            finish(host.command("nft").arg("-f").arg(&file));
        }
        drop(agent);
        let wire = FrameSocket::open(&client, "cl0");
        Self { host, wire, _client: client }
    }

    /// Sends frames; the place at which each ended. Its source is replaced, to tell it by.
    fn send(&self, frames: &[Vec<u8>]) -> Vec<Came> {
        for (number, frame) in (0u16..).zip(frames) {
            let mut frame = frame.clone();
            frame[6..12].copy_from_slice(&source(number));
            self.wire.send(&frame).expect("send a frame");
        }
        let [seen, passed, delivered] = ["seen", "passed", "delivered"].map(|set| self.noted(set));
        let numbers = (0..frames.len()).map(|number| u16::try_from(number).expect("few frames"));
        numbers
            .map(|number| match number {
                _ if delivered.contains(&number) => Came::Delivered,
                _ if passed.contains(&number) => Came::Passed,
                _ if seen.contains(&number) => Came::Dropped,
                _ => Came::Nowhere,
            })
            .collect()
    }

    fn noted(&self, set: &str) -> BTreeSet<u16> {
        let listed =
            finish(self.host.command("nft").args(["-j", "list", "set", "inet", "notes", set]));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let elements = listed["nftables"][1]["set"]["elem"].as_array().into_iter().flatten();
        elements
            .filter_map(|element| {
                let address = element.as_str().expect("an address");
                let bytes =
                    address.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hex"));
                let bytes: Vec<u8> = bytes.collect();
                // The host's own multicast queries come by another interface.
                (bytes[..4] == MARK).then(|| u16::from_be_bytes([bytes[4], bytes[5]]))
            })
            .collect()
    }
}

const MARK: [u8; 4] = [2, 0, 1, 0];

/// The hardware address that a frame is told by.
fn source(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    let [a, b, c, d] = MARK;
    [a, b, c, d, high, low]
}

/// The frames of the corpus that a wire can carry.
fn cases(scene: &Scene) -> Vec<Case> {
    scene
        .corpus()
        .into_iter()
        .filter(|case| (14..=65_535 + 14).contains(&case.frame.len()))
        .collect()
}

/// Whether the port stands behind more headers than dbfw looks behind. nftables reads all of them.
fn is_deep(case: &Case) -> bool {
    case.name.contains("extension headers,") || case.name.contains("and 8 headers behind it")
}

/// Whether the port stands behind a header that nftables does not look behind, and the kernel hands to
/// no socket: those of IPsec, whose content comes a second time once it is unpacked, of Mobile IPv6,
/// HIP and Shim6.
fn is_unread(case: &Case) -> bool {
    const HEADERS: [&str; 5] =
        ["authentication", "mobility", "host identity", "shim6", "one of each"];
    HEADERS.iter().any(|header| case.name.contains(header))
}

/// Whether the table drops a case; `None`: it is the kernel's, which gives it to no socket.
fn is_dropped(case: &Case) -> Option<bool> {
    let Expected { verdict, reason, database } = case.expected;
    match (verdict, reason) {
        // First fragments without their port, from whom some database trusts: the table knows no
        // sources where it knows no port, and drops what RFC 7112 forbids to send.
        (Verdict::Allow, _) if database == HOST => Some(!is_deep(case)),
        (Verdict::Allow | Verdict::Pass | Verdict::Observe, _) => Some(false),
        (_, Reason::PortHidden) if is_deep(case) => Some(case.name.ends_with("untrusted")),
        (_, Reason::PortHidden) => Some(true),
        (_, Reason::Untrusted) if is_unread(case) => None,
        // A length that stands for the rest of the packet is none to the kernel.
        (_, Reason::Untrusted) if case.name.contains("payload length 0") => None,
        (_, Reason::Untrusted) => Some(true),
        // The kernel takes all tags off before.
        (_, Reason::VlanDepth) if case.name.starts_with("ARP") => Some(false),
        (_, Reason::VlanDepth) => Some(case.name.ends_with("untrusted")),
        (_, Reason::Malformed | Reason::Martian) => None,
        (_, reason) => panic!("the corpus has {reason:?}: {}", case.name),
    }
}

/// Holds what came of the cases against the corpus. `judges` says which destinations are the
/// databases', by the case.
fn compare(policy: &Policy, cases: &[Case], came: &[Came], judges: impl Fn(&Case) -> bool) {
    let (mut wrong, mut tally) = (Vec::new(), BTreeMap::<Came, usize>::new());
    for (case, came) in cases.iter().zip(came) {
        let fate = stack::fate(Link::Ethernet, &case.frame);
        let is_judged = judges(case);
        let is_right = match is_dropped(case) {
            _ if !is_judged => *came != Came::Dropped,
            Some(false) => *came != Came::Dropped,
            Some(true) => matches!(came, Came::Dropped | Came::Nowhere),
            None if case.expected.reason == Reason::Martian => *came != Came::Delivered,
            None => fate == Fate::Discarded,
        };
        let leaks =
            is_judged && fate.is_leak(policy) && !matches!(came, Came::Dropped | Came::Nowhere);
        if !is_right || leaks || *came == Came::Dropped && fate.is_elsewhere(policy) {
            wrong.push(format!("{}: {came:?}, where {:?} and {fate:?}", case.name, case.expected));
        }
        *tally.entry(*came).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} wrong of {tally:?}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the table has a rule for the destination of a packet.
type Judges<'a> = &'a dyn Fn(&Case) -> bool;

fn count(came: &[Came], of: Came) -> usize {
    came.iter().filter(|came| **came == of).count()
}

fn frames(cases: &[Case]) -> Vec<Vec<u8>> {
    cases.iter().map(|case| case.frame.clone()).collect()
}

/// The corpus, in which a few packets are for other hosts or for many.
#[test]
fn the_table_judges_every_packet_as_dbfw_does() {
    let scene = Scene::default();
    let (cases, policy) = (cases(&scene), scene.policy());
    let is_elsewhere = |case: &Case| case.name.contains("destination somebody else");
    let is_many = |case: &Case| {
        let names = [
            "destination multicast",
            "destination broadcast",
            "destination 0.0.0.0",
            "v6 multicast to",
        ];
        names.iter().any(|name| case.name.contains(name))
    };
    let local = "addresses = [\"local\"]";
    let written = format!("addresses = [\"{}\", \"{}\"]", scene.host4, scene.host6);
    let judges: [(&str, Judges<'_>); 3] = [
        ("", &|_| true),
        (local, &|case| !is_elsewhere(case)),
        (&written, &|case| !is_elsewhere(case) && !is_many(case)),
    ];
    for (key, judges) in judges {
        let came = Judge::new(&scene, key).send(&frames(&cases));
        assert!(count(&came, Came::Dropped) >= 200, "{key}: too few were dropped");
        assert!(count(&came, Came::Delivered) >= 400, "{key}: too few came through");
        compare(&policy, &cases, &came, judges);
    }
}

/// The same packets for another host.
#[test]
fn the_table_of_bound_databases_lets_packets_for_others_pass() {
    let scene = Scene::default();
    let other = Scene {
        host4: Ipv4Addr::new(10, 77, 0, 99),
        host6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99),
        ..scene.clone()
    };
    let cases = cases(&other);
    let written = format!("addresses = [\"{}\", \"{}\"]", scene.host4, scene.host6);
    for key in ["addresses = [\"local\"]", &written] {
        let came = Judge::new(&scene, key).send(&frames(&cases));
        assert!(count(&came, Came::Passed) >= 400, "{key}: too few passed");
        // A few have a destination of their own.
        let is_for_it = |case: &Case| {
            !case.name.contains("4 destination ") && !case.name.starts_with("v6 multicast to")
        };
        let dropped = cases.iter().zip(&came).filter(|(_, came)| **came == Came::Dropped);
        let dropped = dropped.filter(|(case, _)| is_for_it(case));
        let dropped: Vec<&str> = dropped.map(|(case, _)| &*case.name).collect();
        assert!(dropped.is_empty(), "{key}: {dropped:?}");
    }
}
