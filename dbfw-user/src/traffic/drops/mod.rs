//! What the drop events tell: who is being refused, and how fast.
//!
//! Pure: times are handed in, names are asked from the caller.

mod rate;
mod top;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{Event, Family, HOST, Reason, Verdict};
use jiff::{SignedDuration, Timestamp};

use crate::control::wire;

pub use rate::RateMeter;
pub use top::{CAPACITY, TopSources};

/// The database of packets that concern none, or whose port could not be read.
pub const NO_DATABASE: &str = "*";

/// Turns the kernel's monotonic clock into time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    now: Timestamp,
    monotonic: u64,
}

impl Clock {
    /// A clock by two readings of the same moment: time of day, and nanoseconds of
    /// CLOCK_MONOTONIC_COARSE.
    pub const fn new(now: Timestamp, monotonic: u64) -> Self {
        Self { now, monotonic }
    }

    /// Both clocks, read now.
    pub fn read() -> nix::Result<Self> {
        let monotonic = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)?;
        // Neither part of a monotonic time is negative.
        let nanoseconds = (monotonic.tv_sec() as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add(monotonic.tv_nsec() as u64);
        Ok(Self::new(Timestamp::now(), nanoseconds))
    }

    /// When it was `monotonic`.
    pub fn at(&self, monotonic: u64) -> Timestamp {
        let distance = i128::from(monotonic) - i128::from(self.monotonic);
        let nanoseconds =
            i64::try_from(distance).unwrap_or(if distance < 0 { i64::MIN } else { i64::MAX });
        self.now.checked_add(SignedDuration::from_nanos(nanoseconds)).unwrap_or(self.now)
    }
}

/// What the numbers of an event are called.
#[expect(missing_debug_implementations, reason = "closures have none")]
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Name of a database id, if there is one.
    pub database: &'a dyn Fn(u32) -> Option<String>,
    /// Name of an interface by its index, if there is one.
    pub interface: &'a dyn Fn(u32) -> Option<String>,
    /// The kernel's time of the events.
    pub clock: Clock,
}

impl Names<'_> {
    fn database(&self, id: u8) -> String {
        let id = u32::from(id);
        if id == HOST {
            return NO_DATABASE.to_owned();
        }
        (self.database)(id).unwrap_or_else(|| format!("#{id}"))
    }

    fn interface(&self, index: u32) -> String {
        if index == 0 {
            return "*".to_owned();
        }
        (self.interface)(index).unwrap_or_else(|| format!("#{index}"))
    }
}

/// The source address of an event.
pub fn source(event: &Event) -> IpAddr {
    let mut octets = [0; 16];
    for (to, word) in octets.chunks_exact_mut(4).zip(event.source) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    if event.family == Family::V6 as u8 {
        IpAddr::V6(Ipv6Addr::from(octets))
    } else {
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    }
}

/// An event as `dbfw drops --follow` shows it.
pub fn to_wire(event: &Event, names: &Names<'_>) -> wire::DropEvent {
    wire::DropEvent {
        time: names.clock.at(event.time),
        source: source(event),
        database: names.database(event.database),
        port: event.port,
        protocol: protocol(event.protocol),
        interface: names.interface(event.ifindex),
        reason: reason(event.reason),
        verdict: verdict(event.verdict),
        weight: event.weight,
    }
}

fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}

fn reason(number: u8) -> String {
    Reason::from_u8(number).map_or_else(|| number.to_string(), |reason| reason.as_str().to_owned())
}

fn verdict(number: u8) -> String {
    Verdict::from_u8(number)
        .map_or_else(|| number.to_string(), |verdict| verdict.as_str().to_owned())
}

#[cfg(test)]
mod tests;
