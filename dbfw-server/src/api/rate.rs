//! Rate limits: so many requests of a token in a minute, and so many refused ones of an address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

/// Length of a window in seconds.
const WINDOW: i64 = 60;

/// Addresses that are remembered in a window.
const ADDRESSES: usize = 16_384;

/// The number of requests that are left in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Requests in a window.
    pub(crate) limit: u32,
    /// Those that are left.
    pub(crate) remaining: u32,
    /// The end of the window, in seconds since 1970.
    pub(crate) reset: i64,
}

/// No requests are left before the window's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted(pub(crate) Rate);

/// The requests of the current window.
#[derive(Debug)]
pub(crate) struct Rates {
    limit: u32,
    refused: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start: i64,
    of_token: HashMap<Uuid, u32>,
    of_address: HashMap<IpAddr, u32>,
}

impl Rates {
    /// Limits a token to this many in a minute, and an address to so many refused ones.
    pub(crate) fn new(limit: u32, refused: u32) -> Self {
        Self { limit, refused, window: Mutex::default() }
    }

    /// A rate of which nothing was used.
    pub(crate) fn unused(&self, now: i64) -> Rate {
        Rate {
            limit: self.limit,
            remaining: self.limit,
            reset: now - now.rem_euclid(WINDOW) + WINDOW,
        }
    }

    /// Counts a request of a token.
    pub(crate) fn count(&self, token: Uuid, now: i64) -> Result<Rate, Exhausted> {
        let used = self.within(now, |window| {
            let used = window.of_token.entry(token).or_default();
            *used = used.saturating_add(1);
            *used
        });
        let rate = Rate { remaining: self.limit.saturating_sub(used), ..self.unused(now) };
        if used > self.limit { Err(Exhausted(rate)) } else { Ok(rate) }
    }

    /// Counts a request that is refused because of its token.
    pub(crate) fn count_refused(&self, address: IpAddr, now: i64) -> Result<(), Exhausted> {
        let used = self.within(now, |window| {
            let has_room = window.of_address.len() < ADDRESSES;
            if !has_room && !window.of_address.contains_key(&address) {
                return 0;
            }
            let used = window.of_address.entry(address).or_default();
            *used = used.saturating_add(1);
            *used
        });
        if used <= self.refused {
            return Ok(());
        }
        Err(Exhausted(Rate { limit: self.refused, remaining: 0, ..self.unused(now) }))
    }

    fn within<T>(&self, now: i64, then: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now - now.rem_euclid(WINDOW);
        if window.start != start {
            *window = Window { start, ..Window::default() };
        }
        then(&mut window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_limit_a_minute() {
        let rates = Rates::new(2, 3);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(rates.count(one, 100), Ok(Rate { limit: 2, remaining: 1, reset: 120 }));
        assert_eq!(rates.count(one, 119).map(|rate| rate.remaining), Ok(0));
        assert!(rates.count(one, 119).is_err());
        assert!(rates.count(other, 119).is_ok());
        assert_eq!(rates.count(one, 120).map(|rate| (rate.remaining, rate.reset)), Ok((1, 180)));
    }

    #[test]
    fn an_address_that_tries_tokens_is_stopped() {
        let rates = Rates::new(2, 3);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for _ in 0..3 {
            assert!(rates.count_refused(one, 0).is_ok());
        }
        assert!(rates.count_refused(one, 59).is_err());
        assert!(rates.count_refused(other, 59).is_ok());
        assert!(rates.count_refused(one, 60).is_ok());
    }
}
