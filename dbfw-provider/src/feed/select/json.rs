//! Addresses that a JSONPath selects.

use dbfw_core::source::Prefix;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::addresses::{Addresses, UNUSED};
use crate::http::clean;

/// Characters of a place in the document that go into an error.
const MAX_PLACE: usize = 120;

/// Characters of serde's words that go into an error.
const MAX_WORDS: usize = 200;

/// The document.
///
/// # Errors
/// It is not JSON, or values are nested more than 128 deep.
pub(super) fn parse(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("is not JSON, {}: {UNUSED}", clean(&error.to_string(), MAX_WORDS)))
}

/// The selected nodes: strings, or arrays of strings.
///
/// # Errors
/// The path selects nothing, or something that is no address.
pub(super) fn select(document: &Value, path: &str) -> Result<Vec<Prefix>, String> {
    let query = JsonPath::parse(path)
        .map_err(|error| format!("the JSONPath is not valid, {error}: correct it"))?;
    let place = |node: usize, index: Option<usize>| {
        let located = query.query_located(document);
        let location = located.locations().nth(node).map(ToString::to_string).unwrap_or_default();
        let place = clean(&location, MAX_PLACE);
        index.map_or(place.clone(), |index| format!("{place}[{index}]"))
    };
    let nodes: Vec<&Value> = query.query(document).all();
    if nodes.is_empty() {
        return Err(
            "the JSONPath selects nothing: the document has another shape than it had, or \
                    the path is wrong"
                .to_owned(),
        );
    }
    let mut list = Addresses::default();
    let mut take = |value: &Value, node, index| match value {
        Value::String(entry) => list.push(entry).map_err(|error| error.at(&place(node, index))),
        other => Err(format!(
            "{}: is {}, not an address: let the JSONPath select only the addresses",
            place(node, index),
            kind(other)
        )),
    };
    for (node, value) in nodes.into_iter().enumerate() {
        match value {
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    take(value, node, Some(index))?;
                }
            }
            value => take(value, node, None)?,
        }
    }
    Ok(list.finish())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
