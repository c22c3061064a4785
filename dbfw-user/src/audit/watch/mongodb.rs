//! The first messages of MongoDB's clients: hello and saslStart.

use super::{
    super::mongodb::{Elements, HEADER, OP_MSG, string},
    identity::{ClientIdentity, Read, application, name},
};

/// The message by which older clients say hello.
const OP_QUERY: u32 = 2004;
/// Messages of clients are no longer than that.
const MAX_MESSAGE: usize = 48_000_000;
/// Bytes of a message that are waited for.
const MAX_LENGTH: usize = 4096;
/// The kind of an element that is a document.
const DOCUMENT: u8 = 0x03;
/// The beginning of a first message of SCRAM, which has the user's name and no password.
const SCRAM: &[u8] = b"n,,n=";

/// Reads a message. Of its elements none but those that name the user, the database and the client's
/// program are looked at.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Read::Part };
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let (length, kind) = (word(0) as usize, word(12));
    if !(HEADER..=MAX_MESSAGE).contains(&length) || !(2000..=2013).contains(&kind) {
        return Read::Other;
    }
    if length > MAX_LENGTH {
        return Read::Plain(length);
    }
    let Some(body) = bytes.get(HEADER..length) else { return Read::Part };
    let document = match kind {
        OP_MSG if body.get(4) == Some(&0) => body.get(5..),
        // Flags, the name of a collection, and two numbers.
        OP_QUERY => body.get(4..).and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest.get(end + 9..)
        }),
        _ => None,
    };
    match document.and_then(told) {
        Some(told) if told.user.is_some() => Read::Identified(told),
        Some(ClientIdentity { application: Some(name), .. }) => Read::Application(length, name),
        _ => Read::Plain(length),
    }
}

/// Who a document says that the client is.
fn told(document: &[u8]) -> Option<ClientIdentity> {
    let (mut user, mut database, mut named, mut program) = (None, None, None, None);
    let command = Elements::of(document)?.next()?.1;
    let is_hello = [&b"hello"[..], b"isMaster", b"ismaster"].contains(&command);
    for (kind, key, value) in Elements::of(document)? {
        match key {
            b"saslSupportedMechs" => {
                // "admin.app".
                let text = string(kind, value)?;
                let (of, who) = text.split_once('.')?;
                (named, user) = (name(of.as_bytes()), name(who.as_bytes()));
            }
            b"speculativeAuthenticate" if kind == DOCUMENT => {
                for (kind, key, value) in Elements::of(value)? {
                    match key {
                        b"payload" => user = scram(kind, value).or(user),
                        b"db" => named = string(kind, value).and_then(|it| name(it.as_bytes())),
                        _ => {}
                    }
                }
            }
            b"payload" => user = scram(kind, value).or(user),
            b"client" if is_hello && kind == DOCUMENT => program = named_program(value),
            b"$db" => database = string(kind, value).and_then(|it| name(it.as_bytes())),
            _ => {}
        }
    }
    let database = named.or(database);
    Some(ClientIdentity { tls: false, user, database, application: program })
}

/// The program's name in what a client says of itself (`application.name`).
fn named_program(client: &[u8]) -> Option<String> {
    let (_, _, of_program) =
        Elements::of(client)?.find(|(kind, key, _)| (*kind, *key) == (DOCUMENT, b"application"))?;
    let mut names = Elements::of(of_program)?.filter(|(_, key, _)| *key == b"name");
    let (kind, _, value) = names.next()?;
    application(string(kind, value)?.as_bytes())
}

