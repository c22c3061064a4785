//! The kernel programs, loaded fresh for one test: own maps, nothing pinned, nothing
//! attached, so tests run side by side.

mod counters;
mod entries;
mod front;
mod rotate;
mod run;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, Map, MapError, MapInfo,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{Program as Loaded, ProgramFd, SkLookup},
};
use dbfw_common::{
    BOUND_PORTS, BOUND_TO_ADDRESSES, BOUND4, BUCKET4_WORDS, BUCKET6_WORDS, Bound, DATABASES,
    Database, EXEMPT, Entry, Exempt, FLAG_DROP_FRAGMENTS, HOST, HOSTS4, HOSTS4_SMALL, HOSTS6,
    HOSTS6_SMALL, MAX_EXEMPT, MAX_NAME, Mode, PORTS, PROGRAM_BACKSTOP, PROGRAM_TCX, PROGRAM_TCX_L3,
    PROGRAM_XDP, PROGRAM_XDP_L3, PROGRAMS, SMALL_TABLE, SMALL_TABLE_BITS, TableRef, port_index,
    port_slot,
};
use dbfw_datapath::{OBJECT, variant};
use ipnet::IpNet;

pub use self::{
    counters::Counters,
    rotate::Rotator,
    run::{Context, EmptyXdp, Judged, Lookup, Outcome, SMALLEST_FRAME},
};
use self::{
    entries::{LARGE_BITS, Table, word},
    front::Front,
    run::TraceReader,
};
use crate::{
    netns::Netns,
    policy::{Policy, Transport},
    sys,
};

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// XDP on Ethernet.
    Xdp,
    /// XDP on a device without link header.
    XdpL3,
    /// TCX on Ethernet.
    Tcx,
    /// TCX on a device without link header.
    TcxL3,
    /// The socket lookup; it sees no packet, see [`Kernel::lookup`].
    Backstop,
}

impl Program {
    /// Those that judge packets.
    pub const PACKET: [Self; 4] = [Self::Xdp, Self::XdpL3, Self::Tcx, Self::TcxL3];

    /// Its name in the object.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => PROGRAM_XDP,
            Self::XdpL3 => PROGRAM_XDP_L3,
            Self::Tcx => PROGRAM_TCX,
            Self::TcxL3 => PROGRAM_TCX_L3,
            Self::Backstop => PROGRAM_BACKSTOP,
        }
    }

    /// Whether its packets begin with the IP header.
    pub fn is_l3(self) -> bool {
        matches!(self, Self::XdpL3 | Self::TcxL3)
    }

    /// Whether it is an XDP program.
    pub fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpL3)
    }
}

