//! The health of the agent's loop, for `/healthz` and `/readyz`.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The loop counts as stuck after this long without a beat.
const LIVE_FOR: Duration = Duration::from_secs(5);

/// Time for which a look at the kernel counts.
const READY_FOR: Duration = Duration::from_secs(2);

/// Last sign of life of the agent's loop. Time is monotonic; a clock that is set
/// changes nothing.
#[derive(Debug)]
pub struct Health {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    beat: AtomicU64,
    readiness: Mutex<Readiness>,
}

#[derive(Debug)]
struct Readiness {
    at: Instant,
    state: Result<(), String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Live from now on, not ready.
    pub fn new() -> Self {
        let now = Instant::now();
        let state = Err("protection was not yet read back from the kernel".to_owned());
        Self {
            start: now,
            beat: AtomicU64::new(0),
            readiness: Mutex::new(Readiness { at: now, state }),
        }
    }

    /// The loop runs. To be called at least every second.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Records the protection read back from the kernel: ready, or why not. Also a
    /// [`beat`](Self::beat).
    pub fn set_ready(&self, state: Result<(), String>) {
        self.set_ready_at(state, Instant::now());
    }

    /// Whether the loop runs; else why this is doubted.
    ///
    /// # Errors
    ///
    /// The reason why the agent is not alive.
    pub fn live(&self) -> Result<(), String> {
        self.live_at(Instant::now())
    }

    /// Whether protection was read back from the kernel just now; else why not.
    ///
    /// # Errors
    ///
    /// The reason why the agent is not ready.
    pub fn ready(&self) -> Result<(), String> {
        self.ready_at(Instant::now())
    }

    fn beat_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.start).as_millis();
        self.beat.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn set_ready_at(&self, state: Result<(), String>, now: Instant) {
        self.beat_at(now);
        *self.readiness.lock().unwrap_or_else(PoisonError::into_inner) =
            Readiness { at: now, state };
    }

    fn live_at(&self, now: Instant) -> Result<(), String> {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(self.start).saturating_sub(beat);
        if silent <= LIVE_FOR {
            return Ok(());
        }
        Err(format!("the agent's loop has not answered for {} s", silent.as_secs()))
    }

    fn ready_at(&self, now: Instant) -> Result<(), String> {
        let readiness = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        readiness.state.clone()?;
        let age = now.saturating_duration_since(readiness.at);
        if age <= READY_FOR {
            return Ok(());
        }
        Err(format!("protection was last read back from the kernel {} s ago", age.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_for_five_seconds_after_a_beat() {
        let health = Health::new();
        let start = health.start;
        health.beat_at(start + Duration::from_secs(100));
        assert_eq!(health.live_at(start + Duration::from_secs(105)), Ok(()));
        let reason = health.live_at(start + Duration::from_secs(107)).unwrap_err();
        assert_eq!(reason, "the agent's loop has not answered for 7 s");
    }

    #[test]
    fn ready_only_when_just_read_back() {
        let health = Health::new();
        let start = health.start;
        assert!(health.ready_at(start).unwrap_err().contains("not yet"));
        health.set_ready_at(Ok(()), start + Duration::from_secs(10));
        assert_eq!(health.ready_at(start + Duration::from_secs(12)), Ok(()));
        assert!(health.ready_at(start + Duration::from_secs(13)).is_err());
        health.set_ready_at(Err("eth0: gone".into()), start + Duration::from_secs(13));
        assert_eq!(health.ready_at(start + Duration::from_secs(13)), Err("eth0: gone".to_owned()));
        assert_eq!(health.live_at(start + Duration::from_secs(13)), Ok(()));
    }
}
