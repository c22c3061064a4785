//! Readiness: what systemd, the health endpoint and the log are told of protection.

use std::sync::Arc;

use sd_notify::NotifyState;

use crate::{
    metrics::http::Health,
    protection::{Degradation, Protection},
};

/// Tells systemd what the agent is doing.
pub(super) fn status(text: &str) {
    // Fails only without systemd.
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}

/// Tells systemd that the agent is stopping.
pub(super) fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Protection as it was last announced.
#[derive(Debug)]
pub(super) struct Readiness {
    health: Arc<Health>,
    /// Those that were logged as begun.
    degradations: Vec<Degradation>,
    /// systemd was told that the agent is ready.
    announced: bool,
}

impl Readiness {
    /// Nothing was announced yet.
    pub(super) fn new() -> Self {
        Self { health: Arc::new(Health::new()), degradations: Vec::new(), announced: false }
    }

    /// The state that the health endpoint shows.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Whether protection held when it was last followed.
    pub(super) fn is_ready(&self) -> bool {
        self.health.ready().is_ok()
    }

    /// Whether systemd was told that the agent is ready.
    pub(super) fn is_announced(&self) -> bool {
        self.announced
    }

    /// Logs the degradations that began or ended, and updates the health endpoint.
    pub(super) fn follow(&mut self, protection: &Protection) {
        let now = protection.degradations();
        for degradation in now.iter().filter(|now| !self.degradations.contains(now)) {
            tracing::warn!(name: "degraded", "degraded: {degradation}");
        }
        for degradation in self.degradations.iter().filter(|before| !now.contains(before)) {
            tracing::info!("no longer degraded: {degradation}");
        }
        if self.degradations != now && self.is_ready() {
            status(&in_a_line(protection));
        }
        self.degradations = now.to_vec();
        self.health.set_ready(protection.ready());
    }

    /// Tells systemd, once, that protection was read back.
    pub(super) fn announce(&mut self, protection: &Protection) {
        if self.announced {
            return;
        }
        match protection.ready() {
            Ok(()) => {
                self.announced = true;
                self.health.heartbeat();
                tracing::info!(name: "ready", "ready: the configuration is in force on every covered interface");
                let _ = sd_notify::notify(&[NotifyState::Ready]);
                status(&in_a_line(protection));
            }
            Err(reason) => status(&format!("not protected: {reason}")),
        }
    }

    /// Tells the health endpoint and the watchdog that the loop runs.
    pub(super) fn heartbeat(&self) {
        self.health.heartbeat();
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }

    /// Tells systemd that a reload began. Before it was told of readiness it is not told of
    /// reloads.
    pub(super) fn reloading(&self) {
        if self.announced {
            let _ = sd_notify::notify(&[
                NotifyState::Reloading,
                NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
            ]);
        }
    }

    /// Tells systemd that the reload has ended.
    pub(super) fn reloaded(&self) {
        if self.announced {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
    }
}

/// Protection in a line, for `systemctl status`.
fn in_a_line(protection: &Protection) -> String {
    match (protection.ready(), protection.degradations()) {
        (Err(reason), _) => format!("not protected: {reason}"),
        (Ok(()), []) => "protecting".to_owned(),
        (Ok(()), degradations) => {
            let reasons: Vec<_> = degradations.iter().map(ToString::to_string).collect();
            format!("protecting, degraded: {}", reasons.join("; "))
        }
    }
}

#[cfg(test)]
mod tests;
