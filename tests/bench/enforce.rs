//! How long a change of a list takes to reach the kernel.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use dbfw_datapath::Reader;
use dbfw_tests::{
    agent::Host,
    netns::{Netns, veth},
};

use crate::spread;

const CHANGES: usize = 20;

pub(crate) fn run() {
    let db = Netns::new("db");
    let client = Netns::new("client");
    veth((&db, "db0"), (&client, "cl0"));
    db.address("db0", "10.77.0.1/24");
    client.address("cl0", "10.77.0.2/24");
    db.up("db0");
    client.up("cl0");
    for others in [10, 10_000] {
        let mut host = Host::new(&db);
        host.replace("orders.list", &list(others, None));
        host.configure("interfaces = [\"db0\"]", &database(&host));
        host.start();
        let reader =
            Reader::open(host.pins().parent().expect("the pin directory")).expect("read the maps");
        let mut taken = Vec::new();
        for change in 0..CHANGES {
            let address = SocketAddr::from(([203, 0, 113, change as u8], 0)).ip();
            let fresh = host.path("orders.list.new");
            fs::write(&fresh, list(others, Some(&address.to_string()))).expect("write the list");
            // From before the rename: the agent may be done before it returns.
            let written = Instant::now();
            fs::rename(&fresh, host.path("orders.list")).expect("put it in place");
            while reader.lookup(address).expect("look the address up").is_none() {
                assert!(written.elapsed() < Duration::from_secs(10), "{}", host.log());
            }
            taken.push(written.elapsed());
        }
        let (median, min, max) = spread(&mut taken);
        println!(
            "  {others:>6} other prefixes, {CHANGES} changes: median {median:?}, min {min:?}, max {max:?}"
        );
    }
}

pub(crate) fn list(others: usize, one: Option<&str>) -> String {
    let mut text = String::new();
    for index in 0..others {
        text.push_str(&format!("10.{}.{}.{}\n", index >> 16, index >> 8 & 0xff, index & 0xff));
    }
    text.extend(one.map(|address| format!("{address}\n")));
    text
}

pub(crate) fn database(host: &Host<'_>) -> String {
    format!(
        "[[database]]\nname = \"orders\"\nports = [5432]\n\
         provider = {{ kind = \"file\", path = \"{}\" }}",
        host.path("orders.list").display()
    )
}
