use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use dbfw_common::Mode;
use dbfw_core::{Port, policy::USUAL_MIN_LEN, trust::OnEmpty};
use dbfw_datapath::{Attach, Interface, Interfaces, Layer};
use dbfw_wire::control::FindingState;
use glob::Pattern;
use tempfile::TempDir;

use super::*;
use crate::{config::Fragments, protection::Attachments};

fn agent() -> AgentConfig {
    AgentConfig {
        interfaces: Interfaces::Auto,
        attach: Attach::Auto,
        backstop: true,
        exempt_interfaces: Vec::new(),
        fragments: Fragments::Pass,
        metrics_listen: None,
        state_dir: "/var/lib/dbfw".into(),
        run_dir: "/run/dbfw".into(),
        pin_dir: "/sys/fs/bpf/dbfw".into(),
        events_per_second: 1000,
        gone_after: Duration::from_secs(120),
        max_stale: None,
    }
}

pub(super) fn orders() -> DatabaseConfig {
    DatabaseConfig {
        name: "orders".into(),
        ports: Port { udp: false, port: 5432 }.into(),
        destinations: Default::default(),
        mode: Mode::Enforce,
        trusted_sources: Vec::new(),
        provider: None,
        on_empty: OnEmpty::Keep,
        max_shrink: 50,
        allow_any: false,
        min_prefix: USUAL_MIN_LEN,
        audit: Default::default(),
    }
}

fn tree(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (path, content) in files {
        write(directory.path(), path, content);
    }
    directory
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn healthy() -> TempDir {
    tree(&[
        ("proc/sys/kernel/osrelease", "6.12.0\n"),
        ("proc/sys/kernel/unprivileged_bpf_disabled", "2\n"),
        ("proc/sys/net/core/bpf_jit_enable", "1\n"),
        ("sys/kernel/btf/vmlinux", ""),
        ("sys/class/net/eth0/ifindex", "2\n"),
        ("sys/class/net/bonding_masters", "\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
        ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
        ("proc/sys/net/ipv4/conf/all/route_localnet", "0\n"),
        ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
        ("proc/sys/net/ipv4/conf/eth0/rp_filter", "2\n"),
        ("proc/net/tcp", "sl local rem st\n 0: 00000000:1538 00000000:0000 0A 0\n"),
    ])
}

fn link(name: &str, index: u32, layer: Option<Layer>, hardware: bool) -> Interface {
    Interface { layer, hardware, ..Interface::ethernet(name, index) }
}

fn links() -> Links {
    let ethernet = Some(Layer::Ethernet);
    let interfaces = vec![
        link("lo", 1, None, false),
        Interface { driver: Some("virtio_net".to_owned()), ..link("eth0", 2, ethernet, true) },
        link("veth1", 3, ethernet, false),
    ];
    Links {
        interfaces: Ok(interfaces),
        ours: Some(BTreeSet::new()),
        socket_lookup: Some(Vec::new()),
        backstops: BTreeSet::new(),
        attached: Some(Attachments::default()),
        new_addresses: Vec::new(),
        former_addresses: Vec::new(),
        agent_answers: true,
    }
}

fn find<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| {
        panic!("no check {check} in {findings:#?}");
    })
}

#[test]
fn a_healthy_host_has_nothing_but_the_missing_bpffs() {
    let directory = healthy();
    let findings =
        check_host(&Host::at(directory.path()), &Trial::Loaded, &agent(), &[orders()], &links());
    let bad: Vec<_> = findings.iter().filter(|finding| finding.state != FindingState::Ok).collect();
    assert_eq!(bad.len(), 1, "{bad:#?}");
    assert_eq!(bad[0].check, "bpffs");
    assert_eq!(find(&findings, "interfaces").detail, "covered: eth0");
    assert!(find(&findings, "mtu eth0").detail.contains("virtio_net"));
    assert!(find(&findings, "rp_filter").detail.ends_with("eth0 2"));
    assert!(find(&findings, "pin_dir").detail.contains("does not exist yet"));
}

