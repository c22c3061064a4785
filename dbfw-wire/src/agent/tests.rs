use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Bundle, BundleSource, Delta, DeltaError, Digest, Frame, HostToken, HostTokenError, JoinToken,
    JoinTokenError, Report, list_digest,
};

fn source(number: u8, description: u8) -> BundleSource {
    BundleSource {
        uuid: Uuid::from_u128(u128::from(number)),
        kind: "ip_addr".into(),
        value: format!("10.0.0.{number}"),
        description: (description > 0).then(|| description.to_string()),
        expires_at: None,
        set: None,
    }
}

fn bundle(revision: u64, sources: Vec<BundleSource>) -> Bundle {
    Bundle {
        database: Uuid::from_u128(7),
        name: "orders".into(),
        epoch: 1,
        revision,
        digest: list_digest(&sources),
        by: None,
        sources,
        sets: BTreeMap::new(),
    }
}

/// Lists of distinct sources, in any order.
fn sources() -> impl Strategy<Value = Vec<BundleSource>> {
    proptest::collection::btree_map(0_u8..20, 0_u8..3, 0..12)
        .prop_map(|map| map.into_iter().map(|(number, text)| source(number, text)).collect())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn a_delta_leads_from_any_list_to_any_other(before in sources(), after in sources()) {
        let (before, after) = (bundle(3, before), bundle(4, after));
        let delta = Delta::between(&before, &after);
        prop_assert_eq!(delta.apply(&before), Ok(after));
    }

    #[test]
    fn a_delta_survives_its_json(before in sources(), after in sources()) {
        let delta = Frame::Delta(Delta::between(&bundle(3, before), &bundle(4, after)));
        let line = serde_json::to_string(&delta).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Frame>(&line).unwrap(), delta);
    }
}

#[test]
fn a_delta_is_refused_by_a_list_it_does_not_fit() {
    let before = bundle(3, vec![source(1, 0), source(2, 0)]);
    let delta = Delta::between(&before, &bundle(4, vec![source(2, 0), source(3, 0)]));

    let later = Bundle { revision: 4, ..before.clone() };
    assert_eq!(delta.apply(&later), Err(DeltaError::OtherRevision));
    let other_epoch = Bundle { epoch: 2, ..before.clone() };
    assert_eq!(delta.apply(&other_epoch), Err(DeltaError::OtherRevision));
    let without = bundle(3, vec![source(2, 0)]);
    assert_eq!(delta.apply(&without), Err(DeltaError::UnknownSource));
    let edited = bundle(3, vec![source(1, 0), source(2, 1)]);
    assert_eq!(delta.apply(&edited), Err(DeltaError::Digest));
    let misordered = Delta { order: Some(vec![Uuid::nil()]), ..delta.clone() };
    assert_eq!(misordered.apply(&before), Err(DeltaError::UnknownSource));
    let twice = Delta { delete: vec![], ..delta };
    assert_eq!(twice.apply(&before), Err(DeltaError::Digest));
}

#[test]
fn new_sources_in_front_or_at_the_end_need_no_order() {
    let before: Vec<BundleSource> = (1..=50).map(|n| source(n, 0)).collect();
    let delta = |after: Vec<BundleSource>| {
        let (from, to) = (bundle(3, before.clone()), bundle(4, after));
        let delta = Delta::between(&from, &to);
        assert_eq!(delta.apply(&from).as_ref(), Ok(&to));
        delta
    };
    let new = [source(60, 0), source(61, 0)];
    let last = delta([&before[..], &new].concat());
    assert_eq!((last.put_first, &last.order), (false, &None));
    let first = delta([&new[..], &before].concat());
    assert_eq!((first.put_first, &first.order), (true, &None));
    // doctl replaces one: gone and new in front.
    let replaced = delta([&new[..1], &before[..9], &before[10..]].concat());
    assert_eq!((replaced.put_first, &replaced.order), (true, &None));
    let within = delta([&before[..9], &new, &before[9..]].concat());
    assert_eq!(within.order.map(|order| order.len()), Some(52));
}

