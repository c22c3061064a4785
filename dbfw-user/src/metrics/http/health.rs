//! The health of the agent's loop, for `/healthz` and `/readyz`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The loop counts as stuck after this long without a beat.
const LIVE_FOR: Duration = Duration::from_secs(5);

/// Time for which a look at the kernel counts.
const READY_FOR: Duration = Duration::from_secs(2);

/// Last sign of life of the agent's loop. Time is monotonic; a clock that is set
/// changes nothing.
#[derive(Debug)]
pub struct Health(Mutex<Signs>);

#[derive(Debug)]
struct Signs {
    beat: Instant,
    /// Time of the last look at the kernel, and what was found.
    looked_at: Instant,
    ready: Result<(), String>,
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
        let ready = Err("protection was not yet read back from the kernel".to_owned());
        Self(Mutex::new(Signs { beat: now, looked_at: now, ready }))
    }

    /// The loop runs. To be called at least every second.
    pub fn heartbeat(&self) {
        self.signs().beat = Instant::now();
    }

    /// Records the protection read back from the kernel: ready, or why not. Also a
    /// [`heartbeat`](Self::heartbeat).
    pub fn set_ready(&self, ready: Result<(), String>) {
        let now = Instant::now();
        *self.signs() = Signs { beat: now, looked_at: now, ready };
    }

    /// Whether the loop runs; else why this is doubted.
    ///
    /// # Errors
    ///
    /// The reason why the agent is not alive.
    pub fn live(&self) -> Result<(), String> {
        let silent = self.signs().beat.elapsed();
        if silent <= LIVE_FOR {
            return Ok(());
        }
        Err(format!("the agent's loop has not answered for {} s", silent.as_secs()))
    }

    /// Whether protection was read back from the kernel just now; else why not.
    ///
    /// # Errors
    ///
    /// The reason why the agent is not ready.
    pub fn ready(&self) -> Result<(), String> {
        let signs = self.signs();
        signs.ready.clone()?;
        let age = signs.looked_at.elapsed();
        if age <= READY_FOR {
            return Ok(());
        }
        Err(format!("protection was last read back from the kernel {} s ago", age.as_secs()))
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets time pass for what was recorded.
    fn pass(health: &Health, time: Duration) {
        let mut signs = health.signs();
        signs.beat -= time;
        signs.looked_at -= time;
    }

    #[test]
    fn live_for_five_seconds_after_a_beat() {
        let health = Health::new();
        pass(&health, Duration::from_secs(100));
        health.heartbeat();
        pass(&health, Duration::from_secs(4));
        assert_eq!(health.live(), Ok(()));
        pass(&health, Duration::from_secs(3));
        let reason = health.live().unwrap_err();
        assert_eq!(reason, "the agent's loop has not answered for 7 s");
    }

    #[test]
    fn ready_only_when_just_read_back() {
        let health = Health::new();
        assert!(health.ready().unwrap_err().contains("not yet"));
        health.set_ready(Ok(()));
        pass(&health, Duration::from_secs(1));
        assert_eq!(health.ready(), Ok(()));
        pass(&health, Duration::from_secs(2));
        assert!(health.ready().is_err());
        health.set_ready(Err("eth0: gone".into()));
        assert_eq!(health.ready(), Err("eth0: gone".to_owned()));
        assert_eq!(health.live(), Ok(()));
    }
}
