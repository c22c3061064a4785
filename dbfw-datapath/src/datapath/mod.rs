//! [`Datapath`], the one writer of the kernel's maps, programs and links.

pub(crate) mod apply;
pub(crate) mod links;
mod repair;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use dbfw_common::{ABI_VERSION, DATABASE_SLOTS, FLAG_DROP_FRAGMENTS, HOST};

use crate::{
    attach::{self, Attachment, Backstop, socket_lookup_programs},
    counters,
    databases::{DatabaseSlot, Ownership, name_of},
    error::DatapathError,
    events::Events,
    maps::Maps,
    object::{self, Programs},
    own::{LocalAddresses, Own},
    pins::{Pins, names::BACKSTOP_PIN},
    read::Reader,
    sets::Sets,
    sys,
};

/// The one writer of the kernel's maps, programs and links.
///
/// ```no_run
/// use std::path::Path;
///
/// use dbfw_datapath::{Datapath, HookMode, interfaces};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut datapath = Datapath::open(Path::new("/sys/fs/bpf/dbfw"))?;
/// let interfaces = interfaces::list_now()?;
/// // Takes over the links that an earlier process pinned, then attaches what is missing.
/// datapath.adopt(&interfaces)?;
/// for interface in &interfaces {
///     if interface.hardware && datapath.attachment(interface.index).is_none() {
///         datapath.attach(interface, &[HookMode::Native, HookMode::Generic], None)?;
///     }
/// }
/// datapath.attach_backstop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    programs: Programs,
    maps: Maps,
    sets: Sets,
    /// The databases in the maps, and `FLAG_*` of the host's slot besides those of destinations.
    databases: Vec<DatabaseSlot>,
    flags: u32,
    ownership: Ownership,
    own: Own,
    attachments: Vec<Attachment>,
    backstop: Option<Backstop>,
    /// An earlier process left one that judges by these maps, and it was not taken over yet.
    found_backstop: bool,
    has_tcx: bool,
    /// Pin directories of other ABIs, whose links were taken over.
    superseded: Vec<PathBuf>,
}

impl Datapath {
    /// Makes or adopts the maps below `pin_dir` and loads this version's programs onto
    /// them. Nothing is attached and no link is changed yet.
    ///
    /// # Errors
    /// The pin directory or a pin in it cannot be used, or the kernel refuses a map or program.
    pub fn open(pin_dir: &Path) -> Result<Self, DatapathError> {
        Self::open_abi(pin_dir, ABI_VERSION)
    }

    /// As [`Datapath::open`], under another ABI number: for the tests of an upgrade.
    ///
    /// # Errors
    /// Those of [`Datapath::open`].
    pub fn open_abi(pin_dir: &Path, abi: u32) -> Result<Self, DatapathError> {
        object::check_kernel()?;
        let pins = Pins::open(pin_dir, abi)?;
        attach::check_namespace(pin_dir)?;
        // The pinned programs are its own until they are replaced.
        let found_backstop = has_backstop(pins.directory());
        let programs = object::load(&pins)?;
        let mut maps = Maps::open(pins.directory(), false)?;
        let sets = Sets::read(&mut maps, &pins)?;
        let (databases, ownership) = (maps.all_databases()?, maps.ownership()?);
        let flags = maps.database(HOST)?.flags & FLAG_DROP_FRAGMENTS;
        let own = Own::open(&maps)?;
        Ok(Self {
            pins,
            programs,
            maps,
            sets,
            databases,
            flags,
            ownership,
            own,
            attachments: Vec::new(),
            backstop: None,
            found_backstop,
            has_tcx: sys::has_tcx(),
            superseded: Vec::new(),
        })
    }

    /// Tells the programs which addresses are this host's own, as far as the maps have room;
    /// how many are left out.
    ///
    /// # Errors
    /// A map cannot be written; what was written stands.
    pub fn set_own(&mut self, local: &LocalAddresses) -> Result<usize, DatapathError> {
        self.own.set(&mut self.maps, local)
    }

    /// Somebody else's socket lookup programs: one that selects a socket overrides the
    /// backstop. Needs CAP_NET_ADMIN.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn foreign_lookups(&self) -> std::io::Result<Vec<u32>> {
        let mut programs = socket_lookup_programs()?;
        programs.retain(|id| !self.programs.is_ours(*id));
        Ok(programs)
    }

    /// Ids of the programs that were loaded, in ascending order.
    pub fn program_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.programs.iter().map(|(_, program)| program.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether the kernel has the traffic control hook with links.
    pub fn has_tcx(&self) -> bool {
        self.has_tcx
    }

    /// The sets of trusted sources that the kernel holds.
    pub fn held(&self) -> &Sets {
        &self.sets
    }

    /// Ids of the databases the maps know, by name.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn database_ids(&self) -> Result<BTreeMap<String, u8>, DatapathError> {
        let mut ids = BTreeMap::new();
        for id in 1..DATABASE_SLOTS {
            let name = name_of(&self.maps.database(id)?);
            if !name.is_empty() {
                ids.insert(name, id as u8);
            }
        }
        Ok(ids)
    }

    /// Passes on what the programs logged since the last time.
    #[cfg(feature = "bpf-log")]
    pub fn flush_log(&mut self) {
        self.programs.flush_log();
    }

    /// Lets each CPU write `tokens` more drop events.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn refill_events(&mut self, tokens: u64) -> Result<(), DatapathError> {
        counters::refill(&mut self.maps, tokens)
    }

    /// The drop events; there is one reader.
    ///
    /// # Errors
    /// The ring buffer cannot be opened.
    pub fn events(&self) -> Result<Events, DatapathError> {
        Events::open(&self.maps)
    }

    /// A reader of the same maps for other threads.
    ///
    /// # Errors
    /// The pins cannot be opened.
    pub fn reader(&self) -> Result<Reader, DatapathError> {
        Reader::open_directory(self.pins.directory())
    }
}

/// Whether a backstop that is pinned in `directory` judges by the maps there.
fn has_backstop(directory: &Path) -> bool {
    let links = Reader::open_directory(directory).and_then(|reader| reader.links());
    let links = links.unwrap_or_default();
    links.iter().any(|link| link.pin == BACKSTOP_PIN && link.ifindex.is_none() && link.ours)
}
