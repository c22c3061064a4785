//! An agent whose lists and sources come from the tests' own provider server, and what the
//! kernel trusts meanwhile, read from the maps and not from the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use dbfw_datapath::{DatapathError, Reader};
use dbfw_tests::{
    agent::Host,
    netns::Netns,
    provider_server::{Options, Server},
};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server on loopback of the database host's namespace: HTTPS.
pub(crate) fn server(netns: &Netns) -> Server {
    Server::start(Options { netns: Some(netns), ..Options::default() })
}

/// `[digitalocean]` for a server, with more keys. The budget is as large as it may be.
pub(crate) fn digitalocean(server: &Server, keys: &str) -> String {
    format!(
        "[digitalocean]\n{}requests_per_hour = 1000000\nrequests_per_minute = 100000\n{keys}\n",
        api(server)
    )
}

/// `[aptible]` for a server, with more keys.
pub(crate) fn aptible(server: &Server, keys: &str) -> String {
    format!("[aptible]\n{}{keys}\n", api(server))
}

/// `[feeds]` that trusts the server's authority, with more keys.
pub(crate) fn feeds(server: &Server, keys: &str) -> String {
    format!("[feeds]\nca_file = \"{}\"\n{keys}\n", server.ca_file().display())
}

fn api(server: &Server) -> String {
    format!(
        "api_url = \"{}\"\ntoken_file = \"{}\"\nca_file = \"{}\"\n",
        server.url(),
        server.token_file().display(),
        server.ca_file().display()
    )
}

/// Waits until something holds; panics with the agent's log if it never does.
#[track_caller]
pub(crate) fn wait(host: &Host<'_>, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", host.log());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The pinned maps of a host.
#[derive(Debug)]
pub(crate) struct Kernel {
    reader: Reader,
    /// Of each database its bit in the entries' masks.
    bits: BTreeMap<String, u64>,
}

impl Kernel {
    /// Opens them. The agent has to have started once, with all its databases.
    pub(crate) fn open(host: &Host<'_>) -> Self {
        let pins = host.pins();
        let directory = pins.parent().expect("a directory above the version");
        let reader = Reader::open(directory).expect("open the pinned maps");
        let slots = reader.databases().expect("read the databases");
        let bits = slots.into_iter().map(|slot| (slot.name, 1 << (slot.id - 1))).collect();
        Self { reader, bits }
    }

    /// Every prefix that lets into a database, with its length: "10.0.0.1/32".
    pub(crate) fn trusted(&self, database: &str) -> BTreeSet<String> {
        let bit = self.bit(database);
        let mut trusted = BTreeSet::new();
        self.reader
            .for_each_entry(|_, prefix, entry| {
                if entry.mask() & bit != 0 {
                    trusted.insert(prefix.to_string());
                }
                Ok::<(), DatapathError>(())
            })
            .expect("read the maps");
        trusted
    }

    /// Whether the maps let an address into a database.
    pub(crate) fn admits(&self, database: &str, address: IpAddr) -> bool {
        let found = self.reader.lookup(address).expect("look the address up");
        found.is_some_and(|(_, entry)| entry.mask() & self.bit(database) != 0)
    }

    /// Waits until exactly these prefixes let into a database.
    #[track_caller]
    pub(crate) fn wait_for(&self, host: &Host<'_>, database: &str, prefixes: &BTreeSet<String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let trusted = self.trusted(database);
            if trusted == *prefixes {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{database} should trust {prefixes:?}, and it trusts {trusted:?}\n{}",
                host.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn bit(&self, database: &str) -> u64 {
        *self.bits.get(database).unwrap_or_else(|| panic!("no database {database} in the maps"))
    }
}
