use dbfw_common::{Family, Reason, Verdict};
use dbfw_wire::control::DropOrder;

use super::*;
use crate::traffic::drops::Clock;

fn event(database: u8) -> Event {
    Event {
        time: 5_000_000_000,
        weight: 1,
        source: [u32::from_ne_bytes([192, 0, 2, 7]), 0, 0, 0],
        ifindex: 2,
        bytes: 60,
        port: 5432,
        database,
        reason: Reason::Untrusted as u8,
        verdict: Verdict::Drop as u8,
        family: Family::V4 as u8,
        protocol: 6,
        reserved: 0,
    }
}

fn names(id: u32) -> Option<String> {
    (id == 1).then(|| "orders".to_owned())
}

fn record(traffic: &mut Traffic, events: &[Event]) {
    let clock = Clock::new("2026-03-01T00:00:00Z".parse().unwrap(), 0);
    traffic.record_drops(events, &Names { database: &names, interface: &|_| None, clock });
}

fn top(traffic: &Traffic) -> Vec<String> {
    let clock = Clock::new("2026-03-01T00:00:00Z".parse().unwrap(), 0);
    let names = Names { database: &names, interface: &|_| None, clock };
    let order = DropOrder::Packets;
    let query = Query { address: None, database: None, since: None, order, limit: 10 };
    let found = traffic.find(&query, &names, &Policy::default());
    let drops = found.judge(|_| Ok::<u64, ()>(0)).unwrap();
    drops.sources.into_iter().map(|source| source.database).collect()
}

#[test]
fn drops_are_ranked_suggested_and_followed() {
    let mut traffic = Traffic::new(RefusedSources::default());
    record(&mut traffic, &[event(1)]);
    let mut follower = traffic.follow();
    assert!(follower.try_recv().is_err(), "a follower sees what comes after it");
    record(&mut traffic, &[event(1), event(9)]);
    let followed: Vec<String> =
        std::iter::from_fn(|| follower.try_recv().ok()).map(|event| event.database).collect();
    assert_eq!(followed, ["orders", "#9"]);
    assert_eq!(top(&traffic), ["orders", "#9"]);
    let suggested: Vec<&str> = traffic.refused().all().map(|(key, _)| &*key.database).collect();
    assert_eq!(suggested, ["orders"], "an id without a database cannot be suggested for");

    traffic.free_id(1, Some(7));
    assert_eq!(top(&traffic), ["#7", "#9"], "the drops follow the id");
    traffic.free_id(7, None);
    assert_eq!(top(&traffic), ["#9"]);
    traffic.rename_database("orders", "shop");
    let suggested: Vec<&str> = traffic.refused().all().map(|(key, _)| &*key.database).collect();
    assert_eq!(suggested, ["shop"]);
    traffic.follow_databases(&[], "2026-03-01T00:00:00Z".parse().unwrap());
    assert_eq!(traffic.refused().all().count(), 0);
}

#[test]
fn a_rate_outlives_a_reading_that_failed() {
    let mut traffic = Traffic::new(RefusedSources::default());
    assert_eq!(traffic.drops_per_second("orders"), None);
    traffic.measure([("orders", Some(5))].into_iter());
    traffic.measure([("orders", None)].into_iter());
    traffic.measure([("orders", Some(5))].into_iter());
    assert_eq!(traffic.drops_per_second("orders"), Some(0.0));
    traffic.measure([("users", Some(5))].into_iter());
    assert_eq!(traffic.drops_per_second("orders"), None, "the database is gone");
}
