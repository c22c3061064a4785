//! Every map of the programs.

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
    btf_maps::{Array, ArrayOfMaps, LpmTrie, PerCpuArray, RingBuf},
    macros::btf_map,
};
use dbfw_common::{
    BOUND_PREFIXES, BUCKET4_WORDS, BUCKET6_WORDS, Bound, Budget, Clock, Counter, DATABASE_SLOTS,
    Database, ENTRY_IDS, EVENTS_BYTES, Entry, Exempt, FRONT4_WORDS, FRONT6_WORDS, MAX_NETS,
    MAX_OWN, OWN_WORDS, PORT_INDEXES, PORT_WORDS, RULE_SLOTS, RuleCounter, SMALL_TABLE_BITS,
    STATS_SLOTS, TABLES, Trace,
};

/// The agent writes these maps through memory: millions of bits would cost a call each.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// A table may have any number of buckets; the one named here is only a pattern. Words, not
/// the structure of a bucket: kernels up to 6.1 take a map without BTF, as the agent makes
/// them, for one like this only where the pattern's value is no structure.
const TABLE: usize = (BPF_F_MMAPABLE | BPF_F_INNER_MAP) as usize;

#[btf_map]
pub(crate) static PORTS: Array<u64, { PORT_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static FRONT4: Array<u64, { FRONT4_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static FRONT6: Array<u64, { FRONT6_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static HOSTS4: ArrayOfMaps<
    Array<[u64; BUCKET4_WORDS as usize], 1, TABLE>,
    { TABLES as usize },
> = ArrayOfMaps::new();

#[btf_map]
pub(crate) static HOSTS6: ArrayOfMaps<
    Array<[u64; BUCKET6_WORDS as usize], 1, TABLE>,
    { TABLES as usize },
> = ArrayOfMaps::new();

#[btf_map]
pub(crate) static HOSTS4_SMALL: Array<
    [u64; BUCKET4_WORDS as usize],
    { 1 << SMALL_TABLE_BITS },
    MMAPABLE,
> = Array::new();

#[btf_map]
pub(crate) static HOSTS6_SMALL: Array<
    [u64; BUCKET6_WORDS as usize],
    { 1 << SMALL_TABLE_BITS },
    MMAPABLE,
> = Array::new();

#[btf_map]
pub(crate) static ENTRIES: Array<Entry, { ENTRY_IDS as usize }> = Array::new();

#[btf_map]
pub(crate) static NETS4: LpmTrie<u32, Entry, { MAX_NETS as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static NETS6: LpmTrie<[u32; 4], Entry, { MAX_NETS as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static DATABASES: Array<Database, { DATABASE_SLOTS as usize }> = Array::new();

#[btf_map]
pub(crate) static STATS: PerCpuArray<Counter, { STATS_SLOTS as usize }> = PerCpuArray::new();

#[btf_map]
pub(crate) static RULE_STATS: PerCpuArray<RuleCounter, { RULE_SLOTS as usize }> =
    PerCpuArray::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<(), { EVENTS_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(crate) static BUDGET: PerCpuArray<Budget, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static CLOCK: PerCpuArray<Clock, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static TRACE: PerCpuArray<Trace, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static EXEMPT: Array<Exempt, 1> = Array::new();

#[btf_map]
pub(crate) static OWN: Array<u64, { OWN_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static OWN4: LpmTrie<u32, u32, { MAX_OWN as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static OWN6: LpmTrie<[u32; 4], u32, { MAX_OWN as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static BOUND_PORTS: Array<u64, { PORT_INDEXES as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static BOUND4: LpmTrie<u32, Bound, { BOUND_PREFIXES as usize }> = LpmTrie::new();

#[btf_map]
pub(crate) static BOUND6: LpmTrie<[u32; 4], Bound, { BOUND_PREFIXES as usize }> = LpmTrie::new();
