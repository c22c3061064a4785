use dbfw_wire::digitalocean::{AppPage, OneApp};

use super::*;
use crate::{
    api::GetError,
    digitalocean::tests::{answer, fixture, lines, missed, read, seen},
};

fn app(text: &str) -> App {
    read(&format!(r#"{{"id": "a1", {text}}}"#))
}

#[test]
fn the_published_apps() {
    let all: AppPage = read(fixture!("apps.json"));
    let all = all.apps.unwrap();
    assert_eq!(all.len(), 1);
    for app in [&read::<OneApp>(fixture!("app.json")).app, &all[0]] {
        assert_eq!(
            lines(outcome(seen(app))),
            ["VPC egress IPs: 10.0.0.1/32", "dedicated IPs: 192.168.1.1/32 192.168.1.2/32"]
        );
        assert_eq!(prefixes(app).len(), 3);
    }
}

#[test]
fn an_app_without_addresses_is_not_guessed() {
    let why = "app: empty, has no dedicated IP address and no VPC egress address, so its \
               addresses are not known outside DigitalOcean: give it a dedicated IP (egress type \
               DEDICATED_IP)";
    for text in [
        r#""spec": null"#,
        r#""dedicated_ips": null, "vpc": null"#,
        r#""dedicated_ips": [], "vpc": {"id": "v", "egress_ips": null}"#,
    ] {
        assert_eq!(lines(outcome(seen(&app(text)))), [why], "{text}");
        assert_eq!(prefixes(&app(text)), []);
    }
}

#[test]
fn only_assigned_addresses_count() {
    let text = r#""dedicated_ips": [
        {"ip": "192.0.2.1", "id": "i1", "status": "ASSIGNED"},
        {"ip": "", "id": "i2", "status": "ASSIGNING"},
        {"ip": "192.0.2.3", "id": "i3", "status": "REMOVED"},
        {"status": "UNKNOWN"}
    ]"#;
    assert_eq!(
        lines(outcome(seen(&app(text)))),
        [
            "dedicated IP 192.0.2.3: empty, has the status REMOVED, not ASSIGNED",
            "dedicated IP 3: empty, has the status UNKNOWN, not ASSIGNED",
            "dedicated IP i2: empty, has the status ASSIGNING, not ASSIGNED",
            "dedicated IPs: 192.0.2.1/32",
        ]
    );
}

#[test]
fn what_cannot_be_read_keeps_what_it_was() {
    let text = r#""dedicated_ips": [{"ip": "192.0.2.1", "status": "ASSIGNED"},
                                    {"ip": "192.0.2", "status": "ASSIGNED"}],
                  "vpc": {"egress_ips": [{"ip": "10.0.0.1"}]}"#;
    assert_eq!(
        lines(outcome(seen(&app(text)))),
        [
            "VPC egress IPs: 10.0.0.1/32",
            "dedicated IPs: failed, dedicated_ips[1].ip: \"192.0.2\" is not an address \
             (DigitalOcean: app a1)",
        ]
    );
    let text = r#""dedicated_ips": [{"ip": "192.0.2.1", "status": "assigned"}],
                  "vpc": {"egress_ips": [{"ip": "0.0.0.0"}]}"#;
    assert_eq!(
        lines(outcome(seen(&app(text)))),
        [
            "VPC egress IPs: failed, vpc.egress_ips[0].ip: no machine connects from 0.0.0.0 \
             (DigitalOcean: app a1)",
            "dedicated IPs: failed, dedicated_ips[0].status is \"assigned\", which dbfw does not \
             know (DigitalOcean: app a1)",
        ]
    );
}

#[test]
fn without_an_app() {
    let gone = missed(GetError::Gone("404".to_owned()));
    assert_eq!(outcome(gone), Outcome::Gone("404".to_owned()));
    assert_eq!(answer(outcome(seen(&app(r#""x": 1"#)))).from, "GET /it");
}
