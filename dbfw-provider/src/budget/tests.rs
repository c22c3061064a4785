use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const LIMITS: RequestLimits = RequestLimits { per_hour: 5000, per_minute: 250 };
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(milliseconds: u64) -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_millis(milliseconds)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Requests made at these milliseconds, in order, never crowd a window: not even a closed one.
fn assert_within(made: &[u64], limits: RequestLimits) {
    for (limit, window) in [(limits.per_hour, 3_600_000), (limits.per_minute, 60_000)] {
        for crowd in made.windows(limit as usize + 1) {
            let span = crowd[limit as usize] - crowd[0];
            assert!(span > window, "{} requests within {span} ms", limit + 1);
        }
    }
}

/// Takes until there is nothing more; how many that were.
fn drain(budget: &mut Budget, now: Instant) -> u32 {
    let mut taken = 0;
    while budget.take(now).is_ok() {
        taken += 1;
    }
    taken
}

fn left(remaining: u32, reset: Option<Duration>) -> Rate {
    Rate { remaining: Some(remaining), reset, retry_after: None }
}

#[test]
fn a_minute_and_an_hour_are_kept() {
    let mut budget = Budget::new(LIMITS);
    assert_eq!(budget.left(at(0)), Remaining { hour: 5000, minute: 250 });
    assert_eq!(drain(&mut budget, at(0)), 250);
    assert_eq!(budget.left(at(0)), Remaining { hour: 4750, minute: 0 });
    assert_eq!(budget.take(at(500)), Err(Duration::from_millis(60_500)));
    for minute in 1..20 {
        assert_eq!(drain(&mut budget, at(minute * 61_000)), 250, "minute {minute}");
    }
    assert_eq!(budget.left(at(30 * 60_000)), Remaining { hour: 0, minute: 0 });
    assert_eq!(budget.take(at(30 * 60_000)), Err(seconds(1801)));
    assert_eq!(drain(&mut budget, at(3_601_000)), 250);
}

#[test]
fn limits_may_change_under_way() {
    let mut budget = Budget::new(RequestLimits { per_hour: 0, per_minute: 0 });
    assert_eq!(drain(&mut budget, at(0)), 1);
    budget.set_limits(LIMITS);
    assert_eq!(drain(&mut budget, at(0)), 249);
    budget.set_limits(RequestLimits { per_hour: 100, per_minute: 50 });
    assert_eq!(budget.left(at(0)), Remaining { hour: 0, minute: 0 });
    assert_eq!(budget.take(at(61_000)), Err(seconds(3540)));
    assert_eq!(drain(&mut budget, at(3_601_000)), 50);
    assert_eq!(budget.limits(), RequestLimits { per_hour: 100, per_minute: 50 });
}

#[test]
fn others_who_use_the_token_leave_less() {
    let mut budget = Budget::new(LIMITS);
    budget.take(at(0)).unwrap();
    budget.update(at(0), 200, &left(3, Some(seconds(90))));
    assert_eq!(budget.left(at(0)), Remaining { hour: 3, minute: 3 });
    assert_eq!(drain(&mut budget, at(1000)), 3);
    assert_eq!(budget.take(at(1000)), Err(seconds(89)));

    // One finds out how things are; the others wait for what it hears.
    assert_eq!(budget.left(at(90_000)).hour, 1);
    assert_eq!(drain(&mut budget, at(90_000)), 1);
    assert_eq!(budget.take(at(90_000)), Err(SLACK));
    assert_eq!(budget.left(at(90_000)).hour, 0);
    budget.update(at(90_200), 200, &left(4000, Some(Duration::from_millis(4_800))));
    assert_eq!(budget.left(at(90_200)).hour, 4000);
    assert_eq!(drain(&mut budget, at(90_200)), 249);
}

#[test]
fn a_probe_without_an_answer_is_followed_by_another() {
    let mut budget = Budget::new(LIMITS);
    budget.update(at(0), 429, &Rate::default());
    assert_eq!(budget.take(at(0)), Err(PROBE));
    for probe in 0..5 {
        let now = at(10_000 + probe * 10_000);
        assert_eq!(drain(&mut budget, now), 1, "probe {probe}");
    }
    // An answer that says nothing about limits says at least that it is no refusal.
    budget.update(at(51_000), 200, &Rate::default());
    assert_eq!(budget.left(at(51_000)).minute, 245);
}

