//! Checks of the interfaces that the configuration names.

use std::collections::BTreeSet;

use dbfw_datapath::{
    Attach, HookMode, Interface, Interfaces, KernelVersion, Layer,
    hook::{Choice, HookContext, MtuChange, NativeObstacle, NativeXdp, native_xdp},
    interfaces::is_glob,
};
use dbfw_wire::control::Finding;

use super::{finding, host::Host, links::Links};
use crate::{
    config::AgentConfig,
    protection::{Coverage, Degradation},
};

pub(super) fn check(host: &Host, agent: &AgentConfig, links: &Links) -> Vec<Finding> {
    let present = match &links.interfaces {
        Ok(interfaces) => interfaces,
        Err(error) => {
            return vec![finding::warn("interfaces", format!("not checked: {error}"), "ip link")];
        }
    };
    let coverage = Coverage::of(present, agent);
    let mut findings = uncovered(present, agent, &coverage);
    let covered: Vec<&Interface> =
        present.iter().filter(|interface| coverage.covers(interface.index)).collect();
    if !covered.is_empty() {
        findings.push(finding::ok("interfaces", format!("covered: {}", names(&covered))));
    }
    let site = HookContext {
        present,
        covers: &|index| coverage.covers(index),
        attach: agent.attach,
        has_tcx: dbfw_datapath::has_tcx(),
        kernel: KernelVersion::running(),
    };
    for interface in covered {
        let name = &interface.name;
        findings.push(layer(interface));
        let choice = Choice::of(interface, None, &site);
        findings.extend(stacked(interface, &choice));
        findings.push(mtu(interface, agent.attach, site.kernel));
        findings.extend(flap(interface, &choice, site.kernel));
        findings.extend(lro(name, host.lro(name)));
        findings.push(other_xdp(name, interface.xdp_program, links.ours.as_ref(), agent.attach));
    }
    findings
}

/// Interfaces that the configuration names and does not cover.
fn uncovered(present: &[Interface], agent: &AgentConfig, coverage: &Coverage) -> Vec<Finding> {
    let wanted = &agent.interfaces;
    let possible: Vec<&Interface> =
        present.iter().filter(|interface| interface.layer.is_some()).collect();
    let fix = || format!("set interfaces in [agent] to some of: {}", names(&possible));
    if *wanted == Interfaces::Auto
        && !present.iter().any(|interface| coverage.covers(interface.index))
    {
        let detail = "no interface has hardware behind it, so interfaces = \"auto\" covers none";
        return vec![finding::fail("interfaces", detail, fix())];
    }
    let unmatched = wanted
        .patterns()
        .iter()
        .filter(|pattern| is_glob(pattern.as_str()))
        .filter(|pattern| !present.iter().any(|interface| interface.is_called(pattern)))
        .map(|pattern| {
            let detail = format!("no interface matches {:?} yet", pattern.as_str());
            finding::warn("interfaces", detail, fix())
        });
    let told = coverage.degradations().iter().filter_map(|degradation| match degradation {
        Degradation::Absent { name } => {
            Some(finding::warn("interfaces", format!("no interface is called {name:?} yet"), fix()))
        }
        Degradation::Unmatchable { name, reason } => {
            Some(finding::warn("interfaces", format!("{name}: {reason}"), reason.fix()))
        }
        Degradation::Unfit { index, .. } => {
            present.iter().find(|interface| interface.index == *index).map(layer)
        }
        Degradation::TooManyExempt { .. } => Some(finding::warn(
            "exempt_interfaces",
            degradation.to_string(),
            "name fewer in exempt_interfaces in [agent]",
        )),
        _ => None,
    });
    unmatched.chain(told).collect()
}

fn names(interfaces: &[&Interface]) -> String {
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    names.join(", ")
}

fn layer(interface: &Interface) -> Finding {
    let check = format!("link {}", interface.name);
    match interface.layer {
        Some(Layer::Ethernet) => finding::ok(check, "Ethernet"),
        Some(Layer::Network) => {
            finding::ok(check, "packets without an Ethernet header; the program for those is used")
        }
        None => finding::fail(
            check,
            "dbfw has no program for this kind of link: only the backstop judges it",
            "keep backstop = true and leave the interface out of interfaces in [agent]",
        ),
    }
}

/// Filtering of an interface that is made of others.
fn stacked(interface: &Interface, choice: &Choice) -> Option<Finding> {
    let check = format!("hook {}", interface.name);
    match choice {
        Choice::Below => Some(finding::ok(
            check,
            "nothing is attached to it: the interfaces below it are filtered, and XDP on it would \
             keep the kernel from adding more",
        )),
        Choice::Modes { modes, why: Some(why @ NativeObstacle::Stacked) } => {
            let modes: Vec<_> = modes.iter().map(|mode| mode.as_str()).collect();
            Some(finding::ok(check, format!("{} ({why})", modes.join(", "))))
        }
        Choice::Modes { .. } => None,
    }
}

