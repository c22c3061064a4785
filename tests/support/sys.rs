//! The bpf(2) commands aya has no call for.

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
};

use aya_obj::generated::{
    BPF_F_INNER_MAP, BPF_F_MMAPABLE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type,
    bpf_prog_type,
};

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    // SAFETY: the attribute union is initialised, and every address in it is of a buffer
    // that the caller keeps alive, with the length it really has.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain integers; the kernel wants unused bytes zero.
    unsafe { mem::zeroed() }
}

/// BPF_PROG_TEST_RUN: the program's return value.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    data: &[u8],
    context: Option<&[u8]>,
) -> io::Result<u32> {
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    if !data.is_empty() {
        attr.test.data_in = data.as_ptr() as u64;
        attr.test.data_size_in = data.len() as u32;
    }
    if let Some(context) = context {
        attr.test.ctx_in = context.as_ptr() as u64;
        attr.test.ctx_size_in = context.len() as u32;
    }
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the member the command uses, which the kernel has filled in.
    Ok(unsafe { attr.test.retval })
}

/// BPF_PROG_TEST_RUN, `repeat` times: nanoseconds a run, as the kernel measured them.
pub(crate) fn time(
    program: BorrowedFd<'_>,
    data: &[u8],
    context: &[u8],
    repeat: u32,
) -> io::Result<u32> {
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_in = data.as_ptr() as u64;
    attr.test.data_size_in = data.len() as u32;
    attr.test.ctx_in = context.as_ptr() as u64;
    attr.test.ctx_size_in = context.len() as u32;
    attr.test.repeat = repeat;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the member the command uses, which the kernel has filled in.
    Ok(unsafe { attr.test.duration })
}

/// Loads a program that returns `code` for every packet.
pub(crate) fn load_constant(kind: bpf_prog_type, code: u32) -> io::Result<OwnedFd> {
    // mov r0, code; exit
    load(kind, &[u64::from(code) << 32 | 0xb7, 0x95], 0)
}

/// Loads a program.
pub(crate) fn load(kind: bpf_prog_type, instructions: &[u64], flags: u32) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = zeroed();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.insn_cnt = instructions.len() as u32;
    attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
    attr.__bindgen_anon_3.license = license.as_ptr() as u64;
    attr.__bindgen_anon_3.prog_flags = flags;
    if kind == bpf_prog_type::BPF_PROG_TYPE_XDP {
        attr.__bindgen_anon_3.expected_attach_type = bpf_attach_type::BPF_XDP as u32;
    }
    new_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Opens what is pinned at `path`.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    new_fd(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Attaches a program to the TCX ingress hook of an interface of this thread's namespace.
pub(crate) fn attach_tcx(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = ifindex;
    attr.link_create.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr.link_create.flags = flags;
    new_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

fn new_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: as in `bpf`; the call returns a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Writes `values` into the elements of an array map from index `first`, in one call.
pub(crate) fn update_array(
    map: BorrowedFd<'_>,
    first: u32,
    count: u32,
    values: &[u8],
) -> io::Result<()> {
    let keys: Vec<u32> = (first..first + count).collect();
    let mut attr = zeroed();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = count;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr)
}

/// Makes an array that can be a table of hosts.
pub(crate) fn make_table(value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    let kind = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    make(kind, value_size, entries, BPF_F_MMAPABLE | BPF_F_INNER_MAP)
}

/// Makes a map with keys of four bytes.
pub(crate) fn make_map(kind: u32, value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    make(kind, value_size, entries, 0)
}

fn make(kind: u32, value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: the member the command uses.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = kind;
    create.key_size = 4;
    create.value_size = value_size;
    create.max_entries = entries;
    create.map_flags = flags;
    new_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// Writes one element of an array.
pub(crate) fn update_element(map: BorrowedFd<'_>, index: u32, value: &[u8]) -> io::Result<()> {
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut element(map, &index, value.as_ptr() as u64))
}

/// Reads one element of an array, of the size of `value`.
pub(crate) fn read_element(map: BorrowedFd<'_>, index: u32, value: &mut [u8]) -> io::Result<()> {
    bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut element(map, &index, value.as_mut_ptr() as u64))
}

fn element(map: BorrowedFd<'_>, index: &u32, value: u64) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = (&raw const *index) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value;
    attr
}

/// Reads the first `count` elements of an array map of `size` bytes an element (for a
/// per-CPU map: all its CPUs' values), in one call.
pub(crate) fn read_array(map: BorrowedFd<'_>, count: u32, size: usize) -> io::Result<Vec<u8>> {
    let mut keys = vec![0u32; count as usize];
    let mut values = vec![0u8; count as usize * size];
    let mut position = 0u32;
    let mut attr = zeroed();
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.out_batch = (&raw mut position) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = count;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(()) => Ok(values),
        // The end of the map was reached: `count` is then what was read.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(values),
        Err(error) => Err(error),
    }
}
