//! The ring buffer of drop events.

use std::{
    fmt,
    os::fd::{AsRawFd, RawFd},
};

use aya::maps::{MapData, RingBuf};
use dbfw_common::{EVENTS, Event};

use crate::{
    error::DatapathError,
    maps::{Maps, typed},
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
        typed(&maps.fds, EVENTS).map(Self)
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

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
