//! The program, the packets, and the maps.

use std::fmt;

use dbfw_common::{Counter, Family, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS, Mode, Reason};
use dbfw_datapath::Totals;
use dbfw_metrics::{Metric, MetricType, Samples};
use dbfw_wire::control::{InterfaceMode, InterfaceStatus, Protection};

use crate::metrics::scrape::Scrape;

/// Values of the label `mode` of `dbfw_attached`.
const MODES: [InterfaceMode; 3] =
    [InterfaceMode::Native, InterfaceMode::Tcx, InterfaceMode::Generic];

/// Values of the label `state` of `dbfw_protection`.
const PROTECTION_STATES: [(Protection, &str); 3] = [
    (Protection::Yes, "protected"),
    (Protection::Degraded, "degraded"),
    (Protection::No, "not_protected"),
];

const BY_FAMILY: &[&str] = &["database", "family"];
const BY_REASON: &[&str] = &["database", "family", "reason"];
const BY_MAP: &[&str] = &["map"];

pub(super) const METRICS: &[Metric<Scrape>] = &[
    Metric {
        name: "dbfw_build_info",
        kind: MetricType::Info,
        labels: &["version", "revision"],
        help: "Always 1; the labels say which build is running.",
        samples: |scrape, out| out.info(&[&scrape.version, &scrape.revision]),
    },
    Metric {
        name: "dbfw_up",
        kind: MetricType::Gauge,
        labels: &[],
        help: "1 if the BPF maps could be read for this scrape, else 0.",
        samples: |scrape, out| out.gauge(&[], u64::from(scrape.up)),
    },
    Metric {
        name: "dbfw_protection",
        kind: MetricType::Gauge,
        labels: &["state"],
        help: "1 for the state that dbfw status reports (protected, degraded, not_protected), else \
               0; without the agent 0 for all if only root could know.",
        samples: |scrape, out| {
            PROTECTION_STATES.iter().try_for_each(|(protection, state)| {
                out.gauge(&[state], u64::from(scrape.protection == *protection))
            })
        },
    },
    Metric {
        name: "dbfw_attached",
        kind: MetricType::Gauge,
        labels: &["interface", "mode"],
        help: "1 if the program was read back from the kernel as attached to the interface in \
               this mode (native, tcx, generic), else 0.",
        samples: |scrape, out| {
            // One that needs no attachment is not one that lacks it.
            let needless = |of: &InterfaceStatus| of.healthy && of.mode == InterfaceMode::None;
            scrape.interfaces.iter().filter(|of| !needless(of)).try_for_each(|interface| {
                MODES.iter().try_for_each(|mode| {
                    let attached = interface.healthy && interface.mode == *mode;
                    out.gauge(&[&interface.name, mode.as_str()], u64::from(attached))
                })
            })
        },
    },
    Metric {
        name: "dbfw_allowed_packets_total",
        kind: MetricType::Counter,
        labels: BY_FAMILY,
        help: "Packets to a protected port that were let in because their source is trusted.",
        samples: |scrape, out| allowed(scrape, out, |counter| counter.packets),
    },
    Metric {
        name: "dbfw_allowed_bytes_total",
        kind: MetricType::Counter,
        labels: BY_FAMILY,
        help: "Bytes of the packets that were let in, counted from the first byte of the frame.",
        samples: |scrape, out| allowed(scrape, out, |counter| counter.bytes),
    },
    Metric {
        name: "dbfw_dropped_packets_total",
        kind: MetricType::Counter,
        labels: BY_REASON,
        help: "Packets dropped, by reason.",
        samples: |scrape, out| {
            by_reason(scrape, out, |totals| &totals.dropped, |counter| counter.packets)
        },
    },
    Metric {
        name: "dbfw_dropped_bytes_total",
        kind: MetricType::Counter,
        labels: BY_REASON,
        help: "Bytes of the packets dropped, by reason, counted from the first byte of the frame.",
        samples: |scrape, out| {
            by_reason(scrape, out, |totals| &totals.dropped, |counter| counter.bytes)
        },
    },
    Metric {
        name: "dbfw_observed_drops_total",
        kind: MetricType::Counter,
        labels: BY_REASON,
        help: "Packets that observe mode let in and enforce mode would have dropped, by reason.",
        samples: |scrape, out| {
            by_reason(scrape, out, |totals| &totals.observed, |counter| counter.packets)
        },
    },
    Metric {
        name: "dbfw_database_mode",
        kind: MetricType::Gauge,
        labels: &["database", "mode"],
        help: "1 for the mode of the database (enforce, observe, off), else 0.",
        samples: |scrape, out| {
            scrape.databases.iter().try_for_each(|of| {
                Mode::ALL.iter().try_for_each(|mode| {
                    out.gauge(&[&of.name, mode.as_str()], u64::from(of.mode == *mode))
                })
            })
        },
    },
    Metric {
        name: "dbfw_prefixes",
        kind: MetricType::Gauge,
        labels: BY_FAMILY,
        help: "Prefixes that may connect to the database.",
        samples: |scrape, out| {
            scrape.databases.iter().try_for_each(|of| {
                Family::ALL.iter().zip(of.prefixes).try_for_each(|(family, prefixes)| {
                    out.gauge(&[&of.name, family.as_str()], prefixes)
                })
            })
        },
    },
    Metric {
        name: "dbfw_map_entries",
        kind: MetricType::Gauge,
        labels: BY_MAP,
        help: "Entries in the BPF map.",
        samples: |scrape, out| {
            scrape.maps.iter().try_for_each(|(map, entries)| out.gauge(&[map], *entries))
        },
    },
    Metric {
        name: "dbfw_map_max_entries",
        kind: MetricType::Gauge,
        labels: BY_MAP,
        help: "Entries the BPF map can hold.",
        samples: |scrape, out| {
            scrape.maps.keys().try_for_each(|map| {
                let max = if matches!(*map, HOSTS4 | HOSTS6) { MAX_HOSTS } else { MAX_NETS };
                out.gauge(&[map], u64::from(max))
            })
        },
    },
];

fn allowed(scrape: &Scrape, out: &mut Samples<'_>, value: fn(&Counter) -> u64) -> fmt::Result {
    scrape.packets.iter().try_for_each(|packets| {
        Family::ALL.iter().zip(&packets.totals).try_for_each(|(family, totals)| {
            out.counter(&[&packets.database, family.as_str()], value(&totals.allowed))
        })
    })
}

fn by_reason(
    scrape: &Scrape,
    out: &mut Samples<'_>,
    counters: fn(&Totals) -> &[Counter],
    value: fn(&Counter) -> u64,
) -> fmt::Result {
    scrape.packets.iter().try_for_each(|packets| {
        Family::ALL.iter().zip(&packets.totals).try_for_each(|(family, totals)| {
            Reason::DROPS.iter().zip(counters(totals)).try_for_each(|(reason, counter)| {
                out.counter(&[&packets.database, family.as_str(), reason.as_str()], value(counter))
            })
        })
    })
}
