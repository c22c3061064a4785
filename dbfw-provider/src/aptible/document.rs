//! The API's document of an endpoint.

use dbfw_core::{
    answers::{Cause, FetchError, SourceList},
    source::{GrammarError, SourceType, TrustedSource},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::http::clean;

/// Characters of somebody's text that an error repeats.
const MAX_SHOWN: usize = 80;

/// The fields of an endpoint's document that count.
#[derive(Deserialize)]
pub(super) struct Document {
    id: Option<u64>,
    /// `None`: not there; `Some(None)`: null.
    #[serde(default, deserialize_with = "present")]
    ip_whitelist: Option<Option<Vec<Value>>>,
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<Vec<Value>>>, D::Error> {
    Deserialize::deserialize(field).map(Some)
}

/// The rules of the document of this endpoint; `what` names the request in errors.
///
/// # Errors
/// The document is another's, or none of its rules can be used.
pub(super) fn rules(document: Document, vhost: u64, what: &str) -> Result<SourceList, FetchError> {
    let invalid = |text: &str| Err(FetchError::new(Cause::Invalid, text).about(what));
    if let Some(id) = document.id.filter(|id| *id != vhost) {
        return invalid(&format!("id: is {id}, another endpoint: check api_url"));
    }
    let Some(list) = document.ip_whitelist else {
        return invalid("ip_whitelist: is missing, so this is no endpoint: check api_url");
    };
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for (i, entry) in list.unwrap_or_default().into_iter().enumerate() {
        match rule(entry) {
            Ok(source) => sources.push(source),
            Err(text) => problems
                .push(format!("{text}: fix it there (Aptible: vhost {vhost}, ip_whitelist[{i}])")),
        }
    }
    match problems.first() {
        // Rules that nobody understands are not the same as no rules.
        Some(problem) if sources.is_empty() => Err(FetchError::new(
            Cause::Invalid,
            format!("the list has no rule that can be used, so it is not used: {problem}"),
        )),
        _ => Ok(SourceList::new(sources, problems)),
    }
}

fn rule(entry: Value) -> Result<TrustedSource, String> {
    let Value::String(value) = entry else {
        return Err(format!("is {}, not a string", clean(&entry.to_string(), MAX_SHOWN)));
    };
    TrustedSource::new(SourceType::IpAddr, &value).map_err(|error| match error {
        // Every rule there is an address: the type says nothing.
        GrammarError::Address(error) => error.with_fix(),
        GrammarError::Other(error) => error.with_fix(),
    })
}
