//! The task against a server, and what the tests of the resolvers share.

mod budget;
mod day;
mod faults;
mod fleet;
mod inventory;
mod model;
mod paging;
mod server;
mod token;
mod worker;

use std::sync::Arc;

use dbfw_core::answers::{Answer, Cause, FetchError, Outcome, Part};
use serde::de::DeserializeOwned;

use super::{AddressKinds, fetch::Sighting};
use crate::api::GetError;

/// The text of a payload that DigitalOcean publishes.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/digitalocean/fixtures/", $name))
    };
}
pub(crate) use fixture;

pub(crate) const ALL: AddressKinds = AddressKinds { private: true, public: true, v6: true };

pub(crate) fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn seen<R: Clone>(item: &R) -> Sighting<R> {
    Sighting { found: Ok(Arc::new(item.clone())), from: "GET /it".to_owned(), is_listed: true }
}

pub(crate) fn missed<R>(missed: GetError) -> Sighting<R> {
    Sighting { found: Err(missed), from: "GET /it".to_owned(), is_listed: true }
}

pub(crate) fn failure() -> FetchError {
    FetchError::new(Cause::Server, "answered 500").about("DigitalOcean: GET /it")
}

pub(crate) fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answer(answer) => Arc::unwrap_or_clone(answer),
        other => panic!("no answer: {other:?}"),
    }
}

/// The parts of an answer, each in a line.
pub(crate) fn lines(outcome: Outcome) -> Vec<String> {
    answer(outcome).parts.iter().map(|(name, part)| format!("{name}: {}", shown(part))).collect()
}

/// A part in one line.
pub(crate) fn shown(part: &Part) -> String {
    match part {
        Part::Prefixes(prefixes) => {
            prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Part::Failed(error) => format!("failed, {error}"),
        Part::Empty(why) => format!("empty, {why}"),
    }
}
