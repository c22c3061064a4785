//! Lists on the web, and what may be asked of them conditionally.

use super::Account;

/// A body with its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// `Content-Type`.
    pub content_type: String,
    /// `ETag`, with its quotes; `If-None-Match` with the same answers 304.
    pub etag: Option<String>,
    /// `Last-Modified`; `If-Modified-Since` with the same text answers 304.
    pub last_modified: Option<String>,
}

impl Account {
    /// Serves `body` at `/feed/{name}`, without validators.
    pub fn set_feed(&mut self, name: &str, content_type: &str, body: impl Into<Vec<u8>>) {
        let feed =
            Feed { body: body.into(), content_type: content_type.to_owned(), ..Feed::default() };
        self.feeds.insert(name.to_owned(), feed);
    }
}
