//! Metrics of the audit that was saved last.

use dbfw_metrics::{Metric, MetricType};

use crate::{metrics::scrape::Scrape, state::audit::CountedBy, traffic::drops::NO_DATABASE};

pub(super) const METRICS: &[Metric<Scrape>] = &[
    Metric {
        name: "dbfw_audit_findings",
        kind: MetricType::Gauge,
        labels: &["database", "check", "severity"],
        help: "Problems that the last saved audit found, by check; a check that could not be made \
               has no series.",
        samples: |scrape, out| {
            let counts = scrape.audit.iter().flat_map(|audit| &audit.counts);
            let mut shown = counts.filter(|(by, _)| match &by.database {
                Some(name) => scrape.databases.iter().any(|known| known.name == *name),
                None => true,
            });
            shown.try_for_each(|(CountedBy { database, check, severity }, count)| {
                out.gauge(&[database.as_deref().unwrap_or(NO_DATABASE), check, severity], *count)
            })
        },
    },
    Metric {
        name: "dbfw_audit_certificate_expiry_timestamp_seconds",
        kind: MetricType::Gauge,
        labels: &["database"],
        help: "Unix time in seconds at which the first certificate of the database ends, as the \
               last saved audit saw it.",
        samples: |scrape, out| {
            let expiries = scrape.audit.iter().flat_map(|audit| &audit.expiries);
            let mut shown = expiries
                .filter(|(name, _)| scrape.databases.iter().any(|known| known.name == **name));
            shown.try_for_each(|(name, at)| out.gauge(&[name], at.as_duration().as_secs_f64()))
        },
    },
    Metric {
        name: "dbfw_audit_last_run_timestamp_seconds",
        kind: MetricType::Gauge,
        labels: &[],
        help: "Unix time in seconds of the last saved audit; 0 if there is none.",
        samples: |scrape, out| {
            let at = scrape.audit.as_ref().map(|audit| audit.at);
            out.gauge(&[], at.map_or(0.0, |at| at.as_duration().as_secs_f64()))
        },
    },
    Metric {
        name: "dbfw_audit_errors_total",
        kind: MetricType::Counter,
        labels: &[],
        help: "Saved audits that could not be read; the one before stays.",
        samples: |scrape, out| out.counter(&[], scrape.audit_errors),
    },
];
