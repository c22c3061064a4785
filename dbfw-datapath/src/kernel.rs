//! The kernel's version, the features it must have, and its refusals of programs.

use std::fmt;

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

/// Version of a kernel, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.12.
    pub major: u32,
    /// 12 of 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// The oldest that dbfw was booted on.
    pub const TESTED: Self = Self { major: 6, minor: 1 };
    /// The oldest that has everything, unless a distribution added it to an older one.
    pub const COMPLETE: Self = Self { major: 5, minor: 18 };
    /// The oldest with TCX.
    pub const TCX: Self = Self { major: 6, minor: 6 };

    /// Version of the running kernel; [`KernelVersion::TESTED`] if its
    /// release does not begin with one.
    pub fn running() -> Self {
        Self::of_release(&release()).unwrap_or(Self::TESTED)
    }

    /// Version at the beginning of a release like "6.1.0-29-cloud-amd64".
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Frames in several buffers at XDP, and their helpers.
pub(crate) const MULTI_BUFFER_XDP: &str = "multi-buffer XDP (Linux 5.18)";
/// The hook of the backstop.
const SOCKET_LOOKUP: &str = "socket lookup programs (Linux 5.9)";
/// The map of the drop events.
pub(crate) const RING_BUFFER: &str = "BPF ring buffers (Linux 5.8)";

/// The features that the programs need and the kernel surely lacks. What cannot be told, for
/// want of capabilities above all, counts as there.
pub(crate) fn missing() -> Vec<&'static str> {
    let xdp = is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_load_bytes).ok();
    [
        (MULTI_BUFFER_XDP, xdp),
        (SOCKET_LOOKUP, is_program_supported(ProgramType::SkLookup).ok()),
        (RING_BUFFER, is_map_supported(MapType::RingBuf).ok()),
    ]
    .into_iter()
    .filter(|(_, is_there)| *is_there == Some(false))
    .map(|(name, _)| name)
    .collect()
}

/// The kernel's answer to a program that it does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRefusal {
    /// The program.
    pub program: &'static str,
    /// The system's error.
    pub reason: String,
    /// The line of the verifier's log that says why; empty if there is none.
    pub verifier: String,
    /// It was loaded with CAP_PERFMON.
    pub with_perfmon: bool,
}

impl fmt::Display for ProgramRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, reason, verifier, .. } = self;
        write!(f, "the kernel refused program {program}: {reason}")?;
        if verifier.is_empty() { Ok(()) } else { write!(f, ": the verifier says \"{verifier}\"") }
    }
}

impl ProgramRefusal {
    /// The advice: how to get the program loaded.
    pub fn fix(&self) -> &'static str {
        if self.with_perfmon {
            "install a kernel of 6.1 or newer, and report this line if it is one"
        } else {
            "many kernels before 6.18 refuse the programs without CAP_PERFMON: add it to \
             the unit's CapabilityBoundingSet=, in a container --cap-add PERFMON"
        }
    }
}

/// The line of a verifier's log that says why: the last but for its statistics.
pub(crate) fn verdict_line(log: &str) -> &str {
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "mark_"];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
        .unwrap_or_default()
}

/// Release of the running kernel.
pub(crate) fn release() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "of this host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_why_is_found() {
        for (log, line) in [
            (
                "1301: next = word >> 24;\n1302: matches!(\nback-edge from insn 1301 to 1302\n\
                 processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 \
                 peak_states 0 mark_read 0\n",
                "back-edge from insn 1301 to 1302",
            ),
            (
                "The sequence of 8193 jumps is too complex.\nverification time 120 usec\nstack \
                 depth 96+8\nprocessed 105285 insns (limit 1000000)\n",
                "The sequence of 8193 jumps is too complex.",
            ),
            ("R2 pointer comparison prohibited", "R2 pointer comparison prohibited"),
            ("processed 3 insns (limit 1000000)\n", ""),
            ("", ""),
        ] {
            assert_eq!(verdict_line(log), line);
        }
    }

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.1.0-29-cloud-amd64", Some((6, 1))),
            ("6.12.57+deb13-amd64", Some((6, 12))),
            ("7.3-rc1", Some((7, 3))),
            ("6", None),
            ("linux", None),
        ] {
            let version = KernelVersion::of_release(release);
            assert_eq!(version.map(|v| (v.major, v.minor)), expected, "{release}");
        }
        assert!(KernelVersion { major: 6, minor: 12 } > KernelVersion { major: 6, minor: 6 });
    }
}
