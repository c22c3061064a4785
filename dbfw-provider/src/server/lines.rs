//! Frames out of bytes: a line each, none longer than the protocol allows.

use dbfw_wire::agent::{Frame, MAX_FRAME};
use serde::Deserialize;

/// Bytes that came, cut into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// The first bytes that have no line break.
    searched: usize,
}

/// A line is longer than any frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// Takes in bytes as they came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; `None`: more bytes have to come.
    ///
    /// # Errors
    /// The line is longer than any frame, whole or not.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return if self.bytes.len() >= MAX_FRAME { Err(TooLong) } else { Ok(None) };
        };
        let end = self.searched + at;
        if end >= MAX_FRAME {
            return Err(TooLong);
        }
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.truncate(end);
        self.searched = 0;
        Ok(Some(line))
    }
}

/// The frame in a line; `None`: of a type that this version does not know.
///
/// # Errors
/// The line is no frame, in words.
pub(crate) fn parse(line: &[u8]) -> Result<Option<Frame>, String> {
    #[derive(Deserialize)]
    struct Type {
        #[serde(rename = "type")]
        kind: String,
    }
    const KNOWN: [&str; 7] = ["welcome", "bundle", "delta", "synced", "beat", "gone", "goodbye"];

    let error = match serde_json::from_slice(line) {
        Ok(frame) => return Ok(Some(frame)),
        Err(error) => error,
    };
    match serde_json::from_slice::<Type>(line) {
        Ok(Type { kind }) if !KNOWN.contains(&kind.as_str()) => Ok(None),
        _ => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn lines_come_out_wherever_the_bytes_are_cut() {
        let text = b"{\"type\":\"beat\"}\n\n{\"type\":\"synced\"}\nrest";
        for cut in 0..=text.len() {
            let mut lines = Lines::default();
            lines.push(&text[..cut]);
            let mut found = all(&mut lines);
            lines.push(&text[cut..]);
            found.extend(all(&mut lines));
            let expected: [&[u8]; 3] = [b"{\"type\":\"beat\"}", b"", b"{\"type\":\"synced\"}"];
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..63 {
            lines.push(&piece);
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(&piece);
        assert_eq!(lines.next(), Err(TooLong));
        lines.push(b"\n");
        assert_eq!(lines.next(), Err(TooLong));
    }

    #[test]
    fn unknown_types_are_ignored_and_garbage_is_not() {
        assert_eq!(parse(br#"{"type":"preview","id":7}"#), Ok(None));
        assert_eq!(parse(br#"{"type":"beat","new":1}"#), Ok(Some(Frame::Beat {})));
        for bad in [&b""[..], b"{", b"[]", b"\xff", b"{\"type\":\"bundle\"}", b"{\"type\":7}"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    /// Frames of every type, as a server writes them.
    const FRAMES: [&str; 8] = [
        r#"{"type":"welcome","server":"a1","store":"7b1f3c60-0a45-4f5e-9a55-2c4c1f2e9d10","epoch":1,"now":"2026-11-30T12:00:00Z","beat_seconds":15,"trust":["-----BEGIN"]}"#,
        r#"{"type":"bundle","database":"7b1f3c60-0a45-4f5e-9a55-2c4c1f2e9d10","name":"orders","epoch":1,"revision":4711,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","by":"ann","sources":[{"uuid":"7b1f3c60-0a45-4f5e-9a55-2c4c1f2e9d11","type":"tag","value":"backend","description":"d","expires_at":"2026-11-30T12:00:00Z","set":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","count":1,"state":"ok","at":"2026-11-30T12:00:00Z"}}],"sets":{"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855":["10.0.0.1/32"]}}"#,
        r#"{"type":"delta","database":"7b1f3c60-0a45-4f5e-9a55-2c4c1f2e9d10","epoch":1,"from":1,"revision":2,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","put":[],"delete":["7b1f3c60-0a45-4f5e-9a55-2c4c1f2e9d11"],"order":[]}"#,
        r#"{"type":"synced"}"#,
        r#"{"type":"beat"}"#,
        r#"{"type":"gone","name":"orders","reason":"deleted"}"#,
        r#"{"type":"goodbye","after_ms":4000}"#,
        r#"{"type":"preview","id":1}"#,
    ];

    /// Mutated frames never panic. `DBFW_FUZZ_FRAMES` says how many; 20,000 without it.
    #[test]
    fn mutated_frames_are_read_or_refused() {
        let count = std::env::var("DBFW_FUZZ_FRAMES").ok().and_then(|n| n.parse().ok());
        let mut random = Rng::with_seed(20_261_130);
        for _ in 0..count.unwrap_or(20_000_u32) {
            let mut frame = FRAMES[random.usize(..FRAMES.len())].as_bytes().to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..frame.len().max(1));
                match random.u8(..6) {
                    0 if at < frame.len() => frame[at] = random.u8(..),
                    1 => frame.truncate(at),
                    2 if at < frame.len() => drop(frame.remove(at)),
                    3 => frame.insert(
                        at.min(frame.len()),
                        *b"\"{}[]:,\\-0e".get(random.usize(..11)).unwrap_or(&b'0'),
                    ),
                    4 => {
                        let piece = frame[at.min(frame.len())..].to_vec();
                        frame.extend_from_slice(&piece);
                    }
                    _ if at < frame.len() => frame[at] ^= 1 << random.u8(..8),
                    _ => {}
                }
            }
            let mut lines = Lines::default();
            let cut = random.usize(..=frame.len());
            lines.push(&frame[..cut]);
            while let Ok(Some(line)) = lines.next() {
                let _ = parse(&line);
            }
            lines.push(&frame[cut..]);
            lines.push(b"\n");
            while let Ok(Some(line)) = lines.next() {
                if let Ok(Some(Frame::Bundle(bundle))) = parse(&line) {
                    let kept = super::super::kept::Kept::default();
                    let wanted = std::collections::BTreeSet::from(["orders".into()]);
                    let _ = super::super::take::bundle(&kept, &wanted, bundle);
                }
            }
        }
    }
}
