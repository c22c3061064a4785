//! Checks of the kernel: version, BTF, capabilities, and loading the programs.

use std::io;

use caps::Capability::{self, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN};
use dbfw_datapath::{Attach, DatapathError, KernelVersion};
use dbfw_wire::control::Finding;
use nix::unistd::geteuid;

use super::{finding, host::Host};

/// Loading the programs onto maps that nobody else uses.
#[derive(Debug)]
pub(super) enum Trial {
    /// This process may not load programs.
    NotTried,
    /// The kernel takes them.
    Loaded,
    /// It does not.
    Failed(DatapathError),
}

impl Trial {
    /// Tries it, where this process may.
    pub(super) fn make() -> Self {
        if !dbfw_datapath::may_load() {
            return Self::NotTried;
        }
        match dbfw_datapath::try_load() {
            Ok(()) => Self::Loaded,
            Err(error) => Self::Failed(error),
        }
    }
}

pub(super) fn check(host: &Host, trial: &Trial, attach: Attach) -> Vec<Finding> {
    let mut findings = Vec::new();
    match host.sysctl("kernel/osrelease") {
        Ok(release) => findings.push(version(&release, trial, attach)),
        Err(error) => findings.push(unreadable("kernel", "/proc/sys/kernel/osrelease", &error)),
    }
    findings.push(programs(trial));
    findings.push(btf(host.exists("/sys/kernel/btf/vmlinux")));
    findings.push(capabilities(|capability| host.has(capability), geteuid().is_root(), trial));
    // Where it is not built in there is nothing to forbid.
    findings.extend(switch(
        host,
        "unprivileged_bpf",
        "kernel/unprivileged_bpf_disabled",
        "only privileged processes may load BPF programs",
        "every user may load BPF programs: an attack surface dbfw does not need",
        "sysctl -w kernel.unprivileged_bpf_disabled=2",
    ));
    let jit = switch(
        host,
        "bpf_jit",
        "net/core/bpf_jit_enable",
        "the BPF JIT is on",
        "the BPF JIT is off: the programs are interpreted, several times slower",
        "sysctl -w net.core.bpf_jit_enable=1",
    );
    findings.push(jit.unwrap_or_else(|| {
        let detail = "cannot be read in this network namespace: only the initial one has \
                      net.core.bpf_jit_enable";
        finding::ok("bpf_jit", detail)
    }));
    findings
}