/// Whether the mode that is used carries the MTU, and what native mode would take.
fn mtu(interface: &Interface, attach: Attach, kernel: KernelVersion) -> Finding {
    let Interface { name, mtu: bytes, .. } = interface;
    let check = format!("mtu {name}");
    if matches!(attach, Attach::Tcx | Attach::Generic) {
        return finding::ok(check, format!("{bytes}; does not matter for this attach mode"));
    }
    if !interface.hardware {
        return finding::ok(check, format!("{bytes}; a virtual device"));
    }
    let Some(driver) = &interface.driver else {
        return finding::ok(check, format!("{bytes}; the driver is not known"));
    };
    let Some(native) = native_xdp(driver, kernel) else {
        return finding::ok(
            check,
            format!("{bytes}; dbfw finds out by trying whether driver {driver} supports XDP"),
        );
    };
    let instead = "TCX is used, or generic XDP before Linux 6.6";
    match (native.mtu, attach) {
        (MtuChange::Refused { largest } | MtuChange::Unsafe { largest }, Attach::Native)
            if *bytes > largest =>
        {
            finding::fail(
                check,
                format!(
                    "driver {driver} supports XDP only up to an MTU of {largest}, and it \
                         is {bytes}"
                ),
                format!("ip link set dev {name} mtu {largest}"),
            )
        }
        (MtuChange::Refused { largest }, Attach::Native) => finding::ok(
            check,
            format!(
                "{bytes}; while dbfw is attached, driver {driver} refuses an MTU above {largest}, \
                 also from DHCP"
            ),
        ),
        (MtuChange::Unsafe { largest }, Attach::Native) => finding::warn(
            check,
            format!(
                "{bytes}; driver {driver} accepts an MTU above {largest} later, and then loses \
                 larger frames or does not judge them"
            ),
            "set attach = \"auto\" in [agent]",
        ),
        (MtuChange::Refused { largest }, _) => finding::ok(
            check,
            format!(
                "{bytes}; {instead}, because driver {driver} would refuse an MTU above \
                     {largest} from then on. To use native XDP all the same: ip link set dev \
                     {name} mtu {largest}, and attach = \"native\" in [agent]"
            ),
        ),
        (MtuChange::Unsafe { largest }, _) => finding::ok(
            check,
            format!(
                "{bytes}; {instead}, because driver {driver} loses frames or does not judge them \
                 if the MTU exceeds {largest}"
            ),
        ),
        (MtuChange::Carried, _) => match native.first_loses_above {
            Some(largest) if *bytes > largest && interface.up => finding::ok(
                check,
                format!(
                    "{bytes}; {instead} unless the interface is down when dbfw attaches, because \
                         driver {driver} loses frames above {largest} for about a minute after a first \
                         native attachment. To use native XDP all the same: attach = \"native\" in \
                         [agent]"
                ),
            ),
            _ => finding::ok(check, format!("{bytes}; driver {driver} carries every frame")),
        },
    }
}

/// A warning if a first native attachment resets the driver's queues.
fn flap(interface: &Interface, choice: &Choice, kernel: KernelVersion) -> Option<Finding> {
    let NativeXdp { first_flaps, .. } = native_xdp(interface.driver.as_deref()?, kernel)?;
    let attaches = choice.allows(HookMode::Native) && interface.xdp_program.is_none();
    (first_flaps && attaches && interface.up).then(|| {
        finding::warn(
            format!("native {}", interface.name),
            "the first native attachment resets the driver's queues: the link may be down for \
             some seconds",
            "start dbfw while no connection depends on the link, or set attach = \"tcx\" in \
             [agent]",
        )
    })
}

fn lro(name: &str, on: Option<bool>) -> Option<Finding> {
    let check = format!("lro {name}");
    match on? {
        true => Some(finding::warn(
            check,
            "large receive offload is on: many drivers refuse XDP programs then",
            format!("ethtool -K {name} lro off"),
        )),
        false => Some(finding::ok(check, "large receive offload is off")),
    }
}

