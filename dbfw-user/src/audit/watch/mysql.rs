//! The answer of MySQL's and MariaDB's clients to the server's greeting.

use super::identity::{ClientIdentity, Read, name};

const WITH_DATABASE: u32 = 0x8;
const PROTOCOL_41: u32 = 0x200;
const TLS: u32 = 0x800;
const SECURE_CONNECTION: u32 = 0x8000;
const LENGTH_ENCODED: u32 = 0x20_0000;
/// Bytes before the user's name: flags, the largest packet, the character set, and what is reserved.
const HEAD: usize = 32;
/// Bytes of the packet that are waited for.
const MAX_LENGTH: usize = 4096;

/// Reads a message. The proof between the user and the database is passed over, and so is all that
/// follows these.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(([low, mid, high, number], rest)) = bytes.split_first_chunk::<4>() else {
        return Read::Part;
    };
    let length = usize::from(*low) | usize::from(*mid) << 8 | usize::from(*high) << 16;
    if *number != 1 || length < HEAD {
        return Read::Other;
    }
    let Some(payload) = rest.get(..length.min(MAX_LENGTH)) else { return Read::Part };
    let Some((flags, _)) = payload.split_first_chunk::<4>() else { return Read::Other };
    let flags = u32::from_le_bytes(*flags);
    if flags & PROTOCOL_41 == 0 {
        return Read::Other;
    }
    if length == HEAD {
        let asks = flags & TLS != 0;
        return if asks { Read::Identified(ClientIdentity::tls()) } else { Read::Other };
    }
    let Some((user, rest)) = text(&payload[HEAD..]) else { return Read::Other };
    let database = if flags & WITH_DATABASE == 0 {
        None
    } else {
        proof_length(flags, rest).and_then(|length| text(rest.get(length..)?))
    };
    let database = database.and_then(|(database, _)| name(database));
    Read::Identified(ClientIdentity { user: name(user), database, ..ClientIdentity::default() })
}

/// The text up to a zero, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Bytes of the proof, with those that say how long it is.
fn proof_length(flags: u32, bytes: &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.first()?);
    if flags & LENGTH_ENCODED != 0 {
        return match (first, bytes) {
            (..=250, _) => Some(1 + first),
            (0xfc, [_, low, high, ..]) => Some(3 + usize::from(u16::from_le_bytes([*low, *high]))),
            _ => None,
        };
    }
    if flags & SECURE_CONNECTION != 0 {
        return Some(1 + first);
    }
    text(bytes).map(|(proof, _)| proof.len() + 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn packet(flags: u32, rest: &[u8]) -> Vec<u8> {
        let payload = [&flags.to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23], rest].concat();
        let length = (payload.len() as u32).to_le_bytes();
        [&length[..3], &[1], &payload].concat()
    }

    pub(in super::super) fn messages() -> Vec<Vec<u8>> {
        const USUAL: u32 = PROTOCOL_41 | SECURE_CONNECTION;
        vec![
            packet(USUAL | WITH_DATABASE, b"app\0\x06geheimshop\0mysql_native_password\0"),
            packet(USUAL | WITH_DATABASE | LENGTH_ENCODED, b"app\0\x06geheimshop\0x\0"),
            packet(PROTOCOL_41 | WITH_DATABASE, b"app\0geheim\0shop\0"),
            packet(USUAL, b"app\0\x06geheim"),
            packet(USUAL | TLS, b""),
            [&packet(USUAL, b"app\0\0")[..], b"\x0e\0\0\0\x03select geheim"].concat(),
        ]
    }

    #[test]
    fn logins() {
        let told = |database: Option<&str>| {
            let (user, database) = (Some("app".to_owned()), database.map(str::to_owned));
            Read::Identified(ClientIdentity { user, database, ..ClientIdentity::default() })
        };
        let results: Vec<Read> = messages().iter().map(|message| read(message)).collect();
        let shop = told(Some("shop"));
        let expected = [
            shop.clone(),
            shop.clone(),
            shop,
            told(None),
            Read::Identified(ClientIdentity::tls()),
            told(None),
        ];
        assert_eq!(results, expected);
        let whole = &messages()[0];
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Read::Part, "{end}");
        }
        let mut longer = packet(
            PROTOCOL_41 | SECURE_CONNECTION | LENGTH_ENCODED | WITH_DATABASE,
            &[&b"app\0\xfc\x00\x01"[..], &[b'p'; 256], b"shop\0"].concat(),
        );
        assert_eq!(read(&longer), told(Some("shop")));
        longer[3] = 0;
        assert_eq!(read(&longer), Read::Other, "it is no answer to a greeting");
        for other in [packet(0, b"app\0"), packet(PROTOCOL_41, b""), packet(PROTOCOL_41, b"app")] {
            assert_eq!(read(&other), Read::Other, "{other:?}");
        }
        assert_eq!(read(b"GET / HTTP/1.1"), Read::Other);
    }
}
