//! The lines of a list as people and their programs write them.

use std::borrow::Cow;

/// Bytes at the beginning of a text that tell its encoding.
const LOOKED_AT: usize = 4096;

const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

/// An encoding in which no list is read. Its text looks like UTF-8 with NUL characters, or like
/// nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignEncoding {
    /// UTF-16 that says so at its beginning.
    Utf16,
    /// UTF-16 with the low byte first, which does not say so.
    Utf16Le,
    /// UTF-16 with the high byte first, which does not say so.
    Utf16Be,
    /// UTF-32.
    Utf32,
}

impl ForeignEncoding {
    /// The encoding of a text; `None` if it may be UTF-8.
    pub fn of(text: &[u8]) -> Option<Self> {
        match text {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some(Self::Utf32),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(Self::Utf16),
            _ => {}
        }
        // The digits and dots of addresses have a high byte of zero.
        let (pairs, _) = text[..text.len().min(LOOKED_AT)].as_chunks::<2>();
        let first = pairs.iter().filter(|pair| pair[0] == 0).count();
        let second = pairs.iter().filter(|pair| pair[1] == 0).count();
        let most = |zeros: usize, others: usize| zeros * 3 >= pairs.len() && others * 20 <= zeros;
        match (first, second) {
            (0, 0) => None,
            _ if most(second, first) => Some(Self::Utf16Le),
            _ if most(first, second) => Some(Self::Utf16Be),
            _ => None,
        }
    }

    /// The trouble with it.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Utf16 | Self::Utf16Le | Self::Utf16Be => "is UTF-16, not UTF-8",
            Self::Utf32 => "is UTF-32, not UTF-8",
        }
    }

    /// The way out.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Utf16 => "save it as UTF-8 (on a command line: iconv -f UTF-16 -t UTF-8)",
            Self::Utf16Le => "save it as UTF-8 (on a command line: iconv -f UTF-16LE -t UTF-8)",
            Self::Utf16Be => "save it as UTF-8 (on a command line: iconv -f UTF-16BE -t UTF-8)",
            Self::Utf32 => "save it as UTF-8 (on a command line: iconv -f UTF-32 -t UTF-8)",
        }
    }
}

/// The lines of a text with their numbers, from 1. They end with LF, CR LF or CR; a byte order
/// mark at the beginning of one is not part of it, since lists are put together with `cat`.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|byte| *byte == b'\n')
        .flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r'))
        .map(|line| line.strip_prefix(UTF8_MARK).unwrap_or(line))
        .zip(1..)
        .map(|(line, number)| (number, line))
}

/// The text before a comment, and the comment. `#` or `;` begins one.
pub fn split_comment(line: &[u8]) -> (&[u8], &[u8]) {
    // Both are in the URLs of feeds, where white space is not.
    let is_feed = line.trim_ascii_start().starts_with(b"feed:");
    let begins = |at: usize| {
        matches!(line[at], b'#' | b';')
            && (!is_feed || line[..at].last().is_some_and(|byte| matches!(byte, b' ' | b'\t')))
    };
    match (0..line.len()).find(|at| begins(*at)) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

/// The text of a comment, which may be in any encoding: what is not UTF-8 or a control
/// character becomes U+FFFD.
pub fn comment_text(comment: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(comment);
    let text = match text.trim() {
        "" => return None,
        text if text.contains(char::is_control) => Cow::Owned(
            text.chars()
                .map(|c| match c {
                    '\t' => ' ',
                    c if c.is_control() => char::REPLACEMENT_CHARACTER,
                    c => c,
                })
                .collect::<String>(),
        ),
        text => Cow::Borrowed(text),
    };
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn encodings() {
        let list = "# Büro\r\n192.0.2.1\r\n2001:db8::/32\r\n";
        let (le, be) = (u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes as _);
        for (text, encoding) in [
            (list.as_bytes().to_vec(), None),
            (Vec::new(), None),
            (vec![0], None),
            (b"1".to_vec(), None),
            (format!("\u{feff}{list}").into_bytes(), None),
            (b"# B\xfcro\n192.0.2.1\n".to_vec(), None),
            (b"192.0.2.1\0\n192.0.2.2\n".to_vec(), None),
            (encoded(list, le), Some(ForeignEncoding::Utf16Le)),
            (encoded(list, be), Some(ForeignEncoding::Utf16Be)),
            (encoded("\u{4e1c}\u{4eac}\u{304b}\n192.0.2.1", le), Some(ForeignEncoding::Utf16Le)),
            (encoded(&format!("\u{feff}{list}"), le), Some(ForeignEncoding::Utf16)),
            (encoded(&format!("\u{feff}{list}"), be), Some(ForeignEncoding::Utf16)),
            (vec![0xff, 0xfe], Some(ForeignEncoding::Utf16)),
            (vec![0xff, 0xfe, 0, 0, b'1', 0, 0, 0], Some(ForeignEncoding::Utf32)),
            (vec![0, 0, 0xfe, 0xff, 0, 0, 0, b'1'], Some(ForeignEncoding::Utf32)),
        ] {
            assert_eq!(ForeignEncoding::of(&text), encoding, "{text:?}");
        }
    }

    #[test]
    fn every_line_end_counts_once() {
        let read = |text: &str| {
            lines(text.as_bytes())
                .map(|(number, line)| format!("{number}:{}", str::from_utf8(line).unwrap()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for text in ["a\nb\nc", "a\r\nb\r\nc", "a\rb\rc", "\u{feff}a\r\nb\n\u{feff}c"] {
            assert_eq!(read(text), "1:a 2:b 3:c", "{text:?}");
        }
        assert_eq!(read("a\n\nb\r\r\nc\n"), "1:a 2: 3:b 4: 5:c 6:");
    }

    #[test]
    fn comments() {
        for (line, entry, comment) in [
            ("1.2.3.0/24 ; SBL123", "1.2.3.0/24 ", Some("SBL123")),
            ("1.2.3.4# a ; b", "1.2.3.4", Some("a ; b")),
            ("1.2.3.4;a#b", "1.2.3.4", Some("a#b")),
            (";", "", None),
            ("", "", None),
            ("feed:https://h/a;b=1#$.x[?@.y;]", "feed:https://h/a;b=1#$.x[?@.y;]", None),
            ("feed:https://h/a\t; plain", "feed:https://h/a\t", Some("plain")),
            ("1.2.3.4 # a\tb\u{7}", "1.2.3.4 ", Some("a b\u{fffd}")),
        ] {
            let (before, after) = split_comment(line.as_bytes());
            assert_eq!(str::from_utf8(before).unwrap(), entry, "{line}");
            assert_eq!(comment_text(after).as_deref(), comment, "{line}");
        }
        let latin1 = b" B\xfcro";
        assert_eq!(comment_text(latin1).as_deref(), Some("B\u{fffd}ro"));
    }
}
