//! The wait before a host connects again. Many hosts lose a server at once, and must not come back
//! at once.

use std::time::Duration;

use fastrand::Rng;

/// Longest wait after a stream that was healthy, for the first try.
const AFTER_HEALTH: Duration = Duration::from_secs(1);
/// The shortest wait after a failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait after any number of failures.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest that a server may ask a host to stay away.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// The waits of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    failures: u32,
    random: Rng,
}

impl Waits {
    /// A healthy stream ended; the server asked to come back within `asked`, if it did.
    pub(crate) fn lost(&mut self, asked: Option<Duration>) -> Duration {
        self.failures = 0;
        asked.unwrap_or(AFTER_HEALTH).min(LONGEST_ASKED).mul_f64(self.random.f64())
    }

    /// There was no stream, or none that became healthy. `at_least` is what the server asked for.
    pub(crate) fn failed(&mut self, at_least: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let most = SHORTEST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        let wait = SHORTEST + (most - SHORTEST).mul_f64(self.random.f64());
        wait.max(at_least.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// A stream is healthy: the next failure is the first.
    pub(crate) const fn healthy(&mut self) {
        self.failures = 0;
    }

    /// Nothing that passes by itself: the token was refused, say.
    pub(crate) fn hopeless(&mut self) -> Duration {
        self.failures = u32::MAX;
        self.failed(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_comes_soon_and_later_ones_are_spread() {
        let mut waits = Waits { random: Rng::with_seed(7), ..Waits::default() };
        for _ in 0..100 {
            assert!(waits.lost(None) <= AFTER_HEALTH);
            assert!(waits.lost(Some(Duration::from_secs(4))) <= Duration::from_secs(4));
            let first = waits.failed(None);
            assert!((SHORTEST..=2 * SHORTEST).contains(&first), "{first:?}");
        }
        let late: Vec<Duration> = (0..200).map(|_| waits.failed(None)).collect();
        let late = &late[20..];
        assert!(late.iter().all(|wait| (SHORTEST..=LONGEST).contains(wait)));
        assert!(late.iter().any(|wait| *wait < Duration::from_secs(8)));
        assert!(late.iter().any(|wait| *wait > Duration::from_secs(22)));
        assert!(waits.failed(Some(Duration::from_secs(60))) >= Duration::from_secs(60));
        assert!(waits.failed(Some(Duration::MAX)) <= LONGEST_ASKED);
        waits.lost(None);
        assert!(waits.failed(None) <= 2 * SHORTEST, "health forgets the failures");
    }
}
