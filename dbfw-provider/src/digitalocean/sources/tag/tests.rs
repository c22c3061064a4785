use dbfw_wire::digitalocean::{Droplet, DropletPage};

use super::*;
use crate::digitalocean::tests::{ALL, answer, failure, fixture, lines, read};

fn tagged(droplets: &[Droplet]) -> Tagged<'_> {
    Tagged {
        droplets: droplets.iter().collect(),
        gpus: Ok(Vec::new()),
        from: "GET /v2/droplets?tag_name=env%3Aprod".to_owned(),
    }
}

#[test]
fn the_published_droplets() {
    let page: DropletPage = read(fixture!("droplets_tagged.json"));
    let droplets = page.droplets.unwrap();
    let outcome = outcome("env:prod", Ok(tagged(&droplets)), ALL);
    assert_eq!(answer(outcome.clone()).from, "GET /v2/droplets?tag_name=env%3Aprod");
    assert_eq!(
        lines(outcome),
        [
            "droplet 3164444: 10.128.192.124/32 192.241.165.154/32 \
             2604:a880:0:1010::18a:a001/128",
            "droplet 3164459: 10.128.192.138/32 162.243.0.4/32",
        ]
    );
}

#[test]
fn one_bad_droplet_spoils_nothing_else() {
    let page: DropletPage = read(fixture!("droplets_tagged.json"));
    let mut droplets = page.droplets.unwrap();
    droplets[0].networks.as_mut().unwrap().v4[1].ip_address = "192.241.165".to_owned();
    assert_eq!(
        lines(outcome("env:prod", Ok(tagged(&droplets)), ALL)),
        [
            "droplet 3164444: failed, networks.v4[1].ip_address: \"192.241.165\" is not an address \
             (DigitalOcean: droplet 3164444)",
            "droplet 3164459: 10.128.192.138/32 162.243.0.4/32",
        ]
    );
}

#[test]
fn what_could_not_be_asked_for_stays() {
    let half = Tagged { gpus: Err(failure()), ..tagged(&[]) };
    let half = answer(outcome("env:prod", Ok(half), ALL));
    assert_eq!(half.unanswered, Some(Unanswered { parts: "GPU droplet", error: failure() }));
    let failed = outcome("env:prod", Err(GetError::Failed(failure())), ALL);
    assert_eq!(failed, Outcome::Failed(failure()));
    let gone = outcome("env:prod", Err(GetError::Gone("404".to_owned())), ALL);
    assert_eq!(gone, Outcome::Gone("404".to_owned()));
}

#[test]
fn nobody_has_the_tag() {
    assert_eq!(answer(outcome("env:prod", Ok(tagged(&[])), ALL)).parts, [].into());
}

#[test]
fn a_list_of_others_is_refused() {
    let page: DropletPage = read(fixture!("droplets_all.json"));
    let droplets = page.droplets.unwrap();
    // The third one has the tag env:stage.
    let Outcome::Failed(error) = outcome("env:prod", Ok(tagged(&droplets)), ALL) else {
        panic!("trusted a droplet without the tag");
    };
    assert_eq!(
        error.to_string(),
        "lists droplet 3164412, which does not have the tag \"env:prod\": write the tag exactly as \
         DigitalOcean shows it (DigitalOcean: GET /v2/droplets?tag_name=env%3Aprod)"
    );
}
