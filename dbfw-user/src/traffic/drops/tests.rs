use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dbfw_common::{Reason, Verdict};
use dbfw_core::testing::cases;
use proptest::prelude::*;

use super::*;

fn event(source: [u8; 4], weight: u64) -> Event {
    Event {
        time: 5_000_000_000,
        weight,
        source: [u32::from_ne_bytes(source), 0, 0, 0],
        ifindex: 2,
        bytes: 60,
        port: 5432,
        database: 1,
        reason: Reason::Untrusted as u8,
        verdict: Verdict::Drop as u8,
        family: Family::V4 as u8,
        protocol: 6,
        reserved: 0,
    }
}

#[test]
fn the_clock_reads_both_clocks() {
    let clock = Clock::read().unwrap();
    let apart = Timestamp::now().duration_since(clock.at(clock.monotonic));
    assert!(apart.abs() < SignedDuration::from_secs(5), "{apart}");
    assert_eq!(clock.at(u64::MAX), clock.at(u64::MAX));
}

/// The sources by what is certain of each, most first.
fn ranked(top: &TopSources) -> Vec<(String, u64)> {
    let all = top.all().map(|(source, tally)| (source.source.to_string(), tally.certain()));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    all
}

#[test]
fn a_source_is_remembered_once_for_each_database() {
    let mut top = TopSources::new(Timestamp::UNIX_EPOCH);
    top.add(&event([10, 0, 0, 1], 1));
    let later = |time, port, reason: Reason, verdict: Verdict, ifindex| Event {
        time,
        port,
        reason: reason as u8,
        verdict: verdict as u8,
        ifindex,
        ..event([10, 0, 0, 2], 5)
    };
    top.add(&later(7_000_000_000, 6432, Reason::Backstop, Verdict::Observe, 3));
    // CPUs write their events beside each other: this one is older, and comes later.
    top.add(&later(6_000_000_000, 5432, Reason::Untrusted, Verdict::Drop, 2));
    top.add(&Event { database: 2, ..event([10, 0, 0, 2], 1) });
    assert_eq!(top.len(), 3);
    let of = |id| {
        let is_it =
            |source: &TopSource| source.database == id && source.source.to_string() == "10.0.0.2";
        top.all().find(|(source, _)| is_it(source)).map(|(_, tally)| tally.clone()).unwrap()
    };
    let tally = of(1);
    assert_eq!((tally.certain(), tally.first), (10, 6_000_000_000));
    let last = tally.last;
    assert_eq!((last.time, last.port, last.verdict), (7_000_000_000, 6432, Verdict::Observe as u8));
    assert_eq!(tally.ports.values(), [5432, 6432]);
    assert_eq!(tally.reasons.values(), [Reason::Untrusted as u8, Reason::Backstop as u8]);
    assert_eq!(tally.interfaces.values(), [2, 3]);
    assert!(!tally.has_more());
    assert_eq!(of(2).certain(), 1);
    top.forget_database(1);
    assert_eq!(top.total_and_sizes(), (1, 1, 1));
}

#[test]
fn the_lists_of_a_source_are_bounded() {
    let (mut ports, mut interfaces) =
        (TopSources::new(Timestamp::UNIX_EPOCH), TopSources::new(Timestamp::UNIX_EPOCH));
    for n in 1..=1000_u16 {
        ports.add(&Event { port: n, ..event([10, 0, 0, 1], 1) });
        interfaces.add(&Event { ifindex: n.into(), ..event([10, 0, 0, 1], 1) });
        for top in [&ports, &interfaces] {
            let (_, tally) = top.all().next().unwrap();
            let listed = usize::from(n).min(MAX_LISTED);
            assert_eq!(tally.ports.values().len().max(tally.interfaces.values().len()), listed);
            assert_eq!(tally.has_more(), usize::from(n) > MAX_LISTED);
        }
    }
}

