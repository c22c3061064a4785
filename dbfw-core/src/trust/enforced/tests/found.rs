//! Sequences that once got past a guard.

use super::*;

#[test]
fn a_refused_change_stays_refused() {
    let mut database = database(OnEmpty::Keep);
    database.max_shrink = 34;
    let mut enforced = Enforced::default();
    let named = ["10.0.1.0", "10.0.1.1", "10.0.1.2", "10.0.1.3"];
    enforced.decide(&database, resolved(&[("dns:x.y", &named)]), NONE, at(0));
    // What the operator wrote meanwhile makes the loss no smaller.
    let more: Vec<String> = (0..8).map(|host| format!("10.0.0.{host}")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let candidate = || resolved(&[("tag:a", &more), ("dns:x.y", &[])]);
    let guard = Guard::MaxShrink;
    assert_eq!(enforced.decide(&database, candidate(), NONE, at(0)), refused(guard));
    let again = Decision::Refused { guard, new: false };
    assert_eq!(enforced.decide(&database, candidate(), NONE, at(1)), again);
    assert_eq!(trusted(&enforced).len(), 12);
}

#[test]
fn what_the_operator_takes_out_is_a_change() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let both = [("tag:a", &["10.0.0.1"][..]), ("tag:b", &["10.0.0.2"])];
    enforced.decide(&database, resolved(&both), NONE, at(0));
    assert_eq!(enforced.decide(&database, resolved(&both[..1]), NONE, at(0)), ACCEPTED);
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
}

#[test]
fn what_may_no_longer_be_wide_goes() {
    let mut wide = database(OnEmpty::Keep);
    wide.allow_any = true;
    let any = || listed(&["0.0.0.0/0", "10.0.0.1"]);
    let narrow = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    assert_eq!(enforced.decide(&wide, any(), NONE, at(0)), ACCEPTED);
    assert_eq!(enforced.decide(&narrow, any(), NONE, at(1)), refused(Guard::AllowAny));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"], "allow_any was taken back");
    let unread = Candidate { list: ListPart::Unread, ..Candidate::default() };
    let mut enforced = Enforced::default();
    enforced.decide(&wide, any(), NONE, at(0));
    enforced.decide(&narrow, unread, NONE, at(1));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"], "nor while the list cannot be read");
}

#[test]
fn confirming_an_empty_list_lets_in_nobody() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0));
    let candidate = || {
        let mut candidate = listed(&[]);
        candidate.guarded.extend(resolved(&[("dns:x.y", &["0.0.0.0/0"])]).guarded);
        candidate
    };
    enforced.decide(&database, candidate(), NONE, at(0));
    let seen = plan(&enforced);
    let decision = enforced.decide(&database, candidate(), &seen, at(0));
    assert!(matches!(decision, Decision::Refused { guard: Guard::AllowAny, .. }), "{decision:?}");
    assert!(!trusted(&enforced).contains(&"0.0.0.0/0".to_owned()));
}

#[test]
fn everybody_in_pieces_is_everybody() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let rules = (0..17).map(|block| {
        rule(&format!("tag:t{block}"), &Origin::Config, &[&format!("{}.0.0.0/8", 20 + block)])
    });
    let candidate = Candidate { guarded: rules.collect(), ..Candidate::default() };
    assert_eq!(enforced.decide(&database, candidate, NONE, at(0)), refused(Guard::AllowAny));
    let count = trusted(&enforced).len();
    assert!(count <= 16, "{count} blocks of /8 are in force");
}

#[test]
fn a_plan_that_waits_keeps_its_id() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0));
    let gone = || Candidate { list: ListPart::Gone(at(0)), pending: true, ..Candidate::default() };
    let guard = Guard::OnEmpty;
    assert_eq!(enforced.decide(&database, gone(), NONE, at(0)), refused(guard));
    let again = Decision::Refused { guard, new: false };
    assert_eq!(enforced.decide(&database, gone(), NONE, at(1)), again);
}
