//! Every metric of the server.

use dbfw_core::answers::Cause;
use dbfw_metrics::{Metric, MetricType};

use super::scrape::Scrape;
use crate::{api::STATUSES, resolve::AccountStatus};

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
        name: "dbfw_server_sources",
        kind: MetricType::Gauge,
        labels: &["provider"],
        help: "Trusted sources of all lists that the server resolves, by whom it asks \
               (digitalocean, feeds, dns).",
        samples: |scrape, out| {
            each(scrape, |it, provider| out.gauge(&[provider], gauge(it.sources)))
        },
    },
    Metric {
        name: "dbfw_server_failing_sources",
        kind: MetricType::Gauge,
        labels: &["provider"],
        help: "Those of which the last answer could not be confirmed; what they last stood for \
               counts.",
        samples: |scrape, out| {
            each(scrape, |it, provider| out.gauge(&[provider], gauge(it.failing)))
        },
    },
    Metric {
        name: "dbfw_server_held_losses",
        kind: MetricType::Gauge,
        labels: &["provider"],
        help: "Those that would lose more addresses than max_shrink allows, until somebody confirms \
               the loss.",
        samples: |scrape, out| each(scrape, |it, provider| out.gauge(&[provider], gauge(it.held))),
    },
    Metric {
        name: "dbfw_server_oldest_answer_timestamp_seconds",
        kind: MetricType::Gauge,
        labels: &["provider"],
        help: "Unix time in seconds at which the oldest answer was last confirmed; none while a \
               source has no answer yet.",
        samples: |scrape, out| {
            each(scrape, |it, provider| match it.oldest {
                Some(at) => out.gauge(&[provider], u64::try_from(at.as_second()).unwrap_or(0)),
                None => Ok(()),
            })
        },
    },
    Metric {
        name: "dbfw_server_provider_requests_total",
        kind: MetricType::Counter,
        labels: &["provider"],
        help: "Requests to resolve sources.",
        samples: |scrape, out| {
            each(scrape, |it, provider| out.counter(&[provider], it.requests.requests))
        },
    },
    Metric {
        name: "dbfw_server_provider_failures_total",
        kind: MetricType::Counter,
        labels: &["provider", "cause"],
        help: "Those that brought no usable answer, by the cause.",
        samples: |scrape, out| {
            each(scrape, |it, provider| {
                let counts = Cause::ALL.iter().zip(it.requests.failures);
                counts
                    .into_iter()
                    .try_for_each(|(cause, count)| out.counter(&[provider, cause.as_str()], count))
            })
        },
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

/// Writes samples of each provider that sources are asked of.
fn each(
    scrape: &Scrape,
    mut write: impl FnMut(&AccountStatus, &str) -> std::fmt::Result,
) -> std::fmt::Result {
    scrape.accounts.iter().try_for_each(|account| write(account, account.account.as_str()))
}

fn gauge(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
