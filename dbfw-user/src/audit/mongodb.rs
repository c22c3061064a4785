//! A word with MongoDB: commands of OP_MSG, and of BSON as much as their answers need.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 256 * 1024;
/// The kind of message that all but the oldest clients and servers speak.
pub(super) const OP_MSG: u32 = 2013;
/// Length, id, the id that is answered, and the kind of message.
pub(super) const HEADER: usize = 16;

/// The answer to a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// Whether it was done.
    pub(super) is_ok: bool,
    /// The number of the error.
    pub(super) code: Option<i32>,
    /// The text of the error.
    pub(super) message: Option<String>,
    /// The server's version, which buildInfo tells.
    pub(super) version: Option<String>,
}

/// The error of a client that is not allowed to.
pub(super) const UNAUTHORIZED: i32 = 13;

/// Runs a command that takes the number 1, in the database admin.
pub(super) async fn run(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    command: &str,
) -> io::Result<Answer> {
    stream.write_all(&message(command)).await?;
    stream.flush().await?;
    let length = stream.read_u32_le().await? as usize;
    if !(HEADER + 5..=MAX_ANSWER).contains(&length) {
        return Err(io::Error::other(format!("it sends a message of {length} bytes")));
    }
    let mut rest = vec![0; length - 4];
    stream.read_exact(&mut rest).await?;
    parse(&rest).ok_or_else(|| io::Error::other("its answer is not one of MongoDB's"))
}

fn message(command: &str) -> Vec<u8> {
    let mut elements = vec![0x10];
    elements.extend_from_slice(command.as_bytes());
    elements.extend_from_slice(&[0, 1, 0, 0, 0]);
    elements.extend_from_slice(b"\x02$db\0\x06\0\0\0admin\0\0");
    let document = (elements.len() as u32 + 4).to_le_bytes();
    // Flags, and a section of one document.
    let body = [&[0, 0, 0, 0, 0][..], &document, &elements].concat();
    let length = (HEADER + body.len()) as u32;
    let header = [length, 1, 0, OP_MSG].map(u32::to_le_bytes).concat();
    [header, body].concat()
}

/// Reads a message without its length.
fn parse(message: &[u8]) -> Option<Answer> {
    let kind = message.get(8..12)?;
    if u32::from_le_bytes(kind.try_into().ok()?) != OP_MSG || *message.get(16)? != 0 {
        return None;
    }
    let mut answer = Answer::default();
    let mut elements = Elements::of(message.get(17..)?)?;
    for (kind, name, value) in &mut elements {
        match name {
            b"ok" => answer.is_ok = number(kind, value) == Some(1.0),
            b"code" => answer.code = number(kind, value).map(|code| code as i32),
            b"errmsg" => answer.message = string(kind, value),
            b"version" => answer.version = string(kind, value),
            _ => {}
        }
    }
    elements.is_whole.then_some(answer)
}

/// The elements of a document of BSON: the kind, the name and the value of each.
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    /// Whether the document ended as it should.
    is_whole: bool,
}

impl<'a> Elements<'a> {
    /// Those of a document; `None`: it is cut.
    pub(super) fn of(document: &'a [u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*document.first_chunk()?) as usize;
        Some(Self { rest: document.get(4..length)?, is_whole: false })
    }

    fn split(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (kind, text) = self.rest.split_first()?;
        let end = text.iter().position(|byte| *byte == 0)?;
        let value = &text[end + 1..];
        let (value, rest) = value.split_at_checked(size(*kind, value)?)?;
        self.rest = rest;
        Some((*kind, &text[..end], value))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.rest, [] | [0, ..]) {
            self.is_whole = true;
            return None;
        }
        self.split()
    }
}

/// Bytes of a value.
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    let length = || Some(u32::from_le_bytes(value.get(..4)?.try_into().ok()?) as usize);
    let size = match kind {
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x02 | 0x0d | 0x0e => length()?.checked_add(4)?,
        0x03 | 0x04 | 0x0f => length()?,
        0x05 => length()?.checked_add(5)?,
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x07 => 12,
        0x08 => 1,
        0x10 => 4,
        0x13 => 16,
        0x0b => {
            let mut ends = value.iter().enumerate().filter(|(_, byte)| **byte == 0);
            ends.nth(1)?.0 + 1
        }
        0x0c => length()?.checked_add(16)?,
        _ => return None,
    };
    Some(size)
}

fn number(kind: u8, value: &[u8]) -> Option<f64> {
    Some(match kind {
        0x01 => f64::from_le_bytes(value.try_into().ok()?),
        0x10 => i32::from_le_bytes(value.try_into().ok()?).into(),
        0x12 => i64::from_le_bytes(value.try_into().ok()?) as f64,
        0x08 => f64::from(*value.first()?),
        _ => return None,
    })
}

/// The text of a value.
pub(super) fn string(kind: u8, value: &[u8]) -> Option<String> {
    let text = (kind == 0x02).then(|| value.get(4..))??;
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(elements: &[u8]) -> Vec<u8> {
        let document = (elements.len() as u32 + 5).to_le_bytes();
        let body = [&[0, 0, 0, 0, 0][..], &document, elements, &[0]].concat();
        let header = [7, 1, OP_MSG].map(u32::to_le_bytes).concat();
        [header, body].concat()
    }

    #[test]
    fn answers() {
        let version = b"\x02version\0\x06\0\0\x007.0.4\0";
        let done = b"\x01ok\0\0\0\0\0\0\0\xf0\x3f";
        let info = answer(&[&version[..], b"\x04x\0\x05\0\0\0\0", done].concat());
        assert_eq!(
            parse(&info),
            Some(Answer { is_ok: true, version: Some("7.0.4".to_owned()), ..Answer::default() })
        );
        let refused = b"\x01ok\0\0\0\0\0\0\0\0\0\x02errmsg\0\x03\0\0\0no\0\x10code\0\x0d\0\0\0";
        let message = Some("no".to_owned());
        let code = Some(UNAUTHORIZED);
        assert_eq!(parse(&answer(refused)), Some(Answer { code, message, ..Answer::default() }));
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
        assert_eq!(parse(&answer(b"\x02ok\0\xff\xff\xff\xff")), None);
    }

    /// The shape that the server's manual gives.
    #[test]
    fn the_lengths_of_a_command_are_right() {
        let message = message("hello");
        let length = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!(length(0) as usize, message.len());
        assert_eq!(length(21) as usize, message.len() - 21);
        assert_eq!(message.last(), Some(&0));
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(20_000))]

        #[test]
        fn no_message_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            kinds in proptest::collection::vec((0u8..0x14, any::<[u8; 6]>()), 0..6),
        ) {
            let _ = parse(&bytes);
            let elements: Vec<u8> =
                kinds.iter().flat_map(|(kind, value)| [&[*kind, b'a', 0][..], value].concat()).collect();
            let _ = (parse(&answer(&elements)), parse(&answer(&bytes)));
        }
    }
}
