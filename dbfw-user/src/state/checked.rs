//! The form of state files: a format number, and a digest of the content.
//!
//! Fields that a newer version added are ignored; a change that must not be ignored is a new
//! format.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// Of the body's text, in hexadecimal.
    sha256: String,
    /// JSON, kept as text so that the digest is of exactly what was written.
    body: String,
}

/// The bytes of a file that holds `content`.
///
/// # Errors
///
/// `content` has no form as JSON.
pub(crate) fn encode(format: u32, content: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_string(content)?;
    serde_json::to_vec(&File { format, sha256: sha256(&body), body })
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
    Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
