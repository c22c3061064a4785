//! From a change at the API to the kernel.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use dbfw_tests::provider_server::{Resource, Seen};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{PATIENCE, Place, UNLIMITED, account};
use crate::spread;

const CHANGES: usize = 15;

pub(super) fn run(place: &Place) {
    let server = place.server(UNLIMITED);
    let (cluster, fresh) = server.account(|account| {
        account::droplets(account, 100, 1);
        let fresh = account::droplets(account, CHANGES, 0);
        (account.add_database("orders", &[&format!("tag:{}", account::tag(0))]), fresh)
    });
    let host = place.agent(&server, &cluster, "1s");
    let reader = account::reader(&host);
    let mut phase = SmallRng::seed_from_u64(1);
    let (mut all, mut until_asked, mut from_asked) = (Vec::new(), Vec::new(), Vec::new());
    for droplet in fresh {
        sleep(Duration::from_millis(phase.random_range(0..1000)));
        let addresses = server.account(|account| account::addresses(account, &[droplet]));
        let (changed_at, began) = server.account(|account| {
            account.tag_droplet(droplet, &account::tag(0));
            (Timestamp::now(), Instant::now())
        });
        while !account::all_known(&reader, &addresses) {
            assert!(began.elapsed() < PATIENCE, "{}", host.log());
        }
        let took = began.elapsed();
        let tells = |seen: &&Seen| {
            seen.at >= changed_at
                && matches!(seen.resource, Resource::TaggedDroplets | Resource::Droplets)
        };
        let requests = server.requests();
        let told = requests.iter().find(tells).expect("the request that told");
        let asked = Duration::try_from(told.at.duration_since(changed_at)).unwrap_or_default();
        all.push(took);
        until_asked.push(asked);
        from_asked.push(took.saturating_sub(asked));
    }
    println!("  a droplet gets the tag, poll 1 s, {CHANGES} changes at random times:");
    for (what, mut values) in [
        ("from the change to the kernel", all),
        ("  until the request that tells of it", until_asked),
        ("  from that request to the kernel", from_asked),
    ] {
        let (median, min, max) = spread(&mut values);
        println!("    {what:38} median {median:?}, min {min:?}, max {max:?}");
    }
}
