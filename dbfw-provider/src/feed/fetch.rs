//! Getting a document, and what every feed makes of it.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use dbfw_core::{
    answers::{Cause, FetchError},
    source::{Location, Prefix, Selector, SourceKey},
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use twox_hash::XxHash3_128;
use url::Url;

use super::select::select;
use crate::{
    fs::{Stamp, read_file},
    http::{HttpClient, Options, Validators, clean},
};

/// Characters of a feed that an error names it by.
pub(super) const MAX_NAME: usize = 160;

/// Documents up to this are taken apart where they arrive; larger ones would hold up the
/// agent, whose thread it is.
const SMALL: usize = 64 << 10;

/// A request for a document.
#[derive(Debug)]
pub(super) struct Request {
    /// Its location.
    pub(super) location: Location,
    /// To fetch it with, if it is at a URL.
    pub(super) client: HttpClient,
    /// Bytes it may have.
    pub(super) max_bytes: u64,
    /// The last version, if it need not be read again.
    pub(super) known: Option<DocumentVersion>,
    /// The parts that are taken of it.
    pub(super) feeds: Vec<SourceKey>,
    /// Held while a large document is taken apart.
    pub(super) parsing: Arc<Semaphore>,
}

/// By what a document is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DocumentVersion {
    hash: u128,
    validators: Validators,
}

/// The result of a request.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Of a file, before it was read.
    pub(super) stamp: Option<Stamp>,
    /// The document.
    pub(super) result: Result<Fetched, FetchError>,
}

/// A document that was got.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The same as the one known.
    Same(DocumentVersion),
    /// Another, or the first.
    New {
        /// By what to recognise it.
        known: DocumentVersion,
        /// Each feed's prefixes, or the reason why there are none.
        lists: Vec<(SourceKey, Result<Vec<Prefix>, String>)>,
    },
}

/// Gets a document and takes the feeds' lists from it.
pub(super) async fn fetch(request: Request) -> Reply {
    let Request { location, client, max_bytes, known, feeds, parsing } = request;
    let (stamp, result) = match &location {
        Location::Path(path) => read(path.clone(), max_bytes).await,
        Location::Url(url) => {
            let validators = known.as_ref().map(|known| &known.validators);
            (None, get(&client, url, validators, max_bytes).await)
        }
    };
    let result = match (result, known) {
        (Err(error), _) => Err(error),
        (Ok(None), Some(known)) => Ok(Fetched::Same(known)),
        (Ok(None), None) => {
            let text = "answered 304 to a request without a condition: check what answers there";
            Err(error(&location, Cause::Invalid, text))
        }
        (Ok(Some((body, validators))), known) => {
            let new = DocumentVersion { hash: XxHash3_128::oneshot(&body), validators };
            match known {
                Some(known) if known.hash == new.hash => Ok(Fetched::Same(new)),
                _ => extract_prefixes(body, feeds, &parsing)
                    .await
                    .map(|lists| Fetched::New { known: new, lists })
                    .map_err(|text| error(&location, Cause::Invalid, text)),
            }
        }
    };
    Reply { stamp, result }
}

/// A body with its validators; `None`: not modified.
type Body = Option<(Vec<u8>, Validators)>;

async fn get(
    client: &HttpClient,
    url: &Url,
    validators: Option<&Validators>,
    max_bytes: u64,
) -> Result<Body, FetchError> {
    let location = Location::Url(url.clone());
    let what = format!("feed {}", shown(&location));
    let options = Options { bearer: None, accept: "*/*", max_bytes, validators };
    let response = client.get(url, &what, options).await?;
    let status = response.status;
    let fail =
        |cause, text: &str| Err(error(&location, cause, &format!("answered {status}: {text}")));
    match status {
        200 => Ok(Some((response.body, response.validators))),
        304 => Ok(None),
        401 => fail(
            Cause::Unauthorized,
            "feeds are fetched without a password or a token: use an address that needs none",
        ),
        403 => fail(
            Cause::Permission,
            "this machine may not have it: check the address and who may fetch it",
        ),
        404 | 410 => fail(Cause::NotFound, "there is nothing at this address: correct it"),
        // Of a part, nobody knows which.
        201..=299 => fail(Cause::Invalid, "that is not a whole document: check the address"),
        _ => response.success(&what).and_then(|_| fail(Cause::Invalid, "check the address")),
    }
}

async fn read(path: PathBuf, max_bytes: u64) -> (Option<Stamp>, Result<Body, FetchError>) {
    let location = Location::Path(path.clone());
    // Before it is read: what changes meanwhile is then seen as a change.
    let read = spawn_blocking(move || (Some(Stamp::of(&path)), read_file(&path, max_bytes))).await;
    let fail = |cause, text: &str| Err(error(&location, cause, text));
    let (stamp, content) = match read {
        Ok(read) => read,
        Err(failed) => return (None, fail(Cause::Io, &format!("cannot be read: {failed}"))),
    };
    let result = content.map(|body| Some((body, Validators::default()))).map_err(|error| {
        error.of_list(
            "feed",
            &shown(&location),
            "create it, or correct the path",
            "shorten it, or raise max_bytes in [feeds]",
        )
    });
    (stamp, result)
}

/// Takes every feed's prefixes from a document.
async fn extract_prefixes(
    body: Vec<u8>,
    feeds: Vec<SourceKey>,
    parsing: &Arc<Semaphore>,
) -> Result<Vec<(SourceKey, Result<Vec<Prefix>, String>)>, &'static str> {
    let values = feeds.iter().filter_map(SourceKey::feed);
    let selectors: Vec<Selector> = values.map(|value| value.selector.clone()).collect();
    let lists = if body.len() <= SMALL {
        select(&body, &selectors)
    } else {
        // The semaphore is never closed.
        let _permit = parsing.acquire().await;
        spawn_blocking(move || select(&body, &selectors))
            .await
            .map_err(|_| "reading it failed: report this as a bug, with the document")?
    };
    Ok(feeds.into_iter().zip(lists).collect())
}

/// Of files, those that are not what they were.
pub(super) async fn changed(files: Vec<(PathBuf, Option<Stamp>)>) -> BTreeSet<Location> {
    let look = move || {
        let is_changed = |(path, stamp): &(PathBuf, Option<Stamp>)| {
            !stamp.unwrap_or_default().is_same(&Stamp::of(path))
        };
        let changed = files.into_iter().filter(is_changed);
        changed.map(|(path, _)| Location::Path(path)).collect()
    };
    spawn_blocking(look).await.unwrap_or_default()
}

/// A location as messages show it.
pub(super) fn shown(location: &Location) -> String {
    match location {
        Location::Url(url) => clean(url.as_str(), MAX_NAME),
        Location::Path(path) => clean(&path.display().to_string(), MAX_NAME),
    }
}

fn error(location: &Location, cause: Cause, text: &str) -> FetchError {
    FetchError::new(cause, text).about(format!("feed {}", shown(location)))
}
