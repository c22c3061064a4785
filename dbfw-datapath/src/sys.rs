//! The bpf(2) calls that aya 0.14 has no public form for.
//!
//! These are: links by ifindex without aya's silent netlink fallback (netlink attachments cannot
//! be pinned), the target of a link, pins opened read-only, maps in maps by id, batches, and test
//! runs of a pinned program.

use std::{
    ffi::CString,
    fmt, io,
    mem::{MaybeUninit, size_of},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_map_info, bpf_map_type,
    bpf_prog_info,
};

use crate::kernel::KernelVersion;

/// Opens the map, program or link pinned at `path`.
///
/// # Errors
/// The system call fails.
pub(crate) fn obj_get(path: &Path, read_only: bool) -> io::Result<OwnedFd> {
    const BPF_F_RDONLY: u32 = 1 << 3;
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.file_flags = if read_only { BPF_F_RDONLY } else { 0 };
    bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Pins `fd` at `path`, which must not exist.
///
/// # Errors
/// The system call fails.
pub(crate) fn obj_pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = fd.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Attaches `program` at a hook of `target`: an interface by its index, or a network namespace by
/// its descriptor. `revision` is the one that the hook's chain of programs must have; 0: any.
///
/// # Errors
/// The system call fails.
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: bpf_attach_type,
    flags: u32,
    revision: u64,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = target;
    attr.link_create.attach_type = attach_type as u32;
    attr.link_create.flags = flags;
    attr.link_create.__bindgen_anon_3.tcx.expected_revision = revision;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// The programs attached at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Their ids; the first runs first.
    pub(crate) programs: Vec<u32>,
    /// Changes with every change of the chain; 0 where the hook has none.
    pub(crate) revision: u64,
}

/// Lists the programs at a hook of an interface (by index) or of a network namespace (by
/// descriptor). Needs CAP_NET_ADMIN.
///
/// # Errors
/// The system call fails.
pub(crate) fn chain(target: u32, attach_type: bpf_attach_type) -> io::Result<Chain> {
    // The kernel attaches no more to a hook (BPF_MPROG_MAX, netns_bpf_max_progs).
    let mut programs = vec![0u32; 64];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_fd = target;
    attr.query.attach_type = attach_type as u32;
    attr.query.prog_ids = programs.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.count = programs.len() as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel wrote these members.
    let (count, revision) = unsafe { (attr.query.__bindgen_anon_2.count, attr.query.revision) };
    programs.truncate(count as usize);
    Ok(Chain { programs, revision })
}

/// Replaces a link's program; every packet sees the old one or the new one.
///
/// # Errors
/// The system call fails.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Whether the kernel has the traffic control hook with links (TCX): asked of the kernel, or by
/// its version where this process may not ask.
pub fn has_tcx() -> bool {
    const LOOPBACK: u32 = 1;
    let listed = chain(LOOPBACK, bpf_attach_type::BPF_TCX_INGRESS);
    match listed.map_err(|error| error.raw_os_error()) {
        Ok(_) => true,
        // Nothing is attached there.
        Err(Some(libc::ENOENT)) => true,
        Err(Some(libc::EPERM)) => KernelVersion::running() >= KernelVersion::TCX,
        Err(_) => false,
    }
}

/// Detaches a link now, whoever else holds it.
///
/// # Errors
/// The system call fails.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// The kernel's description of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) program: u32,
    pub(crate) attached: Attached,
}

/// The target of a link; index 0 means that it is no longer attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attached {
    Xdp { ifindex: u32 },
    Tcx { ifindex: u32 },
    NetworkNamespace { inode: u32 },
    Other { link_type: u32 },
}

/// The kernel's description of `link`.
///
/// # Errors
/// The system call fails.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let info: bpf_link_info = object_info(link, |_| ())?;
    // SAFETY: the member read is the one the type names, and all are plain numbers.
    let attached = unsafe {
        match info.type_ {
            t if t == bpf_link_type::BPF_LINK_TYPE_XDP as u32 => {
                Attached::Xdp { ifindex: info.__bindgen_anon_1.xdp.ifindex }
            }
            t if t == bpf_link_type::BPF_LINK_TYPE_TCX as u32 => {
                Attached::Tcx { ifindex: info.__bindgen_anon_1.tcx.ifindex }
            }
            t if t == bpf_link_type::BPF_LINK_TYPE_NETNS as u32 => {
                Attached::NetworkNamespace { inode: info.__bindgen_anon_1.netns.netns_ino }
            }
            link_type => Attached::Other { link_type },
        }
    };
    Ok(LinkInfo { program: info.prog_id, attached })
}

/// The kernel's description of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapInfo {
    pub(crate) id: u32,
    pub(crate) shape: MapShape,
}

/// The type, sizes and flags of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

impl fmt::Display for MapShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { map_type, key_size, value_size, max_entries, flags } = self;
        write!(
            f,
            "type {map_type}, {key_size}-byte keys, {value_size}-byte values, {max_entries} \
             entries, flags {flags:#x}"
        )
    }
}

/// The kernel's description of `map`.
///
/// # Errors
/// The system call fails.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let info: bpf_map_info = object_info(map, |_| ())?;
    let shape = MapShape {
        map_type: info.type_,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.map_flags,
    };
    Ok(MapInfo { id: info.id, shape })
}

/// The kernel's description of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramInfo {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) map_ids: Vec<u32>,
}

