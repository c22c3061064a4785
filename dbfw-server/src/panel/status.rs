//! States of lists at hosts, in words.

use dbfw_wire::api::{DatabaseState, DatabaseStatus, HostAtDatabase, HostState};
use maud::{Markup, html};

use super::text::{count, shown};

/// A state of a database, with the number of its hosts.
pub(super) fn short(status: Option<&DatabaseStatus>) -> Markup {
    let Some(status) = status else { return html! { span.faint { "not known yet" } } };
    if status.hosts.is_empty() {
        return html! { span.faint { "no host" } };
    }
    html! {
        (badge(status.state)) " "
        span { (in_force(status)) " of " (count(status.hosts.len(), "host", "hosts")) }
    }
}

/// The number of hosts that have the newest list of a database in force, and those that do not.
pub(super) fn line(status: Option<&DatabaseStatus>) -> Markup {
    let Some(status) = status.filter(|status| !status.hosts.is_empty()) else {
        return html! {
            p.state { span.faint { "No host enforces the list by a stream." } }
        };
    };
    let lacking: Vec<&HostAtDatabase> =
        status.hosts.iter().filter(|host| !is_in_force(host)).collect();
    html! {
        p.state {
            (badge(status.state)) " "
            (in_force(status)) " of " (count(status.hosts.len(), "host has", "hosts have"))
            " the newest list in force"
            @if let Some(times) = status.propagation { span.faint { " (" (times.max_ms) " ms)" } }
            @if !lacking.is_empty() {
                ". Not yet: "
                @for (at, host) in lacking.iter().take(5).enumerate() {
                    @if at > 0 { ", " }
                    (shown(&host.name)) " (" (words(host.state)) ")"
                }
                @if lacking.len() > 5 { " and " (lacking.len() - 5) " more" }
            }
        }
    }
}

fn in_force(status: &DatabaseStatus) -> usize {
    status.hosts.iter().filter(|host| is_in_force(host)).count()
}

fn is_in_force(host: &HostAtDatabase) -> bool {
    matches!(host.state, HostState::Applied | HostState::Observing)
}

fn badge(state: DatabaseState) -> Markup {
    html! {
        @match state {
            DatabaseState::Active => span.badge.good { "active" },
            DatabaseState::Pending => span.badge { "pending" },
            DatabaseState::Degraded => span.badge.warn { "degraded" },
        }
    }
}

/// A state of a list at a host, in words.
pub(super) const fn words(state: HostState) -> &'static str {
    match state {
        HostState::Applied => "in force",
        HostState::Observing => "observing",
        HostState::Pending => "pending",
        HostState::Refused => "refused",
        HostState::Failed => "failed",
        HostState::Offline => "offline",
    }
}

/// The same with a mark.
pub(super) fn at_host(state: HostState) -> Markup {
    html! {
        @match state {
            HostState::Applied | HostState::Observing => span.badge.good { (words(state)) },
            HostState::Pending => span.badge { (words(state)) },
            HostState::Refused | HostState::Failed | HostState::Offline => {
                span.badge.warn { (words(state)) }
            },
        }
    }
}
