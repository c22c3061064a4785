//! Indexes of array maps.

use crate::{DATABASE_SLOTS, Family, Reason};

/// The packets that one counter of STATS counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Packets let in because their source is trusted.
    Allowed,
    /// Packets dropped, by reason.
    Dropped(Reason),
    /// Packets passed in observe mode that would have been dropped, by reason.
    Observed(Reason),
}

/// Counters of one database and family: allowed, then dropped and observed for each of
/// [`Reason::DROPS`], padded to a power of two.
const COUNTERS: u32 = 16;

const _: () = assert!(2 * Reason::DROPS.len() < COUNTERS as usize);

/// Slots of STATS.
pub const STATS_SLOTS: u32 = DATABASE_SLOTS * 2 * COUNTERS;

/// Slot of STATS for a database id, a family and an outcome.
#[inline(always)]
pub const fn stats_slot(database: u32, family: Family, counted: Counted) -> u32 {
    let outcome = match counted {
        Counted::Allowed => 0,
        // The drop reasons are numbered from 1 without a gap (checked below).
        Counted::Dropped(reason) => reason as u32,
        Counted::Observed(reason) => Reason::DROPS.len() as u32 + reason as u32,
    };
    (database * 2 + family as u32) * COUNTERS + outcome
}

const _: () = {
    let mut i = 0;
    while i < Reason::DROPS.len() {
        assert!(Reason::DROPS[i] as usize == i + 1);
        i += 1;
    }
};

/// Index of a protocol and port in host order, below [`crate::PORT_INDEXES`].
#[inline(always)]
pub const fn port_index(udp: bool, port: u16) -> u32 {
    (udp as u32) << 16 | port as u32
}

/// Word of PORTS and byte in it (little end first) for a protocol and port in host order.
#[inline(always)]
pub const fn port_slot(udp: bool, port: u16) -> (u32, u32) {
    let index = port_index(udp, port);
    (index / 8, index % 8)
}
