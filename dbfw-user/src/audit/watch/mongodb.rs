//! The first messages of MongoDB's clients: hello and saslStart.

use super::{
    super::mongodb::{Elements, HEADER, OP_MSG, string},
    identity::{ClientIdentity, Read, name},
};

/// The message by which older clients say hello.
const OP_QUERY: u32 = 2004;
/// Messages of clients are no longer than that.
const MAX_MESSAGE: usize = 48_000_000;
/// Bytes of a message that are waited for.
const MAX_LENGTH: usize = 4096;
/// The beginning of a first message of SCRAM, which has the user's name and no password.
const SCRAM: &[u8] = b"n,,n=";

/// Reads a message. Of its elements none but those that name the user and the database are looked
/// at.
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
        Some(told) => Read::Identified(told),
        None => Read::Plain(length),
    }
}

/// Who a document says that the client is.
fn told(document: &[u8]) -> Option<ClientIdentity> {
    let (mut user, mut database, mut named) = (None, None, None);
    for (kind, key, value) in Elements::of(document)? {
        match key {
            b"saslSupportedMechs" => {
                // "admin.app".
                let text = string(kind, value)?;
                let (of, who) = text.split_once('.')?;
                (named, user) = (name(of.as_bytes()), name(who.as_bytes()));
            }
            b"speculativeAuthenticate" if kind == 0x03 => {
                for (kind, key, value) in Elements::of(value)? {
                    match key {
                        b"payload" => user = scram(kind, value).or(user),
                        b"db" => named = string(kind, value).and_then(|it| name(it.as_bytes())),
                        _ => {}
                    }
                }
            }
            b"payload" => user = scram(kind, value).or(user),
            b"$db" => database = string(kind, value).and_then(|it| name(it.as_bytes())),
            _ => {}
        }
    }
    user.is_some().then(|| ClientIdentity { tls: false, user, database: named.or(database) })
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
            msg(&[&one("hello"), &text("$db", "admin")]),
        ]
    }

    #[test]
    fn logins() {
        let (user, database) = (Some("app".to_owned()), Some("shop".to_owned()));
        let told = Read::Identified(ClientIdentity { tls: false, user, database });
        let all = messages();
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
            Read::Identified(ClientIdentity { tls: false, user, database: None })
        );
    }
}
