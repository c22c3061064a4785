//! [`Flows`]: the connections that opened while they were watched.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use dbfw_core::audit::{Engine, SeenConnection};
use secrecy::{ExposeSecretMut as _, SecretBox};

use super::{
    client::{Client, Progress},
    identity::ClientIdentity,
    packet::Segment,
};

/// Connections whose first messages are waited for at once.
const MAX_FLOWS: usize = 16_384;
/// Connections that are remembered.
const MAX_SEEN: usize = 100_000;
/// Bytes of a message that came in pieces.
const MAX_PIECES: usize = 10_240;
/// Connections of which there are such pieces, at once.
const MAX_IN_PIECES: usize = 256;
/// A connection that says nothing for so long makes room where there is none.
const SILENCE: Duration = Duration::from_secs(10);

/// The ends of a connection: the client's and the server's.
type Ends = (SocketAddr, SocketAddr);

/// A connection whose first messages are waited for.
#[derive(Debug)]
struct Flow {
    database: usize,
    client: Client,
    /// The number of the next byte.
    next: u32,
    heard: Instant,
    /// The beginning of a message whose rest is waited for. Zeroed when it is dropped.
    pieces: Option<SecretBox<Vec<u8>>>,
}

/// The connections that a watch saw.
#[derive(Debug, Default)]
pub(super) struct Flows {
    waiting: HashMap<Ends, Flow>,
    in_pieces: usize,
    seen: Vec<(usize, SeenConnection)>,
    /// Connections that there was no room for, or that were not understood.
    missed: u64,
}

/// The connections of a watch that is over.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each with the number of its database.
    pub(super) connections: Vec<(usize, SeenConnection)>,
    /// The number of those that opened, of which nothing is known.
    pub(super) missed: u64,
}

impl Flows {
    /// Takes in a packet. `database` says whose the server's end is, and what it speaks.
    pub(super) fn take(
        &mut self,
        segment: &Segment<'_>,
        now: Instant,
        database: impl FnOnce() -> Option<(usize, Engine)>,
    ) {
        let ends = (segment.from, segment.to);
        if segment.opens {
            if let Some((database, engine)) = database() {
                self.open(ends, segment.sequence.wrapping_add(1), now, (database, engine));
            }
            return;
        }
        let Some(flow) = self.waiting.get_mut(&ends) else { return };
        // What came before is a repetition; what comes too early is repeated if its beginning is.
        if segment.sequence != flow.next {
            return;
        }
        flow.next = flow.next.wrapping_add(segment.payload.len() as u32);
        flow.heard = now;
        let had_pieces = flow.pieces.is_some();
        let (heard, length) = match &mut flow.pieces {
            None => (flow.client.read(segment.payload), segment.payload.len()),
            Some(pieces) => {
                let pieces = pieces.expose_secret_mut();
                // Within what was reserved: nothing is copied elsewhere.
                let room = MAX_PIECES - pieces.len();
                pieces.extend_from_slice(&segment.payload[..segment.payload.len().min(room)]);
                (flow.client.read(pieces), pieces.len())
            }
        };
        let done = match heard {
            Progress::Done(told) => Some(told),
            // It cannot grow.
            Progress::More(0) if length >= MAX_PIECES => Some(flow.client.known()),
            Progress::More(read) if read == length => {
                flow.pieces = None;
                None
            }
            Progress::More(read) => match &mut flow.pieces {
                Some(pieces) => {
                    let pieces = pieces.expose_secret_mut();
                    pieces.copy_within(read.., 0);
                    pieces.truncate(length - read);
                    None
                }
                None if self.in_pieces >= MAX_IN_PIECES => Some(None),
                None => {
                    flow.pieces = Some(SecretBox::init_with(|| {
                        let mut pieces = Vec::with_capacity(MAX_PIECES);
                        let rest = &segment.payload[read..];
                        pieces.extend_from_slice(&rest[..rest.len().min(MAX_PIECES)]);
                        pieces
                    }));
                    None
                }
            },
        };
        match (had_pieces, done.is_none() && flow.pieces.is_some()) {
            (false, true) => self.in_pieces += 1,
            (true, false) => self.in_pieces -= 1,
            _ => {}
        }
        if let Some(told) = done
            && let Some(flow) = self.waiting.remove(&ends)
        {
            self.end(ends, &flow, told);
        }
    }

    fn open(&mut self, ends: Ends, next: u32, now: Instant, (database, engine): (usize, Engine)) {
        let is_known = self.waiting.get(&ends).is_some_and(|flow| flow.next == next);
        if is_known {
            return;
        }
        if self.waiting.len() >= MAX_FLOWS {
            self.drop_silent(now);
        }
        if self.waiting.len() >= MAX_FLOWS {
            self.missed += 1;
            return;
        }
        let client = Client::new(engine);
        let flow = Flow { database, client, next, heard: now, pieces: None };
        if let Some(before) = self.waiting.insert(ends, flow) {
            self.in_pieces -= usize::from(before.pieces.is_some());
            self.end(ends, &before, before.client.known());
        }
    }

    fn drop_silent(&mut self, now: Instant) {
        let is_silent = |flow: &Flow| now.duration_since(flow.heard) >= SILENCE;
        let silent = self.waiting.extract_if(|_, flow| is_silent(flow));
        let silent: Vec<(Ends, Flow)> = silent.collect();
        for (ends, flow) in silent {
            self.in_pieces -= usize::from(flow.pieces.is_some());
            self.end(ends, &flow, flow.client.known());
        }
    }