#[test]
fn a_flood_of_random_sources_is_not_blamed_on_anyone() {
    let mut top = TopSources::new(Timestamp::UNIX_EPOCH);
    for round in 0..50_000_u32 {
        top.add(&event(round.to_be_bytes(), 1));
        if round % 100 == 0 {
            top.add(&event([192, 0, 2, 1], 1));
        }
    }
    let shown = ranked(&top);
    assert_eq!(shown[0].0, "192.0.2.1");
    assert!(shown[0].1 > 450, "{:?}", shown[0]);
    assert_eq!(shown[1].1, 1);
    let sources = 50_001;
    // The heavy one may have been forgotten a few times before it was heavy.
    let forgotten = top.forgotten() - (sources - CAPACITY as u64);
    assert!(forgotten < 50, "{forgotten}");
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn memory_is_bounded_and_nothing_is_lost(
        light in prop::collection::vec((0..16_000_u32, 1..4_u64), 0..12_000),
        heavy in prop::collection::vec((0..8_u8, 1..200_u64), 0..400),
    ) {
        let mut events: Vec<Event> = light
            .iter()
            .map(|(source, weight)| event(source.to_be_bytes(), *weight))
            .collect();
        for (place, (source, weight)) in heavy.iter().enumerate() {
            let at = (place * 17) % (events.len() + 1);
            events.insert(at, event([172, 16, 0, *source], *weight));
        }

        let mut top = TopSources::new(Timestamp::UNIX_EPOCH);
        let mut truth: HashMap<IpAddr, (Event, u64)> = HashMap::new();
        for event in &events {
            top.add(event);
            truth.entry(source(event)).or_insert((*event, 0)).1 += event.weight;
        }

        let weight: u64 = events.iter().map(|event| event.weight).sum();
        let (total, size, index) = top.total_and_sizes();
        prop_assert!(size <= CAPACITY);
        prop_assert_eq!(size, index);
        prop_assert_eq!(size, truth.len().min(CAPACITY));
        prop_assert_eq!(top.forgotten() == 0, truth.len() <= CAPACITY);
        prop_assert_eq!(total, weight);
        for (event, packets) in truth.values() {
            match top.bounds(event) {
                Some((least, most)) => {
                    prop_assert!(least <= *packets && *packets <= most);
                    prop_assert!(truth.len() > CAPACITY || least == most);
                }
                None => prop_assert!(*packets <= weight / CAPACITY as u64),
            }
        }
    }
}

#[test]
fn the_rate_is_that_of_the_window() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut meter = RateMeter::new(Duration::from_secs(10));
    assert_eq!(meter.per_second("orders", start), None);
    meter.record("orders", at(0), 1000);
    assert_eq!(meter.per_second("orders", at(0)), None);
    for second in 1..=20 {
        meter.record("orders", at(second), 1000 + 50 * second);
    }
    assert_eq!(meter.per_second("orders", at(20)), Some(50.0));
    for second in 21..=30 {
        meter.record("orders", at(second), 2000);
    }
    assert_eq!(meter.per_second("orders", at(30)), Some(0.0));
    assert_eq!(meter.per_second("orders", at(41)), None);

    meter.record("orders", at(31), 5);
    assert_eq!(meter.per_second("orders", at(31)), None, "the counter began anew");
    meter.record("orders", at(32), 15);
    assert_eq!(meter.per_second("orders", at(32)), Some(10.0));
    meter.retain(["other"]);
    assert_eq!(meter.per_second("orders", at(32)), None);
}

#[test]
fn the_meter_is_bounded_however_often_it_is_read() {
    let start = Instant::now();
    let mut meter = RateMeter::new(Duration::from_secs(10));
    for reading in 0..1000 {
        meter.record("orders", start + Duration::from_millis(reading), reading);
    }
    let rate = meter.per_second("orders", start + Duration::from_secs(1)).unwrap();
    assert!((rate - 1000.0).abs() < 1.0, "{rate}");
}
