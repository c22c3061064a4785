//! Reading the pins back, and pinning again whatever somebody removed or replaced.

use std::{fs::File, os::fd::AsFd as _};

use dbfw_common::MAPS;

use super::Datapath;
use crate::{
    error::DatapathError,
    pins::names::{BACKSTOP_PIN, program_pin},
    sys,
};

impl Datapath {
    /// Pins again whatever is pinned no more, or was replaced by another object. Returns
    /// the names of what was repaired.
    ///
    /// # Errors
    /// Something cannot be pinned again, or [`DatapathError::NoDescriptor`]: nothing was looked at.
    pub fn repair_pins(&mut self) -> Result<Vec<String>, DatapathError> {
        // Without one no pin can be opened, and each would look lost.
        File::open("/").map_err(DatapathError::NoDescriptor)?;
        self.pins.ensure_directories()?;
        let mut repaired = Vec::new();
        for name in MAPS {
            let (Some(fd), Some(&id)) = (self.maps.fds.get(name), self.maps.ids.get(name)) else {
                continue;
            };
            if !self.pins.has_map(name, id) {
                self.pins.replace(fd.as_fd(), name)?;
                self.pins.protect_map(name)?;
                repaired.push(name.to_owned());
            }
        }
        repaired.extend(self.sets.repair_pins(&self.pins)?.into_iter().map(str::to_owned));
        for (name, program) in self.programs.iter() {
            let pin = program_pin(name);
            let pinned = sys::obj_get(&self.pins.path(&pin), false)
                .and_then(|fd| sys::program_info(fd.as_fd()));
            if pinned.is_ok_and(|info| info.id == program.id) {
                continue;
            }
            self.pins.replace(program.fd.as_fd(), &pin)?;
            repaired.push(pin);
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
    ///
    /// # Errors
    /// The program and the map that is not ours.
    pub fn check_programs(&self) -> Result<(), String> {
        for (name, program) in self.programs.iter() {
            let info = sys::program_info(program.fd.as_fd()).map_err(|error| error.to_string())?;
            if let Some(id) = self.maps.foreign(&info.map_ids) {
                return Err(format!("{name} uses map {id}, which is not ours"));
            }
        }
        Ok(())
    }
}
