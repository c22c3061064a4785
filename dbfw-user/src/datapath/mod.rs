//! The kernel: loading, attaching, pinning, and the maps. The only place that names aya.

mod attach;
mod error;
mod events;
mod front;
pub mod interfaces;
mod maps;
mod object;
mod pins;
mod reader;
mod sys;
mod words;
mod write;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use dbfw_common::{
    ABI_VERSION, Counted, DATABASE_SLOTS, DATABASES, Database, EXEMPT, Exempt, Family, HOST, MAPS,
    MAX_EXEMPT, MAX_NAME, Mode, PORT_WORDS, PORTS, port_slot, stats_slot,
};

pub use attach::{AttachError, Attachment, HookMode};
pub use error::DatapathError;
pub use events::Events;
pub use interfaces::{Interface, Layer};
pub use object::OBJECT;
pub use pins::{GROUP, lock_holder};
pub use reader::{Outcome, PinnedLink, Reader, Totals};

use crate::{
    config::{Attach, Port},
    policy::{Entries, Plan},
};
use attach::{BACKSTOP_PIN, Backstop, LINK_PINS};
use maps::Maps;
use object::{Programs, program_pin};
use pins::Pins;
use words::Words;
use write::Sets;

/// A database as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSlot {
    /// 1..=64.
    pub id: u8,
    /// At most [`MAX_NAME`] bytes.
    pub name: String,
    /// What happens to packets from untrusted sources.
    pub mode: Mode,
    /// Protected ports.
    pub ports: Vec<Port>,
}

/// What the kernel is to hold from now on.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Rule slots to zero, because they are about to count for another rule.
    pub fresh_rules: Vec<Range<u32>>,
    /// How the sets change.
    pub plan: Plan,
    /// Every database.
    pub databases: Vec<DatabaseSlot>,
    /// `FLAG_*` of the host's slot.
    pub flags: u32,
}

/// The one writer of the kernel's maps, programs and links.
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    pin_dir: PathBuf,
    abi: u32,
    programs: Programs,
    maps: Maps,
    sets: Sets,
    ports: Words,
    attachments: Vec<Attachment>,
    backstop: Option<Backstop>,
    /// Pin directories of other ABIs, whose links were taken over.
    superseded: Vec<PathBuf>,
}

impl Datapath {
    /// Makes or adopts the maps below `pin_dir` and loads this version's programs onto
    /// them. Nothing is attached and no link is changed yet.
    pub fn open(pin_dir: &Path) -> Result<Self, DatapathError> {
        Self::open_abi(pin_dir, ABI_VERSION)
    }

    /// As [`Datapath::open`], for a given ABI number: how an upgrade across ABIs is tested.
    pub fn open_abi(pin_dir: &Path, abi: u32) -> Result<Self, DatapathError> {
        let pins = Pins::open(pin_dir, abi)?;
        let programs = object::load(&pins)?;
        let maps = Maps::open(&pins::directory(pin_dir, abi), false)?;
        let sets = Sets::read(&maps)?;
        let ports = maps.words(PORTS, PORT_WORDS)?;
        Ok(Self {
            pins,
            pin_dir: pin_dir.to_owned(),
            abi,
            programs,
            maps,
            sets,
            ports,
            attachments: Vec::new(),
            backstop: None,
            superseded: Vec::new(),
        })
    }

    /// What the sets hold.
    pub fn held(&self) -> &Entries {
        self.sets.held()
    }

    /// Ids of the databases the maps know, by name.
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

    /// Carries out a change. The order keeps every packet's verdict the old or the new one:
    /// ports that are protected no more go first, then the sets change, then modes, and
    /// ports that become protected come last. On an error the sets and ports are as before.
    pub fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        write::reset_rules(&mut self.maps, &change.fresh_rules)?;
        for database in &change.databases {
            let known = name_of(&self.maps.database(u32::from(database.id))?);
            if known != database.name {
                let first = stats_slot(u32::from(database.id), Family::V4, Counted::Allowed);
                let end = stats_slot(u32::from(database.id) + 1, Family::V4, Counted::Allowed);
                write::reset_counters(&mut self.maps, first..end)?;
            }
        }

