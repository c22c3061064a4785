//! The endpoints: a request and the account to an answer. Nothing here waits or does IO.

mod apps;
mod aptible;
mod dress;
mod droplets;
mod feeds;
mod firewall;
mod kubernetes;
mod page;
mod tags;
mod vpcs;

use axum::http::Method;

use super::{account::Account, answer::Answer, request::Request};

/// Answers a request that is allowed.
pub(super) fn answer(request: &Request, account: &mut Account) -> Answer {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&request.method, segments.as_slice()) {
        (&Method::GET, ["v2", "databases", uuid, "firewall"]) => firewall::list(account, uuid),
        (&Method::PUT, ["v2", "databases", uuid, "firewall"]) => {
            firewall::replace(request, account, uuid)
        }
        (&Method::GET, ["v2", "droplets"]) => droplets::list(request, account),
        (&Method::GET, ["v2", "droplets", id]) => droplets::one(account, id),
        (&Method::GET, ["v2", "tags"]) => tags::list(request, account),
        (&Method::POST, ["v2", "tags"]) => tags::create(request, account),
        (&Method::GET, ["v2", "tags", name]) => tags::one(request, account, name),
        (&Method::POST, ["v2", "tags", name, "resources"]) => tags::tag(request, account, name),
        (&Method::DELETE, ["v2", "tags", name, "resources"]) => tags::untag(request, account, name),
        (&Method::GET, ["v2", "kubernetes", "clusters"]) => kubernetes::list(request, account),
        (&Method::GET, ["v2", "kubernetes", "clusters", id]) => kubernetes::one(account, id),
        (&Method::GET, ["v2", "kubernetes", "clusters", id, "node_pools", pool]) => {
            kubernetes::pool(account, id, pool)
        }
        (&Method::PUT, ["v2", "kubernetes", "clusters", id, "node_pools", pool]) => {
            kubernetes::resize(request, account, id, pool)
        }
        (&Method::GET, ["v2", "apps"]) => apps::list(request, account),
        (&Method::GET, ["v2", "apps", id]) => apps::one(account, id),
        (&Method::GET, ["v2", "vpcs"]) => vpcs::list(request, account),
        (&Method::GET, ["v2", "vpcs", id]) => vpcs::one(account, id),
        (&Method::GET, ["v2", "vpcs", id, "members"]) => vpcs::members(request, account, id),
        (&Method::GET, ["vhosts", id]) => aptible::vhost(account, id),
        (&Method::GET, ["feed", name]) => feeds::get(request, account, name),
        _ => Answer::not_found(),
    }
}
