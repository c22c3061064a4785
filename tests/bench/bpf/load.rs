//! bpf(2): maps, XDP programs and live frames.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type, bpf_prog_type};

const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;
/// The most the kernel takes at once; veth rings have 256 places too.
const BATCH: u32 = 128;

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the attribute union is initialised, and every address in it is of a buffer
    // that the caller keeps alive, with the length it really has.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain integers; the kernel wants unused bytes zero.
    unsafe { mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// What a map is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapKind {
    /// An array of one element.
    Value,
    /// Per-CPU counters.
    PerCpuArray,
    /// Longest prefix match.
    LpmTrie,
}

/// A map of the bench's, or one that a peer pinned.
#[derive(Debug)]
pub(crate) struct Map(OwnedFd);

impl Map {
    pub(crate) fn create(
        kind: MapKind,
        key: usize,
        value: usize,
        entries: usize,
    ) -> io::Result<Self> {
        let (kind, flags) = match kind {
            MapKind::Value => (bpf_map_type::BPF_MAP_TYPE_ARRAY, 0),
            MapKind::PerCpuArray => (bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, 0),
            MapKind::LpmTrie => (bpf_map_type::BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC),
        };
        let mut attr = zeroed();
        attr.__bindgen_anon_1.map_type = kind as u32;
        attr.__bindgen_anon_1.key_size = key as u32;
        attr.__bindgen_anon_1.value_size = value as u32;
        attr.__bindgen_anon_1.max_entries = entries as u32;
        attr.__bindgen_anon_1.map_flags = flags;
        descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attr).map(Self)
    }

    /// Opens a pinned map.
    pub(crate) fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attr = zeroed();
        attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
        descriptor(bpf_cmd::BPF_OBJ_GET, &mut attr).map(Self)
    }

    /// Writes an element.
    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let mut attr = zeroed();
        attr.__bindgen_anon_2.map_fd = self.0.as_raw_fd() as u32;
        attr.__bindgen_anon_2.key = key.as_ptr() as u64;
        attr.__bindgen_anon_2.__bindgen_anon_1.value = value.as_ptr() as u64;
        bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
    }

    /// Reads an element of `len` bytes, for a per-CPU map those of all CPUs.
    pub(crate) fn get(&self, key: &[u8], len: usize) -> io::Result<Vec<u8>> {
        let mut value = vec![0; len];
        let mut attr = zeroed();
        attr.__bindgen_anon_2.map_fd = self.0.as_raw_fd() as u32;
        attr.__bindgen_anon_2.key = key.as_ptr() as u64;
        attr.__bindgen_anon_2.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
        bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
        Ok(value)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A loaded XDP program.
#[derive(Debug)]
pub(crate) struct Xdp(OwnedFd);

impl Xdp {
    /// Loads it. The error says what the verifier did.
    pub(crate) fn load(code: &[u64]) -> io::Result<Self> {
        let license = c"GPL";
        let mut log = vec![0u8; 1 << 16];
        let mut attr = zeroed();
        attr.__bindgen_anon_3.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
        attr.__bindgen_anon_3.insn_cnt = code.len() as u32;
        attr.__bindgen_anon_3.insns = code.as_ptr() as u64;
        attr.__bindgen_anon_3.license = license.as_ptr() as u64;
        attr.__bindgen_anon_3.log_level = 1;
        attr.__bindgen_anon_3.log_size = log.len() as u32;
        attr.__bindgen_anon_3.log_buf = log.as_mut_ptr() as u64;
        descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(Self).map_err(|error| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&log[..end])))
        })
    }

    /// Attaches it in the driver to an interface of this thread's namespace, for as long as
    /// what is returned is kept.
    pub(crate) fn attach(&self, ifindex: u32) -> io::Result<OwnedFd> {
        let mut attr = zeroed();
        attr.link_create.__bindgen_anon_1.prog_fd = self.0.as_raw_fd() as u32;
        attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
        attr.link_create.attach_type = bpf_attach_type::BPF_XDP as u32;
        attr.link_create.flags = XDP_FLAGS_DRV_MODE;
        descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
    }
}

/// Sends `count` copies of a frame through a program as if they came from `ifindex`, an
/// interface of this thread's namespace with an XDP program of its own. What the program
/// answers is done: XDP_TX sends out of that interface. Returns nanoseconds a packet, as the
/// kernel measured them: without making the pages, which takes milliseconds a call, and
/// without the time it gave to other threads.
pub(crate) fn run_live(program: &Xdp, frame: &[u8], ifindex: u32, count: u32) -> io::Result<u32> {
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
    // egress_ifindex.
    let context = [0, frame.len() as u32, 0, ifindex, 0, 0];
    let mut attr = zeroed();
    attr.test.prog_fd = program.0.as_raw_fd() as u32;
    attr.test.data_in = frame.as_ptr() as u64;
    attr.test.data_size_in = frame.len() as u32;
    attr.test.ctx_in = context.as_ptr() as u64;
    attr.test.ctx_size_in = size_of_val(&context) as u32;
    attr.test.repeat = count;
    attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    attr.test.batch_size = BATCH.min(count);
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the member the command uses, which the kernel has filled in.
    Ok(unsafe { attr.test.duration })
}
