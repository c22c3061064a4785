use std::{collections::BTreeSet, path::Path};

use super::{Finding, Links, host::Host};
use crate::{
    config::{AgentConfig, Attach, Interfaces},
    datapath::{Interface, Layer},
};

const CLASS_NET: &str = "/sys/class/net";

/// Drivers that take a multi-buffer program, so that the MTU does not matter.
const MULTI_BUFFER: [&str; 10] = [
    "veth",
    "virtio_net",
    "atlantic",
    "bnxt_en",
    "i40e",
    "ice",
    "mvneta",
    "mvpp2",
    "mlx5_core",
    "fbnic",
];

/// Drivers that take a program only if a frame fits one buffer, and the largest MTU for
/// that. Where no figure is published, it is the page less headers and head room.
const SINGLE_BUFFER: [(&str, u32); 8] = [
    ("ena", 3498),
    ("ixgbe", 3050),
    ("igb", 3000),
    ("igc", 1500),
    ("gve", 2032),
    ("hv_netvsc", 3000),
    ("mlx4_en", 3000),
    ("vmxnet3", 3000),
];

pub(super) fn check(host: &Host, agent: &AgentConfig, links: &Links) -> Vec<Finding> {
    let present = match &links.interfaces {
        Ok(interfaces) => interfaces,
        Err(error) => {
            return vec![Finding::warn("interfaces", format!("not checked: {error}"), "ip link")];
        }
    };
    let mut findings = uncovered(present, &agent.interfaces);
    let covered: Vec<&Interface> =
        present.iter().filter(|interface| interface.is_covered_by(&agent.interfaces)).collect();
    if !covered.is_empty() {
        findings.push(Finding::ok("interfaces", format!("covered: {}", names(&covered))));
    }
    for interface in covered {
        let name = &interface.name;
        findings.push(layer(interface));
        let driver = driver(host, interface);
        findings.push(mtu(interface, driver.as_deref(), agent.attach));
        findings.extend(lro(name, host.lro(name)));
        findings.push(other_xdp(name, interface.xdp_program, links.ours.as_ref(), agent.attach));
    }
    findings
}

/// What the configuration wants to cover and does not.
fn uncovered(present: &[Interface], wanted: &Interfaces) -> Vec<Finding> {
    let possible: Vec<&Interface> =
        present.iter().filter(|interface| interface.layer.is_some()).collect();
    let fix = || format!("set interfaces in [agent] to some of: {}", names(&possible));
    let patterns = match wanted {
        Interfaces::Auto if present.iter().any(|interface| interface.is_covered_by(wanted)) => {
            return Vec::new();
        }
        Interfaces::Auto => {
            let detail =
                "no interface has hardware behind it, so interfaces = \"auto\" covers none";
            return vec![Finding::fail("interfaces", detail, fix())];
        }
        Interfaces::Matching(patterns) => patterns,
    };
    let unmatched = patterns
        .iter()
        .filter(|pattern| !present.iter().any(|interface| pattern.matches(&interface.name)))
        .map(|pattern| {
            let detail = format!("no interface matches {:?} yet", pattern.as_str());
            Finding::warn("interfaces", detail, fix())
        });
    let unfit = wanted.exact_names().into_iter().filter_map(|name| {
        let unfit = |interface: &&Interface| interface.name == name && interface.layer.is_none();
        present.iter().find(unfit).map(layer)
    });
    unmatched.chain(unfit).collect()
}

fn names(interfaces: &[&Interface]) -> String {
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    names.join(", ")
}

/// Its driver, by sysfs. That may be the one of another network namespace, where another
/// interface has the name.
fn driver(host: &Host, interface: &Interface) -> Option<String> {
    let base = Path::new(CLASS_NET).join(&interface.name);
    let index: u32 = host.read(base.join("ifindex")).ok()?.parse().ok()?;
    if index != interface.index {
        return None;
    }
    host.link_name(base.join("device/driver"))
}

fn layer(interface: &Interface) -> Finding {
    let check = format!("link {}", interface.name);
    match interface.layer {
        Some(Layer::Ethernet) => Finding::ok(check, "Ethernet"),
        Some(Layer::Network) => {
            Finding::ok(check, "packets without an Ethernet header; the program for those is used")
        }
        None => Finding::fail(
            check,
            "dbfw has no program for this kind of link: only the backstop judges it",
            "keep backstop = true and leave the interface out of interfaces in [agent]",
        ),
    }
}