/// The kernel's description of `program`.
///
/// # Errors
/// The system call fails.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut map_ids = vec![0u32; 64];
    let info: bpf_prog_info = object_info(program, |info: &mut bpf_prog_info| {
        info.nr_map_ids = map_ids.len() as u32;
        info.map_ids = map_ids.as_mut_ptr() as u64;
    })?;
    map_ids.truncate(info.nr_map_ids as usize);
    let name = info.name.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect::<Vec<_>>();
    Ok(ProgramInfo { id: info.id, name: String::from_utf8_lossy(&name).into_owned(), map_ids })
}

/// A descriptor of the program with this id; needs CAP_SYS_ADMIN.
///
/// # Errors
/// The system call fails.
pub(crate) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    bpf_fd(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)
}

/// Runs a program once on `packet` and returns its return code.
///
/// # Errors
/// The system call fails.
pub(crate) fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_in = packet.as_ptr() as u64;
    attr.test.data_size_in = packet.len() as u32;
    attr.test.repeat = 1;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the kernel wrote this member of the union.
    Ok(unsafe { attr.test.retval })
}

/// Makes an array of `entries` values of `value_size` bytes.
///
/// # Errors
/// The system call fails.
pub(crate) fn array_create(
    name: &str,
    value_size: u32,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: the member the command uses.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    create.key_size = size_of::<u32>() as u32;
    create.value_size = value_size;
    create.max_entries = entries;
    create.map_flags = flags;
    // One byte stays zero.
    for (to, from) in create.map_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// Puts `inner` into a place of an array of maps. Returns when no program runs any more that
/// found another map there (the kernel waits in `maybe_wait_bpf_programs`).
///
/// # Errors
/// The system call fails.
pub(crate) fn inner_set(
    outer: BorrowedFd<'_>,
    place: u32,
    inner: BorrowedFd<'_>,
) -> io::Result<()> {
    let value = inner.as_raw_fd() as u32;
    let mut attr = element(outer, &place, (&raw const value) as u64);
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Id of the map in a place of an array of maps; `None` if there is none.
///
/// # Errors
/// The system call fails.
pub(crate) fn inner_id(outer: BorrowedFd<'_>, place: u32) -> io::Result<Option<u32>> {
    let mut id = 0u32;
    let mut attr = element(outer, &place, (&raw mut id) as u64);
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(Some(id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Empties a place of an array of maps, and waits as [`inner_set`] does.
///
/// # Errors
/// The system call fails.
pub(crate) fn inner_clear(outer: BorrowedFd<'_>, place: u32) -> io::Result<()> {
    let mut attr = element(outer, &place, 0);
    match bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Reads the element at `index` of an array into `value`, which has its size.
///
/// # Errors
/// The system call fails.
pub(crate) fn array_get(map: BorrowedFd<'_>, index: u32, value: &mut [u8]) -> io::Result<()> {
    let mut attr = element(map, &index, value.as_mut_ptr() as u64);
    bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr).map(drop)
}

fn element(map: BorrowedFd<'_>, key: &u32, value: u64) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = (&raw const *key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value;
    attr
}

/// The position of a read in batches.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// The last key that was read, as the kernel keeps it.
    last: Vec<u8>,
    /// All was read.
    pub(crate) done: bool,
}

/// Reads elements into the whole of `keys` and `values`, which have room for equally many.
/// Returns how many were read; there are more unless the position says that it is done.
///
/// # Errors
/// The system call fails.
pub(crate) fn lookup_batch(
    map: BorrowedFd<'_>,
    position: &mut Position,
    key_size: usize,
    keys: &mut [u8],
    values: &mut [u8],
) -> io::Result<usize> {
    let mut next = vec![0u8; key_size.max(size_of::<u32>())];
    let mut attr = zeroed();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.in_batch = if position.last.is_empty() { 0 } else { position.last.as_ptr() as u64 };
    attr.batch.out_batch = next.as_mut_ptr() as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = (keys.len() / key_size) as u32;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => position.last = next,
        // The end was reached; `count` says what was read before it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => position.done = true,
        Err(error) => return Err(error),
    }
    // SAFETY: the kernel wrote this member of the union.
    Ok(unsafe { attr.batch.count } as usize)
}

/// Writes elements in the order given. On an error, how many were written before it.
///
/// # Errors
/// The system's, with the number of elements that were written before it.
pub(crate) fn update_batch(
    map: BorrowedFd<'_>,
    keys: &[u8],
    values: &[u8],
    count: usize,
) -> Result<(), (usize, io::Error)> {
    let mut attr = zeroed();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = count as u32;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr)
        .map(drop)
        // SAFETY: the kernel wrote this member of the union.
        .map_err(|error| (unsafe { attr.batch.count } as usize, error))
}

/// BPF_OBJ_GET_INFO_BY_FD into `T`, whose fields `prepare` may preset.
fn object_info<T: Copy>(fd: BorrowedFd<'_>, prepare: impl FnOnce(&mut T)) -> io::Result<T> {
    // SAFETY: T is one of the kernel's info structures, valid when all zero.
    let mut info: T = unsafe { MaybeUninit::zeroed().assume_init() };
    prepare(&mut info);
    let mut attr = zeroed();
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info = (&raw mut info) as u64;
    attr.info.info_len = size_of::<T>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain numbers is valid when all zero.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attr` is a whole bpf_attr, and what it points to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, cmd as libc::c_int, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn bpf_fd(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(cmd, attr)?;
    // SAFETY: the call returned a descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path contains a NUL byte"))
}
