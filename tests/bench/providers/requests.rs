//! Requests in an hour for a hundred rules of every type.

use std::{collections::BTreeMap, time::Instant};

use dbfw_tests::provider_server::{Account, Limits, Resource};

use super::{Place, account, begin_round};

const DROPLETS: usize = 300;

/// Rounds that are counted, at the usual distance.
const ROUNDS: u32 = 3;

pub(super) fn run(place: &Place) {
    let server = place.server(Limits::default());
    let cluster = server.account(fill);
    let host = place.agent(&server, &cluster, "15s");
    begin_round(&server);
    server.forget_requests();
    begin_round(&server);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        begin_round(&server);
    }
    let apart = began.elapsed() / ROUNDS;
    // From the beginning of one round to that of another, whatever came first of the last.
    let requests = server.requests();
    let mut starts = requests.iter().enumerate().filter(|(_, r)| r.resource == Resource::Firewall);
    let first = starts.next().map_or(0, |(at, _)| at);
    let last = starts.next_back().map_or(0, |(at, _)| at);
    let counted = &requests[first..last];
    let round = counted.len() as f64 / f64::from(ROUNDS);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for request in counted {
        *kinds.entry(request.resource.name()).or_default() += 1;
    }
    let status = host.json(&["status"]).expect("the status");
    let planned = status["accounts"][0]["interval_seconds"].as_f64().expect("the interval");
    println!(
        "  100 rules (40 droplet, 30 tag, 10 k8s, 10 app, 10 ip_addr), {DROPLETS} droplets, poll 15 s:\n\
         \x20   a round costs {round:.1} requests and is planned every {planned:.1} s: {:.0} an hour\n\
         \x20   measured over {ROUNDS} rounds {:.1} s apart: {:.0} an hour\n\
         \x20   in these rounds: {kinds:?}",
        round * 3600.0 / planned,
        apart.as_secs_f64(),
        round * 3600.0 / apart.as_secs_f64(),
    );
}

fn fill(account: &mut Account) -> String {
    let droplets = account::droplets(account, DROPLETS, 30);
    let mut rules: Vec<String> =
        droplets.iter().take(40).map(|id| format!("droplet:{id}")).collect();
    rules.extend((0..30).map(|number| format!("tag:{}", account::tag(number))));
    for number in 0..10_u8 {
        let cluster = account.add_cluster(&format!("cluster-{number}"));
        account.add_pool(&cluster, "workers", 3);
        let app = account.add_app(&format!("app-{number}"), &[&format!("203.0.113.{number}")], &[]);
        rules.push(format!("k8s:{cluster}"));
        rules.push(format!("app:{app}"));
        rules.push(format!("ip_addr:198.51.100.{number}"));
    }
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    account.add_database("orders", &rules)
}