fn mtu(interface: &Interface, driver: Option<&str>, attach: Attach) -> Finding {
    let Interface { name, mtu: bytes, .. } = interface;
    let check = format!("mtu {name}");
    let Some(driver) = driver else {
        let detail = match interface.hardware {
            true => format!("{bytes}; the driver cannot be told from this network namespace"),
            false => format!("{bytes}; a virtual device"),
        };
        return Finding::ok(check, detail);
    };
    let limit = SINGLE_BUFFER.iter().find(|(known, _)| *known == driver).map(|(_, limit)| *limit);
    match limit {
        Some(limit) if *bytes > limit => {
            let fix = format!("ip link set dev {name} mtu {limit}");
            let detail = format!(
                "driver {driver} takes XDP programs only up to an MTU of about {limit}, and it \
                 is {bytes}"
            );
            match attach {
                Attach::Native => Finding::fail(check, detail + ": nothing will be attached", fix),
                Attach::Auto => Finding::warn(check, detail + ": TCX will be used instead", fix),
                Attach::Tcx | Attach::Generic => {
                    Finding::ok(check, format!("{bytes}; does not matter for this attach mode"))
                }
            }
        }
        Some(limit) => Finding::ok(
            check,
            format!("{bytes}; driver {driver} takes XDP programs up to about {limit}"),
        ),
        None if MULTI_BUFFER.contains(&driver) => {
            Finding::ok(check, format!("{bytes}; driver {driver} takes multi-buffer programs"))
        }
        None => Finding::ok(
            check,
            format!("{bytes}; whether driver {driver} takes XDP programs is found out by trying"),
        ),
    }
}

fn lro(name: &str, on: Option<bool>) -> Option<Finding> {
    let check = format!("lro {name}");
    match on? {
        true => Some(Finding::warn(
            check,
            "large receive offload is on: many drivers refuse XDP programs then",
            format!("ethtool -K {name} lro off"),
        )),
        false => Some(Finding::ok(check, "large receive offload is off")),
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
            let detail = format!("XDP program {id} is attached; whose it is only root can tell");
            return Finding::ok(check, detail);
        }
        (Some(id), Some(ours)) if !ours.contains(&id) => id,
        _ => return Finding::ok(check, "no other XDP program is attached"),
    };
    let detail = format!("XDP program {id} of somebody else is attached");
    let fix = format!(
        "bpftool prog show id {id}; to remove it: ip link set dev {name} xdp off (its owner may \
         hold it: bpftool link show)"
    );
    match attach {
        Attach::Native | Attach::Generic => {
            Finding::fail(check, detail + ": dbfw cannot attach in this mode", fix)
        }
        Attach::Auto => Finding::warn(check, detail + ": dbfw uses TCX behind it", fix),
        Attach::Tcx => Finding::ok(check, detail + "; dbfw uses TCX behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::interfaces::ethernet;

    fn interface(name: &str, layer: Option<Layer>, mtu: u32) -> Interface {
        Interface { layer, mtu, ..ethernet(name, 2) }
    }

    #[test]
    fn mtu_and_driver() {
        let checked = |driver, bytes, attach| {
            mtu(&interface("eth0", Some(Layer::Ethernet), bytes), driver, attach)
        };
        for (driver, bytes, attach, state) in [
            (Some("virtio_net"), 9000, Attach::Native, "ok"),
            (Some("ena"), 9001, Attach::Native, "fail"),
            (Some("ena"), 9001, Attach::Auto, "warn"),
            (Some("ena"), 9001, Attach::Tcx, "ok"),
            (Some("ena"), 3498, Attach::Native, "ok"),
            (Some("r8169"), 9000, Attach::Auto, "ok"),
            (None, 65535, Attach::Auto, "ok"),
        ] {
            assert_eq!(
                checked(driver, bytes, attach).state.as_str(),
                state,
                "{driver:?} {attach:?}"
            );
        }
        let finding = checked(Some("ena"), 9001, Attach::Auto);
        assert_eq!(finding.fix.as_deref(), Some("ip link set dev eth0 mtu 3498"));
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
