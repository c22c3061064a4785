//! Clients that try to reach the machine, the answers each should get, and those it got.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeBounds,
};

/// The port that dbfw protects.
pub(super) const DATABASE_PORT: u16 = 5432;

/// A port that it does not: whoever is answered there reaches the machine.
pub(super) const CONTROL_PORT: u16 = 8080;

/// Attempts of one address in a row without an answer: what a client makes before it gives up.
/// The first attachment to a NIC resets its queues, and a single packet may be lost to that.
const LOST: usize = 3;

/// A client, by how the machine comes to trust it. It has an IPv4 and an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Written in the configuration.
    Configured,
    /// In the provider's list.
    Listed,
    /// Trusted in some phases only.
    Late,
    /// Trusted in none.
    Stranger,
}

impl Client {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Configured, Self::Listed, Self::Late, Self::Stranger];

    /// Its addresses.
    pub(super) fn addresses(self) -> [IpAddr; 2] {
        let number = match self {
            Self::Configured => 10,
            Self::Listed => 11,
            Self::Late => 12,
            Self::Stranger => 66,
        };
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x1000 + number);
        [Ipv4Addr::new(192, 0, 2, number as u8).into(), v6.into()]
    }

    /// Whose an address is.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.addresses().contains(&address))
    }
}

/// The answer of the database's port that a client should get in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is answered whenever the machine is up.
    In,
    /// It never gets an answer of any kind.
    Out,
    /// The phase changes it.
    Either,
}

/// The answer that each client should get in a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) configured: Treatment,
    pub(super) listed: Treatment,
    pub(super) late: Treatment,
    pub(super) stranger: Treatment,
    /// Whether the database listens throughout. If not, a refusal is an answer.
    pub(super) listens: bool,
}

impl Expected {
    /// The filter is in force with the configuration and the list.
    pub(super) const CLOSED: Self = Self {
        configured: Treatment::In,
        listed: Treatment::In,
        late: Treatment::Out,
        stranger: Treatment::Out,
        listens: true,
    };

    /// Nothing filters.
    pub(super) const OPEN: Self = Self {
        configured: Treatment::In,
        listed: Treatment::In,
        late: Treatment::In,
        stranger: Treatment::In,
        listens: true,
    };

    /// The same over a boot, in which the database starts at some time.
    pub(super) fn boots(self) -> Self {
        Self { listens: false, ..self }
    }

    /// The same for attempts that may still be answered.
    pub(super) fn only_out(self) -> Self {
        let only = |treatment| match treatment {
            Treatment::Out => Treatment::Out,
            Treatment::In | Treatment::Either => Treatment::Either,
        };
        Self {
            configured: only(self.configured),
            listed: only(self.listed),
            late: only(self.late),
            stranger: only(self.stranger),
            listens: self.listens,
        }
    }

    fn of(self, client: Client) -> Treatment {
        match client {
            Client::Configured => self.configured,
            Client::Listed => self.listed,
            Client::Late => self.late,
            Client::Stranger => self.stranger,
        }
    }
}

/// The answer to a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Silence,
    SynAck,
    Reset,
}

/// A SYN to the database's port, and one to the other port right behind it.
#[derive(Clone, Debug)]
struct Attempt {
    address: IpAddr,
    database: Reply,
    control: Reply,
}

/// Every attempt there was, in order.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    attempts: Vec<Attempt>,
    /// The latest attempt from an address and port.
    latest: HashMap<(IpAddr, u16), usize>,
}

impl Ledger {
    /// Number of them.
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// An attempt from an address and port.
    pub(super) fn add(&mut self, address: IpAddr, port: u16) {
        self.latest.insert((address, port), self.attempts.len());
        self.attempts.push(Attempt { address, database: Reply::Silence, control: Reply::Silence });
    }

    /// The answer to an address and port, and the port it came from.
    pub(super) fn answer(&mut self, address: IpAddr, port: u16, from: u16, reply: Reply) {
        let Some(attempt) = self.latest.get(&(address, port)).copied() else { return };
        let Some(attempt) = self.attempts.get_mut(attempt) else { return };
        let answer = match from {
            DATABASE_PORT => &mut attempt.database,
            CONTROL_PORT => &mut attempt.control,
            _ => return,
        };
        // What is sent again says nothing new; our own reset is answered by nothing.
        if *answer == Reply::Silence {
            *answer = reply;
        }
    }

    /// The answers that every address got in a range of attempts.
    pub(super) fn seen(&self, range: impl RangeBounds<usize>) -> Seen {
        Seen::of(&self.attempts[(range.start_bound().cloned(), range.end_bound().cloned())])
    }
}

/// The answers that one address got in a phase.
#[derive(Debug)]
struct SeenBy {
    address: IpAddr,
    sent: usize,
    /// Attempts that were answered on the other port.
    up: usize,
    accepted: usize,
    refused: usize,
    /// The longest run of attempts without an answer while the other port answered.
    longest_silence: usize,
    silence: usize,
}

/// The answers that every address got in a phase.
#[derive(Debug)]
pub(super) struct Seen(Vec<SeenBy>);

