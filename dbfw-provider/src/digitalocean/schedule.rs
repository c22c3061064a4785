//! The time of the next round.

use std::time::Duration;

use dbfw_core::answers::{Cause, FetchError};
use tokio::time::Instant;

use super::session::Course;
use crate::{backoff::Backoff, rounds::jittered};

/// The times of rounds.
#[derive(Debug)]
pub(crate) struct Schedule {
    poll: Duration,
    backoff: Backoff,
    begun: Instant,
    due: Instant,
    careful: bool,
}

impl Schedule {
    /// The first round is due `now`.
    pub(crate) fn new(poll: Duration, now: Instant) -> Self {
        Self { poll, backoff: Backoff::default(), begun: now, due: now, careful: false }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Whether the next requests should see first whether they are let in at all.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful
    }

    /// A round begins. The one after it is due once this one has ended, unless somebody asks
    /// for it meanwhile.
    pub(crate) fn began(&mut self, now: Instant) {
        self.begun = now;
        self.due = far(now);
    }

    /// Somebody wants a round now, whatever failed before.
    pub(crate) fn at_once(&mut self, now: Instant) {
        self.backoff.succeeded();
        self.due = now;
    }

    /// A round ended; the next one begins `interval` after it began, sooner or later by a
    /// tenth, or later if all of it failed or the server wants to be left alone.
    pub(crate) fn ended(&mut self, course: &Course, interval: Duration, now: Instant) {
        let is_refusal = |error: &&FetchError| {
            matches!(error.cause, Cause::Unauthorized | Cause::RateLimited)
                || error.retry_after.is_some()
        };
        let failed = match course.answered {
            true => course.broken.as_ref().filter(is_refusal),
            false => course.broken.as_ref().or(course.failure.as_ref()),
        };
        self.careful =
            failed.is_some_and(|e| matches!(e.cause, Cause::Unauthorized | Cause::RateLimited));
        let next = match failed {
            Some(error) => {
                now + self.backoff.failed(self.poll, error.cause, error.retry_after).max(interval)
            }
            None => {
                self.backoff.succeeded();
                self.begun + jittered(interval)
            }
        };
        self.due = self.due.min(next);
    }
}

/// Later than any round takes.
fn far(now: Instant) -> Instant {
    now + Duration::from_secs(30 * 365 * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(10);

    fn failed(cause: Cause, retry_after: Option<Duration>) -> Course {
        let error = FetchError { retry_after, ..FetchError::new(cause, "x") };
        Course { failure: Some(error), ..Course::default() }
    }

    fn wait(schedule: &mut Schedule, course: &Course, interval: Duration) -> Duration {
        let now = Instant::now();
        schedule.began(now);
        assert!(!schedule.is_due(now + Duration::from_secs(86_400)));
        schedule.ended(course, interval, now);
        schedule.due() - now
    }

    #[test]
    fn rounds_keep_their_distance() {
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert!(schedule.is_due(Instant::now()));
        let good = Course { answered: true, ..failed(Cause::Server, None) };
        for interval in [POLL, POLL * 3] {
            for _ in 0..50 {
                let wait = wait(&mut schedule, &good, interval);
                assert!(wait >= interval.mul_f64(0.9) && wait <= interval.mul_f64(1.1), "{wait:?}");
            }
        }
    }

    #[test]
    fn failures_put_rounds_off() {
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert_eq!(wait(&mut schedule, &failed(Cause::Server, None), POLL), POLL);
        assert!(!schedule.is_careful());
        assert!(wait(&mut schedule, &failed(Cause::Server, None), POLL) >= POLL.mul_f64(1.6));
        // The budget's interval holds all the same.
        assert_eq!(wait(&mut schedule, &failed(Cause::Server, None), POLL * 50), POLL * 50);
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert!(wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL) >= POLL * 3);
        assert!(schedule.is_careful());
        let asked = Some(Duration::from_secs(100));
        assert!(wait(&mut schedule, &failed(Cause::RateLimited, asked), POLL) >= POLL * 10);
        assert!(schedule.is_careful());
        // A refusal counts even if something was answered before it.
        let broken = Course {
            answered: true,
            broken: failed(Cause::RateLimited, asked).failure,
            ..Course::default()
        };
        assert!(wait(&mut schedule, &broken, POLL) >= POLL * 10);
        // A few slow resources do not put off the others.
        let broken = Course {
            answered: true,
            broken: failed(Cause::Timeout, None).failure,
            ..Course::default()
        };
        assert!(wait(&mut schedule, &broken, POLL) <= POLL.mul_f64(1.1));
        assert!(!schedule.is_careful());
    }

    #[test]
    fn a_wish_goes_before_the_schedule() {
        let now = Instant::now();
        let mut schedule = Schedule::new(POLL, now);
        for _ in 0..5 {
            wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL);
        }
        schedule.at_once(now);
        assert!(schedule.is_due(now));
        // During a round, for right after it.
        schedule.began(now);
        schedule.at_once(now);
        schedule.ended(&failed(Cause::Unauthorized, None), POLL, now);
        assert!(schedule.is_due(now));
        assert!(wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL) <= POLL * 8);
    }
}
