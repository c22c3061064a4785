use dbfw_common::{Family, Verdict};

use super::*;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// The kernel's clock shows seconds since this moment.
fn clock() -> Clock {
    Clock::new("2026-03-01T00:00:00Z".parse().unwrap(), 0)
}

fn at(seconds: u64) -> Timestamp {
    clock().at(seconds * 1_000_000_000)
}

fn event(source: &str, seconds: u64) -> Event {
    let mut octets = [0; 16];
    let family = match source.parse().unwrap() {
        IpAddr::V4(v4) => {
            octets[..4].copy_from_slice(&v4.octets());
            Family::V4
        }
        IpAddr::V6(v6) => {
            octets = v6.octets();
            Family::V6
        }
    };
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap());
    }
    Event {
        time: seconds * 1_000_000_000,
        weight: 3,
        source: words,
        ifindex: 2,
        bytes: 74,
        port: 5432,
        database: 1,
        reason: Reason::Untrusted as u8,
        verdict: Verdict::Drop as u8,
        family: family as u8,
        protocol: 6,
        reserved: 0,
    }
}

fn add(refused: &mut RefusedSources, source: &str, seconds: u64) {
    refused.age(at(seconds));
    refused.add("orders", &event(source, seconds), &clock());
}

/// The `n`th of many addresses.
fn nth(n: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()
}

fn knows(refused: &RefusedSources, source: &str) -> bool {
    refused.all().any(|(key, _)| key.source.to_string() == source)
}

fn check(refused: &RefusedSources) {
    assert!(refused.seen.len() <= CAPACITY);
    let rank: BTreeSet<_> =
        refused.seen.iter().map(|(key, seen)| refused.rank(key, seen)).collect();
    assert_eq!(rank, refused.by_rank);
}

#[test]
fn an_observed_source_is_remembered_as_a_dropped_one_is() {
    let mut refused = RefusedSources::default();
    assert!(!refused.dirty() && refused.since().is_none());
    add(&mut refused, "2001:db8::7", 30);
    let mut observed = event("2001:db8::7", 50);
    observed.verdict = Verdict::Observe as u8;
    (observed.reason, observed.port) = (Reason::Backstop as u8, 6432);
    refused.add("orders", &observed, &clock());
    refused.add("reports", &event("2001:db8::7", 40), &clock());
    let [(first, seen), (second, other)] = refused.all().collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!((&*first.database, seen.packets), ("orders", 6));
    assert_eq!((seen.first_seen, seen.last_seen), (at(30), at(50)));
    assert_eq!(Vec::from_iter(seen.ports.iter().copied()), [5432, 6432]);
    assert_eq!((&*second.database, other.packets), ("reports", 3));
    assert_eq!(refused.since(), Some(at(30)));
    assert!(refused.dirty());
    check(&refused);
}

#[test]
fn what_no_trusted_source_would_let_in_is_left_out() {
    let mut refused = RefusedSources::default();
    for reason in Reason::ALL {
        let mut event = event("10.0.0.1", 1);
        event.reason = reason as u8;
        event.database = if reason == Reason::Untrusted { HOST as u8 } else { 1 };
        if reason != Reason::Backstop {
            refused.add("orders", &event, &clock());
        }
    }
    add(&mut refused, "::ffff:10.0.0.1", 1);
    assert_eq!(refused.all().count(), 0);
    assert!(!refused.dirty());
}

#[test]
fn a_flood_of_strangers_pushes_out_nobody_who_keeps_coming() {
    let mut refused = RefusedSources::default();
    let regular = |n: usize| format!("192.0.2.{n}");
    for minute in 0..3 {
        (0..200).for_each(|n| add(&mut refused, &regular(n), minute * MINUTE));
    }
    // Two hours of random sources, among them one that comes back every five minutes.
    for n in 0..24_000 {
        let second = 3 * MINUTE + u64::from(n) * 3 / 10;
        add(&mut refused, &nth(n), second);
        if n % 1000 == 0 {
            add(&mut refused, "198.51.100.1", second);
        }
    }
    check(&refused);
    assert_eq!(refused.seen.len(), CAPACITY);
    assert!((0..200).all(|n| knows(&refused, &regular(n))));
    assert!(knows(&refused, "198.51.100.1"), "a newcomer that comes back is taken in");
    assert!(refused.all().filter(|(_, seen)| seen.packets == 3).count() >= CAPACITY - 202);
}

