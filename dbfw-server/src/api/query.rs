//! The query of a request.

use url::form_urlencoded;

/// The first value of a name in a query.
pub(crate) fn query_value(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}
