//! [`Reader`]: the pinned maps and programs, read-only, for metrics and the command line.

mod lookup;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya_obj::generated::bpf_attach_type;
use dbfw_common::{
    ABI_VERSION, Counted, Counter, EXEMPT, Entry, Family, OWN_DOMAINS, PROGRAM_XDP, PROGRAM_XDP_L3,
    PROGRAMS, Reason, RuleCounter, TRACE, Trace,
};
use dbfw_core::source::Prefix;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    attach::is_here,
    databases::DatabaseSlot,
    error::DatapathError,
    hook::HookMode,
    keys::{FRONT, HOSTS, NETS, OWN_NETS, family_of, word_of},
    maps::{self, Maps},
    object::SECOND_COPIES,
    pins::{
        self,
        names::{BACKSTOP_PIN, LINK_PINS, mode_of, program_pin},
    },
    sets,
    sys::{self, Attached},
};

const XDP_PASS: u32 = 2;

/// The pinned maps, opened read-only: a member of the group may, without any capability.
///
/// ```no_run
/// use std::path::Path;
///
/// use dbfw_datapath::Reader;
///
/// # fn main() -> Result<(), dbfw_datapath::DatapathError> {
/// let reader = Reader::open(Path::new("/sys/fs/bpf/dbfw"))?;
/// for database in reader.databases()? {
///     println!("{}: {}", database.name, database.mode.as_str());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    maps: Maps,
}

/// The packets of one database and family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Let in.
    pub allowed: Counter,
    /// Dropped, in the order of [`dbfw_common::Reason::DROPS`].
    pub dropped: Vec<Counter>,
    /// Observed, in the same order.
    pub observed: Vec<Counter>,
}

/// The result of running a program on one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// Whether the packet passes, by the value that the program returned.
    pub passes: bool,
    /// The trace that it wrote of its decision.
    pub trace: Trace,
}

/// A pinned link, as far as it can be seen without touching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedLink {
    /// Name of the pin.
    pub pin: String,
    /// `None`: the backstop.
    pub mode: Option<HookMode>,
    /// The interface; 0: no longer attached. `None`: the backstop.
    pub ifindex: Option<u32>,
    /// The program attached.
    pub program: u32,
    /// It judges by the maps that are pinned beside it.
    pub ours: bool,
    /// Somebody else's program stands before it in its chain.
    pub preceded: bool,
}

impl Reader {
    /// Opens the maps that are pinned below `pin_dir`.
    ///
    /// # Errors
    /// Nothing is pinned there, or this process may not open it.
    pub fn open(pin_dir: &Path) -> Result<Self, DatapathError> {
        Self::open_directory(&pins::directory(pin_dir, ABI_VERSION))
    }

    /// Opens the maps that are pinned in `directory`.
    ///
    /// # Errors
    /// Nothing is pinned there, or this process may not open it.
    pub(crate) fn open_directory(directory: &Path) -> Result<Self, DatapathError> {
        Ok(Self { directory: directory.to_owned(), maps: Maps::open(directory, true)? })
    }

    /// Calls `visit` with every entry of the sets and the name of its map.
    ///
    /// # Errors
    /// A map cannot be read, or `visit` fails.
    pub fn for_each_entry<E: From<DatapathError>>(
        &self,
        mut visit: impl FnMut(&'static str, Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        for family in Family::ALL {
            self.for_each_host(family, &mut visit)?;
            let name = NETS[family as usize];
            self.maps.for_each_net(family, &mut |prefix, entry| visit(name, prefix, entry))?;
        }
        Ok(())
    }

