//! Tags, and what has them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    page::{self, NoLinks, Page},
};

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    page::list(request, &account.tags, NoLinks::Empty, |Page { items, links, meta }| {
        let tags: Vec<Value> = items.iter().map(|tag| show(request, account, tag)).collect();
        json!({ "tags": tags, "links": links, "meta": meta })
    })
}

/// GET of one.
pub(super) fn one(request: &Request, account: &Account, name: &str) -> Answer {
    match account.tags.iter().find(|tag| *tag == name) {
        Some(tag) => Answer::json(json!({ "tag": show(request, account, tag) })),
        None => Answer::not_found(),
    }
}

/// POST of a new one: 201.
pub(super) fn create(request: &Request, account: &mut Account) -> Answer {
    let body = request.json().unwrap_or_default();
    let Some(name) = body["name"].as_str().filter(|name| !name.is_empty()) else {
        return Answer::error(StatusCode::BAD_REQUEST);
    };
    account.add_tag(name);
    Answer::with_status(StatusCode::CREATED, json!({ "tag": show(request, account, name) }))
}

/// POST of resources: 204.
pub(super) fn tag(request: &Request, account: &mut Account, name: &str) -> Answer {
    for_each_droplet(request, account, name, |account, id| account.tag_droplet(id, name))
}

/// DELETE of resources: 204.
pub(super) fn untag(request: &Request, account: &mut Account, name: &str) -> Answer {
    for_each_droplet(request, account, name, |account, id| account.untag_droplet(id, name))
}

fn for_each_droplet(
    request: &Request,
    account: &mut Account,
    tag: &str,
    change: impl Fn(&mut Account, u64),
) -> Answer {
    if !account.tags.iter().any(|known| known == tag) {
        return Answer::not_found();
    }
    let body = request.json().unwrap_or_default();
    let Some(resources) = body["resources"].as_array() else {
        return Answer::error(StatusCode::BAD_REQUEST);
    };
    let mut ids = Vec::new();
    for resource in resources {
        let id = resource["resource_id"].as_str().and_then(|id| id.parse().ok());
        match id.filter(|id| account.droplet(*id).is_some()) {
            Some(id) if resource["resource_type"] == "droplet" => ids.push(id),
            _ => return Answer::not_found(),
        }
    }
    for id in ids {
        change(account, id);
    }
    Answer::empty(StatusCode::NO_CONTENT)
}

fn show(request: &Request, account: &Account, tag: &str) -> Value {
    let droplets = account.droplets.iter().chain(&account.gpu_droplets);
    let tagged: Vec<u64> = droplets
        .filter(|droplet| droplet.tags.iter().any(|known| known == tag))
        .map(|droplet| droplet.id)
        .collect();
    let mut droplets = json!({ "count": tagged.len() });
    if let Some(last) = tagged.last() {
        droplets["last_tagged_uri"] = json!(format!("{}/v2/droplets/{last}", request.base));
    }
    let none = json!({ "count": 0 });
    let mut resources = droplets.clone();
    resources["droplets"] = droplets;
    for kind in ["images", "volumes", "volume_snapshots", "databases"] {
        resources[kind] = none.clone();
    }
    json!({ "name": tag, "resources": resources })
}
