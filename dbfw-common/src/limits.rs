//! Limits and identifiers both sides share.

/// Version of the ABI: the pin directory carries it, so a change of any type, map or
/// meaning in this crate needs a new number and never meets old pins.
pub const ABI_VERSION: u32 = 5;

/// Databases one host can protect. A database's id is 1..=MAX_DATABASES, bit `id - 1` of
/// [`crate::Entry::databases`].
pub const MAX_DATABASES: u32 = 64;

/// Pseudo-database 0: packets whose port cannot be read, judged for all databases at once.
pub const HOST: u32 = 0;

/// In PORTS, a database's id plus this: the database is bound to this host's own addresses.
pub const BOUND_TO_LOCAL: u32 = MAX_DATABASES;

/// In PORTS: the port is that of the databases of BOUND_PORTS, each at its addresses.
pub const BOUND_TO_ADDRESSES: u32 = 255;

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

/// Full-length addresses a family may have. A table of them grows with their number; one
/// that finds its bucket full goes to the trie.
pub const MAX_HOSTS: u32 = 4_194_304;

/// Hosts a bucket of HOSTS4 or HOSTS6 has room for.
pub const BUCKET_SLOTS: usize = 8;

/// Tables HOSTS4 and HOSTS6 have room for: the one in use and the one that will replace it.
pub const TABLES: u32 = 2;

/// In [`crate::TableRef::slot`]: the table in use is the small one, a map of its own.
pub const SMALL_TABLE: u32 = TABLES;

/// Buckets of HOSTS4_SMALL and HOSTS6_SMALL, as a power of two.
pub const SMALL_TABLE_BITS: u32 = 12;

/// Entries of ENTRIES: an id fits 16 bits. Id 0 is nobody's: it marks a free slot.
pub const ENTRY_IDS: u32 = 65_536;

/// VLAN tags the programs walk; one more is dropped as [`crate::Reason::VlanDepth`].
pub const MAX_VLAN_TAGS: u32 = 4;

/// IPv6 extension headers the programs walk before the port counts as hidden.
pub const MAX_EXT_HEADERS: u32 = 8;

/// Interfaces the backstop can exempt.
pub const MAX_EXEMPT: usize = 16;

/// Entries of OWN4 and of OWN6: addresses and networks that are local to this host.
pub const MAX_OWN: u32 = 16_384;

/// Addresses and networks that one database may be bound to.
pub const MAX_BOUND: u32 = 256;

/// Entries of BOUND4 and of BOUND6: during a change, those before and those after.
pub const BOUND_PREFIXES: u32 = 2 * MAX_BOUND * MAX_DATABASES;

/// Bytes of the ring buffer of drop events: 4,096 events of 64 bytes with their headers.
pub const EVENTS_BYTES: u32 = 262_144;

/// The loopback device's ifindex, in every network namespace (kernel: LOOPBACK_IFINDEX).
/// No program is ever attached to it, so a packet that claims to come from it is a
/// BPF_PROG_TEST_RUN without a context: the programs then write [`crate::Trace`] and count
/// nothing.
pub const LOOPBACK_IFINDEX: u32 = 1;

/// Set in [`crate::Database::flags`] of the host's slot: non-first fragments are dropped.
pub const FLAG_DROP_FRAGMENTS: u32 = 1;
/// Set there: every database is bound, so a packet without a port is judged only for
/// destinations of one of them.
pub const FLAG_ALL_BOUND: u32 = 2;
/// Set there: one of the databases is bound to this host's own addresses.
pub const FLAG_ANY_LOCAL: u32 = 4;

/// 64-bit words at the start of FRONT4 and FRONT6 that hold no bits. The first of them says
/// which table of hosts is in use ([`crate::TableRef`]); the others fill its cache line.
pub const FRONT_HEAD: u32 = 8;

/// First word of FRONT4's bits for every leading 20: 128 KiB, which fit the cache of a CPU.
pub const FRONT4_COARSE: u32 = FRONT_HEAD;
/// First word of FRONT4's pairs of bits for every leading 24.
pub const FRONT4_FINE: u32 = FRONT4_COARSE + (1 << 20) / 64;
/// 64-bit words of FRONT4.
pub const FRONT4_WORDS: u32 = FRONT4_FINE + (1 << 24) / 32;

/// First word of FRONT6's bits for networks shorter than [`LONG_NET6`]: one for every
/// leading 16.
pub const FRONT6_SHORT_COARSE: u32 = FRONT_HEAD;
/// First word of the same for every leading 24.
pub const FRONT6_SHORT_FINE: u32 = FRONT6_SHORT_COARSE + (1 << 16) / 64;
/// First word of FRONT6's bits for hosts and longer networks: one for every hash of their
/// leading 32.
pub const FRONT6_LONG_COARSE: u32 = FRONT6_SHORT_FINE + (1 << 24) / 64;
/// These bits, as a power of two: 128 KiB, which fit the cache of a CPU.
pub const FRONT6_LONG_COARSE_BITS: u32 = 20;
/// First word of the same by a hash of their leading 48 and 64.
pub const FRONT6_LONG_FINE: u32 = FRONT6_LONG_COARSE + (1 << FRONT6_LONG_COARSE_BITS) / 64;
/// Words of these, as a power of two.
pub const FRONT6_LONG_FINE_BITS: u32 = 18;
/// 64-bit words of FRONT6.
pub const FRONT6_WORDS: u32 = FRONT6_LONG_FINE + (1 << FRONT6_LONG_FINE_BITS);

/// Shortest IPv6 network whose presence is noted by its leading 48 bits.
pub const LONG_NET6: u8 = 48;

/// 64-bit words of PORTS: a byte for every (protocol, port).
pub const PORT_WORDS: u32 = PORT_INDEXES / 8;

/// Indexes of (protocol, port): the words of BOUND_PORTS.
pub const PORT_INDEXES: u32 = 2 * 65_536;
