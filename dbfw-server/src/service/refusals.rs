//! [`Refusals`]: which refused tokens are written down.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use crate::model::AuditAction;

/// Refused tokens that are written down in a minute: whoever tries many fills neither history nor
/// disk.
const MOST: usize = 30;

/// Seconds in which refusals of one kind and address are one entry.
const WINDOW: i64 = 60;

/// The refusals that were written down in the current window.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    window: i64,
    seen: HashSet<(AuditAction, IpAddr)>,
}

impl Refusals {
    /// Whether a refusal is to be written down.
    pub(super) fn take(&self, action: AuditAction, from: IpAddr, now: i64) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = now - now.rem_euclid(WINDOW);
        if written.window != window {
            *written = Written { window, ..Written::default() };
        }
        written.seen.len() < MOST && written.seen.insert((action, from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tries_many_tokens_does_not_fill_the_history() {
        let refusals = Refusals::default();
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let tried = |now| {
            let each = (0..=255).map(|n| refusals.take(AuditAction::LoginRefused, address(n), now));
            each.filter(|is_taken| *is_taken).count()
        };
        assert!(refusals.take(AuditAction::LoginRefused, address(0), 60));
        assert!(!refusals.take(AuditAction::LoginRefused, address(0), 119));
        assert!(refusals.take(AuditAction::JoinRefused, address(0), 119));
        assert_eq!(tried(119), MOST - 2);
        assert_eq!(tried(120), MOST);
    }
}
