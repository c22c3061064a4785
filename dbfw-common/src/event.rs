//! Drop events, the budget that bounds them, and the trace of a test run.

/// One sampled drop (or observed drop) in the EVENTS ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds of CLOCK_MONOTONIC_COARSE.
    pub time: u64,
    /// Drops this event stands for: itself and those of the same CPU since the last event.
    pub weight: u64,
    /// Source address, its octets as on the wire; IPv4 in the first word.
    pub source: [u32; 4],
    /// Interface the packet came in on; 0 where the program cannot tell.
    pub ifindex: u32,
    /// Bytes of the frame.
    pub bytes: u32,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// Database id; 0: the host's.
    pub database: u8,
    /// [`crate::Reason`].
    pub reason: u8,
    /// [`crate::Verdict`]: drop or observe.
    pub verdict: u8,
    /// [`crate::Family`].
    pub family: u8,
    /// IP protocol number; 0 where it could not be read.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

/// Value of BUDGET, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Budget {
    /// Events this CPU may still write; the agent refills it.
    pub tokens: u64,
    /// Drops without an event since the last event.
    pub skipped: u64,
}

/// Value of CLOCK, per CPU: the clock as last asked, which costs a call; it moves with the
/// tick only, so within one it says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Clock {
    /// The tick (jiffies) it was asked in.
    pub tick: u64,
    /// Nanoseconds of CLOCK_MONOTONIC_COARSE.
    pub time: u64,
}

/// Value of TRACE, per CPU: what the last test run (see [`crate::LOOPBACK_IFINDEX`])
/// decided. It lets `dbfw explain` run the loaded program without moving a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Trace {
    /// Test runs on this CPU.
    pub runs: u64,
    /// [`crate::Verdict`].
    pub verdict: u8,
    /// [`crate::Reason`].
    pub reason: u8,
    /// Database id; 0: the host's.
    pub database: u8,
    /// [`crate::Family`].
    pub family: u8,
    /// Slot of the rule that let it in; 0: none.
    pub rule: u32,
}

#[cfg(feature = "user")]
mod pod {
    use super::*;

    // SAFETY: all are repr(C), Copy, without padding, and valid for every bit pattern.
    unsafe impl aya::Pod for Event {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Budget {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Trace {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Clock {}
}

const _: () = {
    assert!(size_of::<Event>() == 48);
    assert!(size_of::<Budget>() == 16);
    assert!(size_of::<Trace>() == 16);
    assert!(size_of::<Clock>() == 16);
};
