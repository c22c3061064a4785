//! Every map of the programs.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
    macros::btf_map,
};
use dbfw_common::{
    Budget, Counter, DATABASE_SLOTS, Database, EVENTS_BYTES, Entry, Exempt, FRONT_WORDS, MAX_HOSTS,
    MAX_NETS, PORT_WORDS, RULE_SLOTS, RuleCounter, STATS_SLOTS, Trace,
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
/// The agent writes these maps through memory: millions of bits would cost a call each.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub(crate) static PORTS: Array<u64, { PORT_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static FRONT4: Array<u64, { FRONT_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static FRONT6: Array<u64, { FRONT_WORDS as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static HOSTS4: HashMap<u32, Entry, { MAX_HOSTS as usize }, NO_PREALLOC> = HashMap::new();

#[btf_map]
pub(crate) static HOSTS6: HashMap<[u32; 4], Entry, { MAX_HOSTS as usize }, NO_PREALLOC> =
    HashMap::new();

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
pub(crate) static TRACE: PerCpuArray<Trace, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static EXEMPT: Array<Exempt, 1> = Array::new();
