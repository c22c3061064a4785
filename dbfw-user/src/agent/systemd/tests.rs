use super::*;
use crate::protection::{Degradation, Failure};

fn protected() -> Protection {
    Protection::of(Vec::new(), Vec::new())
}

fn degraded() -> Protection {
    Protection::of(Vec::new(), vec![Degradation::ForeignBefore { interface: "eth0".into() }])
}

fn failed() -> Protection {
    Protection::of(vec![Failure::Detached], Vec::new())
}

#[test]
fn readiness_is_announced_once_protection_holds() {
    let mut readiness = Readiness::new();
    readiness.announce(&failed());
    assert!(!readiness.is_announced());
    readiness.announce(&degraded());
    assert!(readiness.is_announced(), "a degraded agent protects what it can");
}

#[test]
fn health_follows_protection() {
    let mut readiness = Readiness::new();
    assert!(!readiness.is_ready());
    readiness.follow(&protected());
    assert!(readiness.is_ready());
    readiness.follow(&failed());
    assert!(!readiness.is_ready());
    readiness.follow(&degraded());
    assert!(readiness.is_ready());
}

#[test]
fn the_status_line_says_what_is_wrong() {
    assert_eq!(in_a_line(&protected()), "protecting");
    assert!(in_a_line(&degraded()).starts_with("protecting, degraded: "));
    assert!(in_a_line(&failed()).starts_with("not protected: "));
}
