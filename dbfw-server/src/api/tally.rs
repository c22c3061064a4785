//! Requests and refused tokens, counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use dbfw_wire::agent::{REPORT, WATCH};
use strum::{IntoStaticStr, VariantArray};

/// The kind of what a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub(crate) enum Route {
    /// DigitalOcean's API.
    V2,
    /// The own API.
    V1,
    /// A stream of lists.
    Watch,
    /// A report of a host.
    Report,
    /// Other requests of agents.
    Agent,
    /// A page or a part of one.
    Panel,
}

impl Route {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The route of a path.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            WATCH => Self::Watch,
            REPORT => Self::Report,
            path if path.starts_with("/agent/") => Self::Agent,
            path if path.starts_with("/v2/") || path.starts_with("/v1/") => Self::V2,
            path if path.starts_with("/api/") || path.starts_with("/admin/") => Self::V1,
            _ => Self::Panel,
        }
    }
}

/// The first digits of statuses.
pub(crate) const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Something that a wrong token was shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub(crate) enum Login {
    /// A request to an API.
    Api,
    /// A request of an agent.
    Host,
    /// A host that wants to join.
    Join,
    /// A login to the panel.
    Panel,
}

impl Login {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The requests and refused tokens since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: [[AtomicU64; STATUSES.len()]; Route::VARIANTS.len()],
    refused: [AtomicU64; Login::VARIANTS.len()],
}

impl Tally {
    /// Counts an answered request.
    pub(crate) fn answered(&self, route: Route, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        let counts = self.requests.get(route as usize);
        if let Some(count) = counts.and_then(|counts| counts.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a token that was refused.
    pub(crate) fn refused(&self, login: Login) {
        if let Some(count) = self.refused.get(login as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answered requests by their route, and the first digit of the status.
    pub(crate) fn requests(&self) -> Vec<(Route, [u64; STATUSES.len()])> {
        let values = self
            .requests
            .each_ref()
            .map(|counts| counts.each_ref().map(|count| count.load(Ordering::Relaxed)));
        Route::VARIANTS.iter().copied().zip(values).collect()
    }

    /// Refused tokens by what they were shown for.
    pub(crate) fn logins_refused(&self) -> Vec<(Login, u64)> {
        let values = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Login::VARIANTS.iter().copied().zip(values).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_route_and_every_answer_a_place() {
        for (path, route) in [
            ("/v2/databases", Route::V2),
            ("/v1/oauth/token/info", Route::V2),
            ("/api/v1/hosts", Route::V1),
            ("/agent/v1/watch", Route::Watch),
            ("/agent/v1/report", Route::Report),
            ("/agent/v1/join", Route::Agent),
            ("/agent/v1/sets/00", Route::Agent),
            ("/", Route::Panel),
            ("/events", Route::Panel),
            ("/v2", Route::Panel),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
        let tally = Tally::default();
        for status in [200, 204, 303, 401, 412, 501, 503] {
            tally.answered(Route::V1, StatusCode::from_u16(status).unwrap());
        }
        assert!(tally.requests().contains(&(Route::V1, [2, 1, 2, 2])));
        tally.refused(Login::Join);
        assert!(tally.logins_refused().contains(&(Login::Join, 1)));
    }
}
