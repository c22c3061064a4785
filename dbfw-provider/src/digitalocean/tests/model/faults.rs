//! Answers that go wrong at random.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde_json::{Value, json};

use crate::digitalocean::tests::server::{Asked, Reply};

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Status(u16),
    /// 404 in DigitalOcean's words, of what is there.
    Denied,
    Html,
    Truncated,
    Reset,
    /// An item of a list is missing, though it is counted.
    Short,
    NoList,
    /// Another count than that of the other pages.
    Moved,
    /// 429.
    Refused,
}

const FAULTS: [Fault; 13] = [
    Fault::Status(500),
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(302),
    Fault::Denied,
    Fault::Html,
    Fault::Truncated,
    Fault::Reset,
    Fault::Short,
    Fault::NoList,
    Fault::Moved,
    Fault::Refused,
];

impl Fault {
    /// What becomes of a request where `share` of a hundred go wrong: of the same request
    /// the same.
    pub(super) fn of(asked: &Asked, seed: u64, share: u64) -> Option<Self> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, &asked.target));
        let fault = FAULTS[usize::try_from(hash >> 32).unwrap() % FAULTS.len()];
        (hash % 100 < share).then_some(fault)
    }

    pub(super) fn spoil(self, reply: Reply) -> Reply {
        let Reply::Text(200, headers, body) = reply else { return reply };
        let mut json: Value = serde_json::from_str(&body).unwrap();
        let list = json.as_object().unwrap().iter().find(|(_, value)| value.is_array());
        let list = list.map(|(name, _)| name.clone()).filter(|name| name != "rules");
        match (self, list) {
            (Self::Status(404), _) => Reply::Text(404, vec![], "<html>".to_owned()),
            (Self::Status(302), _) => {
                Reply::Text(302, vec!["location: http://127.0.0.1:1/".to_owned()], String::new())
            }
            (Self::Status(status), _) => Reply::error(status, "some_error"),
            (Self::Denied, _) => Reply::not_found(),
            (Self::Html, _) => Reply::Text(200, vec![], "<html>".to_owned()),
            (Self::Reset, _) => Reply::Reset,
            (Self::Refused, _) => {
                Reply::Text(429, vec!["retry-after: 1".to_owned()], "{}".to_owned())
            }
            (Self::Short, Some(name)) if !json[&name].as_array().unwrap().is_empty() => {
                json[&name].as_array_mut().unwrap().pop();
                Reply::json(&json)
            }
            (Self::NoList, Some(name)) if json["meta"]["total"] != 0 => {
                json[&name] = Value::Null;
                Reply::json(&json)
            }
            (Self::Moved, Some(_)) if json["links"]["pages"]["next"].is_string() => {
                json["meta"]["total"] = json!(json["meta"]["total"].as_u64().unwrap() + 1);
                Reply::json(&json)
            }
            _ => Reply::Text(200, headers, body[..body.len() / 2].to_owned()),
        }
    }
}