    fn end(&mut self, ends: Ends, flow: &Flow, told: Option<ClientIdentity>) {
        match told {
            Some(told) if self.seen.len() < MAX_SEEN => {
                let from = ends.0.ip().to_canonical();
                let ClientIdentity { tls, user, database, application } = told;
                let seen = SeenConnection { from, user, database, application, tls: Some(tls) };
                self.seen.push((flow.database, seen));
            }
            _ => self.missed += 1,
        }
    }

    /// Everything that was seen. A connection that said nothing yet is none.
    pub(super) fn finish(mut self) -> Seen {
        for (ends, flow) in std::mem::take(&mut self.waiting) {
            if let Some(told) = flow.client.known() {
                self.end(ends, &flow, Some(told));
            }
        }
        Seen { connections: self.seen, missed: self.missed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use secrecy::ExposeSecret as _;

    use super::{super::packet::tests::packet, *};

    const CLIENT: &str = "10.0.0.2:40000";
    const SERVER: &str = "10.0.0.1:5432";

    /// The flows after packets: their first byte's number, flags and payload.
    fn after(packets: &[(u32, u8, &[u8])]) -> Flows {
        let mut flows = Flows::default();
        for (sequence, flags, payload) in packets {
            let bytes = packet(CLIENT, SERVER, *sequence, *flags, payload);
            let segment = Segment::parse(&bytes).unwrap();
            flows.take(&segment, Instant::now(), || Some((3, Engine::Postgres)));
        }
        flows
    }

    fn seen(packets: &[(u32, u8, &[u8])]) -> Vec<(usize, SeenConnection)> {
        after(packets).finish().connections
    }

    fn app() -> Vec<(usize, SeenConnection)> {
        let (user, from) = (Some("app".to_owned()), [10, 0, 0, 2].into());
        let (database, application, tls) = (user.clone(), None, Some(false));
        vec![(3, SeenConnection { from, user, database, application, tls })]
    }

    const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";
    const ASK: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

    #[test]
    fn a_connection_is_what_follows_its_opening() {
        let start = u32::MAX - 3;
        let open = (start, 2, &b""[..]);
        assert_eq!(seen(&[open, (start + 1, 24, STARTUP)]), app());
        assert_eq!(seen(&[(start + 1, 24, STARTUP)]), [], "its opening was not seen");
        assert_eq!(seen(&[open, (start, 24, STARTUP)]), [], "another place in the stream");
        assert_eq!(seen(&[open, open, (start + 1, 24, STARTUP)]), app(), "repeated");
        let next = start.wrapping_add(9);
        assert_eq!(seen(&[open, (start + 1, 24, ASK), (next, 24, STARTUP)]), app());
        let again = [open, (start + 1, 24, ASK), (start + 1, 24, ASK), (next, 24, STARTUP)];
        assert_eq!(seen(&again), app());
        let tls = seen(&[open, (start + 1, 24, ASK), (next, 24, &[0x16, 3, 1, 2, 0])]);
        assert_eq!((tls[0].1.tls, &tls[0].1.user), (Some(true), &None));
        assert_eq!(seen(&[open]), [], "nothing was said");
    }

    #[test]
    fn a_message_in_pieces_of_any_size() {
        let stream = [ASK, STARTUP].concat();
        for size in 1..stream.len() {
            let mut packets = vec![(0, 2, &b""[..])];
            let mut at = 1;
            for piece in stream.chunks(size) {
                packets.push((at, 24, piece));
                at += piece.len() as u32;
            }
            let flows = after(&packets);
            assert_eq!(flows.in_pieces, 0);
            assert_eq!(flows.finish().connections, app(), "{size}");
        }
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut flows = Flows::default();
        let begun = Instant::now();
        let open = |flows: &mut Flows, port: u16, host: u8, now| {
            let bytes = packet(&format!("10.0.1.{host}:{port}"), SERVER, 0, 2, b"");
            let segment = Segment::parse(&bytes).unwrap();
            flows.take(&segment, now, || Some((0, Engine::Postgres)));
        };
        for number in 0..MAX_FLOWS + 100 {
            open(&mut flows, (number % 60_000) as u16, (number / 60_000) as u8, begun);
        }
        assert_eq!((flows.waiting.len(), flows.missed), (MAX_FLOWS, 100));
        open(&mut flows, 1, 200, begun + SILENCE);
        assert_eq!(flows.waiting.len(), 1, "the silent ones made room");
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_order_of_packets_panics_and_pieces_are_counted(
            packets in vec((0_u32..40, prop_oneof![Just(2_u8), Just(24), Just(24)], 0_usize..26), 0..12),
        ) {
            let stream = [ASK, STARTUP].concat();
            let packets: Vec<_> = packets
                .iter()
                .map(|(at, flags, length)| {
                    let from = (*at as usize).saturating_sub(1).min(stream.len());
                    (*at, *flags, &stream[from..(from + length).min(stream.len())])
                })
                .collect();
            let flows = after(&packets);
            let in_pieces = flows.waiting.values().filter(|flow| flow.pieces.is_some()).count();
            prop_assert_eq!(flows.in_pieces, in_pieces);
            for pieces in flows.waiting.values().filter_map(|flow| flow.pieces.as_ref()) {
                prop_assert!(pieces.expose_secret().capacity() <= MAX_PIECES);
            }
        }
    }
}