/// The user's name in a first message of SCRAM.
fn scram(kind: u8, value: &[u8]) -> Option<String> {
    // A length and a kind come before the bytes.
    let message = (kind == 0x05).then(|| value.get(5..))??.strip_prefix(SCRAM)?;
    let end = message.iter().position(|byte| *byte == b',')?;
    let text = name(&message[..end])?;
    Some(text.replace("=2C", ",").replace("=3D", "="))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn document(elements: &[&[u8]]) -> Vec<u8> {
        let elements = elements.concat();
        [&(elements.len() as u32 + 5).to_le_bytes()[..], &elements, &[0]].concat()
    }

    fn text(key: &str, value: &str) -> Vec<u8> {
        let length = (value.len() as u32 + 1).to_le_bytes();
        [b"\x02", key.as_bytes(), b"\0", &length, value.as_bytes(), b"\0"].concat()
    }

    fn binary(key: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u32).to_le_bytes();
        [b"\x05", key.as_bytes(), b"\0", &length, b"\0", value].concat()
    }

    fn message(kind: u32, before: &[u8], document: &[u8]) -> Vec<u8> {
        let body = [before, document].concat();
        let header = [(HEADER + body.len()) as u32, 1, 0, kind].map(u32::to_le_bytes).concat();
        [header, body].concat()
    }

    pub(in super::super) fn messages() -> Vec<Vec<u8>> {
        let msg = |elements: &[&[u8]]| message(OP_MSG, &[0; 5], &document(elements));
        let one = |key: &str| [b"\x10", key.as_bytes(), b"\0\x01\0\0\0"].concat();
        let scram = binary("payload", b"n,,n=app,r=geheim");
        let nested = document(&[&one("saslStart"), &scram, &text("db", "shop")]);
        let speculative = [&b"\x03speculativeAuthenticate\0"[..], &nested].concat();
        let query = [&[0; 4], &b"admin.$cmd\0"[..], &[0; 4], &[255; 4]].concat();
        let hello = [one("hello"), text("saslSupportedMechs", "shop.app")].concat();
        let nested = |key: &str, elements: &[u8]| {
            [&[DOCUMENT][..], key.as_bytes(), &[0], &document(&[elements])].concat()
        };
        let program = nested("application", &text("name", "bi"));
        let client = nested("client", &[program, nested("driver", &text("name", "x"))].concat());
        vec![
            msg(&[&one("hello"), &text("saslSupportedMechs", "shop.app"), &text("$db", "admin")]),
            msg(&[&one("hello"), &speculative, &text("$db", "admin")]),
            msg(&[
                &one("saslStart"),
                &text("mechanism", "SCRAM-SHA-256"),
                &scram,
                &text("$db", "shop"),
            ]),
            message(OP_QUERY, &query, &document(&[&hello])),
            msg(&[
                &one("saslStart"),
                &text("mechanism", "PLAIN"),
                &binary("payload", b"\0app\0geheim"),
            ]),
            msg(&[&one("find"), &text("filter", "geheim"), &text("$db", "shop")]),
            msg(&[
                &one("find"),
                &nested("client", &nested("application", &text("name", "geheim"))),
            ]),
            msg(&[&one("hello"), &client, &text("comment", "geheim"), &text("$db", "admin")]),
            msg(&[&one("hello"), &client, &text("saslSupportedMechs", "shop.app")]),
            msg(&[&one("hello"), &text("$db", "admin")]),
        ]
    }

    #[test]
    fn logins() {
        let (user, database) = (Some("app".to_owned()), Some("shop".to_owned()));
        let app = ClientIdentity { user, database, ..ClientIdentity::default() };
        let told = Read::Identified(app.clone());
        let mut all = messages();
        let application = Some("bi".to_owned());
        let at = all.len() - 3;
        let with_program = all.remove(at + 1);
        assert_eq!(read(&with_program), Read::Identified(ClientIdentity { application, ..app }));
        let program = all.remove(at);
        assert_eq!(read(&program), Read::Application(program.len(), "bi".to_owned()));
        for message in &all[..4] {
            assert_eq!(read(message), told, "{message:?}");
            for end in 0..message.len() {
                assert_eq!(read(&message[..end]), Read::Part, "{end}");
            }
        }
        for message in &all[4..] {
            assert_eq!(read(message), Read::Plain(message.len()));
        }
        let mut huge = all[0].clone();
        huge[..4].copy_from_slice(&5_000_u32.to_le_bytes());
        assert_eq!(read(&huge), Read::Plain(5_000));
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&huge), Read::Other);
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: x"), Read::Other);
        let escaped = binary("payload", b"n,,n=a=2Cb=3Dc,r=x");
        let nested = message(OP_MSG, &[0; 5], &document(&[&escaped]));
        let user = Some("a,b=c".to_owned());
        assert_eq!(
            read(&nested),
            Read::Identified(ClientIdentity { user, ..ClientIdentity::default() })
        );
    }
}
