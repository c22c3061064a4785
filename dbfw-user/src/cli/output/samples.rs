//! Sample documents for the tests of the output.

use dbfw_wire::control::{
    AccountStatus, AgentStatus, BackstopStatus, ConfigFileStatus, DatabaseStatus, Enforced, Guard,
    InterfaceMode, InterfaceStatus, ListState, LiveConnection, Mode, Protection, ProviderStatus,
    RefusedPlan, SourceState, SourceStatus, Status, Trial,
};
use jiff::Timestamp;

/// The moment the documents are rendered at.
pub(in super::super) const NOW: &str = "2026-03-01T12:00:00Z";

/// A time of that day.
pub(in super::super) fn at(time: &str) -> Timestamp {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

/// Of a host where all is well.
pub(in super::super) fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        protected: true,
        protection: Protection::Yes,
        enforced: Enforced::Yes,
        problems: Vec::new(),
        agent: Some(AgentStatus {
            pid: 812,
            started_at: at("08:48:00"),
            ready: true,
            detached: false,
            generation: 41,
            config_ok: true,
            config_since: Some(at("08:48:00")),
            config_files: vec![ConfigFileStatus {
                path: "/etc/dbfw/dbfw.toml".to_owned(),
                sha256: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
                    .to_owned(),
            }],
            trial: None,
            programs: vec![71, 72],
        }),
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            ifindex: 2,
            mode: InterfaceMode::Native,
            healthy: true,
            detail: None,
        }],
        backstop: Some(BackstopStatus {
            healthy: true,
            exempt: vec!["docker0".to_owned()],
            detail: None,
        }),
        agent_absence: None,
        passed_on_unjudged: Vec::new(),
        databases: vec![DatabaseStatus {
            name: "orders".to_owned(),
            ports: vec!["tcp/5432".to_owned(), "tcp/6432".to_owned()],
            addresses: Vec::new(),
            mode: Mode::Enforce,
            enforced: Enforced::Yes,
            openings: Vec::new(),
            unused_ports: None,
            sources: 3,
            prefixes_ipv4: 12,
            prefixes_ipv6: 1,
            allowed_packets: 1_234_567,
            dropped_packets: 40_321,
            observed_packets: 0,
            drops_per_second: Some(1204.0),
            provider: Some(ProviderStatus {
                name: "file:/etc/dbfw/orders.list".to_owned(),
                state: ListState::Ok,
                last_success: Some(at("11:59:48")),
                age_seconds: Some(12),
                error: None,
            }),
            refused: None,
            stale_sources: 0,
            unresolved_sources: 0,
            oldest_age_seconds: Some(7),
        }],
        accounts: Vec::new(),
    }
}

/// One that goes on for nearly ten minutes.
pub(in super::super) fn trial() -> Trial {
    Trial {
        ends_at: at("12:09:58"),
        keep: "dbfw reload --keep".to_owned(),
        revert: "dbfw reload --revert".to_owned(),
        restores_since: at("08:48:00"),
        restores: Vec::new(),
        changes: Vec::new(),
    }
}

/// One that a guard refuses.
pub(in super::super) fn refused() -> RefusedPlan {
    RefusedPlan {
        id: "1a2b3c4d".to_owned(),
        guard: Guard::MaxShrink,
        message: "the new list loses 60 of 100 prefixes in force, more than max_shrink = \"50%\" \
                  allows"
            .to_owned(),
        lost: (1..=20).map(|n| format!("10.0.0.{n}/32")).collect(),
        lost_total: 60,
        gained: vec!["198.51.100.0/24".to_owned(), "2001:db8::7/128".to_owned()],
        gained_total: 2,
        connections: (1..=2)
            .map(|n| LiveConnection {
                peer: format!("10.0.0.{n}:40312"),
                port: 5432,
                source_prefix: format!("10.0.0.{n}/32"),
            })
            .collect(),
        connections_total: 3,
        connections_error: None,
        command: "dbfw reload --confirm 1a2b3c4d".to_owned(),
    }
}

/// One that is asked over the network.
pub(in super::super) fn account(name: &str) -> AccountStatus {
    AccountStatus {
        name: name.to_owned(),
        requests: 41,
        failures: 3,
        budget_hour_left: None,
        budget_minute_left: None,
        interval_seconds: 15.25,
        last_round_seconds: Some(0.4),
        error: None,
    }
}

/// One of the configuration, as it should be.
pub(in super::super) fn source(text: &str) -> SourceStatus {
    SourceStatus {
        database: "orders".to_owned(),
        source: text.to_owned(),
        origin: "config".to_owned(),
        description: None,
        expires_at: None,
        users: Vec::new(),
        prefixes: vec!["10.0.0.1/32".to_owned()],
        since: None,
        packets: 0,
        last_hit: None,
        state: SourceState::Ok,
        resolved_from: Some("GET /v2/droplets?tag_name=backend".to_owned()),
        age_seconds: Some(7),
        unresolved: Vec::new(),
        error: None,
        notes: Vec::new(),
    }
}
