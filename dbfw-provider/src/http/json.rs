//! The field of a JSON body in which something is wrong.

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Deserializer, error::Category};

use super::reason::{clean, without};

/// Characters of serde's words that go into an error.
const MAX_WORDS: usize = 200;

/// Characters of a path: the names in it are whatever the server sent.
const MAX_PATH: usize = 200;

/// The trouble with a body that could not be read as a `T`, and the field it is in.
pub(super) fn describe<T: DeserializeOwned>(
    body: &[u8],
    error: &serde_json::Error,
    secret: Option<&SecretString>,
) -> String {
    // Read once more: keeping track of the path would slow down every good answer.
    let read = serde_path_to_error::deserialize::<_, T>(&mut Deserializer::from_slice(body));
    let at = match read.map_err(|error| error.path().to_string()) {
        Err(path) if path != "." => format!("{}: ", clean(&without(&path, secret), MAX_PATH)),
        _ => String::new(),
    };
    let words = clean(&without(&error.to_string(), secret), MAX_WORDS);
    match error.classify() {
        Category::Eof => format!("the JSON ends too early, {at}{words}: it is not used"),
        Category::Syntax | Category::Io => {
            format!("not JSON, {at}{words}: it is not used")
        }
        Category::Data => format!("not the JSON that is documented, {at}{words}"),
    }
}
