//! The trusted sources of a database cluster: a list that is read and replaced as a whole.

use std::net::Ipv4Addr;

use axum::http::StatusCode;
use dbfw_wire::digitalocean::{Firewall, FirewallRule};
use ipnet::Ipv4Net;

use super::super::{account::Account, answer::Answer, request::Request};

/// Rules a list may have, as the API's description says.
const MAX_RULES: usize = 100;

/// GET: `{"rules": […]}`, not in pages.
pub(super) fn list(account: &Account, uuid: &str) -> Answer {
    match account.databases.get(uuid) {
        Some(database) => Answer::json(Firewall { rules: database.rules.clone() }),
        None => Answer::not_found(),
    }
}

/// PUT: 204 without a body.
pub(super) fn replace(request: &Request, account: &mut Account, uuid: &str) -> Answer {
    if !account.databases.contains_key(uuid) {
        return Answer::not_found();
    }
    let rules = request.json().and_then(|mut body| {
        let rules = body.get_mut("rules").filter(|rules| rules.is_array())?;
        serde_json::from_value::<Vec<FirewallRule>>(rules.take()).ok()
    });
    let Some(rules) = rules else { return Answer::error(StatusCode::BAD_REQUEST) };
    if rules.len() > MAX_RULES {
        return Answer::unprocessable("a database may have 100 trusted sources");
    }
    if let Some(wrong) = rules.iter().find_map(wrong) {
        return Answer::unprocessable(&wrong);
    }
    account.replace_rules(uuid, rules);
    Answer::empty(StatusCode::NO_CONTENT)
}

/// What the API would not take of a rule.
fn wrong(rule: &FirewallRule) -> Option<String> {
    let value = rule.value.as_str();
    let is_known = match rule.kind.as_str() {
        "ip_addr" => value.parse::<Ipv4Addr>().is_ok() || value.parse::<Ipv4Net>().is_ok(),
        "droplet" => value.parse::<u64>().is_ok(),
        "k8s" | "tag" | "app" => !value.is_empty(),
        _ => false,
    };
    (!is_known).then(|| format!("invalid trusted source {}:{value}", rule.kind))
}
