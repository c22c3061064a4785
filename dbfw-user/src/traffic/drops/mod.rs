//! Drop events summed up: the sources refused most, and the rate of refusals. Pure.

mod rate;
mod top;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{Event, Family};
use jiff::{SignedDuration, Timestamp};

pub use rate::RateMeter;
pub use top::{CAPACITY, Distinct, MAX_LISTED, Tally, TopSource, TopSources};

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
    ///
    /// # Errors
    ///
    /// The monotonic clock cannot be read.
    pub fn read() -> nix::Result<Self> {
        let monotonic = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)?;
        // Neither part of a monotonic time is negative.
        let nanoseconds = (monotonic.tv_sec() as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add(monotonic.tv_nsec() as u64);
        Ok(Self::new(Timestamp::now(), nanoseconds))
    }

    /// Time of day at `monotonic`.
    pub fn at(&self, monotonic: u64) -> Timestamp {
        let distance = i128::from(monotonic) - i128::from(self.monotonic);
        let nanoseconds =
            i64::try_from(distance).unwrap_or(if distance < 0 { i64::MIN } else { i64::MAX });
        self.now.checked_add(SignedDuration::from_nanos(nanoseconds)).unwrap_or(self.now)
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

#[cfg(test)]
mod tests;