    /// The entry that decides for `address`, found as the programs find it but without the
    /// presence bits, and its map.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn lookup(&self, address: IpAddr) -> Result<Option<(&'static str, Entry)>, DatapathError> {
        let family = family_of(address);
        if let Some(entry) = self.host(address)? {
            return Ok(Some((HOSTS[family as usize], entry)));
        }
        Ok(self.maps.net(address)?.map(|entry| (NETS[family as usize], entry)))
    }

    /// Whether the presence bits let a lookup of `address` go on to the sets.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn front(&self, address: IpAddr) -> Result<bool, DatapathError> {
        sets::admits(address, |word| self.front_word(family_of(address), word))
    }

    /// A word of FRONT4 or FRONT6.
    fn front_word(&self, family: Family, word: u32) -> Result<u64, DatapathError> {
        self.maps.front[family as usize]
            .get(&word, 0)
            .map_err(|error| maps::read_error(FRONT[family as usize], error))
    }

    /// Every database the kernel knows, with the ports and destinations it judges.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn databases(&self) -> Result<Vec<DatabaseSlot>, DatapathError> {
        self.maps.all_databases()
    }

    /// Whether `address` is local to this host, in any routing domain, as the maps know it.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn is_local(&self, address: IpAddr) -> Result<bool, DatapathError> {
        let trie = OWN_NETS[family_of(address) as usize];
        let found = self.maps.own.longest(address);
        found
            .map(|domains| domains.is_some())
            .map_err(|error| DatapathError::map("read", trie, error))
    }

    /// The addresses of a family that this host has for itself, as the maps know them.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn local_addresses(&self, family: Family) -> Result<Vec<IpAddr>, DatapathError> {
        let own = self.own()?.into_iter();
        let of_family = own.filter(|own| own.family() == family && own.is_host());
        Ok(of_family.map(|own| own.addr()).filter(|address| !address.is_loopback()).collect())
    }

    /// Counters of one database (0: the host) and family.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn totals(&self, database: u8, family: Family) -> Result<Totals, DatapathError> {
        let counter = |counted| self.maps.counter(u32::from(database), family, counted);
        let each = |counted: fn(Reason) -> Counted| -> Result<Vec<Counter>, DatapathError> {
            Reason::DROPS.into_iter().map(|reason| counter(counted(reason))).collect()
        };
        Ok(Totals {
            allowed: counter(Counted::Allowed)?,
            dropped: each(Counted::Dropped)?,
            observed: each(Counted::Observed)?,
        })
    }

    /// Counter of one rule slot.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn rule(&self, slot: u32) -> Result<RuleCounter, DatapathError> {
        self.maps.rule_counter(slot)
    }

    /// Entries of each set, by map name, counted one by one.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn sizes(&self) -> Result<BTreeMap<&'static str, u64>, DatapathError> {
        let mut sizes: BTreeMap<_, _> = HOSTS.into_iter().chain(NETS).map(|map| (map, 0)).collect();
        self.for_each_entry(|map, _, _| {
            *sizes.entry(map).or_default() += 1;
            Ok::<(), DatapathError>(())
        })?;
        Ok(sizes)
    }

    /// Indexes of the interfaces that the backstop lets through.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn exempt(&self) -> Result<Vec<u32>, DatapathError> {
        let exempt = self.maps.exempt.get(&0, 0);
        let exempt = exempt.map_err(|error| maps::read_error(EXEMPT, error))?;
        Ok(exempt.ifindex.into_iter().filter(|index| *index != 0).collect())
    }

    /// The addresses and networks that the programs take for this host's own.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn own(&self) -> Result<Vec<Prefix>, DatapathError> {
        let mut own = Vec::new();
        for (family, trie) in Family::ALL.into_iter().zip(OWN_NETS) {
            self.maps.for_each_prefix(trie, family, size_of::<u32>(), &mut |prefix, value| {
                // Not broadcast, anycast and link-local ones: others have those as well.
                if word_of(value, 0) & OWN_DOMAINS != 0 {
                    own.push(prefix);
                }
                Ok::<(), DatapathError>(())
            })?;
        }
        Ok(own)
    }

    /// The pinned links. Needs the right to open them: root.
    ///
    /// # Errors
    /// A link or program cannot be opened.
    pub fn links(&self) -> Result<Vec<PinnedLink>, DatapathError> {
        let copies = SECOND_COPIES.map(|(copy, _)| copy);
        let programs = PROGRAMS.into_iter().chain(copies).filter_map(|name| {
            let program = sys::obj_get(&self.directory.join(program_pin(name)), true).ok()?;
            sys::program_info(program.as_fd()).ok()
        });
        let pinned: BTreeMap<u32, bool> =
            programs.map(|info| (info.id, self.maps.are_those_of(&info.map_ids))).collect();
        let mut links = Vec::new();
        for pin in pins::list(&self.directory, LINK_PINS)? {
            let path = self.directory.join(&pin);
            let info = sys::obj_get(&path, false)
                .and_then(|fd| sys::link_info(fd.as_fd()))
                .map_err(|error| DatapathError::pin("open", &path, error))?;
            let mode = mode_of(&pin);
            let ifindex = match info.attached {
                Attached::Xdp { ifindex } | Attached::Tcx { ifindex } => Some(ifindex),
                attached if pin == BACKSTOP_PIN && is_here(attached) => None,
                _ => Some(0),
            };
            let ours = match pinned.get(&info.program) {
                Some(ours) => *ours,
                None if ifindex == Some(0) => false,
                // A start that failed has replaced the pinned programs. Only CAP_SYS_ADMIN sees more.
                None => {
                    let program = sys::program_by_id(info.program)
                        .and_then(|program| sys::program_info(program.as_fd()))
                        .map_err(|error| {
                            DatapathError::pin("look up the program of", &path, error)
                        })?;
                    self.maps.are_those_of(&program.map_ids)
                }
            };
            let chain = match info.attached {
                Attached::Tcx { ifindex } if ifindex != 0 => {
                    sys::chain(ifindex, bpf_attach_type::BPF_TCX_INGRESS).ok()
                }
                _ => None,
            };
            let first = chain.and_then(|chain| chain.programs.first().copied());
            let preceded = first.is_some_and(|first| first != info.program);
            links.push(PinnedLink { pin, mode, ifindex, program: info.program, ours, preceded });
        }
        Ok(links)
    }

    /// Runs the pinned program called `program` on `packet` (BPF_PROG_TEST_RUN) without
    /// counting it. Needs the right to open the pin: root.
    ///
    /// # Errors
    /// The program cannot be opened or run.
    pub fn test_run(&self, program: &'static str, packet: &[u8]) -> Result<TestRun, DatapathError> {
        let path = self.directory.join(program_pin(program));
        let fd =
            sys::obj_get(&path, false).map_err(|error| DatapathError::pin("open", &path, error))?;
        let failed = |error| DatapathError::map("run", "BPF_PROG_TEST_RUN", error);
        // The program writes its trace on the CPU it runs on: stay there to read it.
        let this = nix::unistd::Pid::from_raw(0);
        let before = sched_getaffinity(this).map_err(|errno| failed(errno.into()))?;
        let cpu = (0..CpuSet::count())
            .find(|&cpu| before.is_set(cpu).unwrap_or(false))
            .ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let mut one = CpuSet::new();
        one.set(cpu).map_err(|errno| failed(errno.into()))?;
        sched_setaffinity(this, &one).map_err(|errno| failed(errno.into()))?;
        let result = sys::test_run(fd.as_fd(), packet);
        let trace = self.maps.trace.get(&0, 0);
        let restored = sched_setaffinity(this, &before);
        let returned = result.map_err(failed)?;
        restored.map_err(|errno| failed(errno.into()))?;
        let traces = trace.map_err(|error| maps::read_error(TRACE, error))?;
        let trace = traces.get(cpu).copied().unwrap_or_default();
        let passes = match program {
            PROGRAM_XDP | PROGRAM_XDP_L3 => returned == XDP_PASS,
            // TCX_NEXT is -1.
            _ => returned == u32::MAX,
        };
        Ok(TestRun { passes, trace })
    }
}
