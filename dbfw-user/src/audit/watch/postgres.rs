//! The first messages of PostgreSQL's clients: the request for TLS, and who asks for which database.

use super::identity::{ClientIdentity, Read, application, name};

/// The numbers in the place of the version that ask for something else.
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// The server reads no longer message either.
const MAX_LENGTH: usize = 10_000;

/// Reads a message. Its parameters besides `user`, `database` and `application_name` are passed over.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some([length, code]) = bytes.as_chunks::<4>().0.first_chunk::<2>() else {
        return Read::Part;
    };
    let length = u32::from_be_bytes(*length) as usize;
    let code = u32::from_be_bytes(*code);
    match code {
        TLS | GSS if length == 8 => return Read::Next(8),
        _ if code >> 16 == 3 && (9..=MAX_LENGTH).contains(&length) => {}
        // A request to cancel, encryption by GSS, or another protocol.
        _ => return Read::Other,
    }
    let Some(parameters) = bytes.get(8..length) else { return Read::Part };
    let mut told = ClientIdentity::default();
    let mut texts = parameters.split(|byte| *byte == 0);
    while let (Some(key), Some(value)) = (texts.next(), texts.next())
        && !key.is_empty()
    {
        match key {
            b"user" => told.user = name(value),
            b"database" => told.database = name(value),
            b"application_name" => told.application = application(value),
            _ => {}
        }
    }
    if told.database.is_none() {
        told.database.clone_from(&told.user);
    }
    Read::Identified(told)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn startup(parameters: &[u8]) -> Vec<u8> {
        let length = (parameters.len() as u32 + 8).to_be_bytes();
        [&length[..], &[0, 3, 0, 0], parameters].concat()
    }

    pub(in super::super) fn messages() -> Vec<Vec<u8>> {
        let login =
            startup(b"user\0app\0database\0shop\0application_name\0bi\0options\0geheim\0\0");
        let password = b"p\0\0\0\x0bgeheim\0";
        let query = b"Q\0\0\0\x13select geheim\0";
        let asks = [0, 0, 0, 8, 4, 210, 22, 47];
        vec![
            [&login[..], password, query].concat(),
            [&asks[..], &login, password].concat(),
            [&asks[..], &[0x16, 3, 1, 2, 0, 1]].concat(),
        ]
    }

    #[test]
    fn startups() {
        let told = |user: &str, database: &str| {
            let (user, database) = (Some(user.to_owned()), Some(database.to_owned()));
            ClientIdentity { user, database, ..ClientIdentity::default() }
        };
        let application = Some("bi".to_owned());
        let whole = ClientIdentity { application, ..told("app", "shop") };
        assert_eq!(read(&messages()[0]), Read::Identified(whole));
        let told = |user: &str, database: &str| Read::Identified(told(user, database));
        assert_eq!(read(&startup(b"user\0app\0\0")), told("app", "app"));
        assert_eq!(read(&messages()[1]), Read::Next(8));
        let whole = startup(b"database\0d\0user\0u\0\0");
        assert_eq!(read(&whole), told("u", "d"));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Read::Part, "{end}");
        }
        let long = startup(&[b"user\0", &[b'x'; 200][..], b"\0\0"].concat());
        assert_eq!(read(&long), Read::Identified(ClientIdentity::default()));
        let long = startup(&[b"application_name\0", &[b'x'; 200][..], b"\0\0"].concat());
        let application = Some("x".repeat(128));
        let cut = ClientIdentity { application, ..ClientIdentity::default() };
        assert_eq!(read(&long), Read::Identified(cut));
        for other in [
            &[0, 0, 0, 16, 4, 210, 22, 46, 1, 1, 1, 1, 2, 2, 2, 2][..],
            b"GET / HTTP/1.1\r\n",
            &[0, 0, 0, 8, 0, 2, 0, 0],
            &[0, 0, 0, 8, 0, 3, 0, 0],
            &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        ] {
            assert_eq!(read(other), Read::Other, "{other:?}");
        }
    }
}
