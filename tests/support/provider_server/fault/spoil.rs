//! Faults of what an answer says.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::{
        answer::{Answer, Content},
        request::{Request, Resource},
    },
    Fault,
};

/// Stands for a giant number until the answer is text.
const GIANT: &str = "giant number";
const FORTY_DIGITS: &str = "9876543210987654321098765432109876543210";

impl Fault {
    /// Changes an answer; whether there was something to change. `page` gives the right answer
    /// for another page of the same list.
    pub(in crate::provider_server) fn spoil(
        &self,
        request: &Request,
        answer: &mut Answer,
        mut page: impl FnMut(u64) -> Answer,
    ) -> bool {
        let number = request.parameter("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        if let Self::MissingPage { page, empty: false } = self
            && number == *page
        {
            *answer = Answer::not_found();
            return true;
        }
        let Some(value) = answer.json_mut() else { return false };
        let resource = request.resource;
        match self {
            Self::MissingPage { page, .. } => miss(request, value, number, *page),
            Self::EndlessNext => {
                if items(resource, value).is_some_and(|items| items.is_empty()) {
                    repeat(resource, value, page(1));
                }
                set_next(value, request.url_of_page(number.saturating_add(1)));
                true
            }
            Self::Contradictory => contradict(request, value, number, page(1)),
            Self::NextTo(url) => {
                set_next(value, format!("{url}{}?page={}", request.path, number + 1));
                true
            }
            Self::Duplicates => items(resource, value).is_some_and(|items| {
                *items = items.drain(..).flat_map(|item| [item.clone(), item]).collect();
                !items.is_empty()
            }),
            Self::WrongType => wrong_type(resource, value),
            Self::NullLists => each_list(value, &mut |list| *list = Value::Null) > 0,
            Self::EmptyList => empty(resource, value),
            Self::GiantNumbers => {
                let changed = each_number(value) > 0;
                let text = value.to_string().replace(&format!("\"{GIANT}\""), FORTY_DIGITS);
                answer.content = Content::Bytes {
                    content_type: "application/json; charset=utf-8".to_owned(),
                    bytes: text.into_bytes(),
                };
                answer.status = StatusCode::OK;
                changed
            }
            Self::Set(pointer, new) => set(value, pointer, new.clone()),
            _ => false,
        }
    }
}

/// The list that an answer is about.
fn items(resource: Resource, value: &mut Value) -> Option<&mut Vec<Value>> {
    let key = match resource {
        Resource::Firewall => "rules",
        Resource::Droplets | Resource::TaggedDroplets | Resource::GpuDroplets => "droplets",
        Resource::Clusters => "kubernetes_clusters",
        Resource::Apps => "apps",
        Resource::Vpcs => "vpcs",
        Resource::VpcMembers => "members",
        Resource::Tags => "tags",
        Resource::Vhost => "ip_whitelist",
        _ => return None,
    };
    value.get_mut(key)?.as_array_mut()
}

fn set_next(value: &mut Value, url: String) {
    let is_object = value["links"]["pages"].is_object();
    if !is_object {
        value["links"] = json!({ "pages": {} });
    }
    value["links"]["pages"]["next"] = Value::String(url);
}

fn miss(request: &Request, value: &mut Value, number: u64, missing: u64) -> bool {
    let is_last = value["links"]["pages"].get("next").is_none();
    let Some(items) = items(request.resource, value) else { return false };
    if number == missing {
        items.clear();
        return true;
    }
    if number + 1 != missing || !is_last {
        return false;
    }
    items.truncate(items.len() / 2);
    set_next(value, request.url_of_page(missing));
    true
}

/// Puts another answer's items in the place of this one's.
fn repeat(resource: Resource, value: &mut Value, mut other: Answer) {
    let others = other.json_mut().and_then(|other| items(resource, other));
    if let (Some(list), Some(others)) = (items(resource, value), others) {
        list.append(others);
    }
}

fn contradict(request: &Request, value: &mut Value, number: u64, first: Answer) -> bool {
    let before = items(request.resource, value).map_or(0, |items| items.len());
    let is_last = value["links"]["pages"].get("next").is_none();
    let mut again = first;
    let count = again
        .json_mut()
        .and_then(|first| items(request.resource, first))
        .map_or(0, |items| items.len());
    let total = value["meta"]["total"].as_u64().unwrap_or_default();
    value["meta"]["total"] = json!(total + count as u64);
    if before == 0 && number > 1 {
        repeat(request.resource, value, again);
        for (index, droplet) in items(request.resource, value).into_iter().flatten().enumerate() {
            readdress(droplet, index);
        }
    } else if is_last {
        set_next(value, request.url_of_page(number + 1));
    }
    count > 0
}

fn readdress(droplet: &mut Value, index: usize) {
    for family in ["v4", "v6"] {
        let addresses = droplet["networks"].get_mut(family).and_then(Value::as_array_mut);
        for address in addresses.into_iter().flatten() {
            address["ip_address"] = match family {
                "v4" => json!(format!("198.51.100.{}", 1 + index % 250)),
                _ => json!(format!("2001:db8:dead::{:x}", 1 + index)),
            };
        }
    }
}

fn wrong_type(resource: Resource, value: &mut Value) -> bool {
    let (pointer, wrong) = match resource {
        Resource::Firewall => ("/rules", json!({})),
        Resource::Droplets | Resource::TaggedDroplets | Resource::GpuDroplets => {
            ("/droplets/0/networks", json!("x"))
        }
        Resource::Droplet => ("/droplet/networks/v4/0/ip_address", json!(5)),
        Resource::Clusters => ("/kubernetes_clusters/0/node_pools", json!("x")),
        Resource::Cluster => ("/kubernetes_cluster/node_pools", json!("x")),
        Resource::NodePools => ("/node_pool/nodes", json!({})),
        Resource::Apps => ("/apps/0/vpc", json!("x")),
        Resource::App => ("/app/vpc", json!("x")),
        Resource::Vpcs => ("/vpcs/0/ip_range", json!(5)),
        Resource::Vpc => ("/vpc/ip_range", json!(5)),
        Resource::VpcMembers => ("/members", json!({})),
        Resource::Tags => ("/tags", json!({})),
        Resource::Vhost => ("/ip_whitelist", json!({})),
        Resource::Feed | Resource::Other => return false,
    };
    set(value, pointer, wrong)
}

fn empty(resource: Resource, value: &mut Value) -> bool {
    let Some(items) = items(resource, value) else {
        return each_list(value, &mut |list| *list = json!([])) > 0;
    };
    items.clear();
    if resource.is_paged() {
        value["links"] = json!({ "pages": {} });
        value["meta"] = json!({ "total": 0 });
    }
    true
}

/// Changes every list, the outermost first; how many there were.
fn each_list(value: &mut Value, change: &mut impl FnMut(&mut Value)) -> usize {
    match value {
        Value::Array(_) => {
            change(value);
            1
        }
        Value::Object(fields) => fields.values_mut().map(|field| each_list(field, change)).sum(),
        _ => 0,
    }
}

/// Makes every number one of forty digits; how many there were.
fn each_number(value: &mut Value) -> usize {
    match value {
        Value::Number(_) => {
            *value = Value::String(GIANT.to_owned());
            1
        }
        Value::Array(list) => list.iter_mut().map(each_number).sum(),
        Value::Object(fields) => fields.values_mut().map(each_number).sum(),
        _ => 0,
    }
}

/// Puts `new` where the pointer leads; a last name that is not there is added.
fn set(value: &mut Value, pointer: &str, new: Value) -> bool {
    if let Some(place) = value.pointer_mut(pointer) {
        *place = new;
        return true;
    }
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let parent: Option<&mut Map<_, _>> = value.pointer_mut(parent).and_then(Value::as_object_mut);
    match parent {
        Some(parent) => _ = parent.insert(name.to_owned(), new),
        None => return false,
    }
    true
}
