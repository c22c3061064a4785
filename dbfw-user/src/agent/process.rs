//! The process: the capabilities it gives up, and its allocator's settings.
//!
//! Reading other users' files is given up first: what is read at the start is what can be read
//! later, and what the unit lets the agent read is what it reads when it is started by hand.
//! Loading programs and attaching needs CAP_NET_ADMIN, loading fast ones CAP_PERFMON. Afterwards
//! everything goes through descriptors the agent holds: map updates, attaching to new interfaces,
//! replacing a link's program and pinning need no capability (measured on 6.18). CAP_BPF stays: a
//! larger table of hosts is a new map.

use std::{fs, io, ops::Range, path::Path};

use caps::{CapSet, Capability, CapsHashSet};
use dbfw_datapath::GROUP;
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Gid, Group, getgroups, setgroups},
};

/// Blocks from this many bytes on go back to the kernel when they are freed. Unless it is set,
/// glibc raises it to the largest block that was ever freed, and keeps what a long list once
/// took (mallopt(3), M_MMAP_THRESHOLD).
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 << 10;

/// Arenas: one for the loop, one for the other threads.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Open files that the agent has room for at least: about 100 for maps, programs and links of a
/// few interfaces, 64 connections to its socket, and those to providers.
const OPEN_FILES: u64 = 512;

/// Checks that the agent has the capabilities it cannot work without.
///
/// # Errors
/// One of them is missing.
pub(super) fn check_capabilities() -> io::Result<()> {
    let lacks = |capability: &Capability| {
        !caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(false)
    };
    let missing: Vec<String> = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN]
        .iter()
        .filter(|capability| lacks(capability))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "the agent needs {}: systemctl start dbfw, or start it as root",
            missing.join(" and ")
        ),
    ))
}

/// Raises the soft limit on open files to the hard one.
///
/// # Errors
/// The hard limit is less than the agent needs.
pub(super) fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < OPEN_FILES {
        return Err(io::Error::other(format!(
            "the limit on open files is {hard}, and the agent needs {OPEN_FILES}: set \
             LimitNOFILE={OPEN_FILES} or more in the unit (by hand: ulimit -n)"
        )));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Gives up the capabilities that open other users' files, for good. Errors are logged: the
/// agent works on, with more than it needs.
pub(super) fn give_up_files() {
    let narrows = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false);
    for capability in [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH] {
        if narrows && let Err(error) = caps::drop(None, CapSet::Bounding, capability) {
            tracing::debug!(%error, %capability, "cannot drop from the bounding set");
        }
        for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
            if let Err(error) = caps::drop(None, set, capability) {
                tracing::warn!(%error, %capability, ?set, "cannot drop a capability");
            }
        }
    }
}

/// Joins the group that may read pins and socket, so that files can be given to it without
/// CAP_CHOWN later, and lists that it may read are read. systemd's `SupplementaryGroups=dbfw` does the same.
pub(super) fn join_group() {
    // That there is none is told with the control socket, which is root's alone then.
    let Some(group) = Group::from_name(GROUP).ok().flatten() else { return };
    let groups = getgroups().unwrap_or_default();
    if groups.contains(&group.gid) {
        return;
    }
    let joined: Vec<Gid> = groups.into_iter().chain([group.gid]).collect();
    if let Err(error) = setgroups(&joined) {
        tracing::warn!(%error, "cannot join group {GROUP}: set SupplementaryGroups={GROUP} in the unit");
    }
}

/// Drops every capability but CAP_BPF from every set, for good. Errors are logged: the agent
/// works on, with more than it needs.
pub(super) fn drop_capabilities() {
    let keep: CapsHashSet = [Capability::CAP_BPF].into();
    // The bounding set can only be narrowed while CAP_SETPCAP is still effective.
    for capability in caps::all() {
        if !keep.contains(&capability)
            && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false)
            && let Err(error) = caps::drop(None, CapSet::Bounding, capability)
        {
            tracing::debug!(%error, %capability, "cannot drop from the bounding set");
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let wanted = match set {
            CapSet::Effective | CapSet::Permitted => keep.clone(),
            _ => CapsHashSet::new(),
        };
        if let Err(error) = caps::set(None, set, &wanted) {
            tracing::warn!(%error, ?set, "cannot drop capabilities");
        }
    }
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        tracing::warn!(%error, "cannot set no_new_privs");
    }
    // The token of a provider must not end in a core dump.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "cannot switch off core dumps");
    }
}

/// Makes the allocator give large blocks back to the kernel when they are freed: the agent lives for
/// months, works a few milliseconds an hour, and shares its host with a database.
pub(super) fn set_up_allocator() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_ARENA_MAX, ARENAS)] {
        // SAFETY: sets a number in the allocator, which takes its own lock.
        if unsafe { libc::mallopt(option, value) } == 0 {
            tracing::debug!(option, value, "mallopt refused a value");
        }
    }
}

/// Gives free memory back to the kernel: after work that took many small blocks.
pub(super) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks and frees nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Gives the pages of the program's own code and constants back: most of them were for the start
/// alone. Those that the loop needs are mapped again from the page cache as it comes to them.
pub(super) fn release_code() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let mappings = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for range in mappings.lines().filter_map(|line| code_of(line, &program)) {
        // SAFETY: the range is a private mapping of a file that nobody has written to, so that its
        // pages are read from the file again.
        let result = unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED)
        };
        if result != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "cannot release the program's code");
        }
    }
}

/// The addresses of a line of /proc/PID/maps (proc_pid_maps(5)) that maps the code of `program`, or
/// its first part, which has constants; `None`: it maps something else, or what was written to: the
/// loader has filled in the constants with addresses, which are further back in the file.
fn code_of(line: &str, program: &Path) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let [permissions, offset, path] = [fields.next()?, fields.next()?, fields.nth(2)?];
    let number = |text| usize::from_str_radix(text, 16).ok();
    let is_unwritten = permissions == "r-xp" || permissions == "r--p" && number(offset)? == 0;
    (is_unwritten && Path::new(path) == program).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_released() {
        let program = Path::new("/usr/bin/dbfw");
        let of = |line: &str| code_of(line, program);
        let code = "55d0a000-55d0c000 r-xp 0000a000 fe:01 1234    /usr/bin/dbfw";
        assert_eq!(of(code), Some(0x55d0_a000..0x55d0_c000));
        let first = "55d00000-55d0a000 r--p 00000000 fe:01 1234    /usr/bin/dbfw";
        assert_eq!(of(first), Some(0x55d0_0000..0x55d0_a000));
        for other in [
            "55d0a000-55d0c000 r--p 0000a000 fe:01 1234    /usr/bin/dbfw",
            "55d0a000-55d0c000 rwxp 0000a000 fe:01 1234    /usr/bin/dbfw",
            "55d0a000-55d0c000 r-xp 0000a000 fe:01 1234    /usr/lib/libc.so.6",
            "55d0a000-55d0c000 r-xp 00000000 00:00 0",
            "x-y r-xp 0000a000 fe:01 1234 /usr/bin/dbfw",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        // The process goes on.
        release_code();
        assert_eq!(of(code), Some(0x55d0_a000..0x55d0_c000));
    }
}