#[test]
fn a_full_memory_takes_in_who_returns_in_a_later_minute() {
    let mut refused = RefusedSources::default();
    (0..CAPACITY as u32).for_each(|n| add(&mut refused, &nth(n), 0));
    for second in [61, 65, 100, 119] {
        add(&mut refused, "192.0.2.1", second);
    }
    assert!(!knows(&refused, "192.0.2.1"), "one minute is one visit");
    add(&mut refused, "192.0.2.1", 121);
    assert!(knows(&refused, "192.0.2.1"));
    // A day is too long between two visits.
    add(&mut refused, "192.0.2.2", 130);
    add(&mut refused, "192.0.2.2", 130 + DAY + 2 * MINUTE);
    assert!(!knows(&refused, "192.0.2.2"));
    check(&refused);
}

#[test]
fn silence_makes_room() {
    let mut refused = RefusedSources::default();
    add(&mut refused, "203.0.113.1", 0);
    for minute in 0..8 {
        (0..CAPACITY as u32 - 1).for_each(|n| add(&mut refused, &nth(n), minute * MINUTE));
    }
    let rank = |refused: &RefusedSources| refused.by_rank.last().map(|rank| rank.minutes);
    assert_eq!(rank(&refused), Some(8));
    for day in 2..5 {
        add(&mut refused, "203.0.113.1", day * DAY);
    }
    assert_eq!(refused.by_rank.first().map(|rank| rank.minutes), Some(1));
    assert_eq!(rank(&refused), Some(4), "the one that went on coming");
    assert_eq!(refused.seen.len(), CAPACITY);
    add(&mut refused, "203.0.113.1", 31 * DAY);
    assert_eq!(refused.seen.len(), 1, "after 30 days they are forgotten");
    check(&refused);
}

#[test]
fn it_survives_a_restart() {
    let mut refused = RefusedSources::default();
    for (source, second) in [("10.0.0.1", 0), ("10.0.0.1", 70), ("2001:db8::7", 5)] {
        add(&mut refused, source, second);
    }
    refused.add("reports", &event("10.0.0.1", 9), &clock());
    let text = refused.to_json().unwrap();
    refused.clean();
    assert!(!refused.dirty());
    let mut read = RefusedSources::from_json(&text).unwrap();
    check(&read);
    assert!(!read.dirty());
    assert_eq!(read.to_json().unwrap(), text);
    add(&mut read, "10.0.0.1", 130);
    let (_, seen) = read.all().next().unwrap();
    assert_eq!((seen.packets, seen.first_seen), (9, at(0)));
    assert_eq!(read.by_rank.last().map(|rank| rank.minutes), Some(3));
}

#[test]
fn a_damaged_file_is_an_error_and_a_huge_one_bounded() {
    let mut refused = RefusedSources::default();
    add(&mut refused, "10.0.0.1", 0);
    let text = refused.to_json().unwrap();
    (0..text.len()).for_each(|end| assert!(RefusedSources::from_json(&text[..end]).is_err()));
    let newer = String::from_utf8(text.clone()).unwrap().replace("\"format\":1", "\"format\":2");
    let error = RefusedSources::from_json(newer.as_bytes()).unwrap_err();
    assert_eq!(error, "it has format 2, this version reads 1");
    let mut document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let one = document["sources"][0].clone();
    let many = (0..5000).map(|n| {
        let mut source = one.clone();
        source["source"] = nth(n / 2).into();
        source["ports"] = (1..100).collect();
        source
    });
    document["sources"] = many.collect();
    let read = RefusedSources::from_json(document.to_string().as_bytes()).unwrap();
    check(&read);
    assert_eq!(read.seen.len(), 2048);
    assert!(read.all().all(|(_, seen)| seen.ports.len() == MAX_PORTS));
}

/// Every source that is shown, as "database address".
fn shown(refused: &RefusedSources) -> Vec<String> {
    refused.all().map(|(key, _)| format!("{} {}", key.database, key.source)).collect()
}

