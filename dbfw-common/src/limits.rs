//! Limits and identifiers both sides share.

/// Version of the ABI: the pin directory carries it, so a change of any type, map or
/// meaning in this crate needs a new number and never meets old pins.
pub const ABI_VERSION: u32 = 1;

/// Databases one host can protect. A database's id is 1..=MAX_DATABASES, bit `id - 1` of
/// [`crate::Entry::databases`].
pub const MAX_DATABASES: u32 = 64;

/// Pseudo-database 0: packets whose port cannot be read, judged for all databases at once.
pub const HOST: u32 = 0;

/// Slots of DATABASES: the host's and every database's.
pub const DATABASE_SLOTS: u32 = MAX_DATABASES + 1;

/// Longest database name in bytes; a database value in the map is zero-padded to it.
pub const MAX_NAME: usize = 64;

/// Slots of RULE_STATS. Slot 0 counts what belongs to no rule in particular (all slots
/// taken). 16 bytes a slot and CPU.
pub const RULE_SLOTS: u32 = 16_384;

/// Entries of NETS4 and of NETS6: what one trie may hold. Nodes are allocated as they are
/// inserted, so an unused one costs nothing.
pub const MAX_NETS: u32 = 4_194_304;

/// Entries of HOSTS4 and of HOSTS6: full-length addresses beyond these go to the tries.
/// The bucket array (16 bytes an entry) is allocated at once, and a table much larger than
/// its content costs cache misses, so this stays moderate.
pub const MAX_HOSTS: u32 = 65_536;

/// VLAN tags the programs walk; one more is dropped as [`crate::Reason::VlanDepth`].
pub const MAX_VLAN_TAGS: u32 = 4;

/// IPv6 extension headers the programs walk before the port counts as hidden.
pub const MAX_EXT_HEADERS: u32 = 8;

/// Interfaces the backstop can exempt.
pub const MAX_EXEMPT: usize = 16;

/// Bytes of the ring buffer of drop events: 4,096 events of 64 bytes with their headers.
pub const EVENTS_BYTES: u32 = 262_144;

/// The loopback device's ifindex, in every network namespace (kernel: LOOPBACK_IFINDEX).
/// No program is ever attached to it, so a packet that claims to come from it is a
/// BPF_PROG_TEST_RUN without a context: the programs then write [`crate::Trace`] and count
/// nothing.
pub const LOOPBACK_IFINDEX: u32 = 1;

/// Set in [`crate::Database::flags`] of the host's slot: non-first fragments are dropped.
pub const FLAG_DROP_FRAGMENTS: u32 = 1;

/// 64-bit words of FRONT4 and FRONT6: a bit for every leading 16 bits, then one for every
/// leading 24 bits.
pub const FRONT_COARSE_WORDS: u32 = (1 << 16) / 64;
/// See [`FRONT_COARSE_WORDS`].
pub const FRONT_FINE_WORDS: u32 = (1 << 24) / 64;
/// See [`FRONT_COARSE_WORDS`].
pub const FRONT_WORDS: u32 = FRONT_COARSE_WORDS + FRONT_FINE_WORDS;

/// 64-bit words of PORTS: a byte for every (protocol, port).
pub const PORT_WORDS: u32 = 2 * 65_536 / 8;
