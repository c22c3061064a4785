//! The check of exempt interfaces: whether the backstop ever sees a packet come in by one.

use dbfw_datapath::{
    Interface,
    interfaces::{Unmatchable, is_glob},
};
use dbfw_wire::control::Finding;

use super::finding::{self, Doubt};
use crate::{
    config::AgentConfig,
    protection::{Attachments, Coverage, Judge, whole},
};

pub(super) fn check(agent: &AgentConfig, present: &[Interface]) -> Vec<Finding> {
    let doubts = doubts(agent, present).into_iter();
    doubts
        .chain(absent(agent, present))
        .map(|Doubt { message, fix }| finding::warn("exempt_interfaces", message, fix))
        .collect()
}

/// The names that no interface has now.
fn absent(agent: &AgentConfig, present: &[Interface]) -> Vec<Doubt> {
    let absent = agent.exempt_interfaces.iter().filter(|pattern| {
        let name = pattern.as_str();
        agent.backstop
            && !is_glob(name)
            && Unmatchable::of(name).is_none()
            && !present.iter().any(|interface| interface.has_name(name))
    });
    let doubt = |pattern: &glob::Pattern| Doubt {
        message: format!("exempt_interfaces: no interface is called {:?} yet", pattern.as_str()),
        fix: "ip -brief link; write the name as it is there".to_owned(),
    };
    absent.map(doubt).collect()
}

/// The first interface of each name or glob that exempts none to any effect.
pub(super) fn doubts(agent: &AgentConfig, present: &[Interface]) -> Vec<Doubt> {
    if !agent.backstop {
        return Vec::new();
    }
    let wanted: Attachments = Coverage::of(present, agent).wanted();
    let unmatchable = agent.exempt_interfaces.iter().filter_map(|pattern| {
        let reason = Unmatchable::of(pattern.as_str())?;
        let message = format!("{pattern} in exempt_interfaces has no effect: {reason}");
        Some(Doubt { message, fix: reason.fix() })
    });
    let patterns = agent.exempt_interfaces.iter().filter_map(|pattern| {
        let matching = present.iter().filter(|interface| interface.is_called(pattern));
        let doubts: Option<Vec<Doubt>> =
            matching.map(|interface| doubt(interface, &wanted, present)).collect();
        doubts?.into_iter().next()
    });
    unmatchable.chain(patterns).collect()
}

fn doubt(interface: &Interface, wanted: &Attachments, present: &[Interface]) -> Option<Doubt> {
    let name = &interface.name;
    if let Some(whole) = whole(interface, present) {
        let is_exempt = wanted.exempts(whole.index);
        let whole = &whole.name;
        let fix = match is_exempt {
            true => format!("take {name:?} out of exempt_interfaces, where {whole:?} is enough"),
            false => {
                format!("name {whole:?} in exempt_interfaces, if all that comes by it may pass")
            }
        };
        return Some(Doubt {
            message: format!(
                "{name} in exempt_interfaces has no effect: it is a part of {whole}, by which its \
                 packets come to this host"
            ),
            fix,
        });
    }
    (wanted.judge(interface, present) == Judge::Hook).then(|| Doubt {
        message: format!(
            "{name} in exempt_interfaces has no effect: what comes in there is judged by a program \
             at the interface, or at those below it, before the backstop"
        ),
        fix: format!("take {name:?} out of exempt_interfaces"),
    })
}

#[cfg(test)]
mod tests {
    use dbfw_datapath::{Interfaces, Layer, interfaces::Kind};
    use glob::Pattern;

    use super::*;

    #[test]
    fn an_exemption_without_effect_is_told() {
        let link = |name: &str, index| Interface {
            up: true,
            layer: Some(Layer::Ethernet),
            ..Interface::ethernet(name, index)
        };
        let of = |master, link: Interface| Interface { master: Some(master), ..link };
        let present = [
            Interface { loopback: true, ..link("lo", 1) },
            link("eth0", 2),
            Interface { kind: Kind::Bridge, ..link("br0", 3) },
            of(3, link("tap0", 4)),
            link("docker0", 5),
            Interface { kind: Kind::Vrf, ..link("vrf0", 6) },
            of(6, link("eth1", 7)),
        ];
        for (exempt, backstop, told) in [
            ("tap0", true, Some("it is a part of br0")),
            ("tap0", false, None),
            ("docker0", true, None),
            ("br0", true, None),
            ("eth1", true, None),
            ("eth0", true, Some("is judged by a program")),
            ("tap*", true, Some("tap0 in exempt_interfaces")),
            // One of them has an effect.
            ("[td]*", true, None),
            ("none0", true, None),
            ("lo", true, Some("loopback")),
            ("eth1:1", true, Some("the label of an address of eth1")),
            ("eth1@if2", true, Some("how ip link shows eth1")),
        ] {
            let agent = AgentConfig {
                interfaces: Interfaces::Matching(vec![Pattern::new("eth0").unwrap()]),
                exempt_interfaces: vec![Pattern::new(exempt).unwrap()],
                backstop,
                ..AgentConfig::default()
            };
            let found = doubts(&agent, &present);
            assert_eq!(found.len(), usize::from(told.is_some()), "{exempt}: {found:?}");
            if let Some(told) = told {
                assert!(found[0].message.contains(told), "{found:?}");
            }
            assert_eq!(absent(&agent, &present).len(), usize::from(exempt == "none0"), "{exempt}");
        }
    }
}