#[test]
fn what_a_database_refused_that_is_away_is_kept_for_a_day() {
    for (away_for, is_kept) in [(1, true), (DAY - 1, true), (DAY, false), (9 * DAY, false)] {
        for restarted in [false, true] {
            let mut refused = RefusedSources::default();
            add(&mut refused, "10.0.0.1", 0);
            refused.add("reports", &event("10.0.0.2", 9), &clock());
            refused.clean();
            let all = shown(&refused);
            assert!(refused.follow_databases(["orders", "reports"], at(10)).is_empty());
            assert!(!refused.dirty());
            let went = refused.follow_databases(["reports", "new"], at(10));
            assert_eq!(Vec::from_iter(went), [("orders".into(), 1)]);
            assert!(refused.dirty());
            assert_eq!(shown(&refused), ["reports 10.0.0.2"], "it is not proposed meanwhile");
            assert_eq!(refused.since(), Some(at(9)));
            // A second reload neither tells it again nor begins the day anew.
            let later = 10 + away_for / 2;
            assert!(refused.follow_databases(["reports"], at(later)).is_empty());
            if restarted {
                refused = RefusedSources::from_json(&refused.to_json().unwrap()).unwrap();
                assert!(refused.follow_databases(["reports"], at(later)).is_empty());
            }
            refused.age(at(10 + away_for));
            refused.follow_databases(["orders", "reports"], at(10 + away_for));
            assert_eq!(shown(&refused) == all, is_kept, "{away_for} {restarted}");
            check(&refused);
        }
    }
}

#[test]
fn a_new_name_takes_over_what_the_old_one_refused() {
    let mut refused = RefusedSources::default();
    for (source, second) in [("10.0.0.1", 0), ("10.0.0.1", 70), ("10.0.0.2", 5)] {
        add(&mut refused, source, second);
    }
    refused.add("shop", &event("10.0.0.1", 300), &clock());
    assert_eq!(refused.rename_database("orders", "shop"), 2);
    assert_eq!(shown(&refused), ["shop 10.0.0.1", "shop 10.0.0.2"]);
    let (_, seen) = refused.all().next().unwrap();
    assert_eq!((seen.first_seen, seen.last_seen, seen.packets), (at(0), at(300), 9));
    assert_eq!(refused.rename_database("orders", "shop"), 0);
    check(&refused);
}

#[test]
fn a_clock_that_is_set_forgets_nothing() {
    for by in [400 * DAY as i64, -400 * DAY as i64, 3600] {
        let mut refused = RefusedSources::default();
        add(&mut refused, "10.0.0.1", 0);
        refused.follow_databases([], at(60));
        let adjust = |at: &mut Timestamp| *at += SignedDuration::from_secs(by);
        refused.adjust_times(adjust);
        let mut later = at(120);
        adjust(&mut later);
        refused.age(later);
        refused.follow_databases(["orders"], later);
        assert_eq!(shown(&refused), ["orders 10.0.0.1"], "{by}");
        check(&refused);
    }
}

#[test]
fn fields_of_a_newer_version_are_ignored() {
    let mut refused = RefusedSources::default();
    add(&mut refused, "10.0.0.1", 0);
    let mut document: serde_json::Value =
        serde_json::from_slice(&refused.to_json().unwrap()).unwrap();
    document["color"] = "blue".into();
    document["sources"][0]["weight"] = 7.into();
    let read = RefusedSources::from_json(document.to_string().as_bytes()).unwrap();
    assert_eq!(shown(&read), ["orders 10.0.0.1"]);
}

fn of<'r>(refused: &'r RefusedSources, source: &str) -> &'r Refusals {
    refused.all().find(|(key, _)| key.source.to_string() == source).unwrap().1
}

#[test]
fn a_connection_is_remembered_with_its_source() {
    let mut refused = RefusedSources::default();
    for source in ["10.0.0.1", "10.0.0.2"] {
        add(&mut refused, source, 0);
    }
    refused.clean();
    refused.note_connected("orders", "10.0.0.9".parse().unwrap(), at(5));
    refused.note_connected("reports", "10.0.0.1".parse().unwrap(), at(5));
    assert!(!refused.dirty(), "nobody who was refused");
    assert_eq!(refused.all().filter(|(_, seen)| seen.last_connected().is_some()).count(), 0);
    refused.note_connected("orders", "::ffff:10.0.0.1".parse().unwrap(), at(90));
    refused.note_connected("orders", "10.0.0.1".parse().unwrap(), at(30));
    assert!(refused.dirty());
    add(&mut refused, "10.0.0.1", 200);
    let mut read = RefusedSources::from_json(&refused.to_json().unwrap()).unwrap();
    check(&read);
    read.rename_database("orders", "shop");
    read.adjust_times(|at| *at += SignedDuration::from_secs(7));
    for (refused, later) in [(&refused, 0), (&read, 7)] {
        check(refused);
        assert_eq!(of(refused, "10.0.0.1").last_connected(), Some(at(90 + later)));
        assert_eq!(of(refused, "10.0.0.2").last_connected(), None);
    }
}

