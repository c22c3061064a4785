//! A sync of a hundred tags and five thousand droplets.

use std::time::Duration;

use dbfw_tests::provider_server::Server;
use jiff::Timestamp;

use super::{Place, UNLIMITED, account, cpu, ms, quiet, transfer, wait};
use crate::spread;

const TAGS: usize = 100;
const DROPLETS: usize = 5_000;

/// Agents that are started and meet the tags for the first time.
const FIRSTS: usize = 3;

const ROUNDS: usize = 20;

pub(super) fn run(place: &Place) {
    let server = place.server(UNLIMITED);
    let (cluster, addresses) = server.account(|account| {
        let droplets = account::droplets(account, DROPLETS, TAGS);
        (account.add_database("orders", &[]), account::addresses(account, &droplets))
    });
    println!("  {TAGS} tags, {DROPLETS} droplets, {} prefixes:", addresses.len());

    let mut firsts = Vec::new();
    for _ in 0..FIRSTS {
        server.account(|account| account.rules_mut("orders").clear());
        server.account(|account| account.add_rule("orders", "ip_addr", "192.0.2.1"));
        let host = place.agent(&server, &cluster, "1h");
        let reader = account::reader(&host);
        wait("the first list", || {
            account::all_known(&reader, &["192.0.2.1".parse().expect("an address")])
        });
        server.account(|account| {
            for number in 0..TAGS {
                account.add_rule("orders", "tag", &account::tag(number));
            }
        });
        server.forget_requests();
        let before = cpu(host.pid());
        super::reload(&host);
        wait("every address to be in the kernel", || account::all_known(&reader, &addresses));
        let (ended, used) = (Timestamp::now(), cpu(host.pid()) - before);
        let requests = server.requests();
        let began = requests.first().map_or(ended, |first| first.at);
        let took = Duration::try_from(ended.duration_since(began)).unwrap_or_default();
        firsts.push((took, used, requests.len()));
    }
    let (median, min, max) = spread(&mut firsts);
    println!(
        "    first round: {:.0} ms from its first request to the kernel ({:.0} to {:.0}), {:.0} ms CPU, \
         {} requests",
        ms(median.0),
        ms(min.0),
        ms(max.0),
        ms(median.1),
        median.2,
    );
    let mut bare = transfer::lists(place, &server, &cluster);
    let (median, min, max) = spread(&mut bare);
    println!(
        "    its answers alone, thrown away: {:.0} ms ({:.0} to {:.0}); {} turns of requests that wait \
         for those before them",
        ms(median),
        ms(min),
        ms(max),
        transfer::TURNS,
    );

    let host = place.agent(&server, &cluster, "1h");
    let reader = account::reader(&host);
    wait("every address to be in the kernel", || account::all_known(&reader, &addresses));
    for etags in [false, true] {
        server.account(|account| account.etags = etags);
        let quiet = quiet(&host, &server, &cluster, ROUNDS);
        println!(
            "    no change, {} ETags: {:.2} ms CPU a round, {:.0} requests, last round {:.0} ms, \
             nothing written: {} ({} rounds)",
            if etags { "with" } else { "without" },
            ms(quiet.cpu),
            quiet.requests,
            ms(last_round(&host)),
            quiet.same,
            quiet.rounds,
        );
    }
    page(place, &server);
}

/// What reading a page takes, of all of this.
fn page(place: &Place, server: &Server) {
    let body = transfer::body(place, server, "/v2/droplets?page=1&per_page=200");
    let mut taken = transfer::parse_droplets(&body);
    let (median, ..) = spread(&mut taken);
    println!(
        "    reading a page of 200 droplets, {} kB: {median:?}; of {DROPLETS}: {:.1} ms",
        body.len() / 1000,
        ms(median) * (DROPLETS / 200) as f64,
    );
}

fn last_round(host: &dbfw_tests::agent::Host<'_>) -> Duration {
    let status = host.json(&["status"]).expect("the status");
    let seconds = status["accounts"][0]["last_round_seconds"].as_f64();
    Duration::from_secs_f64(seconds.unwrap_or_default())
}
