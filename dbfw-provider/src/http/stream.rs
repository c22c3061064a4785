//! [`Stream`]: an answer whose body goes on.

use std::{fmt, time::Duration};

use dbfw_core::answers::{Cause, FetchError};
use url::Url;

use super::reason::{failure, host_of};

/// An answer whose body goes on.
pub(crate) struct Stream {
    response: reqwest::Response,
    url: Url,
}

impl Stream {
    pub(super) fn new(response: reqwest::Response, url: &Url) -> Self {
        Self { response, url: url.clone() }
    }

    /// The next bytes, for which it waits `patience` at most; `None`: the body has ended. Can be
    /// cancelled at any time.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub(crate) async fn chunk(
        &mut self,
        patience: Duration,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, FetchError> {
        match tokio::time::timeout(patience, self.response.chunk()).await {
            Ok(read) => read.map_err(|error| failure(error, &self.url)),
            Err(_) => {
                let host = host_of(&self.url);
                Err(FetchError::new(
                    Cause::Timeout,
                    format!("nothing came from {host} for {patience:?}: dbfw connects anew"),
                ))
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
