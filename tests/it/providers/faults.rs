//! Every fault of the server against every kind of answer the agent reads: what is enforced
//! never shrinks by it and never grows beyond what is meant, the cause is told, and it ends
//! without a hand.

mod estate;
mod table;
mod told;
mod world;

use std::{
    net::{IpAddr, Ipv4Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    pair::{Pair, STRANGER4},
    provider_server::{Fault, Resource},
};

use self::{
    table::{Effect, TARGETS, Trouble},
    world::World,
};

/// Who is let in by what goes wrong.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20));

/// Stands for the URL of the server that must never be asked, which is known when it runs.
const ELSEWHERE: &str = "http://elsewhere.test";

/// Takes everything that can go wrong with some kinds of answers, each on a host of its own,
/// all at the same time.
fn suffer(targets: &[Resource]) {
    thread::scope(|scope| {
        let worlds: Vec<_> =
            targets.iter().map(|target| scope.spawn(|| suffer_all(*target))).collect();
        let cases: Vec<_> = worlds.into_iter().map(|world| world.join()).collect();
        assert!(cases.iter().all(Result::is_ok), "some cases went wrong, see above");
    });
}

/// All cases of a target; after one that failed the others go on in a new world.
fn suffer_all(target: Resource) -> usize {
    let started = Instant::now();
    let mut left = table::troubles(target, ELSEWHERE);
    left.reverse();
    let cases = left.len();
    let mut failed = Vec::new();
    while let Some(first) = left.last().cloned() {
        let mut current = first;
        let all = AssertUnwindSafe(|| {
            with_world(target, "keep", |world| {
                while let Some(trouble) = left.pop() {
                    current = trouble.clone();
                    world.suffer(trouble);
                }
            });
        });
        if catch_unwind(all).is_err() {
            failed.push(format!("{} x {current}", target.name()));
            left.retain(|trouble| *trouble != current);
        }
    }
    assert!(failed.is_empty(), "these went wrong, see above: {failed:#?}");
    let took = started.elapsed().as_secs_f64();
    println!("fault matrix: {}: {cases} cases in {took:.1} s", target.name());
    cases
}

/// Does something to a world while a stranger never stops trying to get in, in vain.
fn with_world(target: Resource, on_empty: &'static str, work: impl FnOnce(&mut World<'_>)) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let pair = Pair::new();
    pair.clients.address("cl0", &format!("{CLIENT}/24"));
    let mut world = World::new(&pair, target, on_empty);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(!pair.reaches(STRANGER4), "the stranger was let in");
                thread::sleep(Duration::from_millis(50));
            }
        });
        {
            let _stop = Stop(&stop);
            work(&mut world);
        }
        stranger.join().expect("a stranger who stays outside");
    });
    world.finish();
}

#[test]
fn the_matrix_is_complete() {
    let mut cases = 0;
    for target in TARGETS {
        let troubles = table::troubles(target, ELSEWHERE);
        cases += troubles.len();
        for trouble in &troubles {
            // A fault without a cause to look for has to be one of these.
            let free = matches!(table::effect(target, trouble, "keep"), Effect::Harmless);
            let meant = matches!(trouble, Trouble::Answer(Fault::Duplicates | Fault::GiantNumbers));
            assert!(!free || meant, "{} x {trouble}", target.name());
        }
    }
    println!("fault matrix: {cases} cases");
}

#[test]
fn lists_of_rules_and_feeds() {
    suffer(&[Resource::Firewall, Resource::Vhost, Resource::Feed]);
}

#[test]
fn machines() {
    suffer(&[
        Resource::Droplet,
        Resource::Droplets,
        Resource::TaggedDroplets,
        Resource::GpuDroplets,
    ]);
}

#[test]
fn clusters_apps_and_networks() {
    suffer(&[
        Resource::Cluster,
        Resource::Clusters,
        Resource::App,
        Resource::Apps,
        Resource::Vpc,
        Resource::Vpcs,
    ]);
}

#[test]
fn a_list_that_is_gone_closes_where_it_is_to() {
    thread::scope(|scope| {
        for target in [Resource::Firewall, Resource::Vhost] {
            scope.spawn(move || {
                with_world(target, "close", |world| {
                    world.suffer(Trouble::Answer(Fault::Status(404)));
                });
            });
        }
    });
}
