//! Whether a refused source looks like a client or like a scanner.

use std::time::Duration;

use dbfw_wire::control::Visitor;

/// Ports of this host's databases, from which on a source looks for open ones.
const MANY_PORTS: usize = 3;

/// Packets a minute, from which on a source retries: an attempt that waits five seconds for its
/// answer sends three, a scanner one or two.
const RETRIES: u64 = 3;

/// Minutes of refusals, from which on a source keeps coming.
const MANY_MINUTES: u32 = 5;

/// A longer presence than that of a scanner that connects to read a banner.
const STAYED: Duration = Duration::from_secs(60);

/// Facts about a refused source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The provider's account has a machine with the address.
    pub(super) is_machine: bool,
    /// The address is private, of a network of the account, or of a network of this host.
    pub(super) is_near: bool,
    /// It had a TCP connection.
    pub(super) connected: bool,
    /// It could have had one: observe mode let it pass, and connections are known.
    pub(super) could_connect: bool,
    /// Different minutes with a refusal.
    pub(super) minutes: u32,
    /// Time from the first sign of it to the last.
    pub(super) stayed: Duration,
    /// Estimated packets.
    pub(super) packets: u64,
    /// Ports of all databases that it wanted.
    pub(super) ports: usize,
}

/// The kind of a source, by the facts. A wrong `Scanner` hides a client, and a wrong `Client` lets a
/// stranger in: what is neither plainly is `Unclear`. Attempts alone make no client, however often
/// they are repeated: who guesses passwords repeats them as well.
pub(super) fn judge(facts: &Facts) -> Visitor {
    let many_ports = facts.ports >= MANY_PORTS;
    let keeps_coming = facts.minutes >= MANY_MINUTES;
    let retries = facts.packets >= RETRIES.saturating_mul(facts.minutes.into());
    if facts.is_machine {
        return Visitor::Client;
    }
    if facts.connected {
        let stayed = facts.stayed >= STAYED;
        let is_client = if facts.is_near { stayed || !many_ports } else { stayed && keeps_coming };
        return match is_client {
            true => Visitor::Client,
            // A scanner that connects, leaves and comes back.
            false => Visitor::Unclear,
        };
    }
    if many_ports && !keeps_coming && (facts.could_connect || !retries) {
        return Visitor::Scanner;
    }
    match facts.is_near || retries {
        true => Visitor::Unclear,
        false => Visitor::Scanner,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stranger's single SYN in enforce mode.
    const ONCE: Facts = Facts {
        is_machine: false,
        is_near: false,
        connected: false,
        could_connect: false,
        minutes: 1,
        stayed: Duration::ZERO,
        packets: 1,
        ports: 1,
    };
    const NEAR: Facts = Facts { is_near: true, ..ONCE };
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn rules() {
        use Visitor::{Client, Scanner, Unclear};
        let connected = |facts| Facts { connected: true, could_connect: true, ..facts };
        let passed = |facts| Facts { could_connect: true, ..facts };
        for (what, facts, expected) in [
            ("one SYN", ONCE, Scanner),
            ("one SYN that passed", passed(ONCE), Scanner),
            ("SYN and RST to two ports", Facts { packets: 2, ports: 2, ..ONCE }, Scanner),
            ("a port scan", Facts { packets: 40, ports: 9, ..passed(ONCE) }, Scanner),
            (
                "one SYN a day",
                Facts { minutes: 30, packets: 40, stayed: DAY * 30, ..ONCE },
                Scanner,
            ),
            ("a machine", Facts { is_machine: true, ..ONCE }, Client),
            ("a machine that scans", Facts { is_machine: true, ports: 9, ..passed(ONCE) }, Client),
            ("a neighbour connects", connected(NEAR), Client),
            ("a neighbour tries every port", connected(Facts { ports: 9, ..NEAR }), Unclear),
            (
                "a neighbour uses every database",
                connected(Facts { ports: 9, stayed: STAYED, ..NEAR }),
                Client,
            ),
            ("a stranger connects and leaves", connected(Facts { packets: 9, ..ONCE }), Unclear),
            (
                "a stranger keeps coming",
                connected(Facts { minutes: MANY_MINUTES, stayed: STAYED * 4, ..ONCE }),
                Client,
            ),
            (
                "a stranger comes back",
                connected(Facts { minutes: 3, stayed: STAYED * 3, packets: 21, ..ONCE }),
                Unclear,
            ),
            ("a neighbour is refused once", NEAR, Unclear),
            ("a neighbour scans", passed(Facts { ports: 5, packets: 30, ..NEAR }), Scanner),
            ("a neighbour scans what is closed", Facts { ports: 5, packets: 2, ..NEAR }, Scanner),
            (
                "a neighbour is cut off from five databases",
                Facts { ports: 5, packets: 9, minutes: 2, ..NEAR },
                Unclear,
            ),
            (
                "a neighbour keeps trying",
                Facts { minutes: 5, packets: 15, stayed: STAYED * 5, ..NEAR },
                Unclear,
            ),
            (
                "a neighbour never connects, though it could",
                passed(Facts { minutes: 60, packets: 240, stayed: HOUR, ..NEAR }),
                Unclear,
            ),
            (
                "a neighbour is cut off",
                Facts { minutes: 5, packets: 15, stayed: STAYED * 5, connected: true, ..NEAR },
                Client,
            ),
            ("a neighbour is cut off now", Facts { packets: 4, ..NEAR }, Unclear),
            ("a stranger is cut off now", Facts { packets: 4, ..ONCE }, Unclear),
            (
                "a stranger keeps trying",
                Facts { minutes: 60, packets: 240, stayed: HOUR, ..ONCE },
                Unclear,
            ),
            (
                "a stranger tries one port after the other",
                Facts { minutes: 60, packets: 240, stayed: HOUR, ports: 2, ..ONCE },
                Unclear,
            ),
            (
                "a stranger never connects, though it could",
                passed(Facts { minutes: 60, packets: 240, stayed: HOUR, ..ONCE }),
                Unclear,
            ),
        ] {
            assert_eq!(judge(&facts), expected, "{what}");
        }
    }

    prop_compose! {
        fn facts()(
            flags in prop::array::uniform4(any::<bool>()),
            minutes in 1u32..90,
            seconds in 0u64..900_000,
            packets in 1u64..500,
            ports in 1usize..12,
        ) -> Facts {
            let [is_machine, is_near, connected, could_connect] = flags;
            let stayed = Duration::from_secs(seconds);
            Facts { is_machine, is_near, connected, could_connect, minutes, stayed, packets, ports }
        }
    }

    proptest! {
        /// A source that had a connection is shown, and what had none is never proposed as a client, unless
        /// it is a machine of the account.
        #[test]
        fn a_connection_decides(facts in facts()) {
            let visitor = judge(&facts);
            if facts.connected || facts.is_machine {
                prop_assert_ne!(visitor, Visitor::Scanner);
            } else {
                prop_assert_ne!(visitor, Visitor::Client);
            }
            let connected = judge(&Facts { connected: true, ..facts });
            prop_assert!(visitor != Visitor::Client || facts.is_machine || connected != Visitor::Scanner);
            // More ports never make a client of a scanner.
            if visitor == Visitor::Scanner {
                let wider = Facts { ports: facts.ports + 1, ..facts };
                prop_assert_ne!(judge(&wider), Visitor::Client);
            }
        }
    }
}
