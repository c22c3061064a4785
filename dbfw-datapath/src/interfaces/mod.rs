//! The host's interfaces, listed over rtnetlink, and those that a configuration names.

pub mod ethtool;
mod selection;

use std::io;

use futures_util::TryStreamExt as _;
use glob::Pattern;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, Prop,
};
use rtnetlink::Handle;

pub use selection::{Interfaces, Unmatchable, is_glob};

use crate::sys;

/// The header that a link's frames begin with: it decides which program fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// None: the packet begins with its IP header (tun, WireGuard, IP tunnels).
    Network,
}

/// The kind of an interface, as far as the choice of its hook depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hardware, or one end of a pair: made of no other interface.
    Plain,
    /// A bond.
    Bond,
    /// A team.
    Team,
    /// A bridge.
    Bridge,
    /// A routing domain.
    Vrf,
    /// A VLAN of another interface.
    Vlan,
    /// A macvlan, macvtap or ipvlan of another interface.
    MacVlan,
    /// A sit or GRE tunnel: XDP sees the headers that carried its packets before the packets.
    Tunnel,
}

impl Kind {
    /// Whether other interfaces are put into it.
    pub const fn is_master(self) -> bool {
        matches!(self, Self::Bond | Self::Team | Self::Bridge | Self::Vrf)
    }

    /// Whether it is made of other interfaces.
    pub const fn is_stacked(self) -> bool {
        !matches!(self, Self::Plain | Self::Tunnel)
    }
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its alternative names.
    pub altnames: Vec<String>,
    /// Index, unique within the network namespace.
    pub index: u32,
    /// `None`: a kind of link no program fits, or loopback.
    pub layer: Option<Layer>,
    /// Loopback.
    pub loopback: bool,
    /// Its kind.
    pub kind: Kind,
    /// Index of the bond, bridge, … that it is part of.
    pub master: Option<u32>,
    /// Index of the interface below it, where there is one of that.
    pub lower: Option<u32>,
    /// Its driver, where it has hardware or is a veth or tun device.
    pub driver: Option<String>,
    /// Set up by the administrator.
    pub up: bool,
    /// Bytes.
    pub mtu: u32,
    /// There is a device (PCI, virtio, …) behind it.
    pub hardware: bool,
    /// Id of the XDP program attached to it; several modes at once are told as one.
    pub xdp_program: Option<u32>,
}

impl Interface {
    /// An Ethernet interface that is up, and nothing else.
    pub fn ethernet(name: &str, index: u32) -> Self {
        Self {
            name: name.to_owned(),
            altnames: Vec::new(),
            index,
            layer: Some(Layer::Ethernet),
            loopback: false,
            kind: Kind::Plain,
            master: None,
            lower: None,
            driver: None,
            up: true,
            mtu: 1500,
            hardware: false,
            xdp_program: None,
        }
    }

    /// Whether `name` is its name or an alternative one.
    pub fn has_name(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }

    /// Whether a glob matches its name or an alternative one.
    pub fn is_called(&self, pattern: &Pattern) -> bool {
        pattern.matches(&self.name) || self.altnames.iter().any(|name| pattern.matches(name))
    }

    /// Whether `interfaces` covers it: the one definition, for the agent and those who look.
    pub fn is_covered_by(&self, interfaces: &Interfaces) -> bool {
        match (interfaces, self.layer) {
            (_, None) => false,
            (Interfaces::Auto, Some(layer)) => self.hardware && layer == Layer::Ethernet,
            (Interfaces::Matching(patterns), Some(_)) => {
                patterns.iter().any(|pattern| self.is_called(pattern))
            }
        }
    }
}

/// Every interface of the network namespace.
///
/// # Errors
/// The kernel does not list them.
pub async fn list(handle: &Handle) -> Result<Vec<Interface>, rtnetlink::Error> {
    let mut found: Vec<Interface> =
        handle.link().get().execute().map_ok(|message| interface(&message)).try_collect().await?;
    for interface in &mut found {
        if interface.hardware && interface.driver.is_none() {
            interface.driver = ethtool::driver(&interface.name).ok();
        }
        // XDP of either mode would judge what carried the packet.
        if interface.kind == Kind::Tunnel && !sys::has_tcx() {
            interface.layer = None;
        }
    }
    Ok(found)
}