impl Seen {
    fn of(attempts: &[Attempt]) -> Self {
        let addresses = Client::ALL.into_iter().flat_map(Client::addresses);
        let mut all: Vec<SeenBy> = addresses
            .map(|address| SeenBy {
                address,
                sent: 0,
                up: 0,
                accepted: 0,
                refused: 0,
                longest_silence: 0,
                silence: 0,
            })
            .collect();
        for attempt in attempts {
            let Some(seen) = all.iter_mut().find(|seen| seen.address == attempt.address) else {
                continue;
            };
            seen.sent += 1;
            let up = attempt.control != Reply::Silence;
            seen.up += usize::from(up);
            match attempt.database {
                Reply::SynAck => seen.accepted += 1,
                Reply::Reset => seen.refused += 1,
                Reply::Silence if up => {
                    seen.silence += 1;
                    seen.longest_silence = seen.longest_silence.max(seen.silence);
                    continue;
                }
                Reply::Silence => continue,
            }
            seen.silence = 0;
        }
        Self(all)
    }

    /// An address with fewer attempts than `count` that reached the machine.
    pub(super) fn lacks(&self, count: usize) -> Option<IpAddr> {
        self.0.iter().find(|seen| seen.up < count).map(|seen| seen.address)
    }

    /// The answers that should not have been.
    pub(super) fn faults(&self, expected: Expected) -> Vec<String> {
        let mut faults = Vec::new();
        for seen in &self.0 {
            let Some(client) = Client::of(seen.address) else { continue };
            let SeenBy { address, accepted, refused, .. } = seen;
            match expected.of(client) {
                Treatment::Either => {}
                Treatment::Out => {
                    if *accepted > 0 {
                        faults.push(format!("{address} was let in: {accepted} SYN-ACKs"));
                    }
                    if *refused > 0 {
                        faults.push(format!("{address} was answered: {refused} resets"));
                    }
                }
                Treatment::In => {
                    if seen.longest_silence >= LOST {
                        faults.push(format!(
                            "{address} was lost: {} attempts in a row without an answer while \
                             port {CONTROL_PORT} answered",
                            seen.longest_silence
                        ));
                    }
                    if expected.listens && *refused > 0 {
                        faults.push(format!("{address} was refused: {refused} resets"));
                    }
                    if expected.listens && *accepted == 0 {
                        faults.push(format!("{address} got no SYN-ACK"));
                    }
                }
            }
        }
        faults
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, seen) in self.0.iter().enumerate() {
            let SeenBy { address, sent, up, accepted, refused, .. } = seen;
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{address} {sent} sent {up} up {accepted} in {refused} reset")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts of one address: the reply of the database's port, and of the other.
    fn attempts(client: Client, replies: &[(Reply, Reply)]) -> Vec<Attempt> {
        let [address, _] = client.addresses();
        let attempt = |&(database, control)| Attempt { address, database, control };
        replies.iter().map(attempt).collect()
    }

    fn faults(client: Client, expected: Expected, replies: &[(Reply, Reply)]) -> Vec<String> {
        let about = client.addresses()[0].to_string();
        let mut faults = Seen::of(&attempts(client, replies)).faults(expected);
        faults.retain(|fault| fault.starts_with(&format!("{about} ")));
        faults
    }

    #[test]
    fn a_stranger_gets_no_answer_of_any_kind() {
        use Reply::{Reset, Silence, SynAck};
        let of = |replies: &[_]| faults(Client::Stranger, Expected::CLOSED, replies);
        assert_eq!(of(&[(Silence, SynAck); 4]), [] as [&str; 0]);
        assert_eq!(
            of(&[(Silence, SynAck), (SynAck, SynAck)]),
            ["192.0.2.66 was let in: 1 SYN-ACKs"]
        );
        assert_eq!(of(&[(Reset, Silence)]), ["192.0.2.66 was answered: 1 resets"]);
        let later =
            |client, replies: &[_]| faults(client, Expected::CLOSED.only_out(), replies).len();
        assert_eq!(later(Client::Stranger, &[(SynAck, Silence)]), 1);
        assert_eq!(later(Client::Configured, &[(Silence, SynAck); 4]), 0);
    }

    #[test]
    fn a_trusted_client_is_lost_only_while_the_machine_answers() {
        use Reply::{Reset, Silence, SynAck};
        let of = |expected, replies: &[_]| faults(Client::Configured, expected, replies).len();
        let down = (Silence, Silence);
        let lost = (Silence, SynAck);
        let well = (SynAck, SynAck);
        let closed = Expected::CLOSED;
        assert_eq!(of(closed, &[well, down, down, down, well]), 0);
        assert_eq!(of(closed, &[well, lost, lost, well, lost, lost]), 0);
        assert_eq!(of(closed, &[well, lost, lost, lost, well]), 1);
        assert_eq!(of(closed, &[well, lost, down, lost, lost, well]), 1);
        assert_eq!(of(closed, &[down]), 1, "no answer at all");
        assert_eq!(of(closed, &[well, (Reset, SynAck)]), 1);
        assert_eq!(of(closed.boots(), &[well, (Reset, SynAck)]), 0);
        assert_eq!(of(closed.boots(), &[lost, lost, lost]), 1);
    }

    #[test]
    fn answers_go_to_the_attempt_they_belong_to() {
        let mut ledger = Ledger::default();
        let [address, other] = Client::Late.addresses();
        ledger.add(address, 1024);
        ledger.add(address, 1025);
        ledger.answer(address, 1025, CONTROL_PORT, Reply::SynAck);
        ledger.answer(address, 1025, CONTROL_PORT, Reply::Reset);
        ledger.answer(other, 1025, DATABASE_PORT, Reply::SynAck);
        let replies: Vec<_> =
            ledger.attempts.iter().map(|attempt| (attempt.database, attempt.control)).collect();
        assert_eq!(replies, [(Reply::Silence, Reply::Silence), (Reply::Silence, Reply::SynAck)]);
    }
}
