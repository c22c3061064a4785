use std::fmt::{self, Write};

use dbfw_common::{Counter, Family, Reason};

use super::{MODES, Samples, Scrape};
use crate::{policy::Guard, provider::Cause};

/// Prometheus's type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; the labels say it.
    Info,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// Its name in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric of dbfw.
#[derive(Clone, Copy)]
pub struct Metric {
    /// As scraped, with `_total` and `_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, and its unit.
    pub help: &'static str,
    pub(super) samples: fn(&Scrape, &mut Samples<'_>) -> fmt::Result,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Every metric, in the order they are written.
pub fn catalogue() -> &'static [Metric] {
    CATALOGUE
}

/// The catalogue as the Markdown table of docs/metrics.md.
pub fn catalogue_table() -> String {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in CATALOGUE {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        // Writing to a String does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        );
    }
    table
}

const BY_DATABASE: &[&str] = &["database"];
const BY_FAMILY: &[&str] = &["database", "family"];
const BY_REASON: &[&str] = &["database", "family", "reason"];
const BY_MAP: &[&str] = &["map"];

// No quotes, backslashes or line breaks in the help: the encoder does not escape it.
const CATALOGUE: &[Metric] = &[
    Metric {
        name: "dbfw_build_info",
        kind: Kind::Info,
        labels: &["version", "revision"],
        help: "Always 1; the labels say which build is running.",
        samples: |scrape, out| out.info(&[&scrape.version, &scrape.revision]),
    },
    Metric {
        name: "dbfw_up",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the BPF maps could be read for this scrape, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.up)),
    },
    Metric {
        name: "dbfw_attached",
        kind: Kind::Gauge,
        labels: &["interface", "mode"],
        help: "1 if the program was read back from the kernel as attached to the interface in \
               this mode (native, tcx, generic), else 0.",
        samples: |scrape, out| {
            scrape.interfaces.iter().try_for_each(|interface| {
                MODES.iter().try_for_each(|mode| {
                    let attached = interface.attached && interface.mode == *mode;
                    out.gauge(&[&interface.name, mode], u64::from(attached))
                })
            })
        },
    },
    Metric {
        name: "dbfw_allowed_packets_total",
        kind: Kind::Counter,
        labels: BY_FAMILY,
        help: "Packets to a protected port that were let in because their source is trusted.",
        samples: |scrape, out| allowed(scrape, out, |counter| counter.packets),
    },
    Metric {
        name: "dbfw_allowed_bytes_total",
        kind: Kind::Counter,
        labels: BY_FAMILY,
        help: "Bytes of the packets that were let in, counted from the first byte of the frame.",
        samples: |scrape, out| allowed(scrape, out, |counter| counter.bytes),
    },
    Metric {
        name: "dbfw_dropped_packets_total",
        kind: Kind::Counter,
        labels: BY_REASON,
        help: "Packets dropped, by reason.",
        samples: |scrape, out| {
            by_reason(scrape, out, |packets| &packets.dropped, |counter| counter.packets)
        },
    },
    Metric {
        name: "dbfw_dropped_bytes_total",
        kind: Kind::Counter,
        labels: BY_REASON,
        help: "Bytes of the packets dropped, by reason, counted from the first byte of the frame.",
        samples: |scrape, out| {
            by_reason(scrape, out, |packets| &packets.dropped, |counter| counter.bytes)
        },
    },
    Metric {
        name: "dbfw_observed_drops_total",
        kind: Kind::Counter,
        labels: BY_REASON,
        help: "Packets that observe mode let in and enforce mode would have dropped, by reason.",
        samples: |scrape, out| {
            by_reason(scrape, out, |packets| &packets.observed, |counter| counter.packets)
        },
    },
    Metric {
        name: "dbfw_prefixes",
        kind: Kind::Gauge,
        labels: BY_FAMILY,
        help: "Prefixes that may connect to the database.",
        samples: |scrape, out| {
            scrape.prefixes.iter().try_for_each(|of| {
                Family::ALL.iter().zip(of.prefixes).try_for_each(|(family, prefixes)| {
                    out.gauge(&[&of.database, family.as_str()], prefixes)
                })
            })
        },
    },
    Metric {
        name: "dbfw_map_entries",
        kind: Kind::Gauge,
        labels: BY_MAP,
        help: "Entries in the BPF map.",
        samples: |scrape, out| {
            scrape.maps.iter().try_for_each(|fill| out.gauge(&[&fill.map], fill.entries))
        },
    },
    Metric {
        name: "dbfw_map_max_entries",
        kind: Kind::Gauge,
        labels: BY_MAP,
        help: "Entries the BPF map can hold.",
        samples: |scrape, out| {
            scrape.maps.iter().try_for_each(|fill| out.gauge(&[&fill.map], fill.max_entries))
        },
    },
    Metric {
        name: "dbfw_sync_total",
        kind: Kind::Counter,
        labels: BY_DATABASE,
        help: "Syncs with the provider of the database, whatever became of them.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| out.counter(&[name], sync.total))
        },
    },
    Metric {
        name: "dbfw_sync_failures_total",
        kind: Kind::Counter,
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
        kind: Kind::Histogram,
        labels: &[],
        help: "Seconds from the start of a sync to its end, all databases together.",
        samples: |scrape, out| out.histogram(scrape.sync.durations()),
    },
    Metric {
        name: "dbfw_last_successful_sync_timestamp_seconds",
        kind: Kind::Gauge,
        labels: BY_DATABASE,
        help: "Unix time in seconds of the last successful sync; 0 if there was none.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| {
                let seconds = sync.last_success.map_or(0.0, |at| at.as_duration().as_secs_f64());
                out.seconds(&[name], seconds)
            })
        },
    },
    Metric {
        name: "dbfw_plan_refused_total",
        kind: Kind::Counter,
        labels: &["database", "guard"],
        help: "Changes a guard refused to carry out without a human word, by guard.",
        samples: |scrape, out| {
            scrape.sync.databases().try_for_each(|(name, sync)| {
                Guard::ALL.iter().try_for_each(|guard| {
                    out.counter(&[name, guard.as_str()], sync.refused(*guard))
                })
            })
        },
    },
    Metric {
        name: "dbfw_config_last_reload_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last reload of the configuration succeeded, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.reload_ok)),
    },
];

fn allowed(scrape: &Scrape, out: &mut Samples<'_>, value: fn(&Counter) -> u64) -> fmt::Result {
    scrape.packets.iter().try_for_each(|packets| {
        Family::ALL.iter().zip(&packets.allowed).try_for_each(|(family, counter)| {
            out.counter(&[&packets.database, family.as_str()], value(counter))
        })
    })
}

type ByReason = [[Counter; Reason::DROPS.len()]; Family::ALL.len()];

fn by_reason(
    scrape: &Scrape,
    out: &mut Samples<'_>,
    counters: fn(&super::PacketCounters) -> &ByReason,
    value: fn(&Counter) -> u64,
) -> fmt::Result {
    scrape.packets.iter().try_for_each(|packets| {
        Family::ALL.iter().zip(counters(packets)).try_for_each(|(family, reasons)| {
            Reason::DROPS.iter().zip(reasons).try_for_each(|(reason, counter)| {
                out.counter(&[&packets.database, family.as_str(), reason.as_str()], value(counter))
            })
        })
    })
}
