//! The ring buffer of drop events.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use aya::maps::{Map, MapData, RingBuf};
use dbfw_common::{EVENTS, Event};

use crate::{
    error::{DatapathError, map_io},
    maps::Maps,
};

/// Sampled drops; becomes readable (as a descriptor) when there are any.
pub struct Events(RingBuf<MapData>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.0.as_raw_fd()).finish()
    }
}

impl Events {
    /// The ring buffer among `maps`.
    ///
    /// # Errors
    /// The ring buffer cannot be opened or mapped.
    pub(crate) fn open(maps: &Maps) -> Result<Self, DatapathError> {
        let open = || {
            let fd = maps
                .fds
                .get(EVENTS)
                .ok_or_else(|| std::io::Error::from_raw_os_error(libc::ENOENT))?;
            let data = MapData::from_fd(fd.as_fd().try_clone_to_owned()?)
                .map_err(|error| map_io(&error))?;
            let map = Map::from_map_data(data).map_err(|error| map_io(&error))?;
            RingBuf::try_from(map).map_err(|error| map_io(&error))
        };
        open().map(Self).map_err(|error| DatapathError::map("open", EVENTS, error))
    }

    /// The next event, if there is one.
    pub fn next_event(&mut self) -> Option<Event> {
        let item = self.0.next()?;
        if item.len() < size_of::<Event>() {
            return None;
        }
        // SAFETY: the record is at least as long as an Event, which is valid for every bit
        // pattern; the ring buffer aligns records to 8 bytes, and the read does not ask.
        Some(unsafe { item.as_ptr().cast::<Event>().read_unaligned() })
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring buffer owns the descriptor and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
