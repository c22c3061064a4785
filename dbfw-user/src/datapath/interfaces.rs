//! The host's interfaces, as rtnetlink tells them.

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkXdp};
use rtnetlink::Handle;

use crate::config::Interfaces;

/// Which header a link's frames begin with: it decides which program fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// None: the packet begins with its IP header (tun, WireGuard, IP tunnels).
    Network,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, without aliases.
    pub name: String,
    /// Index, unique within the network namespace.
    pub index: u32,
    /// `None`: a kind of link no program fits, or loopback.
    pub layer: Option<Layer>,
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
    /// Whether `interfaces` covers it: the one definition, for the agent and `dbfw doctor`.
    pub fn is_covered_by(&self, interfaces: &Interfaces) -> bool {
        match (interfaces, self.layer) {
            (_, None) => false,
            (Interfaces::Auto, Some(layer)) => self.hardware && layer == Layer::Ethernet,
            (Interfaces::Matching(patterns), Some(_)) => {
                patterns.iter().any(|pattern| pattern.matches(&self.name))
            }
        }
    }
}

/// Every interface of the network namespace.
pub async fn list(handle: &Handle) -> Result<Vec<Interface>, rtnetlink::Error> {
    handle.link().get().execute().map_ok(|message| interface(&message)).try_collect().await
}

/// The interface a netlink message tells of.
pub fn interface(message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        name: String::new(),
        index: message.header.index,
        layer: layer(message.header.link_layer_type),
        up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        hardware: false,
        xdp_program: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::ParentDevName(_) => interface.hardware = true,
            LinkAttribute::Xdp(xdp) => interface.xdp_program = xdp_program(xdp),
            _ => {}
        }
    }
    interface
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
        | LinkLayerType::Ppp => Some(Layer::Network),
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
    use glob::Pattern;

    use super::*;

    #[test]
    fn which_interfaces_are_covered() {
        let interface = |name: &str, layer, hardware| Interface {
            name: name.to_owned(),
            index: 2,
            layer,
            up: true,
            mtu: 1500,
            hardware,
            xdp_program: None,
        };
        let matching =
            Interfaces::Matching(["eth*", "wg0", "lo"].map(|p| Pattern::new(p).unwrap()).into());
        for (name, layer, hardware, auto, named) in [
            ("eth0", Some(Layer::Ethernet), true, true, true),
            ("eth1", Some(Layer::Ethernet), false, false, true),
            ("docker0", Some(Layer::Ethernet), false, false, false),
            ("wg0", Some(Layer::Network), false, false, true),
            ("wwan0", Some(Layer::Network), true, false, false),
            ("lo", None, false, false, false),
        ] {
            let interface = interface(name, layer, hardware);
            assert_eq!(interface.is_covered_by(&Interfaces::Auto), auto, "{name}");
            assert_eq!(interface.is_covered_by(&matching), named, "{name}");
        }
    }
}