/// A setting below /proc/sys that is not to be 0; `None` where this kernel or network namespace has
/// no such setting.
pub(super) fn switch(
    host: &Host,
    check: &str,
    setting: &str,
    on: &str,
    off: &str,
    fix: &str,
) -> Option<Finding> {
    match host.sysctl(setting) {
        Ok(value) if value == "0" => Some(finding::warn(check, off, fix)),
        Ok(_) => Some(finding::ok(check, on)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(unreadable(check, &format!("/proc/sys/{setting}"), &error)),
    }
}

/// A check that could not be made.
pub(super) fn unreadable(check: impl Into<String>, path: &str, error: &io::Error) -> Finding {
    finding::warn(check, format!("not checked: cannot read {path}: {error}"), "sudo dbfw doctor")
}

/// Result of loading the programs.
fn programs(trial: &Trial) -> Finding {
    match trial {
        Trial::NotTried => finding::warn(
            "programs",
            "not tried: loading them needs CAP_BPF and CAP_NET_ADMIN",
            "sudo dbfw doctor",
        ),
        Trial::Loaded => {
            finding::ok("programs", "this kernel loads every program (tried on temporary maps)")
        }
        Trial::Failed(DatapathError::Refused(refusal)) => {
            finding::fail("programs", refusal.to_string(), refusal.fix())
        }
        Trial::Failed(error) => {
            finding::fail("programs", error.to_string(), "install a kernel of 6.1 or newer")
        }
    }
}

fn version(release: &str, trial: &Trial, attach: Attach) -> Finding {
    let Some(version) = KernelVersion::of_release(release) else {
        return finding::warn(
            "kernel",
            format!("cannot read the version from {release:?}; dbfw needs Linux 6.1 or newer"),
            "uname -r",
        );
    };
    // A distribution may have added to an older kernel what is needed: then the programs load.
    if version < KernelVersion::COMPLETE && !matches!(trial, Trial::Loaded) {
        finding::fail(
            "kernel",
            format!("Linux {release} is too old: multi-buffer XDP came with 5.18"),
            "install a kernel of 6.1 or newer (6.6 or newer for attach = \"tcx\")",
        )
    } else if version < KernelVersion::TESTED {
        finding::warn(
            "kernel",
            format!("Linux {release} is expected to work, and was not tested: 6.1 was"),
            "install a kernel of 6.1 or newer",
        )
    } else if version < KernelVersion::TCX && attach == Attach::Tcx {
        finding::fail(
            "kernel",
            format!("Linux {release} has no TCX, which attach = \"tcx\" needs: it came with 6.6"),
            "install a kernel of 6.6 or newer, or set attach = \"auto\" in [agent]",
        )
    } else if version < KernelVersion::TCX && attach == Attach::Auto {
        finding::warn(
            "kernel",
            format!(
                "Linux {release} has no TCX: where the driver has no XDP, the slow generic mode \
                 is used"
            ),
            "install a kernel of 6.6 or newer",
        )
    } else {
        finding::ok("kernel", format!("Linux {release}"))
    }
}

fn btf(present: bool) -> Finding {
    if present {
        finding::ok("btf", "/sys/kernel/btf/vmlinux is there")
    } else {
        finding::fail(
            "btf",
            "/sys/kernel/btf/vmlinux is missing: the programs cannot be loaded",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys",
        )
    }
}

fn capabilities(has: impl Fn(Capability) -> bool, root: bool, trial: &Trial) -> Finding {
    let missing: Vec<String> = [CAP_BPF, CAP_NET_ADMIN]
        .into_iter()
        .filter(|capability| !has(*capability))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() && (has(CAP_PERFMON) || has(CAP_SYS_ADMIN)) {
        finding::ok("capabilities", "this process has CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
    } else if missing.is_empty() {
        let detail = if matches!(trial, Trial::Failed(DatapathError::Refused(_))) {
            "no CAP_PERFMON here, without which this kernel refuses the programs"
        } else {
            "no CAP_PERFMON here: if the kernel loads the programs without it (6.18 does, many \
             older ones do not), it puts barriers against speculation into them, and every packet \
             takes two to four times as long"
        };
        let add = "in a container, add it: --cap-add PERFMON; otherwise to the unit's \
                   CapabilityBoundingSet=";
        match trial {
            Trial::Failed(_) => finding::fail("capabilities", detail, add),
            Trial::NotTried | Trial::Loaded => finding::warn("capabilities", detail, add),
        }
    } else if root {
        finding::fail(
            "capabilities",
            format!("root without {} here: the agent could not attach", missing.join(", ")),
            "in a container, add them: --cap-add BPF --cap-add NET_ADMIN --cap-add \
             PERFMON; otherwise run it on \
             the host",
        )
    } else {
        finding::ok(
            "capabilities",
            format!(
                "this process has no {}; only the agent needs them, readers do not",
                missing.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use dbfw_datapath::ProgramRefusal;

    use super::*;

    fn refused(verifier: &str, with_perfmon: bool) -> Trial {
        Trial::Failed(DatapathError::Refused(ProgramRefusal {
            program: "dbfw_xdp",
            reason: "Invalid argument (os error 22)".to_owned(),
            verifier: verifier.to_owned(),
            with_perfmon,
        }))
    }

    #[test]
    fn kernel_versions() {
        for (release, attach, state) in [
            ("6.18.44-fc-v445", Attach::Auto, "ok"),
            ("6.6.0", Attach::Tcx, "ok"),
            ("6.5.13-generic", Attach::Tcx, "fail"),
            ("6.1.0-18-amd64", Attach::Auto, "warn"),
            ("6.1.0-18-amd64", Attach::Native, "ok"),
            ("6.0.19", Attach::Native, "warn"),
            ("5.18-rc1", Attach::Native, "warn"),
            ("5.17.15", Attach::Native, "fail"),
            ("4.19", Attach::Auto, "fail"),
            ("10.0.1", Attach::Tcx, "ok"),
            ("mystery", Attach::Auto, "warn"),
            ("99999999999.1", Attach::Auto, "warn"),
            ("", Attach::Auto, "warn"),
        ] {
            let found = version(release, &Trial::NotTried, attach);
            assert_eq!(found.state.as_str(), state, "{release} {attach:?}");
        }
        let backported = version("5.14.0-503.el9.x86_64", &Trial::Loaded, Attach::Native);
        assert_eq!(backported.state.as_str(), "warn");
        assert!(backported.detail.contains("expected to work, and was not tested"));
    }

    #[test]
    fn the_verifier_is_quoted() {
        assert_eq!(programs(&Trial::Loaded).state.as_str(), "ok");
        assert_eq!(programs(&Trial::NotTried).state.as_str(), "warn");
        for (verifier, with_perfmon, remedy) in [
            ("back-edge from insn 1301 to 1302", true, "6.1 or newer"),
            ("The sequence of 8193 jumps is too complex.", false, "CAP_PERFMON"),
            ("attempt to corrupt spilled pointer on stack", false, "CAP_PERFMON"),
        ] {
            let found = programs(&refused(verifier, with_perfmon));
            assert_eq!(found.state.as_str(), "fail");
            assert!(found.detail.contains(verifier), "{found:?}");
            assert!(found.fix.as_deref().is_some_and(|fix| fix.contains(remedy)), "{found:?}");
        }
        let old = DatapathError::Maps("cannot make HOSTS4".to_owned());
        assert_eq!(programs(&Trial::Failed(old)).state.as_str(), "fail");
    }

    #[test]
    fn capabilities_of_root_and_others() {
        let found = |held: &[Capability], root, trial: &Trial| {
            capabilities(|capability| held.contains(&capability), root, trial)
        };
        let state = |held: &[Capability]| found(held, true, &Trial::Loaded).state.as_str();
        assert_eq!(state(&[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON]), "ok");
        assert_eq!(state(&[CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN]), "ok");
        let both = [CAP_BPF, CAP_NET_ADMIN];
        let slow = found(&both, true, &Trial::Loaded);
        assert_eq!(slow.state.as_str(), "warn");
        assert!(slow.detail.contains("no CAP_PERFMON"), "{slow:?}");
        let refused = refused("R2 pointer comparison prohibited", false);
        let needed = found(&both, true, &refused);
        assert_eq!(needed.state.as_str(), "fail");
        assert!(needed.detail.contains("this kernel refuses the programs"), "{needed:?}");
        let container = found(&[CAP_SYS_ADMIN], true, &Trial::Loaded);
        assert_eq!(container.state.as_str(), "fail");
        assert!(container.detail.contains("CAP_BPF, CAP_NET_ADMIN"), "{container:?}");
        let user = found(&[], false, &Trial::Loaded);
        assert_eq!((user.state.as_str(), user.fix), ("ok", None));
        let only_bpf = found(&[CAP_BPF], false, &Trial::Loaded);
        assert!(only_bpf.detail.contains("no CAP_NET_ADMIN;"), "{only_bpf:?}");
    }

    #[test]
    fn types_of_the_kernel() {
        assert_eq!(btf(true).state.as_str(), "ok");
        assert_eq!(btf(false).state.as_str(), "fail");
    }
}