/// The loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    programs: [ProgramFd; 5],
    trace: TraceReader,
    front4: Front,
    front6: Front,
    entries: BTreeMap<IpNet, Entry>,
    /// Tables of hosts: IPv4, IPv6.
    tables: [Table; 2],
    /// Hosts in the tries, because their buckets were full.
    overflow: BTreeSet<IpNet>,
    ids: BTreeMap<IpNet, u32>,
    free_ids: Vec<u32>,
    port_words: BTreeSet<u32>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads the object. Every database is off and nothing is trusted.
    pub fn load() -> Self {
        Self::try_load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same.
    ///
    /// # Errors
    /// The kernel refuses the object or one of its programs.
    pub fn try_load() -> Result<Self, String> {
        let mut ebpf = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|error| format!("the object does not load: {}", chain(&error)))?;
        for name in PROGRAMS {
            let program = program(&mut ebpf, variant(name));
            let loaded = match program {
                Loaded::Xdp(program) => program.load(),
                Loaded::SchedClassifier(program) => program.load(),
                Loaded::SkLookup(program) => program.load(),
                other => panic!("{name} is of an unexpected kind: {:?}", other.prog_type()),
            };
            loaded.map_err(|error| format!("{name} does not load: {}", chain(&error)))?;
        }
        let programs =
            [Program::Xdp, Program::XdpL3, Program::Tcx, Program::TcxL3, Program::Backstop]
                .map(|kind| descriptor(&mut ebpf, variant(kind.name())));
        let tables = [(HOSTS4_SMALL, BUCKET4_WORDS), (HOSTS6_SMALL, BUCKET6_WORDS)]
            .map(|(name, bucket)| small_table(&ebpf, name, bucket));
        let mut kernel = Self {
            ebpf,
            programs,
            trace: TraceReader::default(),
            front4: Front::new(true),
            front6: Front::new(false),
            entries: BTreeMap::new(),
            tables,
            overflow: BTreeSet::new(),
            ids: BTreeMap::new(),
            free_ids: Vec::new(),
            port_words: BTreeSet::new(),
        };
        kernel.write_table_words();
        Ok(kernel)
    }

    /// Loads the object and keeps hosts in large tables, as an agent with many of them does.
    pub fn load_large() -> Self {
        let mut kernel = Self::load();
        kernel.tables = [(HOSTS4, BUCKET4_WORDS), (HOSTS6, BUCKET6_WORDS)]
            .map(|(outer, bucket)| large_table(&kernel.ebpf, outer, bucket));
        kernel.write_table_words();
        kernel
    }

    fn write_table_words(&mut self) {
        for any in ["0.0.0.0/0", "::/0"] {
            let family = any.parse().unwrap_or_else(|error| panic!("{any}: {error}"));
            let word = self.table(family).place.to_word();
            self.write_table_word(family, word);
        }
    }

    /// The table of a family's hosts.
    fn table(&self, family: IpNet) -> &Table {
        match family {
            IpNet::V4(_) => &self.tables[0],
            IpNet::V6(_) => &self.tables[1],
        }
    }

    /// Aya's view of the object, for what this type does not offer.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Makes the maps hold exactly `policy`, the way the agent will: prefixes reach the
    /// union of every prefix that covers them, full-length ones live in HOSTS, the host's
    /// mode is the strictest, and every (prefix, database) has a slot of its own.
    pub fn install(&mut self, policy: &Policy) {
        self.clear_ports();
        for id in 1..=dbfw_common::MAX_DATABASES {
            self.write_database(id, "", Mode::Off, 0);
        }
        for database in &policy.databases {
            let name = format!("database-{}", database.id);
            self.set_database(database.id, &name, database.mode, &database.ports);
        }
        let strictest = policy.databases.iter().map(|database| database.mode).max();
        self.set_host_mode(strictest.unwrap_or(Mode::Off), policy.drop_fragments);

        let mut entries = BTreeMap::new();
        let mut rules = 1;
        for trusted in &policy.trusted {
            let covering = policy.trusted.iter().filter(|other| other.net.contains(&trusted.net));
            let mask = covering.fold(0, |mask, other| mask | other.databases);
            if entries.insert(trusted.net, Entry::new(mask, rules)).is_none() {
                rules += mask.count_ones();
            }
        }
        let removed: Vec<_> =
            self.entries.keys().filter(|net| !entries.contains_key(net)).copied().collect();
        for (net, entry) in &entries {
            self.write_entry(*net, *entry);
        }
        for net in removed {
            self.remove_entry(net);
        }
        self.entries = entries;
        self.rebuild_front();
    }

    /// Names a database, sets its mode and gives it ports.
    pub fn set_database(&mut self, id: u32, name: &str, mode: Mode, ports: &[(Transport, u16)]) {
        self.write_database(id, name, mode, 0);
        ports.iter().for_each(|(transport, port)| self.write_port(*transport, *port, id));
    }

    /// Binds a port of the database `id`, and no other database's, to an address.
    pub fn bind(&mut self, id: u32, transport: Transport, port: u16, to: Ipv4Addr) {
        self.write_port(transport, port, BOUND_TO_ADDRESSES);
        let mask = 1 << (id - 1);
        let mut ports: Array<_, u64> = self.map(BOUND_PORTS);
        ports
            .set(port_index(transport == Transport::Udp, port), mask, 0)
            .unwrap_or_else(|error| fail("write", BOUND_PORTS, &error));
        let mut addresses: LpmTrie<_, u32, Bound> = self.map(BOUND4);
        addresses
            .insert(&Key::new(32, word(to)), Bound::new(mask), 0)
            .unwrap_or_else(|error| fail("write", BOUND4, &error));
    }

    /// Writes what PORTS says of a port.
    fn write_port(&mut self, transport: Transport, port: u16, named: u32) {
        let (word, byte) = port_slot(transport == Transport::Udp, port);
        let mut map: Array<_, u64> = self.map(PORTS);
        let ids = map.get(&word, 0).unwrap_or_else(|error| fail("read", PORTS, &error));
        let ids = ids & !(0xff << (8 * byte)) | u64::from(named) << (8 * byte);
        map.set(word, ids, 0).unwrap_or_else(|error| fail("write", PORTS, &error));
        self.port_words.insert(word);
    }

    /// Sets the host's mode (the strictest of all databases) and whether non-first
    /// fragments are dropped.
    pub fn set_host_mode(&mut self, mode: Mode, drop_fragments: bool) {
        let flags = if drop_fragments { FLAG_DROP_FRAGMENTS } else { 0 };
        self.write_database(HOST, "", mode, flags);
    }

    /// Lets `net` reach the databases of `mask`, counted from RULE_STATS slot `rules` on,
    /// and nothing it could reach before. Covering prefixes are the caller's business.
    pub fn trust(&mut self, net: IpNet, mask: u64, rules: u32) {
        let entry = Entry::new(mask, rules);
        self.write_entry(net, entry);
        self.mark(net);
        self.entries.insert(net, entry);
    }

    /// Takes back [`Self::trust`].
    pub fn untrust(&mut self, net: IpNet) {
        self.remove_entry(net);
        self.entries.remove(&net);
        self.rebuild_front();
    }

    /// The RULE_STATS slot of a prefix and a database; 0 if it has none.
    pub fn rule_slot(&self, net: IpNet, database: u32) -> u32 {
        let Some(entry) = self.entries.get(&net) else { return 0 };
        let lower = (1..database).filter(|id| entry.mask() >> (id - 1) & 1 == 1).count();
        entry.rules + lower as u32
    }

    /// Sets the interfaces the backstop lets through.
    pub fn exempt(&mut self, interfaces: &[u32]) {
        let mut exempt = Exempt { ifindex: [0; MAX_EXEMPT] };
        exempt.ifindex[..interfaces.len()].copy_from_slice(interfaces);
        let mut map: Array<_, Exempt> = self.map(EXEMPT);
        map.set(0, exempt, 0).unwrap_or_else(|error| fail("write", EXEMPT, &error));
    }

    /// Attaches the backstop to a namespace, for as long as this value lives.
    pub fn attach_backstop(&mut self, ns: &Netns) {
        let program = program(&mut self.ebpf, PROGRAM_BACKSTOP);
        let program: &mut SkLookup =
            program.try_into().unwrap_or_else(|error| panic!("{PROGRAM_BACKSTOP}: {error}"));
        program
            .attach(ns.open())
            .unwrap_or_else(|error| panic!("the backstop does not attach: {}", chain(&error)));
    }

    /// What the kernel says of a map.
    pub fn map_info(&self, name: &str) -> MapInfo {
        let data = match self.ebpf.map(name) {
            Some(
                Map::Array(data)
                | Map::PerCpuArray(data)
                | Map::ArrayOfMaps(data)
                | Map::LpmTrie(data)
                | Map::RingBuf(data),
            ) => data,
            other => panic!("{name} is a map of an unexpected kind: {other:?}"),
        };
        data.info().unwrap_or_else(|error| fail("ask about", name, &error))
    }

    /// Instructions the verifier walked through to prove a program safe.
    pub fn verified_instructions(&self, program: Program) -> u32 {
        let name = variant(program.name());
        let info = self.ebpf.program(name).map(Loaded::info);
        let count = info.and_then(Result::ok).and_then(|info| info.verified_instruction_count());
        count.unwrap_or_else(|| panic!("the kernel does not tell {name}'s verified instructions"))
    }

    /// Bytes of a program as the kernel runs it: what it put in is among them.
    pub fn translated_bytes(&self, program: Program) -> u32 {
        let name = variant(program.name());
        let info = self.ebpf.program(name).map(Loaded::info);
        let size = info.and_then(Result::ok).and_then(|info| info.size_translated());
        size.unwrap_or_else(|| panic!("the kernel does not tell the size of {name}"))
    }

    fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.ebpf.map_mut(name).unwrap_or_else(|| panic!("the object has no map {name}"));
        M::try_from(map).unwrap_or_else(|error| fail("use", name, &error))
    }

    fn clear_ports(&mut self) {
        for word in std::mem::take(&mut self.port_words) {
            let mut map: Array<_, u64> = self.map(PORTS);
            map.set(word, 0, 0).unwrap_or_else(|error| fail("clear", PORTS, &error));
        }
    }

    fn write_database(&mut self, id: u32, name: &str, mode: Mode, flags: u32) {
        let mut value = Database { mode: mode as u32, flags, name: [0; MAX_NAME] };
        value.name[..name.len()].copy_from_slice(name.as_bytes());
        let mut map: Array<_, Database> = self.map(DATABASES);
        map.set(id, value, 0).unwrap_or_else(|error| fail("write", DATABASES, &error));
    }
}

