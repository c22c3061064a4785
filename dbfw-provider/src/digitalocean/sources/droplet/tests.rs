use super::*;
use crate::{
    api::GetError,
    digitalocean::tests::{ALL, answer, failure, fixture, lines, missed, read, seen, shown},
};
use dbfw_wire::digitalocean::OneDroplet;

fn single() -> Droplet {
    read::<OneDroplet>(fixture!("droplet_single.json")).droplet
}

fn droplet(networks: &str) -> Droplet {
    read(&format!(r#"{{"id": 7, "tags": [], "status": "active", "networks": {networks}}}"#))
}

#[test]
fn the_published_droplet() {
    let single = single();
    let outcome = outcome("3164444", seen(&single), ALL);
    assert_eq!(answer(outcome.clone()).from, "GET /it");
    assert_eq!(
        lines(outcome),
        ["droplet 3164444: 10.128.192.124/32 192.241.165.154/32 2604:a880:0:1010::18a:a001/128"]
    );
}

#[test]
fn which_addresses_count() {
    let kinds = |private, public, v6| AddressKinds { private, public, v6 };
    for (kinds, expected) in [
        (kinds(true, false, false), "10.128.192.124/32"),
        (kinds(false, true, false), "192.241.165.154/32"),
        (kinds(false, false, true), "2604:a880:0:1010::18a:a001/128"),
    ] {
        assert_eq!(shown(&part(&single(), kinds)), expected);
    }
    let v4 = droplet(r#"{"v4": [{"ip_address": "10.0.0.1", "type": "private"}]}"#);
    assert_eq!(
        shown(&part(&v4, kinds(false, true, true))),
        "empty, has no address of the kinds in use (`addresses` in [digitalocean])"
    );
}

#[test]
fn what_has_no_address() {
    for (text, expected) in [
        (r#"{"id": 7, "tags": [], "status": "new"}"#, "empty, is still being created"),
        (
            r#"{"id": 7, "tags": [], "status": "new", "networks": {}}"#,
            "empty, is still being created",
        ),
        (
            r#"{"id": 7, "tags": [], "status": "active", "networks": {"v4": null, "v6": null}}"#,
            "empty, has no address",
        ),
        (
            r#"{"id": 7, "tags": [], "status": "archive", "networks": null}"#,
            "empty, has no address",
        ),
        (
            r#"{"id": 7, "tags": [], "status": "active", "networks": null}"#,
            "failed, networks is missing, though it is not being created (DigitalOcean: droplet 7)",
        ),
    ] {
        assert_eq!(shown(&part(&read(text), ALL)), expected, "{text}");
    }
}

#[test]
fn addresses_that_cannot_be() {
    for (family, text, why) in [
        ("v4", "10.0.0", r#""10.0.0" is not an address"#),
        ("v4", "", r#""" is not an address"#),
        ("v4", "10.0.0.1/24", r#""10.0.0.1/24" is not an address"#),
        ("v4", "0.0.0.0", "no machine connects from 0.0.0.0"),
        ("v4", "127.0.0.1", "no machine connects from 127.0.0.1"),
        ("v4", "224.0.0.1", "no machine connects from 224.0.0.1"),
        ("v4", "255.255.255.255", "no machine connects from 255.255.255.255"),
        ("v4", "169.254.169.254", "no machine connects from 169.254.169.254"),
        ("v6", "::", "no machine connects from ::"),
        ("v6", "::1", "no machine connects from ::1"),
        ("v6", "::ffff:127.0.0.1", "no machine connects from 127.0.0.1"),
        ("v6", "ff02::1", "no machine connects from ff02::1"),
        ("v6", "fe80::1", "no machine connects from fe80::1"),
    ] {
        let bad =
            droplet(&format!(r#"{{"{family}": [{{"ip_address": "{text}", "type": "public"}}]}}"#));
        assert_eq!(
            shown(&part(&bad, ALL)),
            format!("failed, networks.{family}[0].ip_address: {why} (DigitalOcean: droplet 7)")
        );
    }
    let odd = droplet(r#"{"v4": [{"ip_address": "2001:db8::1", "type": "public"}]}"#);
    assert_eq!(
        shown(&part(&odd, ALL)),
        "failed, networks.v4[0].ip_address is 2001:db8::1/128, of the other family \
         (DigitalOcean: droplet 7)"
    );
    let odd = droplet(r#"{"v4": [{"ip_address": "10.0.0.1", "type": "secret\u001b"}]}"#);
    assert!(shown(&part(&odd, ALL)).contains("neither public nor private"));
    assert!(!shown(&part(&odd, ALL)).contains('\u{1b}'));
}

#[test]
fn without_a_droplet() {
    let gone = GetError::Gone("404".to_owned());
    assert_eq!(outcome("7", missed(gone), ALL), Outcome::Gone("404".to_owned()));
    let failed = GetError::Failed(failure());
    assert_eq!(outcome("7", missed(failed), ALL), Outcome::Failed(failure()));
}