        let before: Vec<u64> = (0..PORT_WORDS).map(|word| self.ports.get(word)).collect();
        let after = port_words(&change.databases);
        for word in 0..PORT_WORDS {
            let kept = still_protected(before[word as usize], after[word as usize]);
            self.ports.set(word, kept);
        }
        if let Err(error) = self.sets.apply(&mut self.maps, &change.plan) {
            for (word, ids) in before.iter().enumerate() {
                self.ports.set(word as u32, *ids);
            }
            return Err(error);
        }
        self.write_databases(&change.databases, change.flags)?;
        for (word, ids) in after.iter().enumerate() {
            self.ports.set(word as u32, *ids);
        }
        Ok(())
    }

    fn write_databases(
        &mut self,
        databases: &[DatabaseSlot],
        flags: u32,
    ) -> Result<(), DatapathError> {
        let strictest = databases.iter().map(|database| database.mode).max();
        let mut slots = BTreeMap::from([(
            HOST,
            Database { mode: strictest.unwrap_or(Mode::Off) as u32, flags, name: [0; MAX_NAME] },
        )]);
        for database in databases {
            let mut name = [0; MAX_NAME];
            let bytes = database.name.as_bytes();
            let len = bytes.len().min(MAX_NAME);
            name[..len].copy_from_slice(&bytes[..len]);
            slots.insert(
                u32::from(database.id),
                Database { mode: database.mode as u32, flags: 0, name },
            );
        }
        let free = Database { mode: Mode::Off as u32, flags: 0, name: [0; MAX_NAME] };
        for id in 0..DATABASE_SLOTS {
            let wanted = slots.get(&id).copied().unwrap_or(free);
            if self.maps.database(id)? != wanted {
                self.maps.databases.set(id, wanted, 0).map_err(|error| {
                    DatapathError::map(
                        format!("write slot {id} of"),
                        DATABASES,
                        error::map_io(&error),
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Takes over the links earlier agents pinned, under this ABI or another, by replacing
    /// their programs in place. Returns what could not be taken over, in words.
    pub fn adopt(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, DatapathError> {
        let mut problems = Vec::new();
        let others = pins::other_directories(&self.pin_dir, self.abi)?;
        for directory in
            std::iter::once(pins::directory(&self.pin_dir, self.abi)).chain(others.clone())
        {
            for pin in pins::names(&directory, LINK_PINS)? {
                let path = directory.join(&pin);
                if pin == BACKSTOP_PIN {
                    // Of another ABI: its lookup goes on until the new one is attached.
                    continue;
                }
                let adopted = sys::obj_get(&path, false)
                    .map_err(|error| error.to_string())
                    .and_then(|link| Attachment::adopt(&self.programs, &pin, link, interfaces));
                match adopted {
                    Ok(Some(attachment)) if self.attachment(attachment.index).is_none() => {
                        attachment.repair_pin(&self.pins)?;
                        self.attachments.push(attachment);
                    }
                    // Its interface is gone, or already filtered.
                    Ok(_) => pins::remove(&path)?,
                    Err(error) => {
                        problems.push(format!("{}: {error}; removed", path.display()));
                        pins::remove(&path)?;
                    }
                }
            }
        }
        self.superseded = others;
        Ok(problems)
    }

    /// Removes the pins of other ABIs, once everything is attached under this one.
    pub fn retire_others(&mut self) -> Result<(), DatapathError> {
        for directory in std::mem::take(&mut self.superseded) {
            for name in pins::names(&directory, "")? {
                pins::remove(&directory.join(name))?;
            }
            fs::remove_dir(&directory)
                .map_err(|error| DatapathError::pin("remove", &directory, error))?;
        }
        Ok(())
    }

    /// What is attached.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The attachment of the interface with this index.
    pub fn attachment(&self, index: u32) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.index == index)
    }

    /// Attaches to an interface that has no attachment yet.
    pub fn attach(&mut self, interface: &Interface, attach: Attach) -> Result<(), AttachError> {
        let attachment = Attachment::create(&self.programs, &self.pins, interface, attach)?;
        self.attachments.push(attachment);
        Ok(())
    }

    /// Detaches from every interface `keep` does not want.
    pub fn detach_others(
        &mut self,
        keep: impl Fn(&Attachment) -> bool,
    ) -> Result<Vec<String>, DatapathError> {
        let (kept, gone) = std::mem::take(&mut self.attachments).into_iter().partition(keep);
        self.attachments = kept;
        gone.into_iter()
            .map(|attachment: Attachment| {
                let name = attachment.interface.clone();
                attachment.detach(&self.pins).map(|()| name)
            })
            .collect()
    }

    /// Follows the interfaces' names.
    pub fn follow_names(&mut self, interfaces: &[Interface]) -> Result<(), DatapathError> {
        let mut old = Vec::new();
        for attachment in &mut self.attachments {
            let named = interfaces.iter().find(|interface| interface.index == attachment.index);
            if let Some(interface) = named
                && interface.name != attachment.interface
            {
                old.push(attachment.rename(&self.pins, &interface.name)?);
            }
        }
        // Interfaces may have swapped their names: no pin goes before all are renamed.
        for pin in old {
            self.remove_link_pin(&pin)?;
        }
        Ok(())
    }

    /// Removes a link's pin, unless it is the pin of an attachment.
    fn remove_link_pin(&self, pin: &str) -> Result<(), DatapathError> {
        if self.attachments.iter().any(|attachment| attachment.pin() == pin) {
            return Ok(());
        }
        self.pins.remove(pin)
    }

    /// Attaches the backstop, or takes over its pinned link.
    pub fn attach_backstop(&mut self) -> Result<(), String> {
        self.backstop = Some(Backstop::attach(&self.programs, &self.pins)?);
        Ok(())
    }

    /// Detaches the backstop, attached by this process or pinned by an earlier one.
    pub fn detach_backstop(&mut self) -> Result<(), DatapathError> {
        match self.backstop.take() {
            Some(backstop) => backstop.detach(&self.pins),
            None => self.pins.remove(BACKSTOP_PIN),
        }
    }

    /// Whether the backstop is attached, as far as this process did it.
    pub fn has_backstop(&self) -> bool {
        self.backstop.is_some()
    }

    /// Reads the backstop back from the kernel.
    pub fn check_backstop(&self) -> Result<(), String> {
        match &self.backstop {
            Some(backstop) => backstop.check(&self.programs),
            None => Err("the backstop is not attached".to_owned()),
        }
    }

    /// Tells the backstop which interfaces it lets through; at most [`MAX_EXEMPT`].
    pub fn set_exempt(&mut self, indexes: &[u32]) -> Result<(), DatapathError> {
        let mut exempt = Exempt::default();
        for (slot, index) in exempt.ifindex.iter_mut().zip(indexes.iter().take(MAX_EXEMPT)) {
            *slot = *index;
        }
        self.maps
            .exempt
            .set(0, exempt, 0)
            .map_err(|error| DatapathError::map("write", EXEMPT, error::map_io(&error)))
    }

    /// Reads every attachment back from the kernel and lets go of those that do not hold,
    /// so that they can be made anew. Returns what was wrong, by interface.
    pub fn check_attachments(&mut self) -> Vec<(String, String)> {
        let lost = self.let_go(|attachment, programs| attachment.check(programs));
        lost.into_iter().map(|(attachment, why)| (attachment.interface, why)).collect()
    }

    /// As [`Datapath::check_attachments`], and reads back that what is attached is still the
    /// interface it was attached to. `interfaces` must have been listed after the last
    /// attachment was made.
    pub fn check_interfaces(&mut self, interfaces: &[Interface]) -> Vec<(Attachment, String)> {
        self.let_go(|attachment, programs| attachment.check_interface(programs, interfaces))
    }

    fn let_go(
        &mut self,
        check: impl Fn(&Attachment, &Programs) -> Result<(), String>,
    ) -> Vec<(Attachment, String)> {
        let mut lost = Vec::new();
        for attachment in std::mem::take(&mut self.attachments) {
            match check(&attachment, &self.programs) {
                Ok(()) => self.attachments.push(attachment),
                Err(why) => lost.push((attachment, why)),
            }
        }
        for (attachment, _) in &lost {
            if let Err(error) = self.remove_link_pin(attachment.pin()) {
                tracing::warn!(%error, "cannot remove the pin of a lost attachment");
            }
        }
        lost
    }

    /// Pins again whatever is pinned no more, or was replaced by another object. Returns
    /// the names of what was repaired.
    pub fn repair_pins(&mut self) -> Result<Vec<String>, DatapathError> {
        self.pins.ensure_directories(&self.pin_dir)?;
        let mut repaired = Vec::new();
        for name in MAPS {
            let (Some(fd), Some(&id)) = (self.maps.fds.get(name), self.maps.ids.get(name)) else {
                continue;
            };
            let pinned = sys::obj_get(&self.pins.path(name), false)
                .and_then(|fd| sys::map_info(fd.as_fd()))
                .map(|info| info.id);
            if !matches!(pinned, Ok(pinned) if pinned == id) {
                self.pins.replace(fd.as_fd(), name)?;
                self.pins.protect_map(name)?;
                repaired.push(name.to_owned());
            }
        }
        for (name, program) in self.programs.iter() {
            let pin = program_pin(name);
            let pinned = sys::obj_get(&self.pins.path(&pin), false)
                .and_then(|fd| sys::program_info(fd.as_fd()))
                .map(|info| info.id);
            if !matches!(pinned, Ok(pinned) if pinned == program.id) {
                self.pins.replace(program.fd.as_fd(), &pin)?;
                repaired.push(pin);
            }
        }
        for attachment in &self.attachments {
            if attachment.repair_pin(&self.pins)? {
                repaired.push(attachment.pin().to_owned());
            }
        }
        if let Some(backstop) = &self.backstop
            && backstop.repair_pin(&self.pins)?
        {
            repaired.push(BACKSTOP_PIN.to_owned());
        }
        Ok(repaired)
    }

    /// Whether the loaded programs use the maps this process writes.
    pub fn check_programs(&self) -> Result<(), String> {
        for (name, program) in self.programs.iter() {
            let info = sys::program_info(program.fd.as_fd()).map_err(|error| error.to_string())?;
            if let Some(id) = self.maps.foreign(&info.map_ids) {
                return Err(format!("{name} uses map {id}, which is not ours"));
            }
        }
        Ok(())
    }

    /// Passes on what the programs logged since the last time.
    #[cfg(feature = "bpf-log")]
    pub fn flush_log(&mut self) {
        self.programs.flush_log();
    }

    /// Lets each CPU write `tokens` more drop events.
    pub fn refill_events(&mut self, tokens: u64) -> Result<(), DatapathError> {
        write::refill(&mut self.maps, tokens)
    }

    /// The drop events; there is one reader.
    pub fn events(&self) -> Result<Events, DatapathError> {
        Events::open(&self.maps)
    }

    /// A reader of the same maps for other threads.
    pub fn reader(&self) -> Result<Reader, DatapathError> {
        Reader::open_abi(&self.pin_dir, self.abi)
    }

    /// Detaches everything. The maps stay pinned, so that the counters do.
    pub fn detach_all(&mut self) -> Result<(), DatapathError> {
        self.detach_others(|_| false)?;
        self.detach_backstop()
    }
}

/// Detaches everything pinned below `pin_dir`, whoever pinned it, and removes every pin.
/// Returns what was detached.
pub fn detach_pinned(pin_dir: &Path) -> Result<Vec<String>, DatapathError> {
    let mut detached = Vec::new();
    for abi in pins::names(pin_dir, "v")? {
        let directory = pin_dir.join(abi);
        for name in pins::names(&directory, "")? {
            let path = directory.join(&name);
            if name.starts_with(LINK_PINS) {
                let link: OwnedFd = sys::obj_get(&path, false)
                    .map_err(|error| DatapathError::pin("open", &path, error))?;
                // One that is attached no more cannot be detached: that is the goal.
                let _ = sys::link_detach(link.as_fd());
                detached.push(name.clone());
            }
            pins::remove(&path)?;
        }
        fs::remove_dir(&directory)
            .map_err(|error| DatapathError::pin("remove", &directory, error))?;
    }
    Ok(detached)
}

fn name_of(database: &Database) -> String {
    let len = database.name.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME);
    String::from_utf8_lossy(&database.name[..len]).into_owned()
}

fn port_words(databases: &[DatabaseSlot]) -> Vec<u64> {
    let mut words = vec![0u64; PORT_WORDS as usize];
    for database in databases.iter().filter(|database| database.mode != Mode::Off) {
        for port in &database.ports {
            let (word, byte) = port_slot(port.udp, port.port);
            words[word as usize] |= u64::from(database.id) << (byte * 8);
        }
    }
    words
}

/// `before` without the bytes that are zero in `after`.
fn still_protected(before: u64, after: u64) -> u64 {
    let mut kept = before.to_le_bytes();
    for (kept, after) in kept.iter_mut().zip(after.to_le_bytes()) {
        if after == 0 {
            *kept = 0;
        }
    }
    u64::from_le_bytes(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_stay_are_kept_while_others_go() {
        assert_eq!(still_protected(0x0201, 0x0003), 0x0001);
        assert_eq!(still_protected(0, u64::MAX), 0);
    }
}
