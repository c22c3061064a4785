//! What the API says of an endpoint. Pure.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::MAX_SHOWN;
use crate::{
    answers::{Cause, FetchError},
    provider::http::clean,
    source::{GrammarError, Mendable as _, SourceType, TrustedSource},
};

/// Rules of a list, and what of it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// In the endpoint's order.
    pub(super) sources: Vec<TrustedSource>,
    /// Entries that are no addresses, in words.
    pub(super) problems: Vec<String>,
}

/// What counts of the document of an endpoint.
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
pub(super) fn rules(document: Document, vhost: u64, what: &str) -> Result<Rules, FetchError> {
    let invalid = |text: &str| Err(FetchError::new(Cause::Invalid, format!("{what}: {text}")));
    if let Some(id) = document.id.filter(|id| *id != vhost) {
        return invalid(&format!("id: is {id}, another endpoint: check api_url"));
    }
    let Some(list) = document.ip_whitelist else {
        return invalid("ip_whitelist: is missing, so this is no endpoint: check api_url");
    };
    let mut rules = Rules::default();
    for (i, entry) in list.unwrap_or_default().into_iter().enumerate() {
        match rule(entry) {
            Ok(source) => rules.sources.push(source),
            Err(text) => rules
                .problems
                .push(format!("Aptible: vhost {vhost}: ip_whitelist[{i}]: {text}: mend it there")),
        }
    }
    match rules.problems.first() {
        // Rules that nobody understands are not the same as no rules.
        Some(problem) if rules.sources.is_empty() => Err(FetchError::new(
            Cause::Invalid,
            format!("{problem}; no rule of the list can be used, so nothing of it is"),
        )),
        _ => Ok(rules),
    }
}

fn rule(entry: Value) -> Result<TrustedSource, String> {
    let Value::String(value) = entry else {
        return Err(format!("is {}, not a string", clean(&entry.to_string(), MAX_SHOWN)));
    };
    TrustedSource::new(SourceType::IpAddr, &value).map_err(|error| match error {
        // Every rule there is an address: the type says nothing.
        GrammarError::Address(error) => error.with_fix(),
        error => error.with_fix(),
    })
}
