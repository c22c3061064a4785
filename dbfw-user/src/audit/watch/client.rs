//! [`Client`]: what the first messages of a client say, which is all that is read of it.

use dbfw_core::audit::Engine;

use super::{
    identity::{ClientIdentity, Read},
    mongodb, mysql, postgres, redis,
};

/// Messages of a client that are looked at, at most.
const MAX_MESSAGES: u8 = 4;

/// The state of a client after some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client goes on; so many of the bytes are read.
    More(usize),
    /// All that is to be known, if it is anything.
    Done(Option<ClientIdentity>),
}

/// A client whose first messages are read.
#[derive(Clone, Debug)]
pub(super) struct Client {
    engine: Engine,
    messages: u8,
    is_plain: bool,
    application: Option<String>,
}

impl Client {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, messages: 0, is_plain: false, application: None }
    }

    /// Reads what a client sent after what was read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && !rest.is_empty()
        {
            if self.messages >= MAX_MESSAGES {
                return Progress::Done(self.known());
            }
            let read = match self.engine {
                _ if is_tls(rest) => Read::Identified(ClientIdentity::tls()),
                Engine::Postgres => postgres::read(rest),
                Engine::MySql => mysql::read(rest),
                Engine::Redis => redis::read(rest),
                Engine::MongoDb => mongodb::read(rest),
            };
            let length = match read {
                Read::Part => return Progress::More(at),
                Read::Identified(told) => {
                    let application = told.application.or_else(|| self.application.take());
                    return Progress::Done(Some(ClientIdentity { application, ..told }));
                }
                Read::Other => return Progress::Done(self.known()),
                Read::Next(length) => length,
                Read::Plain(length) => {
                    self.is_plain = true;
                    length
                }
                Read::Application(length, name) => {
                    self.is_plain = true;
                    self.application = Some(name);
                    length
                }
            };
            self.messages += 1;
            at = at.saturating_add(length.max(1));
        }
        if at > bytes.len() {
            // The rest of a long message follows: its end is not waited for.
            return Progress::Done(self.known());
        }
        Progress::More(at)
    }

    /// The facts that are known so far.
    pub(super) fn known(&self) -> Option<ClientIdentity> {
        let application = || self.application.clone();
        self.is_plain
            .then(|| ClientIdentity { application: application(), ..ClientIdentity::default() })
    }
}

/// Whether a handshake of TLS begins. No first message of another protocol does so: MySQL's would
/// have 64 KiB.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 3, 1..=4, ..])
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};
    use strum::IntoEnumIterator as _;

    use super::{super::identity::MAX_NAME, *};

    #[test]
    fn a_hello_of_tls_is_one_for_every_engine() {
        for engine in Engine::iter() {
            let told = Client::new(engine).read(&[0x16, 3, 1, 2, 0, 1, 0]);
            assert_eq!(told, Progress::Done(Some(ClientIdentity::tls())), "{engine}");
        }
    }

    /// Messages as clients send them, with the password `geheim` and the statement `select geheim`.
    fn recorded() -> Vec<(Engine, Vec<u8>)> {
        let mut all: Vec<(Engine, Vec<u8>)> = Vec::new();
        all.extend(postgres::tests::messages().into_iter().map(|it| (Engine::Postgres, it)));
        all.extend(mysql::tests::messages().into_iter().map(|it| (Engine::MySql, it)));
        all.extend(redis::tests::messages().into_iter().map(|it| (Engine::Redis, it)));
        all.extend(mongodb::tests::messages().into_iter().map(|it| (Engine::MongoDb, it)));
        all
    }

    #[test]
    fn no_password_and_no_statement_is_ever_told() {
        for (engine, message) in recorded() {
            for end in 0..=message.len() {
                let heard = format!("{:?}", Client::new(engine).read(&message[..end]));
                assert!(!heard.contains("geheim"), "{engine}: {heard}");
            }
        }
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(20_000))]

        /// Every message, changed, cut and followed by others, in pieces of any size: nothing
        /// panics, and what is told has names that are bounded.
        #[test]
        fn no_client_panics(
            chosen: Index,
            flips in vec((any::<Index>(), any::<u8>()), 0..4),
            cut: Index,
            piece in 1_usize..64,
            noise in vec(any::<u8>(), 0..40),
        ) {
            let all = recorded();
            let (engine, message) = &all[chosen.index(all.len())];
            let mut bytes = message.clone();
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            bytes.extend_from_slice(&noise);
            for engine in Engine::iter().filter(|other| other == engine || noise.len() % 8 == 0) {
                let _ = Client::new(engine).read(&noise);
                let mut client = Client::new(engine);
                let mut from = 0;
                for to in (piece..bytes.len() + piece).step_by(piece) {
                    match client.read(&bytes[from..to.min(bytes.len())]) {
                        Progress::More(read) => from += read,
                        Progress::Done(told) => {
                            let told = told.unwrap_or_default();
                            let names = [told.user, told.database, told.application];
                            for name in names.into_iter().flatten() {
                                // A byte that is no text counts as three.
                                prop_assert!(name.len() <= 3 * MAX_NAME && !name.is_empty());
                            }
                            break;
                        }
                    }
                }
            }
        }
    }
}
