//! What the programs need of the kernel: asked for before they are loaded.

use std::fmt;

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use super::error::DatapathError;

/// Oldest kernel that dbfw was booted on.
pub const TESTED_SINCE: (u32, u32) = (6, 1);
/// Oldest kernel that has everything, unless a distribution added it to an older one.
pub const COMPLETE_SINCE: (u32, u32) = (5, 18);

/// Something without which the programs do not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// XDP programs for frames in several buffers, and their helpers.
    MultiBufferXdp,
    /// Programs at the socket lookup: the backstop.
    SocketLookup,
    /// Ring buffers: the drop events.
    RingBuffer,
}

impl Facility {
    const ALL: [Self; 3] = [Self::MultiBufferXdp, Self::SocketLookup, Self::RingBuffer];

    /// `None` where it cannot be told, for want of capabilities above all.
    fn is_there(self) -> Option<bool> {
        match self {
            Self::MultiBufferXdp => {
                is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_load_bytes).ok()
            }
            Self::SocketLookup => is_program_supported(ProgramType::SkLookup).ok(),
            Self::RingBuffer => is_map_supported(MapType::RingBuf).ok(),
        }
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MultiBufferXdp => "multi-buffer XDP (Linux 5.18)",
            Self::SocketLookup => "socket lookup programs (Linux 5.9)",
            Self::RingBuffer => "BPF ring buffers (Linux 5.8)",
        })
    }
}

/// Refuses a kernel that surely lacks something, in words; what the verifier would say of the
/// programs there names nothing.
pub(super) fn check() -> Result<(), DatapathError> {
    let lacks = |facility: &Facility| facility.is_there() == Some(false);
    let missing: Vec<Facility> = Facility::ALL.into_iter().filter(lacks).collect();
    if missing.is_empty() { Ok(()) } else { Err(DatapathError::OldKernel { missing }) }
}

/// What the kernel says about a program that it does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The program.
    pub program: &'static str,
    /// The system's reason.
    pub reason: String,
    /// The line of the verifier's log that says why; empty if there is none.
    pub verifier: String,
    /// It was loaded with CAP_PERFMON.
    pub with_perfmon: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, reason, verifier, .. } = self;
        write!(f, "the kernel refused program {program}: {reason}")?;
        if verifier.is_empty() { Ok(()) } else { write!(f, ": the verifier says \"{verifier}\"") }
    }
}

impl Refusal {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        if self.with_perfmon {
            "install a kernel of 6.1 or newer, and report this line if it is one"
        } else {
            "kernels before 6.18 are known to refuse the programs without CAP_PERFMON: add it to \
             the unit's CapabilityBoundingSet=, in a container --cap-add PERFMON"
        }
    }
}

/// The line of a verifier's log that says why: the last but for its statistics.
pub(super) fn verdict_line(log: &str) -> &str {
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "mark_"];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
        .unwrap_or_default()
}

/// Release of the running kernel.
pub(super) fn release() -> String {
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
    fn a_refusal_names_the_remedy() {
        let refusal = |with_perfmon, verifier: &str| Refusal {
            program: "dbfw_xdp",
            reason: "Invalid argument (os error 22)".to_owned(),
            verifier: verifier.to_owned(),
            with_perfmon,
        };
        let error = DatapathError::Refused(refusal(true, "back-edge from insn 1301 to 1302"));
        assert_eq!(
            error.to_string(),
            "the kernel refused program dbfw_xdp: Invalid argument (os error 22): the verifier \
             says \"back-edge from insn 1301 to 1302\". Nothing was attached or replaced; install \
             a kernel of 6.1 or newer, and report this line if it is one"
        );
        let error = DatapathError::Refused(refusal(false, "")).to_string();
        assert!(error.contains("CAP_PERFMON") && !error.contains("verifier"), "{error}");
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let missing = vec![Facility::MultiBufferXdp, Facility::RingBuffer];
        assert_eq!(
            DatapathError::OldKernel { missing }.to_string(),
            format!(
                "Linux {} is too old: it has no multi-buffer XDP (Linux 5.18) and no BPF ring \
                 buffers (Linux 5.8). Nothing was attached or replaced; install a kernel of 6.1 \
                 or newer",
                release()
            )
        );
    }
}
