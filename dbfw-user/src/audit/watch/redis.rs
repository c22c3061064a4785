//! The first commands of Redis' and Valkey's clients: AUTH and HELLO.

use super::identity::{ClientIdentity, Read, name};

/// Bytes of a line.
const MAX_LINE: usize = 1024;
/// Words of a command that are looked at.
const MAX_WORDS: usize = 8;
/// The user of a client that gives a password alone.
const USUAL_USER: &[u8] = b"default";

/// Reads a command. Of its words none but the command, the word AUTH and the user's name is looked
/// at: a password is passed over by its length.
pub(super) fn read(bytes: &[u8]) -> Read {
    match bytes.first() {
        None => Read::Part,
        Some(b'*') => array(bytes),
        Some(first) if first.is_ascii_alphabetic() => inline(bytes),
        Some(_) => Read::Other,
    }
}

/// A command with the lengths of its words.
fn array(bytes: &[u8]) -> Read {
    let Some((count, mut at)) = number(bytes, 0, b'*') else { return unfinished(bytes) };
    let Some(count) = count else { return Read::Other };
    let mut words = Words::default();
    for index in 0..count {
        if let Some(told) = words.told(count) {
            return told;
        }
        let Some((length, begin)) = number(bytes, at, b'$') else {
            return unfinished(bytes.get(at..).unwrap_or_default());
        };
        let Some(length) = length else { return Read::Other };
        // Behind what was received: its end is not waited for, unless it may say who it is.
        let end = begin.saturating_add(length);
        match bytes.get(begin..end) {
            Some(word) => words.push(index, word),
            None if words.may_tell() && length <= MAX_LINE => return Read::Part,
            None => return Read::Plain(end.saturating_add(2)),
        }
        at = end.saturating_add(2);
    }
    words.told(count).unwrap_or(Read::Plain(at))
}

/// A command as people type it.
fn inline(bytes: &[u8]) -> Read {
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Read::Part } else { Read::Other };
    };
    let line = || bytes[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let count = line().count();
    let mut words = Words::default();
    for (index, word) in line().take(MAX_WORDS).enumerate() {
        if let Some(told) = words.told(count) {
            return told;
        }
        words.push(index, word);
    }
    words.told(count).unwrap_or(Read::Plain(end + 1))
}

/// The words of a command, as far as they say who the client is.
#[derive(Default)]
struct Words<'b> {
    is_auth: bool,
    is_hello: bool,
    /// The number of the word that is the user.
    user_at: Option<usize>,
    user: Option<&'b [u8]>,
    is_over: bool,
}

impl<'b> Words<'b> {
    fn push(&mut self, index: usize, word: &'b [u8]) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if index == 0 {
            (self.is_auth, self.is_hello) = (is(b"AUTH"), is(b"HELLO"));
            self.user_at = self.is_auth.then_some(1);
            self.is_over = !self.is_auth && !self.is_hello;
        } else if self.user_at == Some(index) {
            self.user = Some(word);
        } else if self.is_hello && index >= 2 && is(b"AUTH") {
            self.user_at = Some(index + 1);
        }
        self.is_over |= index >= MAX_WORDS;
    }

    /// Whether words that follow may say who the client is.
    fn may_tell(&self) -> bool {
        !self.is_over
    }

    /// What is known of a command with so many words.
    fn told(&self, count: usize) -> Option<Read> {
        let user = match self.user {
            // The one word after AUTH is the password.
            _ if self.is_auth && count == 2 => USUAL_USER,
            user => user?,
        };
        Some(Read::Identified(ClientIdentity { user: name(user), ..ClientIdentity::default() }))
    }
}

/// The number in a line that begins with a sign, and the place after the line; `None`: the line is
/// not whole. No number: it is another line.
fn number(bytes: &[u8], at: usize, sign: u8) -> Option<(Option<usize>, usize)> {
    let line = bytes.get(at..)?;
    let end = line.iter().take(MAX_LINE).position(|byte| *byte == b'\n')?;
    let digits = line[..end].strip_prefix(&[sign]).map(<[u8]>::trim_ascii_end);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    Some((digits.and_then(|digits| digits.parse().ok()), at + end + 1))
}

/// A line that is not whole.
fn unfinished(line: &[u8]) -> Read {
    if line.len() < MAX_LINE { Read::Part } else { Read::Other }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        bytes
    }

    pub(in super::super) fn messages() -> Vec<Vec<u8>> {
        vec![
            command(&["AUTH", "app", "geheim"]),
            command(&["auth", "geheim"]),
            command(&["HELLO", "3", "AUTH", "app", "geheim", "SETNAME", "x"]),
            command(&["HELLO", "3", "SETNAME", "x", "AUTH", "app", "geheim"]),
            b"AUTH app geheim\r\n".to_vec(),
            b"auth geheim\r\n".to_vec(),
            [command(&["PING"]), command(&["AUTH", "app", "geheim"])].concat(),
            [command(&["SET", "geheim", "geheim"]), command(&["GET", "geheim"])].concat(),
            b"SET geheim geheim\n".to_vec(),
        ]
    }

    #[test]
    fn commands() {
        let told = |user: &str| {
            Read::Identified(ClientIdentity {
                user: Some(user.to_owned()),
                ..ClientIdentity::default()
            })
        };
        let results: Vec<Read> = messages().iter().map(|message| read(message)).collect();
        let (app, usual) = (|| told("app"), || told("default"));
        let plain = [command(&["PING"]).len(), command(&["SET", "geheim", "geheim"]).len()];
        assert_eq!(
            results,
            [
                app(),
                usual(),
                app(),
                app(),
                app(),
                usual(),
                Read::Plain(plain[0]),
                Read::Plain(plain[1]),
                Read::Plain(18),
            ]
        );
        // The name is known before the password has come.
        assert_eq!(read(b"*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n"), app());
        assert_eq!(read(b"*2\r\n$4\r\nAUTH\r\n$9"), usual());
        assert_eq!(read(b"*3\r\n$4\r\nAUTH\r\n$3\r\nap"), Read::Part);
        // A long value is not waited for.
        assert_eq!(read(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900000\r\nx"), Read::Plain(900_031));
        assert_eq!(read(b"*1\r\n"), Read::Part);
        for other in [&b"\x00\x01"[..], b"*x\r\n", b"*1\r\n+OK\r\n", &[b'a'; MAX_LINE]] {
            assert_eq!(read(other), Read::Other, "{other:?}");
        }
    }
}
