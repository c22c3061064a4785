//! Output of `dbfw status --output plain`, one record a line.

use dbfw_wire::control::{AccountStatus, DatabaseStatus, Status};

use super::super::{
    refused,
    reload::trial_fields,
    words::{fields, maybe, moment},
};

/// A record for everything there is to tell.
pub(super) fn plain(status: &Status) -> String {
    let mut text = fields([
        "protected",
        status.protection.as_str(),
        &status.version,
        status.enforced.as_str(),
        yes(status.protected),
    ]);
    for problem in &status.problems {
        text.push_str(&fields(["problem", problem]));
    }
    if let Some(agent) = &status.agent {
        text.push_str(&fields([
            "agent",
            &agent.pid.to_string(),
            &moment(Some(agent.started_at)),
            yes(agent.ready),
            yes(agent.detached),
            &agent.generation.to_string(),
            yes(agent.config_ok),
        ]));
        if let Some(trial) = &agent.trial {
            text.push_str(&trial_fields(trial));
        }
    }
    if let Some(absence) = status.agent_absence {
        text.push_str(&fields(["agent_absence", absence.as_str()]));
    }
    for interface in &status.interfaces {
        text.push_str(&fields([
            "interface",
            &interface.name,
            &interface.ifindex.to_string(),
            interface.mode.as_str(),
            yes(interface.healthy),
            &maybe(interface.detail.as_ref()),
        ]));
    }
    if let Some(backstop) = &status.backstop {
        text.push_str(&fields([
            "backstop",
            yes(backstop.healthy),
            &backstop.exempt.join(","),
            &maybe(backstop.detail.as_ref()),
        ]));
    }
    status.accounts.iter().for_each(|account| text.push_str(&account_fields(account)));
    for database in &status.databases {
        text.push_str(&database_fields(database));
        text.push_str(&refused::records(database));
    }
    text
}

fn database_fields(database: &DatabaseStatus) -> String {
    let provider = database.provider.as_ref();
    fields([
        "database",
        &database.name,
        &database.ports.join(","),
        database.mode.as_str(),
        &database.sources.to_string(),
        &database.prefixes_ipv4.to_string(),
        &database.prefixes_ipv6.to_string(),
        &database.allowed_packets.to_string(),
        &database.dropped_packets.to_string(),
        &database.observed_packets.to_string(),
        &database.drops_per_second.map(|rate| format!("{rate:.1}")).unwrap_or_default(),
        provider.map_or("", |provider| &provider.name),
        provider.map_or("", |provider| provider.state.as_str()),
        &maybe(provider.and_then(|provider| provider.age_seconds.as_ref())),
        &maybe(provider.and_then(|provider| provider.error.as_ref())),
        &database.stale_sources.to_string(),
        &database.unresolved_sources.to_string(),
        &maybe(database.oldest_age_seconds.as_ref()),
        &database.openings.join("; "),
        &database.addresses.join(","),
        &database.unused_ports.as_ref().map(|ports| ports.join(",")).unwrap_or_default(),
    ])
}

fn account_fields(account: &AccountStatus) -> String {
    fields([
        "account",
        &account.name,
        &account.requests.to_string(),
        &account.failures.to_string(),
        &maybe(account.budget_hour_left.as_ref()),
        &maybe(account.budget_minute_left.as_ref()),
        &format!("{:.1}", account.interval_seconds),
        &account.last_round_seconds.map(|took| format!("{took:.3}")).unwrap_or_default(),
        &maybe(account.error.as_ref()),
    ])
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
