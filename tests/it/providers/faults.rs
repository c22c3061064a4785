//! Every fault of the server against every kind of answer the agent reads: what is enforced
//! never shrinks by it and never grows beyond what is meant, the cause is told, and it ends
//! without a hand.

mod cases;
mod estate;
mod table;
mod told;
mod verdict;
mod world;

use std::{
    io::{self, Write as _},
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
    table::{Effect, LONG, Setting, TARGETS, Trouble},
    world::World,
};

/// Who is let in by what goes wrong.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20));

/// Stands for the URL of the server that must never be asked, which is known when it runs.
const ELSEWHERE: &str = "http://elsewhere.test";

/// Takes everything that can go wrong in some settings, each on a host of its own, all at the
/// same time. What takes long has another host.
fn suffer(settings: &[Setting]) {
    thread::scope(|scope| {
        let worlds: Vec<_> = settings
            .iter()
            .flat_map(|setting| [true, false].map(|long| (*setting, long)))
            .map(|(setting, long)| {
                let mut troubles = table::troubles(setting, ELSEWHERE);
                troubles.retain(|trouble| trouble.is_long() == long);
                scope.spawn(move || suffer_all(setting, troubles))
            })
            .collect();
        let cases: Vec<_> = worlds.into_iter().map(|world| world.join()).collect();
        assert!(cases.iter().all(Result::is_ok), "some cases went wrong, see above");
    });
}

/// All cases of a setting; after one that failed the others go on in a new world.
fn suffer_all(setting: Setting, mut left: Vec<Trouble>) {
    let started = Instant::now();
    let name = format!("{}{}", setting.target.name(), if setting.is_long { ", long" } else { "" });
    let cases = left.len();
    let mut failed = Vec::new();
    left.reverse();
    while let Some(mut current) = left.last().cloned() {
        let all = AssertUnwindSafe(|| {
            with_world(setting, |world| {
                while let Some(trouble) = left.pop() {
                    current = trouble.clone();
                    world.suffer(trouble);
                }
            });
        });
        if catch_unwind(all).is_err() {
            failed.push(format!("{name} x {current}"));
            left.retain(|trouble| *trouble != current);
        }
    }
    let took = started.elapsed().as_secs_f64();
    // Past the capture of the test harness: the number is to be quoted.
    let _ = writeln!(io::stdout(), "fault matrix: {name}: {cases} cases in {took:.1} s");
    assert!(failed.is_empty(), "these went wrong, see above: {failed:#?}");
}

/// Does something to a world while a stranger never stops trying to get in, in vain.
fn with_world(setting: Setting, work: impl FnOnce(&mut World<'_>)) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let pair = Pair::new();
    pair.clients.address("cl0", &format!("{CLIENT}/24"));
    let mut world = World::new(&pair, setting);
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

fn short(target: Resource) -> Setting {
    Setting { target, is_long: false, on_empty: "keep" }
}

fn long(target: Resource) -> Setting {
    Setting { is_long: true, ..short(target) }
}

#[test]
fn the_matrix_is_complete() {
    let mut cases = 0;
    for setting in TARGETS.map(short).into_iter().chain(LONG.map(long)) {
        let troubles = table::troubles(setting, ELSEWHERE);
        cases += troubles.len();
        for trouble in &troubles {
            // What is no harm has no cause to look for: only these are that.
            let harmless = table::effect(setting, trouble) == Effect::Harmless;
            let is_meant =
                matches!(trouble, Trouble::Answer(Fault::Duplicates | Fault::GiantNumbers));
            assert!(!harmless || is_meant, "{} x {trouble}", setting.target.name());
        }
    }
    println!("fault matrix: {cases} cases");
}

#[test]
fn lists_of_rules_and_feeds() {
    suffer(&[Resource::Firewall, Resource::Vhost, Resource::Feed].map(short));
}

#[test]
fn machines() {
    suffer(
        &[Resource::Droplet, Resource::Droplets, Resource::TaggedDroplets, Resource::GpuDroplets]
            .map(short),
    );
}

#[test]
fn clusters() {
    suffer(&[Resource::Cluster, Resource::Clusters].map(short));
}

#[test]
fn apps_and_networks() {
    suffer(&[Resource::App, Resource::Apps, Resource::Vpc, Resource::Vpcs].map(short));
}

#[test]
fn lists_of_several_pages() {
    suffer(&LONG.map(long));
}

#[test]
fn a_list_that_is_gone_closes_where_it_is_to() {
    thread::scope(|scope| {
        for target in [Resource::Firewall, Resource::Vhost] {
            let setting = Setting { on_empty: "close", ..short(target) };
            scope.spawn(move || {
                with_world(setting, |world| {
                    world.suffer(Trouble::Answer(Fault::Status(404)));
                });
            });
        }
    });
}
