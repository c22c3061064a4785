use dbfw_core::source::SourceType;
use dbfw_wire::digitalocean::VpcPage;

use super::*;
use crate::{
    api::GetError,
    digitalocean::tests::{answer, fixture, lines, missed, read, seen, shown},
};

fn published() -> Vec<Vpc> {
    read::<VpcPage>(fixture!("vpcs_all.json")).vpcs.unwrap()
}

#[test]
fn the_published_networks() {
    let ranges: Vec<_> = published().iter().map(|vpc| lines(outcome(seen(vpc)))).collect();
    assert_eq!(
        ranges,
        [["range: 10.10.10.0/24"], ["range: 10.102.0.0/20"], ["range: 10.100.0.0/20"]]
    );
}

#[test]
fn ranges_that_are_none() {
    for (text, why) in [
        ("10.0.0.1/24", "10.0.0.1/24 has host bits set"),
        ("", "\"\" is not an IPv4 or IPv6 address"),
    ] {
        let vpc = Vpc { id: "v1".to_owned(), ip_range: text.to_owned(), ..Vpc::default() };
        assert_eq!(
            lines(outcome(seen(&vpc))),
            [format!("range: failed, ip_range: {why} (DigitalOcean: VPC network v1)")]
        );
    }
    let gone = missed(GetError::Gone("404".to_owned()));
    assert_eq!(outcome(gone), Outcome::Gone("404".to_owned()));
}

#[test]
fn an_address_that_is_a_networks() {
    let networks = published();
    let ask = |text: &str| address(text.parse().unwrap(), networks.iter(), "GET /v2/vpcs");
    let found = ask("10.102.0.0");
    assert_eq!(shown(&found.parts["address"]), "10.102.0.0/32");
    assert_eq!(
        found.notes,
        ["10.102.0.0 is read as one address; VPC default-nyc1 is 10.102.0.0/20: write \
          ip_addr:10.102.0.0/20 or vpc:e0fe0f4d-596a-465e-a902-571ce57b79fa"]
    );
    for other in ["10.102.0.1", "10.116.0.0", "2001:db8::1"] {
        let found = ask(other);
        assert_eq!(found.notes, [""; 0], "{other}");
        assert!(shown(&found.parts["address"]).starts_with(other));
    }
}

#[test]
fn single_addresses() {
    let key = |value| SourceKey::new(SourceType::IpAddr, value).unwrap();
    let answer = answer(address_outcome(&key("10.0.0.0"), None));
    assert_eq!(
        (shown(&answer.parts["address"]).as_str(), answer.from.as_str()),
        ("10.0.0.0/32", "its own text")
    );
    let Outcome::Failed(error) = address_outcome(&key("10.0.0.0/8"), None) else { panic!() };
    assert_eq!(error.to_string(), "\"10.0.0.0/8\" is not a single address (DigitalOcean: ip_addr)");
}
