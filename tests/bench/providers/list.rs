//! A list of addresses that does not change.

use dbfw_tests::provider_server::Account;

use super::{Place, UNLIMITED, account, ms, quiet, transfer, wait};
use crate::spread;

const ROUNDS: usize = 40;

pub(super) fn run(place: &Place) {
    for rules in [10, 10_000] {
        let server = place.server(UNLIMITED);
        let cluster = server.account(|account| fill(account, rules));
        let host = place.agent(&server, &cluster, "1h");
        let reader = account::reader(&host);
        let last = address(rules - 1).parse().expect("an address");
        wait("the last address to be in the kernel", || account::all_known(&reader, &[last]));
        println!("  a list of {rules} ip_addr rules, no change:");
        for etags in [false, true] {
            server.account(|account| account.etags = etags);
            let quiet = quiet(&host, &server, &cluster, ROUNDS);
            println!(
                "    {} ETags: {:.2} ms CPU a round, {:.0} request, nothing written: {} ({} rounds)",
                if etags { "with" } else { "without" },
                ms(quiet.cpu),
                quiet.requests,
                quiet.same,
                quiet.rounds,
            );
        }
        server.account(|account| account.etags = false);
        let body = transfer::body(place, &server, &format!("/v2/databases/{cluster}/firewall"));
        let mut taken = transfer::parse_rules(&body);
        let (median, ..) = spread(&mut taken);
        println!(
            "    its answer, {} kB: {:.2} ms CPU to receive it, {median:?} to read it",
            body.len() / 1000,
            ms(transfer::cpu_of_receiving(place, &server, &cluster)),
        );
    }
}

fn fill(account: &mut Account, rules: usize) -> String {
    let rules: Vec<String> =
        (0..rules).map(|number| format!("ip_addr:{}", address(number))).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    account.add_database("orders", &rules)
}

fn address(number: usize) -> String {
    format!("198.18.{}.{}", number >> 8 & 0xff, number & 0xff)
}
