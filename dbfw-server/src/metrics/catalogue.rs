//! Every metric of the server.

use dbfw_metrics::{Metric, MetricType};

use super::scrape::Scrape;
use crate::api::STATUSES;

/// Every metric, in the order they are written.
pub(super) const CATALOGUE: &[Metric<Scrape>] = &[
    Metric {
        name: "dbfw_server_build_info",
        kind: MetricType::Info,
        labels: &["version"],
        help: "Always 1; the label says which version is running.",
        samples: |_, out| out.info(&[env!("CARGO_PKG_VERSION")]),
    },
    Metric {
        name: "dbfw_server_up",
        kind: MetricType::Gauge,
        labels: &[],
        help: "1 if the store answered for this scrape, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.up)),
    },
    Metric {
        name: "dbfw_server_hosts",
        kind: MetricType::Gauge,
        labels: &["database", "state"],
        help: "Hosts of the database by the state of its newest list there (applied, observing, \
               pending, refused, failed, offline).",
        samples: |scrape, out| {
            scrape.hosts.iter().try_for_each(|(database, states)| {
                states.iter().try_for_each(|(state, count)| {
                    out.gauge(&[database, state.as_str()], gauge(*count))
                })
            })
        },
    },
    Metric {
        name: "dbfw_server_host_tokens_used_twice",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Hosts whose token two agents use at once.",
        samples: |scrape, out| out.gauge(&[], gauge(scrape.used_twice)),
    },
    Metric {
        name: "dbfw_server_streams",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Open streams of agents.",
        samples: |scrape, out| out.gauge(&[], gauge(scrape.streams)),
    },
    Metric {
        name: "dbfw_server_max_streams",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Streams that there may be (max_agents).",
        samples: |scrape, out| out.gauge(&[], gauge(scrape.max_streams)),
    },
    Metric {
        name: "dbfw_server_sent_bytes_total",
        kind: MetricType::Counter,
        labels: &[],
        help: "Bytes of lists, changes and signs of life that were sent to agents.",
        samples: |scrape, out| out.counter(&[], scrape.sent),
    },
    Metric {
        name: "dbfw_server_propagation_seconds",
        kind: MetricType::Histogram,
        labels: &[],
        help: "Seconds from the commit of a list to the report of a host that it is in force or \
               refused there.",
        samples: |scrape, out| out.histogram(&[], &scrape.propagation),
    },
    Metric {
        name: "dbfw_server_list_changes_total",
        kind: MetricType::Counter,
        labels: &["via"],
        help: "Versions of lists that were made, by the kind of client.",
        samples: |scrape, out| {
            scrape.changes.iter().try_for_each(|(via, count)| out.counter(&[via.as_str()], *count))
        },
    },
    Metric {
        name: "dbfw_server_merged_puts_total",
        kind: MetricType::Counter,
        labels: &[],
        help: "Versions of lists in which changes of others since the client read were kept.",
        samples: |scrape, out| out.counter(&[], scrape.merges),
    },
    Metric {
        name: "dbfw_server_requests_total",
        kind: MetricType::Counter,
        labels: &["route", "status"],
        help: "Answered requests by route (v2, v1, watch, report, agent, panel) and the first \
               digit of the status.",
        samples: |scrape, out| {
            scrape.requests.iter().try_for_each(|(route, counts)| {
                STATUSES
                    .iter()
                    .zip(counts)
                    .try_for_each(|(status, count)| out.counter(&[route.as_str(), status], *count))
            })
        },
    },
    Metric {
        name: "dbfw_server_rejected_logins_total",
        kind: MetricType::Counter,
        labels: &["kind"],
        help: "Tokens that were refused, by what they were shown for (api, host, join, panel).",
        samples: |scrape, out| {
            scrape
                .logins_refused
                .iter()
                .try_for_each(|(login, count)| out.counter(&[login.as_str()], *count))
        },
    },
    Metric {
        name: "dbfw_server_sessions",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Sessions of the panel that go on.",
        samples: |scrape, out| out.gauge(&[], gauge(scrape.sessions)),
    },
    Metric {
        name: "dbfw_server_store_duration_seconds",
        kind: MetricType::Histogram,
        labels: &["operation"],
        help: "Seconds that the store took, by operation (read, commit).",
        samples: |scrape, out| {
            scrape.store.iter().try_for_each(|(operation, done)| {
                out.histogram(&[operation.as_str()], &done.durations)
            })
        },
    },
    Metric {
        name: "dbfw_server_store_errors_total",
        kind: MetricType::Counter,
        labels: &["operation"],
        help: "Operations that the store failed or did not answer in time.",
        samples: |scrape, out| {
            scrape
                .store
                .iter()
                .try_for_each(|(operation, done)| out.counter(&[operation.as_str()], done.errors))
        },
    },
    Metric {
        name: "dbfw_server_store_resyncs_total",
        kind: MetricType::Counter,
        labels: &[],
        help: "Times that changes in etcd were missed, as after a compaction, and all was read anew.",
        samples: |scrape, out| out.counter(&[], scrape.resyncs),
    },
    Metric {
        name: "dbfw_server_leader",
        kind: MetricType::Gauge,
        labels: &[],
        help: "1 if this server is the leader of those of its store, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.is_leader)),
    },
    Metric {
        name: "dbfw_server_certificate_expiry_timestamp_seconds",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Unix time in seconds of the end of the certificate that is shown; none without TLS.",
        samples: |scrape, out| match scrape.certificate_end {
            Some(end) => out.gauge(&[], end),
            None => Ok(()),
        },
    },
];

fn gauge(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
