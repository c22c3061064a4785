//! The form of state files: a format number, and a digest of the content.
//!
//! Fields that a newer version added are ignored; a change that must not be ignored is a new
//! format.

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// A file as it is read. It is written as [`write`] does, which does not hold it in memory.
#[derive(Deserialize)]
struct File {
    format: u32,
    /// JSON, kept as text so that the digest is of exactly what was written.
    body: String,
    /// Of the body's text, in hexadecimal.
    sha256: String,
}

/// Writes a file that holds `content`.
///
/// # Errors
///
/// `content` has no form as JSON, or `out` takes no more.
pub(crate) fn write(format: u32, content: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    write!(out, r#"{{"format":{format},"body":""#)?;
    let mut body = BufWriter::new(Body { out: &mut out, digest: Sha256::new() });
    serde_json::to_writer(&mut body, content)?;
    let digest = body.into_inner()?.digest.finalize();
    write!(out, r#"","sha256":"{}"}}"#, hexadecimal(&digest))
}

/// The bytes of a file that holds `content`.
///
/// # Errors
///
/// `content` has no form as JSON.
pub(crate) fn encode(format: u32, content: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(format, content, &mut bytes)?;
    Ok(bytes)
}

/// Writes JSON as the content of a JSON string. JSON has no control characters in its own strings,
/// so two characters need an escape.
struct Body<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
            match piece.split_last() {
                Some((last @ (b'"' | b'\\'), plain)) => {
                    self.out.write_all(plain)?;
                    self.out.write_all(&[b'\\', *last])?;
                }
                _ => self.out.write_all(piece)?,
            }
        }
        self.digest.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The content of a file, whole and unchanged.
///
/// # Errors
///
/// The reason why the file cannot be used, in words.
pub(crate) fn decode<T: DeserializeOwned>(format: u32, bytes: &[u8]) -> Result<T, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.format != format {
        return Err(format!("it has format {}, this version reads {format}", file.format));
    }
    if sha256(&file.body) != file.sha256 {
        return Err("its checksum does not fit its content".to_owned());
    }
    serde_json::from_str(&file.body).map_err(|error| error.to_string())
}

/// The SHA-256 of a text, as `sha256sum` prints it.
pub(crate) fn sha256(body: &str) -> String {
    hexadecimal(&Sha256::digest(body.as_bytes()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_written_is_json_and_is_read_back() {
        for content in [
            json!(null),
            json!("a \"quoted\" \\ back\\slash, \n, \u{1} and \u{7f} \u{fc} \u{1f600}"),
            json!({ "\"": ["\\", "\\\\\""], "long": "\\\"x".repeat(10_000) }),
        ] {
            let bytes = encode(3, &content).unwrap();
            assert_eq!(decode::<Value>(3, &bytes), Ok(content.clone()));
            let file: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(file["body"], content.to_string());
            assert_eq!(file["sha256"], sha256(&content.to_string()));
            assert!(decode::<Value>(4, &bytes).unwrap_err().contains("it has format 3"));
        }
    }

    #[test]
    fn the_order_of_earlier_versions_is_read() {
        let body = json!({ "a": "b" }).to_string();
        let file = format!(r#"{{"format":1,"sha256":"{}","body":{}}}"#, sha256(&body), json!(body));
        assert_eq!(decode::<Value>(1, file.as_bytes()), Ok(json!({ "a": "b" })));
    }

    #[test]
    fn an_error_of_the_file_is_told() {
        let mut room = [0; 20];
        let error = write(1, &"does not fit into so little room", &mut room[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