#[test]
fn a_digest_is_its_text() {
    let digest = Digest::of(b"");
    let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest.to_string(), text);
    assert_eq!(text.parse(), Ok(digest));
    for bad in [&text[7..], &text[..70], &text.to_uppercase(), "sha256:", "", "md5:00"] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}

#[test]
fn a_join_token_is_read_as_it_is_written() {
    for pin in [None, Some(Digest::of(b"key"))] {
        let token = JoinToken { id: Uuid::from_u128(5), secret: "ab".repeat(32), pin };
        let text = token.reveal();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("abab"));

        assert_eq!(text[1..].parse::<JoinToken>(), Err(JoinTokenError::Prefix));
        assert_eq!(text[..text.len() - 1].parse::<JoinToken>(), Err(JoinTokenError::Damaged));
        let longer = format!("{text}.x");
        assert_eq!(longer.parse::<JoinToken>(), Err(JoinTokenError::Damaged));
    }
}

#[test]
fn a_host_token_is_read_as_it_is_written() {
    let token = HostToken { host: Uuid::from_u128(5), secret: "0f".repeat(32) };
    let text = token.reveal();
    assert_eq!(text.parse(), Ok(token.clone()));
    assert!(!format!("{token:?}").contains("0f0f"));
    for bad in [&text[1..], &text[..text.len() - 1], "dbfwh_", "dbfwj_5.00", ""] {
        assert_eq!(bad.parse::<HostToken>(), Err(HostTokenError), "{bad}");
    }
}

#[test]
fn the_time_of_a_set_is_not_in_the_digest() {
    use super::{SetReference, SetState};
    let set = |at| SetReference { digest: Digest::of(b""), count: 0, state: SetState::Ok, at };
    let at = |at| list_digest(&[BundleSource { set: Some(set(at)), ..source(1, 0) }]);
    assert_eq!(at(None), at(Some(jiff::Timestamp::UNIX_EPOCH)));
}

/// Reports as they were recorded: of an agent from before there were audits, and of one with them.
const RECORDED: [&str; 2] = [
    r#"{"host":"00000000-0000-0000-0000-000000000001","boot":"00000000-0000-0000-0000-000000000002","protection":"yes","problems":[{"subject":"eth0","text":"down"}],"applied":[{"database":"00000000-0000-0000-0000-000000000007","epoch":1,"revision":9,"state":"observing","prefixes":3}]}"#,
    r#"{"host":"00000000-0000-0000-0000-000000000001","boot":"00000000-0000-0000-0000-000000000002","audit":{"at":"2026-12-01T00:00:00Z","level":"wire","findings":[{"database":"00000000-0000-0000-0000-000000000007","check":"X-5","severity":"high","subject":"ip_addr:10.99.0.1"},{"check":"E-1","severity":"high","subject":"tcp/5440 postgres"}],"more":false}}"#,
];

#[test]
fn reports_are_read_by_the_version_before_and_the_version_after() {
    for recorded in RECORDED {
        let report: Report = serde_json::from_str(recorded).unwrap();
        assert_eq!(serde_json::to_string(&report).unwrap(), recorded);
    }
    let [before, after] = RECORDED.map(|text| serde_json::from_str::<Report>(text).unwrap());
    assert_eq!(before.audit, None);
    assert_eq!(after.audit.unwrap().findings.len(), 2);

    /// A report as the version before read it.
    #[derive(serde::Deserialize)]
    struct Before {
        protection: Option<String>,
        #[serde(default)]
        applied: Vec<super::Applied>,
    }
    let [before, after] = RECORDED.map(|text| serde_json::from_str::<Before>(text).unwrap());
    assert_eq!((before.protection.as_deref(), before.applied.len()), (Some("yes"), 1));
    assert_eq!((after.protection, after.applied.len()), (None, 0));

    // Words and fields of a version to come.
    let later = RECORDED[1].replace("\"wire\"", "\"far\",\"new\":[1]").replace("X-5", "Z-99");
    let later: Report = serde_json::from_str(&later).unwrap();
    assert_eq!(later.audit.unwrap().level, "far");
}
