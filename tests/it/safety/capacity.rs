use dbfw_common::{Entry, MAX_NETS};
use dbfw_core::{policy::Plan, source::Prefix};
use dbfw_datapath::{Change, Datapath};
use dbfw_tests::{agent::Host, netns::Netns};

#[test]
fn more_prefixes_than_a_map_holds_are_refused_before_anything_is_changed() {
    let netns = Netns::new("capacity");
    // For its pin directory, which it removes.
    let host = Host::new(&netns);
    let pins = host.pins();
    let pin_dir = pins.parent().expect("the pins have a parent");
    let mut datapath = Datapath::open(pin_dir).expect("make the maps");
    let entry = Entry::new(1, 0);
    let pair_of_addresses = |n: u32| Prefix::new(std::net::IpAddr::from((n * 2).to_be_bytes()), 31);
    let mut plan = Plan { writes: vec![(pair_of_addresses(1), entry)], ..Plan::default() };
    let few = Change { plan: plan.clone(), ..Change::default() };
    datapath.apply(&few).expect("one fits");
    plan.writes = (2..MAX_NETS + 2).map(|n| (pair_of_addresses(n), entry)).collect();
    let error = datapath.apply(&Change { plan, ..Change::default() }).expect_err("too many");
    let (wanted, limit) = (MAX_NETS + 1, MAX_NETS);
    assert_eq!(
        error.to_string(),
        format!(
            "{wanted} prefixes do not fit into NETS4, which holds {limit}: nothing was changed"
        )
    );
    assert_eq!(datapath.held().iter().count(), 1);
    let reader = datapath.reader().expect("open the maps");
    let mut entries = 0;
    reader
        .for_each_entry(|_, _, _| {
            entries += 1;
            Ok::<(), dbfw_datapath::DatapathError>(())
        })
        .expect("read the maps");
    assert_eq!(entries, 1);
}