/// Scanners do not make room for each other at the cost of who uses the database.
#[test]
fn whoever_connected_is_forgotten_last() {
    let mut refused = RefusedSources::default();
    (0..CAPACITY as u32).for_each(|n| add(&mut refused, &nth(n), 0));
    refused.note_connected("orders", nth(0).parse().unwrap(), at(1));
    for n in 0..CAPACITY as u32 + 9 {
        for minute in 1..4 {
            let source = std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string();
            add(&mut refused, &source, minute * MINUTE);
        }
    }
    assert!(knows(&refused, &nth(0)) && !knows(&refused, &nth(1)));
    check(&refused);
}

#[test]
fn minutes_are_counted_for_good_and_packets_that_pass_are_noted() {
    let mut refused = RefusedSources::default();
    for second in [0, 10, 59, 60, 61, 180, 3 * DAY] {
        add(&mut refused, "10.0.0.1", second);
    }
    add(&mut refused, "10.0.0.2", 6 * DAY);
    let seen = of(&refused, "10.0.0.1");
    assert_eq!((seen.active_minutes(), seen.minutes), (4, 1));
    for (protocol, verdict, passed) in [
        (17, Verdict::Observe, false),
        (6, Verdict::Drop, false),
        (6, Verdict::Observe, true),
        (6, Verdict::Drop, true),
    ] {
        let event = Event { protocol, verdict: verdict as u8, ..event("10.0.0.1", 6 * DAY) };
        refused.add("orders", &event, &clock());
        assert_eq!(of(&refused, "10.0.0.1").could_connect(), passed, "{protocol} {verdict:?}");
    }
    let read = RefusedSources::from_json(&refused.to_json().unwrap()).unwrap();
    let seen = of(&read, "10.0.0.1");
    assert_eq!((seen.active_minutes(), seen.could_connect()), (5, true));
}

#[test]
fn the_file_of_an_older_version_is_read() {
    let text = r#"{"format":1,"sources":[{"database":"orders","source":"10.0.0.1",
        "first_seen":"2026-03-01T00:00:00Z","last_seen":"2026-03-02T00:00:00Z","packets":9,
        "minutes":3,"ports":[5432]}]}"#;
    let read = RefusedSources::from_json(text.as_bytes()).unwrap();
    let seen = of(&read, "10.0.0.1");
    assert_eq!((seen.active_minutes(), seen.last_connected()), (3, None));
    assert!(!seen.could_connect());
}

#[test]
fn an_idle_connection_makes_its_source_known() {
    let mut refused = RefusedSources::default();
    refused.add_connected("orders", "::ffff:10.0.0.1".parse().unwrap(), 5432, at(60));
    refused.add_connected("orders", "10.0.0.1".parse().unwrap(), 5433, at(120));
    add(&mut refused, "10.0.0.2", 60);
    assert!(refused.dirty());
    let read = RefusedSources::from_json(&refused.to_json().unwrap()).unwrap();
    for refused in [&refused, &read] {
        check(refused);
        let seen = of(refused, "10.0.0.1");
        assert_eq!((seen.packets, seen.active_minutes()), (0, 2));
        assert_eq!((seen.first_seen(), seen.last_seen()), (at(60), at(60)));
        assert_eq!((seen.last_connected(), seen.last_let_in()), (Some(at(120)), Some(at(120))));
        assert!(seen.could_connect() && seen.ports().iter().eq(&[5432, 5433]));
        assert_eq!(of(refused, "10.0.0.2").last_let_in(), None, "enforce mode refused it");
    }
    let mut observed = event("10.0.0.2", 300);
    observed.verdict = Verdict::Observe as u8;
    refused.add("orders", &observed, &clock());
    let seen = of(&refused, "10.0.0.2");
    assert_eq!(seen.last_let_in(), Some(at(300)));
    assert_eq!(seen.last_interface(), Some(observed.ifindex));
}

#[test]
fn a_connection_counts_for_a_week() {
    let mut refused = RefusedSources::default();
    const DAY: u64 = 24 * 3600;
    add(&mut refused, "10.0.0.1", 0);
    refused.note_connected("orders", "10.0.0.1".parse().unwrap(), at(0));
    for (day, connected) in [(1, true), (7, true), (8, false), (9, false)] {
        refused.age(at(day * DAY));
        check(&refused);
        assert_eq!(refused.by_rank.first().unwrap().connected, connected, "day {day}");
    }
    refused.note_connected("orders", "10.0.0.1".parse().unwrap(), at(9 * DAY));
    check(&refused);
    assert!(refused.by_rank.first().unwrap().connected);
}
