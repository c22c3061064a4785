//! Counters, sampled events, and the trace of a test run.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use dbfw_common::{
    Clock, Counted, Entry, Event, Family, LOOPBACK_IFINDEX, Mode, Reason, Verdict, stats_slot,
};

use crate::{
    hook::Packet,
    maps::{BUDGET, CLOCK, EVENTS, RULE_STATS, STATS, TRACE},
    packet::Headers,
    source::Source,
};

/// Passes a packet that no database is concerned with: uncounted, that path stays free.
#[inline(always)]
pub(crate) fn passed<P: Packet>(packet: &P, reason: Reason) -> Verdict {
    if packet.ifindex() == LOOPBACK_IFINDEX {
        trace(Verdict::Pass, reason, 0, Family::V4, 0);
    }
    Verdict::Pass
}

/// Lets in a packet that the rule in slot `rule` trusts.
#[inline(always)]
pub(crate) fn allowed<P: Packet>(
    packet: &P,
    headers: &Headers,
    database: u32,
    rule: u32,
    bytes: u32,
) -> Verdict {
    let family = headers.source.family;
    if packet.ifindex() == LOOPBACK_IFINDEX {
        trace(Verdict::Allow, Reason::Trusted, database, family, rule);
        return Verdict::Allow;
    }
    count(database, family, Counted::Allowed, bytes);
    if let Some(counter) = RULE_STATS.get_ptr_mut(rule) {
        // SAFETY: the pointer is this CPU's element, valid while the program runs.
        unsafe {
            (*counter).packets += 1;
            (*counter).last_hit = time();
        }
    }
    Verdict::Allow
}

/// Drops a packet, or only counts it where the mode is observe.
#[inline(always)]
pub(crate) fn refused<P: Packet>(
    packet: &P,
    headers: &Headers,
    database: u32,
    mode: u32,
    reason: Reason,
    bytes: u32,
) -> Verdict {
    let verdict = verdict(mode);
    let ifindex = packet.ifindex();
    if ifindex == LOOPBACK_IFINDEX {
        trace(verdict, reason, database, headers.source.family, 0);
        return verdict;
    }
    refusal(&Refusal {
        source: headers.source,
        database,
        ifindex,
        bytes,
        port: headers.port,
        protocol: headers.protocol,
        reason,
        verdict,
    });
    verdict
}

/// A drop, or what would have been one.
pub(crate) struct Refusal {
    pub(crate) source: Source,
    pub(crate) database: u32,
    pub(crate) ifindex: u32,
    pub(crate) bytes: u32,
    pub(crate) port: u32,
    pub(crate) protocol: u32,
    pub(crate) reason: Reason,
    pub(crate) verdict: Verdict,
}

/// Counts a refusal and, if this CPU has a token left, writes an event.
#[inline(always)]
pub(crate) fn refusal(refusal: &Refusal) {
    let counted = match refusal.verdict {
        Verdict::Drop => Counted::Dropped(refusal.reason),
        _ => Counted::Observed(refusal.reason),
    };
    count(refusal.database, refusal.source.family, counted, refusal.bytes);

    let Some(budget) = BUDGET.get_ptr_mut(0) else { return };
    // SAFETY: the pointer is this CPU's element, valid while the program runs.
    let budget = unsafe { &mut *budget };
    if budget.tokens == 0 {
        budget.skipped += 1;
        return;
    }
    budget.tokens -= 1;
    let weight = budget.skipped + 1;
    if write_event(refusal, weight) {
        budget.skipped = 0;
        #[cfg(feature = "log")]
        log(refusal);
    } else {
        budget.skipped = weight;
    }
}

#[inline(always)]
fn write_event(refusal: &Refusal, weight: u64) -> bool {
    let Some(mut slot) = EVENTS.reserve_untyped::<Event>(0) else { return false };
    let event = slot.as_mut_ptr();
    // SAFETY: the pointer is the reserved record, and every field is written.
    unsafe {
        (*event).time = time();
        (*event).weight = weight;
        (*event).source = refusal.source.words;
        (*event).ifindex = refusal.ifindex;
        (*event).bytes = refusal.bytes;
        (*event).port = refusal.port as u16;
        (*event).database = refusal.database as u8;
        (*event).reason = refusal.reason as u8;
        (*event).verdict = refusal.verdict as u8;
        (*event).family = refusal.source.family as u8;
        (*event).protocol = refusal.protocol as u8;
        (*event).reserved = 0;
    }
    slot.submit(0);
    true
}

/// One line for an event that was written: the budget bounds both.
#[cfg(feature = "log")]
fn log(refusal: &Refusal) {
    let words = refusal.source.words.map(u32::from_be);
    let (database, port) = (refusal.database, refusal.port);
    let (reason, verdict) = (refusal.reason as u32, refusal.verdict as u32);
    // The macro wants the program's context and does nothing with it.
    let context = &();
    match refusal.source.family {
        Family::V4 => aya_log_ebpf::info!(
            context,
            "database {} port {} from {:i}: reason {}, verdict {}",
            database,
            port,
            words[0],
            reason,
            verdict
        ),
        Family::V6 => aya_log_ebpf::info!(
            context,
            "database {} port {} from {:x} {:x} {:x} {:x}: reason {}, verdict {}",
            database,
            port,
            words[0],
            words[1],
            words[2],
            words[3],
            reason,
            verdict
        ),
    }
}

/// The verdict of a database in `mode` on a packet that it does not trust.
#[inline(always)]
pub(crate) fn verdict(mode: u32) -> Verdict {
    if mode == Mode::Observe as u32 { Verdict::Observe } else { Verdict::Drop }
}

#[inline(always)]
fn count(database: u32, family: Family, counted: Counted, bytes: u32) {
    if let Some(counter) = STATS.get_ptr_mut(stats_slot(database, family, counted)) {
        // SAFETY: the pointer is this CPU's element, valid while the program runs.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(bytes);
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC_COARSE.
#[inline(always)]
fn time() -> u64 {
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return 0 };
    // SAFETY: the pointer is this CPU's element, valid while the program runs; the helpers are
    // allowed to every program type here. The tick is a load, no call.
    unsafe {
        let tick = bpf_jiffies64();
        if (*clock).tick != tick {
            *clock = Clock { tick, time: bpf_ktime_get_coarse_ns() };
        }
        (*clock).time
    }
}

/// The slot of the rule that lets `database` be reached: behind those of the databases
/// with lower bits.
#[inline(always)]
pub(crate) fn rule_slot(entry: &Entry, database: u32) -> u32 {
    if entry.rules == 0 {
        return 0;
    }
    let below = (1u64 << ((database - 1) & 63)) - 1;
    entry.rules + (entry.mask() & below).count_ones()
}

#[inline(always)]
fn trace(verdict: Verdict, reason: Reason, database: u32, family: Family, rule: u32) {
    if let Some(trace) = TRACE.get_ptr_mut(0) {
        // SAFETY: the pointer is this CPU's element, valid while the program runs.
        unsafe {
            (*trace).runs += 1;
            (*trace).verdict = verdict as u8;
            (*trace).reason = reason as u8;
            (*trace).database = database as u8;
            (*trace).family = family as u8;
            (*trace).rule = rule;
        }
    }
}