/// `ours`: ids of dbfw's programs; `None`: this process may not know them.
fn other_xdp(
    name: &str,
    program: Option<u32>,
    ours: Option<&BTreeSet<u32>>,
    attach: Attach,
) -> Finding {
    let check = format!("xdp {name}");
    let id = match (program, ours) {
        (Some(id), None) => {
            let detail =
                format!("XDP program {id} is attached; only root can find out whose it is");
            return finding::ok(check, detail);
        }
        (Some(id), Some(ours)) if !ours.contains(&id) => id,
        _ => return finding::ok(check, "no other XDP program is attached"),
    };
    let detail = format!("another XDP program, {id}, is attached");
    let fix = format!(
        "bpftool prog show id {id}; to remove it: ip link set dev {name} xdp off (its owner may \
         hold it: bpftool link show)"
    );
    match attach {
        Attach::Native | Attach::Generic => {
            finding::fail(check, detail + ": dbfw cannot attach in this mode", fix)
        }
        Attach::Auto => finding::warn(check, detail + ": dbfw uses TCX behind it", fix),
        Attach::Tcx => finding::ok(check, detail + "; dbfw uses TCX behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, layer: Option<Layer>, mtu: u32) -> Interface {
        Interface { layer, mtu, ..Interface::ethernet(name, 2) }
    }

    #[test]
    fn mtu_and_driver() {
        let (old, new) =
            (KernelVersion { major: 6, minor: 1 }, KernelVersion { major: 6, minor: 12 });
        let checked = |driver: Option<&str>, bytes, attach, kernel| {
            let mut interface = interface("eth0", Some(Layer::Ethernet), bytes);
            interface.driver = driver.map(str::to_owned);
            interface.hardware = driver.is_some();
            mtu(&interface, attach, kernel)
        };
        for (driver, bytes, attach, kernel, state, said) in [
            (Some("virtio_net"), 9000, Attach::Native, new, "ok", "about a minute"),
            (Some("virtio_net"), 9000, Attach::Native, old, "fail", "up to an MTU of 3506"),
            (Some("virtio_net"), 1500, Attach::Native, old, "warn", "above 3506 later"),
            (Some("virtio_net"), 1500, Attach::Auto, old, "ok", "TCX is used"),
            (Some("virtio_net"), 1500, Attach::Auto, new, "ok", "carries every frame"),
            (Some("ena"), 9001, Attach::Native, new, "fail", "up to an MTU of 3498"),
            (Some("ena"), 9001, Attach::Auto, new, "ok", "ip link set dev eth0 mtu 3498"),
            (Some("ena"), 9001, Attach::Tcx, new, "ok", "does not matter"),
            (Some("ena"), 3498, Attach::Native, new, "ok", "also from DHCP"),
            (Some("r8169"), 9000, Attach::Auto, new, "ok", "finds out by trying"),
            (None, 65535, Attach::Auto, new, "ok", "a virtual device"),
        ] {
            let finding = checked(driver, bytes, attach, kernel);
            assert_eq!(finding.state.as_str(), state, "{driver:?} {attach:?} {kernel}");
            assert!(finding.detail.contains(said), "{driver:?} {attach:?}: {}", finding.detail);
        }
        let finding = checked(Some("ena"), 9001, Attach::Native, new);
        assert_eq!(finding.fix.as_deref(), Some("ip link set dev eth0 mtu 3498"));
    }

    #[test]
    fn a_first_native_attachment_that_may_flap_the_link_is_a_warning() {
        let kernel = KernelVersion { major: 6, minor: 12 };
        let native = Choice::Modes { modes: vec![HookMode::Native], why: None };
        let tcx = Choice::Modes { modes: vec![HookMode::Tcx], why: None };
        for (driver, program, up, choice, warns) in [
            ("ixgbe", None, true, &native, true),
            ("ixgbe", Some(7), true, &native, false),
            ("ixgbe", None, false, &native, false),
            ("ixgbe", None, true, &tcx, false),
            ("virtio_net", None, true, &native, false),
        ] {
            let mut interface = interface("eth0", Some(Layer::Ethernet), 1500);
            interface.driver = Some(driver.to_owned());
            (interface.xdp_program, interface.up) = (program, up);
            assert_eq!(flap(&interface, choice, kernel).is_some(), warns, "{driver} {program:?}");
        }
    }

    #[test]
    fn kinds_of_link() {
        for (kind, state) in
            [(Some(Layer::Ethernet), "ok"), (Some(Layer::Network), "ok"), (None, "fail")]
        {
            assert_eq!(layer(&interface("x", kind, 1500)).state.as_str(), state, "{kind:?}");
        }
    }

    #[test]
    fn offload_and_other_programs() {
        assert_eq!(lro("eth0", None), None);
        assert_eq!(lro("eth0", Some(false)).map(|finding| finding.state.as_str()), Some("ok"));
        let finding = lro("eth0", Some(true)).unwrap();
        assert_eq!(finding.fix.as_deref(), Some("ethtool -K eth0 lro off"));
        let ours = BTreeSet::from([8]);
        for (program, attach, state) in [
            (None, Attach::Native, "ok"),
            (Some(8), Attach::Native, "ok"),
            (Some(7), Attach::Native, "fail"),
            (Some(7), Attach::Auto, "warn"),
            (Some(7), Attach::Tcx, "ok"),
        ] {
            let finding = other_xdp("eth0", program, Some(&ours), attach);
            assert_eq!(finding.state.as_str(), state, "{finding:?}");
        }
        let finding = other_xdp("eth0", Some(8), None, Attach::Native);
        assert_eq!(finding.state.as_str(), "ok", "it may be ours: {finding:?}");
    }
}
