//! `dbfw drops`: drop events with names in place of numbers.

use dbfw_common::{Event, HOST};
use dbfw_wire::control::{DropEvent, DropSource, Drops, Reason, Verdict};

use crate::traffic::drops::{Clock, NO_DATABASE, Tally, TopSource, TopSources, source};

/// The names of an event's numbers.
#[expect(missing_debug_implementations, reason = "closures have none")]
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The name of a database id, if there is one.
    pub database: &'a dyn Fn(u32) -> Option<String>,
    /// The name of an interface by its index, if there is one.
    pub interface: &'a dyn Fn(u32) -> Option<String>,
    /// The clock of the events.
    pub clock: Clock,
}

impl Names<'_> {
    fn database(&self, id: u8) -> String {
        let id = u32::from(id);
        if id == HOST {
            return NO_DATABASE.to_owned();
        }
        (self.database)(id).unwrap_or_else(|| format!("#{id}"))
    }

    fn interface(&self, index: u32) -> String {
        if index == 0 {
            return "*".to_owned();
        }
        (self.interface)(index).unwrap_or_else(|| format!("#{index}"))
    }
}

/// The sources refused most, most first.
pub fn top(top: &TopSources, limit: usize, names: &Names<'_>) -> Drops {
    let with_names = |(refused, tally): (&TopSource, &Tally)| DropSource {
        source: refused.source,
        database: names.database(refused.database),
        port: refused.port,
        reason: reason(refused.reason),
        verdict: verdict(refused.verdict),
        estimated_packets: tally.certain(),
        first_seen: names.clock.at(tally.first),
        last_seen: names.clock.at(tally.last),
    };
    Drops { since: top.since(), sources: top.ranked(limit).into_iter().map(with_names).collect() }
}

/// An event as `dbfw drops --follow` shows it.
pub fn event(event: &Event, names: &Names<'_>) -> DropEvent {
    DropEvent {
        time: names.clock.at(event.time),
        source: source(event),
        database: names.database(event.database),
        port: event.port,
        protocol: match event.protocol {
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        },
        interface: names.interface(event.ifindex),
        reason: reason(event.reason),
        verdict: verdict(event.verdict),
        weight: event.weight,
    }
}

fn reason(number: u8) -> Reason {
    dbfw_common::Reason::from_u8(number).map_or(Reason::Unknown, Into::into)
}

fn verdict(number: u8) -> Verdict {
    dbfw_common::Verdict::from_u8(number).map_or(Verdict::Unknown, Into::into)
}

#[cfg(test)]
mod tests {
    use dbfw_common::Family;
    use jiff::Timestamp;

    use super::*;

    fn refused() -> Event {
        Event {
            time: 5_000_000_000,
            weight: 9,
            source: [u32::from_ne_bytes([203, 0, 113, 7]), 0, 0, 0],
            ifindex: 2,
            bytes: 60,
            port: 5432,
            database: 1,
            reason: dbfw_common::Reason::Untrusted as u8,
            verdict: dbfw_common::Verdict::Drop as u8,
            family: Family::V4 as u8,
            protocol: 6,
            reserved: 0,
        }
    }

    fn with_names<T>(run: impl FnOnce(&Names<'_>) -> T) -> T {
        run(&Names {
            database: &|id| (id == 1).then(|| "orders".to_owned()),
            interface: &|index| (index == 2).then(|| "eth0".to_owned()),
            clock: Clock::new(Timestamp::from_second(1_000_000).unwrap(), 6_000_000_000),
        })
    }

    #[test]
    fn an_event_gets_its_names_and_time() {
        let shown = with_names(|names| event(&refused(), names));
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            serde_json::json!({
                "time": "1970-01-12T13:46:39Z", "source": "203.0.113.7", "database": "orders",
                "port": 5432, "protocol": "tcp", "interface": "eth0", "reason": "untrusted",
                "verdict": "drop", "weight": 9,
            })
        );
    }

    #[test]
    fn numbers_without_a_name_are_shown_as_numbers() {
        let mut odd = refused();
        odd.source = [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()];
        odd.family = Family::V6 as u8;
        (odd.database, odd.ifindex, odd.reason, odd.verdict, odd.protocol) = (9, 7, 200, 201, 132);
        odd.time = u64::MAX;
        let shown = with_names(|names| event(&odd, names));
        assert_eq!(shown.source.to_string(), "2001:db8::1");
        let words = [&*shown.database, &shown.interface, &shown.protocol];
        assert_eq!(words, ["#9", "#7", "132"]);
        assert_eq!((shown.reason, shown.verdict), (Reason::Unknown, Verdict::Unknown));
        (odd.database, odd.ifindex) = (0, 0);
        let shown = with_names(|names| event(&odd, names));
        assert_eq!((shown.database.as_str(), shown.interface.as_str()), ("*", "*"));
    }

    #[test]
    fn the_sources_refused_most_get_their_names() {
        let mut all = TopSources::new(Timestamp::UNIX_EPOCH);
        all.add(&refused());
        let shown = with_names(|names| top(&all, 1, names));
        let DropSource { database, estimated_packets, first_seen, .. } = &shown.sources[0];
        assert_eq!((database.as_str(), *estimated_packets), ("orders", 9));
        assert_eq!(first_seen.to_string(), "1970-01-12T13:46:39Z");
    }
}
