//! Programs that are attached, and which of them judges what comes in by an interface.

use std::collections::BTreeSet;

use dbfw_datapath::{Interface, Kind, hook};

/// The attached programs of dbfw, as the kernel holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    hooks: BTreeSet<u32>,
    backstop: bool,
    exempt: BTreeSet<u32>,
}

/// The judge of what comes in by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// A program at its hook, or one at that of every interface below it.
    Hook,
    /// The backstop alone, which sees new connections to sockets of this host.
    Backstop,
    /// Nobody: the backstop lets the interface through.
    Exempt,
    /// Nobody: there is no backstop.
    Nobody,
}

impl Judge {
    /// Whether somebody judges.
    pub fn judges(self) -> bool {
        matches!(self, Self::Hook | Self::Backstop)
    }
}

impl Attachments {
    /// Programs at the hooks of interfaces, whether the backstop is attached, and the interfaces
    /// that it lets through, all by index.
    pub fn new(
        hooks: impl IntoIterator<Item = u32>,
        backstop: bool,
        exempt: impl IntoIterator<Item = u32>,
    ) -> Self {
        Self { hooks: hooks.into_iter().collect(), backstop, exempt: exempt.into_iter().collect() }
    }

    /// Whether a program is at the hook of the interface with this index.
    pub fn has_hook(&self, index: u32) -> bool {
        self.hooks.contains(&index)
    }

    /// Whether a program is at any hook.
    pub fn has_hooks(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Whether the backstop is attached.
    pub fn has_backstop(&self) -> bool {
        self.backstop
    }

    /// Whether the backstop lets the interface with this index through.
    pub fn exempts(&self, index: u32) -> bool {
        self.exempt.contains(&index)
    }

    /// The judge of what comes in by an interface.
    pub fn judge(&self, interface: &Interface, present: &[Interface]) -> Judge {
        if is_hooked(interface, present, &self.hooks) {
            return Judge::Hook;
        }
        match (self.backstop, self.exempts(interface.index)) {
            (true, false) => Judge::Backstop,
            (true, true) => Judge::Exempt,
            (false, _) => Judge::Nobody,
        }
    }

    /// The interfaces by which packets come in, each with its judge.
    pub fn ways_in<'a>(
        &self,
        present: &'a [Interface],
    ) -> impl Iterator<Item = (&'a Interface, Judge)> {
        let ways = present.iter().filter(|interface| is_way_in(interface, present));
        ways.map(|interface| (interface, self.judge(interface, present)))
    }

    /// The interfaces by which packets come in that this host may pass on to other machines.
    pub fn passages<'a>(&'a self, present: &'a [Interface]) -> impl Iterator<Item = Passage> + 'a {
        let of = |interface: &Interface| Passage {
            interface: interface.name.clone(),
            judge: self.judge(interface, present),
            bridge: whole(interface, present)
                .map(|bridge| (bridge.name.clone(), self.judge(bridge, present))),
        };
        let enters = |interface: &&Interface| {
            let is_port = |part: &Interface| {
                whole(part, present).is_some_and(|whole| whole.kind == Kind::Bridge)
            };
            let has_ports = present.iter().any(|part| part.master == Some(interface.index));
            interface.up
                && !interface.loopback
                && interface.kind != Kind::Vrf
                && match interface.kind {
                    Kind::Bridge => !has_ports,
                    _ => whole(interface, present).is_none() || is_port(interface),
                }
        };
        present.iter().filter(enters).map(of).collect::<Vec<_>>().into_iter()
    }

    /// The names of the interfaces without a program whose packets the backstop judges, which sees those
    /// to sockets of this host alone.
    pub fn without_program(&self, present: &[Interface]) -> Vec<String> {
        let ways = self.ways_from_outside(present);
        let unjudged = ways.filter(|(_, judge)| *judge == Judge::Backstop);
        unjudged.map(|(interface, _)| interface.name.clone()).collect()
    }

    /// The interfaces by which packets come in from outside this machine, each with its judge: not
    /// bridges of containers and virtual machines alone.
    pub fn ways_from_outside<'a>(
        &self,
        present: &'a [Interface],
    ) -> impl Iterator<Item = (&'a Interface, Judge)> {
        let is_port = |port: &Interface, bridge: &Interface| port.master == Some(bridge.index);
        self.ways_in(present).filter(move |(way, _)| {
            way.kind != Kind::Bridge
                || present.iter().any(|port| is_port(port, way) && port.hardware)
        })
    }

    /// The names of the interfaces from where this host passes packets on that no program judges.
    /// `routes`: it passes them on from any interface, and not only from port to port of a bridge.
    pub fn passed_on_unjudged(&self, present: &[Interface], routes: bool) -> BTreeSet<String> {
        let is_unjudged = |passage: &Passage| {
            passage.judge != Judge::Hook && (routes || passage.bridge.is_some())
        };
        self.passages(present).filter(is_unjudged).map(|passage| passage.interface).collect()
    }
}

