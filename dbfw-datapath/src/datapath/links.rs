//! The attachments of an agent: taking over, making, renaming, reading back and detaching them.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use dbfw_common::{EXEMPT, Exempt, MAX_EXEMPT};

use super::Datapath;
use crate::{
    attach::{AttachError, Attachment, Backstop, FirstPlace},
    error::{DatapathError, map_io},
    hook::{HookMode, NativeObstacle},
    interfaces::Interface,
    object::Programs,
    pins::{
        self,
        names::{BACKSTOP_PIN, LINK_PINS, attached_to},
    },
    sys,
};

/// The protection that was left while the hook of an interface was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// A hook filtered at every moment.
    None,
    /// Only the backstop filtered, for the time of a system call.
    Backstop,
}

impl Datapath {
    /// Takes over the links earlier agents pinned, under this ABI or another, by replacing
    /// their programs in place. Returns what could not be taken over, in words.
    ///
    /// # Errors
    /// The pins cannot be listed, or one cannot be replaced.
    pub fn adopt(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, DatapathError> {
        let mut problems = Vec::new();
        let others = self.pins.other_directories()?;
        let own = self.pins.directory().to_owned();
        for directory in std::iter::once(&own).chain(&others) {
            for pin in pins::list(directory, LINK_PINS)? {
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
    ///
    /// # Errors
    /// A pin or directory cannot be removed.
    pub fn remove_other_versions(&mut self) -> Result<(), DatapathError> {
        for directory in std::mem::take(&mut self.superseded) {
            for name in pins::list(&directory, "")? {
                let path = directory.join(&name);
                // The links of interfaces were taken over. The backstop has a new one: the kernel
                // would detach the old one some time after its pin is gone.
                if name == BACKSTOP_PIN
                    && let Ok(link) = sys::obj_get(&path, false)
                {
                    // One that is no longer attached cannot be detached: that is the goal.
                    let _ = sys::link_detach(link.as_fd());
                }
                pins::remove(&path)?;
            }
            fs::remove_dir(&directory)
                .map_err(|error| DatapathError::pin("remove", &directory, error))?;
        }
        Ok(())
    }

    /// The attachments.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The attachment of the interface with this index.
    pub fn attachment(&self, index: u32) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.index == index)
    }

    /// Attaches to an interface that has no attachment yet, by the first of `modes` that works.
    /// `why` says why a better one is not among them.
    ///
    /// # Errors
    ///
    /// None works; for each, what stood against it.
    pub fn attach(
        &mut self,
        interface: &Interface,
        modes: &[HookMode],
        why: Option<&NativeObstacle>,
    ) -> Result<(), AttachError> {
        let attachment = Attachment::create(&self.programs, &self.pins, interface, modes, why)?;
        self.attachments.push(attachment);
        Ok(())
    }

    /// Attaches an interface that is attached by another mode than one of `modes` by one of
    /// those. TCX and XDP stand side by side for a moment; between the two modes of XDP, which
    /// exclude each other, only the backstop filters for as long as a system call takes.
    ///
    /// # Errors
    ///
    /// None works: the interface keeps the mode it had.
    pub fn change_mode(
        &mut self,
        interface: &Interface,
        modes: &[HookMode],
        why: Option<&NativeObstacle>,
    ) -> Result<Option<Gap>, AttachError> {
        let Some(at) = self
            .attachments
            .iter()
            .position(|known| known.index == interface.index && !modes.contains(&known.mode))
        else {
            return Ok(None);
        };
        if let Ok(fresh) = Attachment::create(&self.programs, &self.pins, interface, modes, why) {
            let old = std::mem::replace(&mut self.attachments[at], fresh);
            self.drop_attachment(old);
            return Ok(Some(Gap::None));
        }
        let old = self.attachments.remove(at);
        let was = old.mode;
        self.drop_attachment(old);
        if let Err(error) = self.attach(interface, modes, why) {
            // Rather the hook it had than none.
            self.attach(interface, &[was], None)?;
            return Err(error);
        }
        Ok(Some(Gap::Backstop))
    }

    /// Keeps our programs before all others in their chains of TCX programs. Returns the interfaces
    /// where the chain changed, and the outcome.
    pub fn keep_first(&mut self) -> Vec<(String, FirstPlace)> {
        self.attachments
            .iter_mut()
            .map(|attachment| {
                let place = attachment.keep_first(&self.programs, &self.pins);
                (attachment.interface.clone(), place)
            })
            .filter(|(_, place)| *place != FirstPlace::Held)
            .collect()
    }

    fn drop_attachment(&self, attachment: Attachment) {
        if let Err(error) = attachment.detach(&self.pins) {
            tracing::warn!(%error, "cannot remove the pin of the hook that was left");
        }
    }

    /// Detaches from every interface `keep` does not want.
    ///
    /// # Errors
    /// A pin cannot be removed.
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
    ///
    /// # Errors
    /// A link cannot be pinned under its new name.
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
    ///
    /// # Errors
    /// The kernel refuses it, or it cannot be pinned.
    pub fn attach_backstop(&mut self) -> Result<(), String> {
        let attached = Backstop::attach(&self.programs, &self.pins);
        let attached = attached.map(|backstop| self.backstop = Some(backstop));
        self.found_backstop = false;
        self.follow_backstop(self.judges_behind_hooks()).map_err(|error| error.to_string())?;
        attached
    }

    /// Whether a backstop judges what the hooks pass: ours, or until it is attached, that of an
    /// earlier process by the same maps.
    pub(super) fn judges_behind_hooks(&self) -> bool {
        match &self.backstop {
            Some(backstop) => backstop.check(&self.programs).is_ok(),
            None => self.found_backstop,
        }
    }

    /// Detaches the backstop, attached by this process or pinned by an earlier one.
    ///
    /// # Errors
    /// The pin is there and cannot be removed.
    pub fn detach_backstop(&mut self) -> Result<(), DatapathError> {
        self.found_backstop = false;
        self.follow_backstop(false)?;
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
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub fn check_backstop(&self) -> Result<(), String> {
        match &self.backstop {
            Some(backstop) => backstop.check(&self.programs),
            None => Err("the backstop is not attached".to_owned()),
        }
    }

    /// Tells the backstop which interfaces it lets through; at most [`MAX_EXEMPT`].
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn set_exempt(&mut self, indexes: &[u32]) -> Result<(), DatapathError> {
        let mut exempt = Exempt::default();
        for (slot, index) in exempt.ifindex.iter_mut().zip(indexes.iter().take(MAX_EXEMPT)) {
            *slot = *index;
        }
        self.maps
            .exempt
            .set(0, exempt, 0)
            .map_err(|error| DatapathError::map("write", EXEMPT, map_io(error)))
    }

    /// Reads every attachment back from the kernel and lets go of those that do not hold,
    /// so that they can be made anew. Returns what was wrong, by interface.
    pub fn check_attachments(&mut self) -> Vec<(String, String)> {
        let lost = self.let_go(|attachment, programs| attachment.check(programs).map(drop));
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

    /// Detaches everything. The maps stay pinned, so that the counters do.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach_all(&mut self) -> Result<(), DatapathError> {
        self.detach_others(|_| false)?;
        self.detach_backstop()
    }
}

/// Detaches everything pinned below `pin_dir`, whoever pinned it, and removes every pin. Adds to
/// `detached` what was, also where it fails then: interfaces and "backstop".
///
/// # Errors
/// A pin cannot be opened or removed.
pub fn detach_pinned(pin_dir: &Path, detached: &mut Vec<String>) -> Result<(), DatapathError> {
    for abi in pins::list(pin_dir, "v")? {
        let directory = pin_dir.join(abi);
        for name in pins::list(&directory, "")? {
            let path = directory.join(&name);
            if name.starts_with(LINK_PINS) {
                let link: OwnedFd = sys::obj_get(&path, false)
                    .map_err(|error| DatapathError::pin("open", &path, error))?;
                // One that is no longer attached cannot be detached: that is the goal.
                let _ = sys::link_detach(link.as_fd());
                detached.push(attached_to(&name));
            }
            pins::remove(&path)?;
        }
        fs::remove_dir(&directory)
            .map_err(|error| DatapathError::pin("remove", &directory, error))?;
    }
    Ok(())
}
