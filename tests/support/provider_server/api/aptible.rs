//! Aptible's API, as far as a database endpoint goes: HAL with the fields its own client has.

use serde_json::json;

use super::super::{account::Account, answer::Answer};

/// GET of a vhost.
pub(super) fn vhost(account: &Account, id: &str) -> Answer {
    let found = id.parse::<u64>().ok().and_then(|id| Some((id, account.vhosts.get(&id)?)));
    let Some((id, whitelist)) = found else {
        return Answer::error_of_aptible(404);
    };
    let link = |path: String| json!({ "href": path });
    Answer::json(json!({
        "id": id,
        "virtual_domain": format!("elb-dbfw-{id}.aptible.in"),
        "type": "tcp",
        "platform": "elb",
        "elastic_load_balancer_name": format!("elb-dbfw-{id}"),
        "security_group_id": format!("sg-{id:017x}"),
        "external_host": format!("elb-dbfw-{id}.aptible.in"),
        "internal_host": null,
        "status": "provisioned",
        "default": false,
        "internal": false,
        "acme": false,
        "user_domain": null,
        "ip_whitelist": whitelist,
        "created_at": "2024-05-02T10:11:12.000Z",
        "updated_at": "2024-05-02T10:11:12.000Z",
        "_links": {
            "self": link(format!("/vhosts/{id}")),
            "service": link(format!("/services/{id}")),
            "operations": link(format!("/vhosts/{id}/operations")),
        },
        "_type": "vhost",
    }))
}