/// An interface by which packets come in that may be passed on to other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its name.
    pub interface: String,
    /// The judge of what comes in by it.
    pub judge: Judge,
    /// The bridge that it is a port of, and the judge of what comes to this host by that.
    pub bridge: Option<(String, Judge)>,
}

/// Whether packets come in by an interface, and not only through it to one that is made of it.
pub(super) fn is_way_in(interface: &Interface, present: &[Interface]) -> bool {
    interface.up
        && !interface.loopback
        && interface.kind != Kind::Vrf
        && whole(interface, present).is_none()
}

/// The bridge, bond or team that an interface is a part of: packets come to this host by that.
pub(crate) fn whole<'a>(interface: &Interface, present: &'a [Interface]) -> Option<&'a Interface> {
    let master = present.iter().find(|other| Some(other.index) == interface.master)?;
    // What a routing domain is made of keeps its own way in.
    (master.kind != Kind::Vrf).then_some(master)
}

/// Whether `hooks` has an interface, or all that it is made of.
pub(super) fn is_hooked(
    interface: &Interface,
    present: &[Interface],
    hooks: &BTreeSet<u32>,
) -> bool {
    let mut below = hook::below(interface, present).peekable();
    hooks.contains(&interface.index)
        || (below.peek().is_some() && below.all(|lower| hooks.contains(&lower.index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_passed_on_from_the_ports_of_a_bridge() {
        let part = |master, name: &str, index| Interface {
            master: Some(master),
            ..Interface::ethernet(name, index)
        };
        let present = [
            Interface { loopback: true, ..Interface::ethernet("lo", 1) },
            part(4, "nic0", 2),
            part(4, "tap0", 3),
            Interface { kind: Kind::Bridge, ..Interface::ethernet("br0", 4) },
            Interface::ethernet("docker0", 5),
            Interface { up: false, ..Interface::ethernet("eth1", 6) },
            Interface { kind: Kind::Bond, ..Interface::ethernet("bond0", 7) },
            part(7, "eth2", 8),
        ];
        for (hooks, judges, of_bridge) in [
            (&[2][..], [Judge::Hook, Judge::Backstop, Judge::Backstop], Judge::Backstop),
            (&[4], [Judge::Backstop, Judge::Backstop, Judge::Backstop], Judge::Hook),
            (&[2, 3, 5], [Judge::Hook; 3], Judge::Hook),
        ] {
            let attached = Attachments::new(hooks.to_vec(), true, []);
            let found: Vec<Passage> = attached.passages(&present).collect();
            let names: Vec<&str> = found.iter().map(|passage| &*passage.interface).collect();
            assert_eq!(names, ["nic0", "tap0", "docker0", "bond0"]);
            for (passage, judge) in found.iter().zip(judges) {
                assert_eq!(passage.judge, judge, "{hooks:?} {passage:?}");
            }
            let bridge = Some(("br0".to_owned(), of_bridge));
            assert_eq!(
                found.iter().map(|passage| &passage.bridge).collect::<Vec<_>>(),
                [&bridge, &bridge, &None, &None]
            );
        }
    }

    #[test]
    fn the_judge_is_whoever_is_attached() {
        let link = |name: &str, index| Interface { up: true, ..Interface::ethernet(name, index) };
        let present = [
            link("eth0", 2),
            link("eth1", 3),
            Interface { kind: Kind::Vlan, lower: Some(2), ..link("eth0.5", 4) },
            Interface { kind: Kind::Bridge, ..link("br0", 5) },
            Interface { master: Some(5), ..link("eth2", 6) },
            Interface { up: false, ..link("eth3", 7) },
            Interface { loopback: true, ..link("lo", 1) },
        ];
        use Judge::{Backstop, Exempt, Hook, Nobody};
        for (hooks, backstop, exempt, judges) in [
            (&[][..], false, &[][..], [Nobody; 4]),
            (&[], false, &[3], [Nobody; 4]),
            (&[], true, &[], [Backstop; 4]),
            (&[2], true, &[3, 2], [Hook, Exempt, Hook, Backstop]),
            (&[2, 6], false, &[], [Hook, Nobody, Hook, Hook]),
            (&[3, 4], true, &[5], [Backstop, Hook, Hook, Exempt]),
        ] {
            let attached = Attachments::new(hooks.to_vec(), backstop, exempt.to_vec());
            let ways: Vec<(&str, Judge)> =
                attached.ways_in(&present).map(|(way, judge)| (&*way.name, judge)).collect();
            let names = ["eth0", "eth1", "eth0.5", "br0"];
            assert_eq!(ways, names.into_iter().zip(judges).collect::<Vec<_>>(), "{attached:?}");
        }
    }
}
