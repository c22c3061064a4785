use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

const DAY: i64 = 86_400;

fn key(source: &str) -> UsedSource {
    UsedSource::new("orders", source)
}

fn counted(packets: u64, last_hit: i64) -> SourceCounters {
    SourceCounters { packets, last_hit: (packets > 0).then(|| at(last_hit)) }
}

fn update(uses: &mut SourceUses, source: &str, packets: u64, last_hit: i64, now: i64) {
    uses.update(&HashMap::from([(key(source), counted(packets, last_hit))]), at(now));
}

/// Since when, how many packets, and the last of them.
fn of(uses: &SourceUses, source: &str) -> Option<(i64, u64, Option<i64>)> {
    let second = |time: Timestamp| time.as_second() - 1_800_000_000;
    let known = uses.of(&key(source), None, at(0))?;
    Some((second(known.since), known.packets, known.last_hit.map(second)))
}

#[test]
fn an_address_is_one_source_however_it_is_written() {
    for (one, other) in [
        ("ip_addr:192.0.2.1", "ip_addr:192.0.2.1/32"),
        ("ip_addr:2001:db8::1", "ip_addr:2001:db8:0::1/128"),
        ("ip_addr:192.0.2.0/24", "ip_addr:192.0.2.0/24"),
        ("tag:backend", "tag:backend"),
        ("ip_addr:lines without a comment", "ip_addr:lines without a comment"),
    ] {
        assert_eq!(key(one), key(other));
    }
    assert_ne!(key("ip_addr:192.0.2.1"), key("ip_addr:192.0.2.2"));
    assert_ne!(key("ip_addr:192.0.2.1"), UsedSource::new("shop", "ip_addr:192.0.2.1"));
}

#[test]
fn counters_that_begin_again_lose_nothing() {
    let mut uses = SourceUses::default();
    update(&mut uses, "tag:a", 0, 0, 10);
    assert_eq!(of(&uses, "tag:a"), Some((10, 0, None)));
    update(&mut uses, "tag:a", 5, 20, 21);
    update(&mut uses, "tag:a", 7, 30, 31);
    assert_eq!(of(&uses, "tag:a"), Some((10, 7, Some(30))));
    // A reboot: everything is counted from 0 again, and known from the file.
    let mut uses = SourceUses::from_json(&uses.to_json().unwrap()).unwrap();
    assert!(!uses.is_dirty());
    update(&mut uses, "tag:a", 0, 0, 100);
    assert_eq!(of(&uses, "tag:a"), Some((10, 7, Some(30))));
    update(&mut uses, "tag:a", 2, 110, 111);
    assert_eq!(of(&uses, "tag:a"), Some((10, 9, Some(110))));
    // What is in the kernel and was not taken in yet.
    let now = uses.of(&key("tag:a"), Some(&counted(6, 120)), at(121)).unwrap();
    assert_eq!((now.packets, now.last_hit), (13, Some(at(120))));
    assert_eq!(of(&uses, "tag:a"), Some((10, 9, Some(110))), "asking changes nothing");
    // No state, but counters: they have counted since before their last packet.
    update(&mut uses, "tag:b", 3, 50, 111);
    assert_eq!(of(&uses, "tag:b"), Some((50, 3, Some(50))));
    assert_eq!(of(&uses, "tag:c"), None);
}

#[test]
fn only_news_are_worth_a_write() {
    let mut uses = SourceUses::default();
    update(&mut uses, "tag:a", 5, 10, 11);
    assert!(uses.is_dirty());
    uses.clean();
    update(&mut uses, "tag:a", 5, 10, 60);
    uses.follow(|_| true, at(60));
    assert!(!uses.is_dirty());
    update(&mut uses, "tag:a", 6, 70, 71);
    assert!(uses.is_dirty());
}

#[test]
fn packets_in_slots_that_are_taken_away_stay_counted() {
    for (kept, then, total) in [(0, 0, 9), (0, 4, 13), (3, 3, 9), (3, 5, 11)] {
        let mut uses = SourceUses::default();
        update(&mut uses, "tag:a", 5, 10, 11);
        let moved = [counted(9, 20), counted(kept, 15)];
        uses.move_slots(HashMap::from([(key("tag:a"), moved)]), at(21));
        update(&mut uses, "tag:a", then, 30, 31);
        let (_, packets, last_hit) = of(&uses, "tag:a").unwrap();
        assert_eq!((packets, last_hit), (total, Some(if then > kept { 30 } else { 20 })));
    }
    // Between two readings it came, was used and went.
    let mut uses = SourceUses::default();
    uses.move_slots(HashMap::from([(key("tag:a"), [counted(2, 20), counted(0, 0)])]), at(21));
    assert_eq!(of(&uses, "tag:a"), Some((20, 2, Some(20))));
}

#[test]
fn a_source_that_is_away_is_kept_for_a_day() {
    for (back, is_kept) in [(1, true), (DAY - 1, true), (DAY, false), (30 * DAY, false)] {
        let mut uses = SourceUses::default();
        update(&mut uses, "tag:a", 5, 10, 11);
        uses.follow(|_| true, at(100 * DAY));
        uses.follow(|_| false, at(100 * DAY));
        uses.follow(|_| false, at(100 * DAY + back / 2));
        let mut uses = SourceUses::from_json(&uses.to_json().unwrap()).unwrap();
        uses.follow(|_| false, at(100 * DAY + back));
        assert_eq!(of(&uses, "tag:a").is_some(), is_kept, "{back}");
        uses.follow(|_| true, at(100 * DAY + back));
        uses.follow(|_| true, at(300 * DAY));
        assert_eq!(of(&uses, "tag:a").is_some(), is_kept, "{back}");
    }
}

#[test]
fn a_list_that_changes_all_the_time_is_bounded() {
    let mut uses = SourceUses::default();
    let sources = CAPACITY as i64 + 100;
    for n in 0..sources {
        update(&mut uses, &format!("droplet:{}", n + 1), 1, n, n);
    }
    uses.follow(|_| false, at(sources));
    assert_eq!(uses.uses.len(), CAPACITY);
}

#[test]
fn a_clock_that_is_set_moves_what_it_told() {
    let mut uses = SourceUses::default();
    update(&mut uses, "tag:a", 5, 10, 11);
    uses.follow(|_| false, at(20));
    uses.adjust_times(|at| *at += SignedDuration::from_hours(24 * 365));
    uses.follow(|_| false, at(365 * DAY + 30));
    assert_eq!(of(&uses, "tag:a"), Some((365 * DAY + 10, 5, Some(365 * DAY + 10))));
}

#[test]
fn a_damaged_file_is_an_error_and_a_newer_field_is_none() {
    let mut uses = SourceUses::default();
    update(&mut uses, "tag:a", 5, 10, 11);
    let text = uses.to_json().unwrap();
    (0..text.len()).for_each(|end| assert!(SourceUses::from_json(&text[..end]).is_err()));
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(file["body"].as_str().unwrap()).unwrap();
    body["color"] = "blue".into();
    body["sources"][0]["color"] = "blue".into();
    let newer = checked_file(&body);
    assert_eq!(of(&SourceUses::from_json(&newer).unwrap(), "tag:a"), Some((10, 5, Some(10))));
}

fn checked_file(body: &serde_json::Value) -> Vec<u8> {
    crate::state::checked::encode(1, body).unwrap()
}
