use jiff::Timestamp;

use super::*;

fn entry(time: Timestamp, kind: HistoryKind, generation: u64) -> HistoryEntry {
    HistoryEntry { time, kind, generation, ..HistoryEntry::default() }
}

fn sample() -> HistoryList {
    let added = HistoryEntry {
        database: Some("orders".to_owned()),
        source: Some("ip_addr:203.0.113.7".to_owned()),
        origin: Some("local".to_owned()),
        by: Some("uid 0".to_owned()),
        why: Some("incident 42\n\u{1b}[2J".to_owned()),
        prefixes_in: 1,
        added: vec!["203.0.113.7/32".to_owned()],
        ..entry(at("11:58:00"), HistoryKind::TrustAdded, 42)
    };
    let refused = HistoryEntry {
        database: Some("orders".to_owned()),
        prefixes_out: 60,
        removed: vec!["10.0.0.1/32".to_owned(), "10.0.0.2/32".to_owned()],
        guard: Some(Guard::MaxShrink),
        plan: Some("1a2b3c4d".to_owned()),
        message: Some("the new list loses 60 of 100 prefixes".to_owned()),
        ..entry(at("11:59:00"), HistoryKind::Refused, 42)
    };
    HistoryList { entries: vec![entry(at("08:48:00"), HistoryKind::Started, 41), added, refused] }
}

#[test]
fn history() {
    insta::assert_snapshot!(table(&sample()), @r"
    TIME                  WHAT         DATABASE  SOURCE               IN  OUT  BY     WHY
    2026-03-01T08:48:00Z  started      -         -                     -    -  dbfw   -
    2026-03-01T11:58:00Z  trust_added  orders    ip_addr:203.0.113.7   1    -  uid 0  incident 42\n\u{1b}[2J
    2026-03-01T11:59:00Z  refused      orders    -                     -   60  dbfw   max_shrink, plan 1a2b3c4d: the new list loses 60 of 100 prefixes
    ");
    insta::assert_snapshot!(text(&sample(), Format::Plain).replace('\t', "→"), @r"
    2026-03-01T08:48:00Z→started→41→→→→→0→0→→→→→→
    2026-03-01T11:58:00Z→trust_added→42→orders→ip_addr:203.0.113.7→local→uid 0→1→0→203.0.113.7/32→→→→incident 42\n\u{1b}[2J→
    2026-03-01T11:59:00Z→refused→42→orders→→→→0→60→→10.0.0.1/32,10.0.0.2/32→max_shrink→1a2b3c4d→→the new list loses 60 of 100 prefixes
    ");
    insta::assert_snapshot!(table(&HistoryList { entries: Vec::new() }), @"Nothing was recorded.");
}

/// The names in the log are those of the command line.
#[test]
fn kinds_are_called_what_they_are_written_as() {
    for entry in sample().entries {
        let written = serde_json::to_value(&entry).unwrap();
        assert_eq!(written["kind"], entry.kind.as_str());
    }
}
