//! Names of maps and programs, at most 15 bytes so that the kernel keeps them whole.

/// (protocol, port) → database id.
pub const PORTS: &str = "PORTS";
/// Which leading bits any IPv4 prefix touches.
pub const FRONT4: &str = "FRONT4";
/// Which leading bits any IPv6 prefix touches.
pub const FRONT6: &str = "FRONT6";
/// IPv4 address → entry.
pub const HOSTS4: &str = "HOSTS4";
/// IPv6 address → entry.
pub const HOSTS6: &str = "HOSTS6";
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
/// What the last test run decided.
pub const TRACE: &str = "TRACE";
/// Interfaces the backstop lets through.
pub const EXEMPT: &str = "EXEMPT";

/// Every map the programs use.
pub const MAPS: [&str; 14] = [
    PORTS, FRONT4, FRONT6, HOSTS4, HOSTS6, NETS4, NETS6, DATABASES, STATS, RULE_STATS, EVENTS,
    BUDGET, TRACE, EXEMPT,
];

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