#[test]
fn what_is_left_counts_until_the_reset_and_never_adds() {
    let mut budget = Budget::new(LIMITS);
    budget.update(at(0), 200, &left(7, Some(seconds(5))));
    assert_eq!(budget.left(at(4_999)).hour, 7);
    assert_eq!(budget.left(at(5_000)).hour, 5000);
    assert_eq!(drain(&mut budget, at(5_000)), 250);

    // An answer that says nothing about it, as from a proxy, changes nothing.
    budget.update(at(5_500), 200, &left(5, Some(Duration::from_millis(3_500))));
    budget.update(at(5_600), 502, &Rate::default());
    assert_eq!(budget.left(at(5_700)).hour, 5);
    budget.update(at(6_000), 200, &left(u32::MAX, Some(seconds(3))));
    assert_eq!(budget.left(at(6_000)), Remaining { hour: 4750, minute: 0 });

    // A reset that has passed or is years away is not believed.
    budget.update(at(7_000), 200, &left(0, Some(Duration::ZERO)));
    assert_eq!(budget.take(at(70_000 - 4_000)), Err(seconds(1)));
    assert_eq!(drain(&mut budget, at(67_000)), 1);
    budget.update(at(67_100), 200, &left(0, Some(DAY)));
    assert_eq!(budget.take(at(67_100)), Err(seconds(3600)));
}

#[test]
fn a_refusal_stops_requests_for_as_long_as_it_says() {
    let refusal = |retry_after, reset| Rate { retry_after, reset, ..Rate::default() };
    for (rate, wait) in [
        (refusal(Some(seconds(30)), Some(seconds(900))), seconds(30)),
        (refusal(None, Some(seconds(900))), seconds(900)),
        (refusal(Some(Duration::MAX), None), seconds(3600)),
        (refusal(Some(Duration::ZERO), None), seconds(1)),
        (refusal(None, None), seconds(10)),
    ] {
        let mut budget = Budget::new(LIMITS);
        budget.update(at(0), 429, &rate);
        assert_eq!(budget.take(at(0)), Err(wait), "{rate:?}");
        // Answers to requests from before it neither lift nor shorten it.
        budget.update(at(1), 200, &left(4999, Some(Duration::from_millis(1))));
        budget.update(at(1), 429, &refusal(Some(Duration::ZERO), None));
        assert_eq!(budget.left(at(1)), Remaining { hour: 0, minute: 0 });
        let over = at(u64::try_from(wait.as_millis()).unwrap().max(1001));
        assert_eq!(drain(&mut budget, over), 1, "{rate:?}");
        budget.update(over, 200, &left(4999, None));
        assert_eq!(drain(&mut budget, over), 249);
    }
}

#[test]
fn times_out_of_order_by_milliseconds_make_no_request_older() {
    let mut budget = Budget::new(RequestLimits { per_hour: 10, per_minute: 10 });
    assert_eq!(drain(&mut budget, at(60_000)), 10);
    for _ in 0..100_000 {
        assert!(budget.take(at(59_100)).is_err());
        assert!(budget.take(at(60_000)).is_err());
    }
}

#[test]
fn rounds_spend_four_fifths_at_most() {
    let budget = Budget::new(LIMITS);
    let poll = seconds(15);
    for (cost, interval) in [
        (0, seconds(15)),
        (1, seconds(15)),
        (16, seconds(15)),
        (17, Duration::from_millis(15_300)),
        (100, seconds(90)),
        (1000, seconds(900)),
        (20_000, seconds(18_000)),
    ] {
        assert_eq!(budget.interval(poll, cost), interval, "{cost}");
    }
    // Where the minute is the narrower limit.
    let budget = Budget::new(RequestLimits { per_hour: 5000, per_minute: 10 });
    assert_eq!(budget.interval(poll, 8), seconds(60));
    let least = Budget::new(RequestLimits { per_hour: 0, per_minute: 0 });
    assert!(least.interval(poll, u32::MAX) > DAY);
}