/// As [`list`], for callers without a runtime. Blocks.
///
/// # Errors
/// The kernel does not list them.
pub fn list_now() -> io::Result<Vec<Interface>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let listed = list(&handle).await;
        connection.abort();
        listed.map_err(|error| io::Error::other(format!("cannot list the interfaces: {error}")))
    })
}

/// The interface a netlink message tells of.
pub fn interface(message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        layer: layer(message.header.link_layer_type),
        loopback: message.header.link_layer_type == LinkLayerType::Loopback,
        kind: match message.header.link_layer_type {
            LinkLayerType::Sit | LinkLayerType::Ipgre | LinkLayerType::Ip6gre => Kind::Tunnel,
            _ => Kind::Plain,
        },
        up: message.header.flags.contains(LinkFlags::Up),
        ..Interface::ethernet("", message.header.index)
    };
    let names_namespace = |attribute: &_| matches!(attribute, LinkAttribute::LinkNetNsId(_));
    let is_elsewhere = message.attributes.iter().any(names_namespace);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::PropList(properties) => {
                interface.altnames.extend(properties.iter().filter_map(altname));
            }
            LinkAttribute::LinkInfo(info) => {
                for info in info {
                    if let LinkInfo::Kind(info) = info {
                        interface.kind = kind(info).unwrap_or(interface.kind);
                        interface.driver = virtual_driver(info).map(str::to_owned);
                    }
                }
            }
            LinkAttribute::Controller(index) => interface.master = Some(*index),
            // The index is of another network namespace where that is named, as for a veth's peer.
            LinkAttribute::Link(index) if *index != 0 && !is_elsewhere => {
                interface.lower = Some(*index);
            }
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::ParentDevName(_) => interface.hardware = true,
            LinkAttribute::Xdp(xdp) => interface.xdp_program = xdp_program(xdp),
            _ => {}
        }
    }
    interface
}

fn kind(info: &InfoKind) -> Option<Kind> {
    Some(match info {
        InfoKind::Bond => Kind::Bond,
        InfoKind::Team => Kind::Team,
        InfoKind::Bridge => Kind::Bridge,
        InfoKind::Vrf => Kind::Vrf,
        InfoKind::Vlan => Kind::Vlan,
        InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap => {
            Kind::MacVlan
        }
        _ => return None,
    })
}

/// The driver behind a kind of virtual device, where native XDP in it is known.
fn virtual_driver(info: &InfoKind) -> Option<&'static str> {
    match info {
        InfoKind::Veth => Some("veth"),
        InfoKind::Tun => Some("tun"),
        _ => None,
    }
}

fn altname(property: &Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

fn layer(link_type: LinkLayerType) -> Option<Layer> {
    match link_type {
        LinkLayerType::Ether => Some(Layer::Ethernet),
        // tun and WireGuard say None (ARPHRD_NONE); the tunnels have types of their own.
        LinkLayerType::None
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Rawip
        | LinkLayerType::Ppp
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre => Some(Layer::Network),
        _ => None,
    }
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id)
            if *id != 0 =>
        {
            Some(*id)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_interfaces_are_covered() {
        let matching =
            Interfaces::Matching(["eth*", "wg0", "lo"].map(|p| Pattern::new(p).unwrap()).into());
        for (name, altname, layer, hardware, auto, named) in [
            ("eth0", None, Some(Layer::Ethernet), true, true, true),
            ("eth1", None, Some(Layer::Ethernet), false, false, true),
            ("docker0", None, Some(Layer::Ethernet), false, false, false),
            ("wan", Some("eth7"), Some(Layer::Ethernet), true, true, true),
            ("wan", Some("wg0"), Some(Layer::Ethernet), false, false, true),
            ("wan", Some("enp3s0"), Some(Layer::Ethernet), false, false, false),
            ("wg0", None, Some(Layer::Network), false, false, true),
            ("wwan0", None, Some(Layer::Network), true, false, false),
            ("lo", None, None, false, false, false),
        ] {
            let mut interface = Interface { layer, hardware, ..Interface::ethernet(name, 2) };
            interface.altnames.extend(altname.map(str::to_owned));
            assert_eq!(interface.is_covered_by(&Interfaces::Auto), auto, "{name} {altname:?}");
            assert_eq!(interface.is_covered_by(&matching), named, "{name} {altname:?}");
        }
    }
}
