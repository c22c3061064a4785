//! Metrics of syncs, sources, providers and the configuration.

use std::fmt;

use dbfw_core::{answers::Cause, policy::Guard};
use dbfw_metrics::{Metric, MetricType, Samples};
use dbfw_provider::{stats::StatsValues, worker::Account};

use crate::metrics::scrape::{Scrape, SourceScrape};

const BY_DATABASE: &[&str] = &["database"];
const BY_PROVIDER: &[&str] = &["provider"];
const BY_WINDOW: &[&str] = &["provider", "window"];

/// Values of the label `window`.
const WINDOWS: [&str; 2] = ["hour", "minute"];

pub(super) const METRICS: &[Metric<Scrape>] = &[
    Metric {
        name: "dbfw_sync_total",
        kind: MetricType::Counter,
        labels: BY_DATABASE,
        help: "Syncs with the provider of the database, successful or not.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| out.counter(&[name], sync.total))
        },
    },
    Metric {
        name: "dbfw_sync_failures_total",
        kind: MetricType::Counter,
        labels: &["database", "cause"],
        help: "Syncs that failed, by cause; the last good list stays in force.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| {
                Cause::ALL.iter().try_for_each(|cause| {
                    out.counter(&[name, cause.as_str()], sync.failures(*cause))
                })
            })
        },
    },
    Metric {
        name: "dbfw_sync_duration_seconds",
        kind: MetricType::Histogram,
        labels: &[],
        help: "Seconds from the start of a sync to its end, all databases together.",
        samples: |scrape, out| out.histogram(&[], scrape.sync.durations()),
    },
    Metric {
        name: "dbfw_last_successful_sync_timestamp_seconds",
        kind: MetricType::Gauge,
        labels: BY_DATABASE,
        help: "Unix time in seconds of the last successful sync; 0 if there was none.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| {
                let seconds = sync.last_success.map_or(0.0, |at| at.as_duration().as_secs_f64());
                out.gauge(&[name], seconds)
            })
        },
    },
    Metric {
        name: "dbfw_plan_refused_total",
        kind: MetricType::Counter,
        labels: &["database", "guard"],
        help: "Changes a guard refused until somebody confirms them, by guard.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| {
                Guard::ALL.iter().try_for_each(|guard| {
                    out.counter(&[name, guard.as_str()], sync.refused(*guard))
                })
            })
        },
    },
    Metric {
        name: "dbfw_stale_sources",
        kind: MetricType::Gauge,
        labels: BY_DATABASE,
        help: "Trusted sources that could not be refreshed; what they last resolved to stays in \
               force.",
        samples: |scrape, out| by_source(scrape, out, |of| of.stale as u64),
    },
    Metric {
        name: "dbfw_unresolved_sources",
        kind: MetricType::Gauge,
        labels: BY_DATABASE,
        help: "Trusted sources that resolve to no address.",
        samples: |scrape, out| by_source(scrape, out, |of| of.unresolved as u64),
    },
    Metric {
        name: "dbfw_oldest_source_age_seconds",
        kind: MetricType::Gauge,
        labels: BY_DATABASE,
        help: "Age in seconds of the oldest answer that a trusted source relies on; 0 if there is \
               none.",
        samples: |scrape, out| {
            scrape.sources.iter().try_for_each(|of| {
                let age = of.oldest.map_or(0.0, |age| age.as_secs_f64());
                out.gauge(&[&of.database], age)
            })
        },
    },
    Metric {
        name: "dbfw_refused_plans",
        kind: MetricType::Gauge,
        labels: BY_DATABASE,
        help: "1 while a guard refuses a change of the trusted sources, else 0.",
        samples: |scrape, out| by_source(scrape, out, |of| u64::from(of.refused)),
    },
    Metric {
        name: "dbfw_provider_requests_total",
        kind: MetricType::Counter,
        labels: BY_PROVIDER,
        help: "Requests made to the provider.",
        samples: |scrape, out| {
            scrape
                .providers
                .iter()
                .try_for_each(|(account, stats)| out.counter(&[account.as_str()], stats.requests))
        },
    },
    Metric {
        name: "dbfw_provider_request_failures_total",
        kind: MetricType::Counter,
        labels: &["provider", "cause"],
        help: "Lists and sources that the provider was asked for without success, by cause.",
        samples: |scrape, out| {
            scrape.providers.iter().try_for_each(|(account, stats)| {
                Cause::ALL.iter().zip(stats.failures).try_for_each(|(cause, failures)| {
                    out.counter(&[account.as_str(), cause.as_str()], failures)
                })
            })
        },
    },
    Metric {
        name: "dbfw_provider_budget_requests",
        kind: MetricType::Gauge,
        labels: BY_WINDOW,
        help: "Requests that may be made in any hour or minute.",
        samples: |scrape, out| {
            by_window(scrape, out, |stats| [stats.limit_hour, stats.limit_minute])
        },
    },
    Metric {
        name: "dbfw_provider_budget_left_requests",
        kind: MetricType::Gauge,
        labels: BY_WINDOW,
        help: "Requests left of the hour or minute up to now.",
        samples: |scrape, out| by_window(scrape, out, |stats| [stats.left_hour, stats.left_minute]),
    },
    Metric {
        name: "dbfw_provider_poll_interval_seconds",
        kind: MetricType::Gauge,
        labels: BY_PROVIDER,
        help: "Planned seconds from the start of one round of requests to the start of the next; \
               longer than configured if the budget or failures require it.",
        samples: |scrape, out| {
            scrape.providers.iter().try_for_each(|(account, stats)| {
                out.gauge(&[account.as_str()], stats.interval.as_secs_f64())
            })
        },
    },
    Metric {
        name: "dbfw_config_last_reload_successful",
        kind: MetricType::Gauge,
        labels: &[],
        help: "1 if the last reload of the configuration succeeded, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.reload_ok)),
    },
    Metric {
        name: "dbfw_history_errors_total",
        kind: MetricType::Counter,
        labels: &[],
        help: "Entries of the history that were not written.",
        samples: |scrape, out| out.counter(&[], scrape.history_errors),
    },
    Metric {
        name: "dbfw_state_unsaved",
        kind: MetricType::Gauge,
        labels: &["file"],
        help: "1 while what is in force cannot be written to this file of state_dir, so that a \
               restart would not know it, else 0.",
        samples: |scrape, out| {
            out.gauge(&["snapshot"], u64::from(scrape.snapshot_unsaved))?;
            out.gauge(&["configuration"], u64::from(scrape.configuration_unsaved))
        },
    },
];

fn by_source(
    scrape: &Scrape,
    out: &mut Samples<'_>,
    value: fn(&SourceScrape) -> u64,
) -> fmt::Result {
    scrape.sources.iter().try_for_each(|of| out.gauge(&[&of.database], value(of)))
}

fn by_window(
    scrape: &Scrape,
    out: &mut Samples<'_>,
    values: fn(&StatsValues) -> [u32; WINDOWS.len()],
) -> fmt::Result {
    // The only one with a budget of requests.
    let mut limited =
        scrape.providers.iter().filter(|(account, _)| *account == Account::DigitalOcean);
    limited.try_for_each(|(account, stats)| {
        WINDOWS
            .iter()
            .zip(values(stats))
            .try_for_each(|(window, requests)| out.gauge(&[account.as_str(), window], requests))
    })
}
