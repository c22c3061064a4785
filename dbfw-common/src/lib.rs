//! The ABI between the kernel programs (`dbfw-ebpf`) and userspace (`dbfw-user`).
//!
//! Every map key and value, every limit and every map name is defined here and nowhere
//! else. Types are `repr(C)` without padding, so that both sides and BTF agree on them;
//! a test compares them with the BTF of the built object. Byte order is the host's unless
//! a field says otherwise.
#![no_std]

mod event;
mod front;
mod hash;
mod index;
mod limits;
mod names;
mod own;
mod reason;
mod value;

pub use event::{Budget, Clock, Event, Trace};
pub use front::{
    FRONT4_HOST, FRONT4_NET, front4_coarse, front4_fine, front6_long_coarse, front6_long_fine,
    front6_short_coarse, front6_short_fine,
};
pub use hash::{
    BUCKET4_WORDS, BUCKET6_WORDS, Bucket4, Bucket6, ID_BITS, TAG4_SHIFT, TAG6_SHIFT, TableRef,
    host4_hash, host6_hash, host6_key, host6_tag,
};
pub use index::{Counted, STATS_SLOTS, port_index, port_slot, stats_slot};
pub use limits::*;
pub use names::*;
pub use own::{OWN_DOMAINS, OWN_LINK, OWN_NETS4, OWN_NETS6, OWN_SHARED, OWN_WORDS, own4, own6};
pub use reason::{Family, Mode, Reason, Verdict};
pub use value::{Bound, Counter, Database, Entry, Exempt, RuleCounter};
