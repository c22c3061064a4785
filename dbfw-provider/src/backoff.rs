//! The wait after a failure.

use std::time::Duration;

use dbfw_core::answers::Cause;
use fastrand::Rng;

/// No wait by this module alone is longer, unless polls are further apart.
const LONGEST: Duration = Duration::from_secs(300);

/// Nor longer than so many polls.
const POLLS: u32 = 20;

/// Longest wait that a provider may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// First wait, in polls, after a failure that nobody can fix within seconds: a refused token.
const DENIED: u32 = 4;

/// The failures in a row of one thing that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: Rng,
}

impl Default for Backoff {
    /// Seeded at random, so that many agents do not come back at the same moment.
    fn default() -> Self {
        Self { failures: 0, random: Rng::new() }
    }
}

impl Backoff {
    /// It failed (again): how long to wait.
    ///
    /// Doubles from one poll, at most to 20 polls or 5 minutes, whichever is less, but never
    /// below one poll. Anything above one poll is up to a fifth shorter, at random.
    /// `retry_after` is a floor, up to an hour.
    pub(crate) fn failed(
        &mut self,
        poll: Duration,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> Duration {
        let first = match cause {
            Cause::Unauthorized | Cause::Permission => DENIED,
            _ => 1,
        };
        let factor = first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let longest = poll.saturating_mul(POLLS).min(LONGEST);
        let wait = poll.saturating_mul(factor).min(longest);
        let wait = (wait - wait.mul_f64(self.random.f64() / 5.0)).max(poll);
        wait.max(retry_after.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// It succeeded: the next failure is the first.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(10);

    fn waits(backoff: &mut Backoff, poll: Duration, cause: Cause, count: usize) -> Vec<f64> {
        (0..count).map(|_| backoff.failed(poll, cause, None).as_secs_f64()).collect()
    }

    /// `wait` is what is left of `whole` after the jitter.
    fn assert_near(wait: f64, whole: f64) {
        assert!(wait > whole * 0.8 - 1e-9 && wait <= whole, "{wait} of {whole}");
    }

    #[test]
    fn doubles_from_one_poll_to_twenty() {
        for seed in 0..100 {
            let mut backoff = Backoff { failures: 0, random: Rng::with_seed(seed) };
            let waits = waits(&mut backoff, POLL, Cause::Server, 8);
            assert_eq!(waits[0], 10.0);
            for (wait, whole) in waits.iter().zip([10, 20, 40, 80, 160, 200, 200, 200]) {
                assert_near(*wait, f64::from(whole));
            }
            backoff.succeeded();
            assert_eq!(backoff.failed(POLL, Cause::Timeout, None), POLL);
        }
    }

    #[test]
    fn stays_between_a_poll_and_five_minutes() {
        for (poll, longest) in [(1, 20.0), (15, 300.0), (60, 300.0), (299, 300.0), (900, 900.0)] {
            let poll = Duration::from_secs(poll);
            let mut backoff = Backoff::default();
            for wait in waits(&mut backoff, poll, Cause::Connect, 200) {
                assert!((poll.as_secs_f64()..=longest).contains(&wait), "{poll:?}: {wait}");
            }
        }
        let long = Duration::MAX;
        assert_eq!(Backoff::default().failed(long, Cause::Connect, Some(long)), long);
        assert_eq!(Backoff::default().failed(Duration::ZERO, Cause::Io, None), Duration::ZERO);
    }

    #[test]
    fn what_is_denied_starts_at_four_polls() {
        for cause in [Cause::Unauthorized, Cause::Permission] {
            let waits = waits(&mut Backoff::default(), POLL, cause, 4);
            for (wait, whole) in waits.iter().zip([40.0, 80.0, 160.0, 200.0]) {
                assert_near(*wait, whole);
            }
        }
    }

    #[test]
    fn a_wish_is_a_floor_of_at_most_an_hour() {
        let asked = |seconds| {
            Backoff::default().failed(POLL, Cause::RateLimited, Some(Duration::from_secs(seconds)))
        };
        assert_eq!(asked(0), POLL);
        assert_eq!(asked(1234), Duration::from_secs(1234));
        assert_eq!(asked(u64::MAX), Duration::from_secs(3600));
    }

    #[test]
    fn two_agents_do_not_wait_alike() {
        let (mut one, mut other) = (Backoff::default(), Backoff::default());
        let count = 16;
        assert_ne!(
            waits(&mut one, POLL, Cause::Server, count),
            waits(&mut other, POLL, Cause::Server, count)
        );
    }
}