/// A day of rounds as a task makes them, with others who spend `others` requests an hour of
/// the same token at the server, which refuses what is too much. Returns rounds, refusals.
fn day(cost: u32, others: u32) -> (u32, u32) {
    let mut budget = Budget::new(LIMITS);
    let (mut made, mut server): (Vec<u64>, VecDeque<u64>) = Default::default();
    let (mut now, mut foreign, mut rounds, mut refusals) = (0, 0, 0, 0);
    let end = u64::try_from(DAY.as_millis()).unwrap();
    while now < end {
        let begun = now;
        let interval = budget.interval(seconds(15), cost);
        let mut done = 0;
        while done < cost && now < end {
            if let Err(wait) = budget.take(at(now)) {
                now += u64::try_from(wait.as_millis()).unwrap().max(1);
                continue;
            }
            made.push(now);
            while others > 0 && foreign <= now {
                server.push_back(foreign);
                foreign += 3_600_000 / u64::from(others);
            }
            while server.front().is_some_and(|first| first + 3_600_000 < now) {
                server.pop_front();
            }
            let refused = server.len() >= 5000;
            if refused {
                refusals += 1;
            } else {
                server.push_back(now);
                done += 1;
            }
            let remaining = u32::try_from(5000_usize.saturating_sub(server.len())).unwrap();
            let status = if refused { 429 } else { 200 };
            now += 80;
            let reset = server.front().map(|first| at(first + 3_600_000) - at(now));
            budget.update(at(now), status, &left(remaining, reset));
        }
        rounds += u32::from(done == cost);
        now = now.max(begun + u64::try_from(interval.as_millis()).unwrap());
    }
    assert_within(&made, LIMITS);
    (rounds, refusals)
}

#[test]
fn a_day_stays_within_the_limits_and_gets_on() {
    for (cost, expected) in
        [(1, 5760), (5, 5760), (16, 5760), (100, 960), (1000, 96), (4900, 19), (20_000, 4)]
    {
        let (rounds, refusals) = day(cost, 0);
        assert!(rounds >= expected - 1, "{cost} requests a round: {rounds} rounds");
        assert_eq!(refusals, 0, "{cost} requests a round");
    }
}

#[test]
fn a_day_beside_others_gets_on_with_what_they_leave() {
    // 1,000 of 5,000 an hour are left, which is a round; 2,000, two rounds.
    for (others, expected) in [(4000, 20), (3000, 40)] {
        let (rounds, refusals) = day(1000, others);
        assert!(rounds >= expected, "{others} by others: {rounds} rounds");
        // Not even one in ten seconds, though the server has nothing to give most of the time.
        assert!(refusals < 24 * 360, "{others} by others: {refusals} refusals");
    }
}

proptest! {
    #[test]
    fn no_pattern_of_arrivals_exceeds_a_limit(
        per_hour in 1_u32..60,
        per_minute in 1_u32..20,
        steps in prop::collection::vec(
            (prop_oneof![0_u64..50, 0_u64..5_000, 0_u64..120_000, 0_u64..4_000_000], 0_u64..30),
            1..200,
        ),
    ) {
        let limits = RequestLimits { per_hour, per_minute };
        let mut budget = Budget::new(limits);
        let (mut time, mut made) = (0, Vec::new());
        for (gap, wanted) in steps {
            time += gap;
            for _ in 0..wanted {
                let now = at(time);
                let left = budget.left(now);
                match budget.take(now) {
                    Ok(()) => {
                        made.push(time);
                        prop_assert!(left.minute > 0 && left.hour >= left.minute);
                    }
                    Err(wait) => {
                        prop_assert_eq!(left.minute, 0);
                        prop_assert!(wait <= HOUR + SLACK);
                        // It is not asked to come back for nothing.
                        prop_assert_eq!(budget.clone().take(now + wait), Ok(()));
                        break;
                    }
                }
            }
        }
        assert_within(&made, limits);
    }

    #[test]
    fn whatever_a_server_says_the_limits_hold_and_waiting_ends(
        says in prop::collection::vec(
            (0_u64..100_000, prop_oneof![Just(200_u16), Just(429), Just(500)],
             prop::option::of(0_u32..100), prop::option::of(0_u64..10_000),
             prop::option::of(any::<u64>())),
            1..100,
        ),
    ) {
        let limits = RequestLimits { per_hour: 100, per_minute: 30 };
        let mut budget = Budget::new(limits);
        let (mut now, mut made) = (100_000_000, Vec::new());
        for (gap, status, remaining, reset, retry_after) in says {
            now += gap;
            for _ in 0..5 {
                if budget.take(at(now)).is_ok() {
                    made.push(now);
                }
            }
            let reset = reset.map(Duration::from_secs);
            let retry_after = retry_after.map(Duration::from_secs);
            budget.update(at(now), status, &Rate { remaining, reset, retry_after });
        }
        assert_within(&made, limits);
        prop_assert!(budget.take(at(now + 2 * 3_601_000)).is_ok());
    }
}