/// The table for few hosts.
fn small_table(ebpf: &Ebpf, name: &str, bucket_words: u32) -> Table {
    let Some(Map::Array(data)) = ebpf.map(name) else { panic!("the object has no array {name}") };
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.unwrap_or_else(|error| panic!("no descriptor of {name}: {error}"));
    let place = TableRef { slot: SMALL_TABLE, bits: SMALL_TABLE_BITS };
    Table { fd, place, words: bucket_words as usize }
}

/// Makes a large table of hosts and puts it into the first place of `outer`.
fn large_table(ebpf: &Ebpf, outer: &str, bucket_words: u32) -> Table {
    let table = sys::make_table(8 * bucket_words, 1 << LARGE_BITS);
    let table = table.unwrap_or_else(|error| panic!("cannot make a table for {outer}: {error}"));
    let Some(Map::ArrayOfMaps(data)) = ebpf.map(outer) else {
        panic!("the object has no array of maps {outer}");
    };
    let inner = (table.as_raw_fd() as u32).to_ne_bytes();
    sys::update_element(data.fd().as_fd(), 0, &inner)
        .unwrap_or_else(|error| panic!("cannot put a table into {outer}: {error}"));
    let place = TableRef { slot: 0, bits: LARGE_BITS };
    Table { fd: table, place, words: bucket_words as usize }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Loaded {
    ebpf.program_mut(name).unwrap_or_else(|| panic!("the object has no program {name}"))
}

fn descriptor(ebpf: &mut Ebpf, name: &str) -> ProgramFd {
    let fd = program(ebpf, name).fd().and_then(|fd| Ok(fd.try_clone()?));
    fd.unwrap_or_else(|error| panic!("{name} has no descriptor: {error}"))
}

fn fail(action: &str, map: &str, error: &MapError) -> ! {
    panic!("cannot {action} {map}: {}", chain(error))
}

/// An error with everything behind it: aya's own text is often only the outermost step.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
