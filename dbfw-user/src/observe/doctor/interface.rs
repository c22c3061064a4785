use std::path::{Path, PathBuf};

use super::{Finding, host::Host, kernel::unreadable};
use crate::config::{AgentConfig, Attach, Interfaces};

const CLASS_NET: &str = "/sys/class/net";

/// Link types (ARPHRD_*) whose frames begin with the IP header: none (tun, WireGuard), PPP,
/// raw IP, and the IP tunnels.
const WITHOUT_HEADER: [u32; 6] = [65534, 512, 519, 768, 769, 776];
const ETHERNET: u32 = 1;
const LOOPBACK: u32 = 772;

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

pub(super) fn check(
    host: &Host,
    agent: &AgentConfig,
    foreign_xdp: &dyn Fn(&str) -> Option<u32>,
) -> Vec<Finding> {
    let (names, mut findings) = covered(host, &agent.interfaces);
    for name in names {
        let base = Path::new(CLASS_NET).join(&name);
        findings.push(match number(host, base.join("type")) {
            Ok(link_type) => layer(&name, link_type),
            Err(finding) => finding.unwrap_or_else(|| vanished(&name)),
        });
        let driver = host.link_name(base.join("device/driver"));
        match number(host, base.join("mtu")) {
            Ok(bytes) => findings.push(mtu(&name, driver.as_deref(), bytes, agent.attach)),
            Err(finding) => findings.extend(finding),
        }
        findings.extend(lro(&name, host.lro(&name)));
        findings.push(other_xdp(&name, foreign_xdp(&name), agent.attach));
    }
    findings
}

/// The interfaces the configuration covers, and what is wrong with that.
fn covered(host: &Host, interfaces: &Interfaces) -> (Vec<String>, Vec<Finding>) {
    let present: Vec<String> = host
        .names(CLASS_NET)
        .into_iter()
        .filter(|name| {
            let link_type = host.read(Path::new(CLASS_NET).join(name).join("type"));
            link_type.is_ok_and(|link_type| link_type != LOOPBACK.to_string())
        })
        .collect();
    match interfaces {
        Interfaces::Auto => {
            let hardware =
                |name: &String| host.exists(Path::new(CLASS_NET).join(name).join("device"));
            let names: Vec<String> =
                present.iter().filter(|name| hardware(name)).cloned().collect();
            let findings = if names.is_empty() {
                vec![Finding::fail(
                    "interfaces",
                    "no interface has hardware behind it, so interfaces = \"auto\" covers none",
                    format!("set interfaces in [agent] to some of: {}", present.join(", ")),
                )]
            } else {
                vec![Finding::ok("interfaces", format!("covered: {}", names.join(", ")))]
            };
            (names, findings)
        }
        Interfaces::Matching(patterns) => {
            let names: Vec<String> = present
                .iter()
                .filter(|name| patterns.iter().any(|pattern| pattern.matches(name)))
                .cloned()
                .collect();
            let mut findings: Vec<Finding> = patterns
                .iter()
                .filter(|pattern| !present.iter().any(|name| pattern.matches(name)))
                .map(|pattern| {
                    Finding::warn(
                        "interfaces",
                        format!("no interface matches {pattern:?} yet", pattern = pattern.as_str()),
                        format!("set interfaces in [agent] to some of: {}", present.join(", ")),
                    )
                })
                .collect();
            if !names.is_empty() {
                findings.push(Finding::ok("interfaces", format!("covered: {}", names.join(", "))));
            }
            (names, findings)
        }
    }
}

/// A number in a file of /sys; on failure what to report, if the interface is still there.
fn number(host: &Host, path: PathBuf) -> Result<u32, Option<Finding>> {
    match host.read(&path) {
        Ok(text) => text.parse().map_err(|_| None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(None),
        Err(error) => Err(Some(unreadable("interfaces", &path.to_string_lossy(), &error))),
    }
}

fn vanished(name: &str) -> Finding {
    Finding::warn(
        format!("link {name}"),
        "the kernel does not tell its link type; it may have been removed just now",
        format!("ip -d link show dev {name}"),
    )
}

fn layer(name: &str, link_type: u32) -> Finding {
    let check = format!("link {name}");
    if link_type == ETHERNET {
        Finding::ok(check, "Ethernet")
    } else if WITHOUT_HEADER.contains(&link_type) {
        Finding::ok(check, "packets without an Ethernet header; the program for those is used")
    } else {
        Finding::fail(
            check,
            format!(
                "dbfw has no program for links of type {link_type}: only the backstop judges it"
            ),
            "keep backstop = true and leave the interface out of interfaces in [agent]",
        )
    }
}

fn mtu(name: &str, driver: Option<&str>, bytes: u32, attach: Attach) -> Finding {
    let check = format!("mtu {name}");
    let Some(driver) = driver else {
        return Finding::ok(check, format!("{bytes}; a virtual device"));
    };
    let limit = SINGLE_BUFFER.iter().find(|(known, _)| *known == driver).map(|(_, limit)| *limit);
    match limit {
        Some(limit) if bytes > limit => {
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

fn other_xdp(name: &str, program: Option<u32>, attach: Attach) -> Finding {
    let check = format!("xdp {name}");
    let Some(id) = program else { return Finding::ok(check, "no other XDP program is attached") };
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

    #[test]
    fn mtu_and_driver() {
        for (driver, bytes, attach, state) in [
            (Some("virtio_net"), 9000, Attach::Native, "ok"),
            (Some("ena"), 9001, Attach::Native, "fail"),
            (Some("ena"), 9001, Attach::Auto, "warn"),
            (Some("ena"), 9001, Attach::Tcx, "ok"),
            (Some("ena"), 3498, Attach::Native, "ok"),
            (Some("r8169"), 9000, Attach::Auto, "ok"),
            (None, 65535, Attach::Auto, "ok"),
        ] {
            assert_eq!(mtu("eth0", driver, bytes, attach).state, state, "{driver:?} {attach:?}");
        }
        let finding = mtu("eth0", Some("ena"), 9001, Attach::Auto);
        assert_eq!(finding.fix.as_deref(), Some("ip link set dev eth0 mtu 3498"));
    }

    #[test]
    fn link_types() {
        assert_eq!(layer("eth0", 1).state, "ok");
        assert_eq!(layer("wg0", 65534).state, "ok");
        assert_eq!(layer("can0", 280).state, "fail");
    }

    #[test]
    fn offload_and_other_programs() {
        assert_eq!(lro("eth0", None), None);
        assert_eq!(lro("eth0", Some(false)).map(|finding| finding.state), Some("ok".into()));
        let finding = lro("eth0", Some(true)).unwrap();
        assert_eq!(finding.fix.as_deref(), Some("ethtool -K eth0 lro off"));
        assert_eq!(other_xdp("eth0", None, Attach::Native).state, "ok");
        assert_eq!(other_xdp("eth0", Some(7), Attach::Native).state, "fail");
        assert_eq!(other_xdp("eth0", Some(7), Attach::Auto).state, "warn");
        assert_eq!(other_xdp("eth0", Some(7), Attach::Tcx).state, "ok");
    }
}
