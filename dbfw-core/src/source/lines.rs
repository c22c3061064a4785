//! Lines, comments and encodings of lists.

use super::error::ParseError;
use crate::misleads;

/// Bytes at the beginning of a text that tell its encoding.
const LOOKED_AT: usize = 4096;

const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

/// The error for a text in an encoding that no list is read in, if it is in one: it would look
/// like UTF-8 with NUL characters, or like nothing at all.
pub fn foreign_encoding(text: &[u8]) -> Option<ParseError> {
    let error = |encoding: &str, iconv: &str| {
        let fix = format!("save it as UTF-8 (on a command line: iconv -f {iconv} -t UTF-8)");
        Some(ParseError::new(format!("is {encoding}, not UTF-8"), fix))
    };
    match text {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return error("UTF-32", "UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return error("UTF-16", "UTF-16"),
        _ => {}
    }
    // Without a byte order mark: the digits and dots of addresses have a high byte of zero.
    let (pairs, _) = text[..text.len().min(LOOKED_AT)].as_chunks::<2>();
    let first = pairs.iter().filter(|pair| pair[0] == 0).count();
    let second = pairs.iter().filter(|pair| pair[1] == 0).count();
    let most = |zeros: usize, others: usize| zeros * 3 >= pairs.len() && others * 20 <= zeros;
    match (first, second) {
        (0, 0) => None,
        _ if most(second, first) => error("UTF-16", "UTF-16LE"),
        _ if most(first, second) => error("UTF-16", "UTF-16BE"),
        _ => None,
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

/// The text of a comment, which may be in any encoding: what is not UTF-8, a control character
/// or one that [`misleads`] becomes U+FFFD.
pub fn comment_text(comment: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(comment);
    let shown = text.trim().chars().map(|c| match c {
        '\t' => ' ',
        c if c.is_control() || misleads(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    Some(shown.collect()).filter(|text: &String| !text.is_empty())
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
            (encoded(list, le), Some("UTF-16LE")),
            (encoded(list, be), Some("UTF-16BE")),
            (encoded("\u{4e1c}\u{4eac}\u{304b}\n192.0.2.1", le), Some("UTF-16LE")),
            (encoded(&format!("\u{feff}{list}"), le), Some("UTF-16")),
            (encoded(&format!("\u{feff}{list}"), be), Some("UTF-16")),
            (vec![0xff, 0xfe], Some("UTF-16")),
            (vec![0xff, 0xfe, 0, 0, b'1', 0, 0, 0], Some("UTF-32")),
            (vec![0, 0, 0xfe, 0xff, 0, 0, 0, b'1'], Some("UTF-32")),
        ] {
            let error = foreign_encoding(&text);
            assert_eq!(error.is_some(), encoding.is_some(), "{text:?}");
            if let (Some(error), Some(encoding)) = (error, encoding) {
                assert_eq!(error.to_string(), format!("is {}, not UTF-8", &encoding[..6]));
                assert!(error.fix().contains(&format!("-f {encoding} ")), "{error:?}");
            }
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