#[test]
fn an_ill_host_is_told_how_to_get_well() {
    let directory = healthy();
    let root = directory.path();
    write(root, "proc/sys/kernel/osrelease", "5.10.0\n");
    fs::remove_file(root.join("sys/kernel/btf/vmlinux")).unwrap();
    write(root, "proc/sys/kernel/unprivileged_bpf_disabled", "0\n");
    write(root, "proc/sys/net/core/bpf_jit_enable", "0\n");
    write(root, "proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
    write(root, "proc/sys/net/ipv4/conf/eth0/route_localnet", "1\n");
    write(root, "proc/sys/net/ipv4/tcp_syncookies", "0\n");
    write(root, "proc/net/tcp", "header\n");
    write(root, "sys/fs/bpf/dbfw", "not a directory");
    let mut config = agent();
    config.interfaces =
        Interfaces::Matching(["veth*", "wg*"].map(|text| Pattern::new(text).unwrap()).into());

    let mut links = links();
    links.interfaces.as_mut().unwrap()[2].xdp_program = Some(42);
    let findings = check_host(&Host::at(root), &Trial::NotTried, &config, &[orders()], &links);
    for (check, state) in [
        ("kernel", "fail"),
        ("programs", "warn"),
        ("btf", "fail"),
        ("bpffs", "fail"),
        ("pin_dir", "fail"),
        ("bpf_jit", "warn"),
        ("unprivileged_bpf", "warn"),
        ("local_ports", "warn"),
        ("route_localnet", "warn"),
        ("tcp_syncookies", "warn"),
        ("listener orders", "warn"),
        ("interfaces", "warn"),
        ("xdp veth1", "warn"),
    ] {
        let finding = find(&findings, check);
        assert_eq!(finding.state.as_str(), state, "{finding:?}");
        assert!(finding.fix.as_deref().is_some(), "{finding:?}");
    }
    assert!(find(&findings, "interfaces").detail.contains("\"wg*\""));
}

#[test]
fn an_empty_tree_is_reported_and_does_not_panic() {
    let directory = TempDir::new().unwrap();
    let mut links = Links {
        interfaces: Ok(Vec::new()),
        ours: None,
        socket_lookup: None,
        backstops: BTreeSet::new(),
        attached: None,
        new_addresses: Vec::new(),
        former_addresses: Vec::new(),
        agent_answers: true,
    };
    let findings =
        check_host(&Host::at(directory.path()), &Trial::Loaded, &agent(), &[orders()], &links);
    assert_eq!(find(&findings, "kernel").fix.as_deref(), Some("sudo dbfw doctor"));
    assert_eq!(find(&findings, "interfaces").state.as_str(), "fail");
    links.interfaces = Err("no netlink here".to_owned());
    let findings =
        check_host(&Host::at(directory.path()), &Trial::Loaded, &agent(), &[orders()], &links);
    assert!(find(&findings, "interfaces").detail.contains("no netlink here"));
}

/// /proc/sys/net of another network namespace than the initial one.
#[test]
fn what_another_namespace_does_not_show_is_not_told() {
    let directory = healthy();
    fs::remove_file(directory.path().join("proc/sys/net/core/bpf_jit_enable")).unwrap();
    let findings =
        check_host(&Host::at(directory.path()), &Trial::Loaded, &agent(), &[orders()], &links());
    let finding = find(&findings, "bpf_jit");
    assert_eq!(finding.state.as_str(), "ok", "{finding:?}");
    assert!(finding.detail.contains("read in this network namespace"), "{finding:?}");
}

#[test]
fn an_interface_that_no_program_fits_is_named() {
    let directory = healthy();
    let mut config = agent();
    config.interfaces = Interfaces::Matching(["lo", "*"].map(|p| Pattern::new(p).unwrap()).into());
    let findings =
        check_host(&Host::at(directory.path()), &Trial::Loaded, &config, &[orders()], &links());
    assert_eq!(find(&findings, "link lo").state.as_str(), "fail");
    assert_eq!(find(&findings, "interfaces").detail, "covered: eth0, veth1");
}

#[test]
fn this_host_can_be_checked() {
    let findings = check_host(&Host::this(), &Trial::make(), &agent(), &[orders()], &links());
    assert!(["ok", "warn", "fail"].contains(&find(&findings, "kernel").state.as_str()));
    for finding in &findings {
        assert_eq!(
            finding.state == FindingState::Ok,
            finding.fix.as_deref().is_none(),
            "{finding:?}"
        );
    }
}
