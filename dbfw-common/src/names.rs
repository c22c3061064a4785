//! Names of maps and programs, at most 15 bytes so that the kernel keeps them whole.

use crate::TABLES;

/// (protocol, port) → database id; or that the destination decides as well.
pub const PORTS: &str = "PORTS";
/// Presence bits: the leading bits that any IPv4 prefix touches.
pub const FRONT4: &str = "FRONT4";
/// Presence bits: the leading bits that any IPv6 prefix touches.
pub const FRONT6: &str = "FRONT6";
/// Large tables of IPv4 addresses; a table is address → id of an entry.
pub const HOSTS4: &str = "HOSTS4";
/// Large tables of IPv6 addresses.
pub const HOSTS6: &str = "HOSTS6";
/// The table of IPv4 addresses while there are few.
pub const HOSTS4_SMALL: &str = "HOSTS4_SMALL";
/// The table of IPv6 addresses while there are few.
pub const HOSTS6_SMALL: &str = "HOSTS6_SMALL";
/// Id of an entry → entry, of the hosts.
pub const ENTRIES: &str = "ENTRIES";
/// IPv4 prefix → entry.
pub const NETS4: &str = "NETS4";
/// IPv6 prefix → entry.
pub const NETS6: &str = "NETS6";
/// Database id → mode, flags, name.
pub const DATABASES: &str = "DATABASES";
/// Counters per database, family and outcome.
pub const STATS: &str = "STATS";
/// Counters per rule slot.
pub const RULE_STATS: &str = "RULE_STATS";
/// Ring buffer of drop events.
pub const EVENTS: &str = "EVENTS";
/// Tokens that bound the drop events.
pub const BUDGET: &str = "BUDGET";
/// The clock as last asked.
pub const CLOCK: &str = "CLOCK";
/// The decision of the last test run.
pub const TRACE: &str = "TRACE";
/// Interfaces the backstop lets through.
pub const EXEMPT: &str = "EXEMPT";

/// Bits that tell most addresses apart from this host's own.
pub const OWN: &str = "OWN";
/// (protocol, port) → the databases that have it at written-out addresses, as a mask.
pub const BOUND_PORTS: &str = "BOUND_PORTS";
/// IPv4 prefix → the databases bound to it, as a mask.
pub const BOUND4: &str = "BOUND4";
/// The same of IPv6.
pub const BOUND6: &str = "BOUND6";
/// IPv4 prefix that is local to this host → the routing domains in which it is.
pub const OWN4: &str = "OWN4";
/// The same of IPv6.
pub const OWN6: &str = "OWN6";

/// Every map the programs use.
pub const MAPS: [&str; 24] = [
    PORTS,
    FRONT4,
    FRONT6,
    HOSTS4,
    HOSTS6,
    HOSTS4_SMALL,
    HOSTS6_SMALL,
    ENTRIES,
    NETS4,
    NETS6,
    DATABASES,
    STATS,
    RULE_STATS,
    EVENTS,
    BUDGET,
    CLOCK,
    TRACE,
    EXEMPT,
    OWN,
    OWN4,
    OWN6,
    BOUND_PORTS,
    BOUND4,
    BOUND6,
];

/// Pins of the tables in HOSTS4, by their place there.
pub const TABLES4: [&str; TABLES as usize] = ["HOSTS4_0", "HOSTS4_1"];
/// Pins of the tables in HOSTS6, by their place there.
pub const TABLES6: [&str; TABLES as usize] = ["HOSTS6_0", "HOSTS6_1"];

/// XDP for links with an Ethernet header.
pub const PROGRAM_XDP: &str = "dbfw_xdp";
/// XDP for links without one (tun, WireGuard).
pub const PROGRAM_XDP_L3: &str = "dbfw_xdp_l3";
/// TCX ingress for links with an Ethernet header.
pub const PROGRAM_TCX: &str = "dbfw_tcx";
/// TCX ingress for links without one.
pub const PROGRAM_TCX_L3: &str = "dbfw_tcx_l3";
/// The backstop.
pub const PROGRAM_BACKSTOP: &str = "dbfw_backstop";

/// [`PROGRAM_XDP`] for who may load programs that subtract pointers: with fewer calls.
pub const PROGRAM_XDP_LEAN: &str = "dbfw_xdp_lean";

/// Every program of the object.
pub const PROGRAMS: [&str; 5] =
    [PROGRAM_XDP, PROGRAM_XDP_L3, PROGRAM_TCX, PROGRAM_TCX_L3, PROGRAM_BACKSTOP];

const _: () = {
    let mut i = 0;
    while i < MAPS.len() {
        assert!(MAPS[i].len() <= 15);
        i += 1;
    }
    let mut i = 0;
    while i < PROGRAMS.len() {
        assert!(PROGRAMS[i].len() <= 15);
        i += 1;
    }
};
