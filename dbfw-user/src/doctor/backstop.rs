//! The check of the backstop, the socket lookup program.

use dbfw_wire::control::Finding;

use super::{finding, links::Links, reach::ATTACH};
use crate::protection::Attachments;

/// Whether the backstop is attached, and whether anybody stands beside it.
pub(super) fn check(links: &Links) -> Vec<Finding> {
    let lost = links.attached.as_ref().filter(|attached| !attached.has_backstop()).map(lost);
    lost.into_iter().chain(former(links)).chain([others(links)]).collect()
}

/// Addresses that the backstop takes for this host's, which reaches itself.
fn former(links: &Links) -> Option<Finding> {
    let has_backstop = links.attached.as_ref().is_some_and(Attachments::has_backstop);
    if !has_backstop || links.agent_answers || links.former_addresses.is_empty() {
        return None;
    }
    let gone: Vec<String> = links.former_addresses.iter().map(ToString::to_string).collect();
    Some(finding::warn(
        "backstop",
        format!(
            "{}: this host's own when an agent ran last, and no more: until one runs again, the \
             backstop lets in whoever has it now, by interfaces that are not covered",
            gone.join(", ")
        ),
        ATTACH,
    ))
}

/// The backstop is not attached.
fn lost(attached: &Attachments) -> Finding {
    if attached.has_hooks() {
        let detail = "the backstop is not attached: nobody judges what comes in by an interface \
                      that is not covered";
        return finding::warn("backstop", detail, ATTACH);
    }
    finding::ok("backstop", "not attached, nor is anything else of dbfw: the agent attaches it")
}

/// Looks for somebody else's socket lookup programs: one that selects a socket overrides the
/// backstop's refusal.
fn others(links: &Links) -> Finding {
    let (Some(present), Some(ours)) = (&links.socket_lookup, &links.ours) else {
        return finding::warn(
            "backstop",
            "not checked: only root may list the socket lookup programs",
            "sudo dbfw doctor",
        );
    };
    let others: Vec<_> =
        present.iter().filter(|id| !ours.contains(id)).map(ToString::to_string).collect();
    let elsewhere = |id: &&u32| links.backstops.contains(*id) && !ours.contains(*id);
    match others.first() {
        Some(first) if present.iter().filter(elsewhere).count() == others.len() => finding::warn(
            "backstop",
            format!(
                "socket lookup program {} is a backstop of dbfw that is not pinned in pin_dir: its \
                 agent has another configuration",
                others.join(", ")
            ),
            format!("name that configuration with --config; bpftool prog show id {first}"),
        ),
        None => finding::ok("backstop", "no other socket lookup program is attached"),
        Some(first) => finding::warn(
            "backstop",
            format!(
                "socket lookup program {} is attached to this network namespace and is not dbfw's: \
                 a socket that it selects overrides the backstop",
                others.join(", ")
            ),
            format!("bpftool prog show id {first}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_former_address_is_told_while_no_agent_runs() {
        let links = |agent_answers, backstop| Links {
            interfaces: Ok(Vec::new()),
            attached: Some(Attachments::new([2], backstop, [])),
            ours: Some(BTreeSet::new()),
            socket_lookup: Some(Vec::new()),
            backstops: BTreeSet::new(),
            new_addresses: Vec::new(),
            former_addresses: vec![[192, 0, 2, 9].into()],
            agent_answers,
        };
        let found = former(&links(false, true)).unwrap();
        assert!(found.detail.contains("192.0.2.9"), "{found:?}");
        assert_eq!(former(&links(true, true)), None);
        assert_eq!(former(&links(false, false)), None);
    }

    #[test]
    fn only_programs_of_others_are_told() {
        let found = |present: Option<&[u32]>, ours: Option<&[u32]>| {
            let finding = others(&Links {
                interfaces: Ok(Vec::new()),
                attached: None,
                ours: ours.map(|ids| ids.iter().copied().collect::<BTreeSet<_>>()),
                socket_lookup: present.map(<[u32]>::to_vec),
                backstops: BTreeSet::from([20]),
                new_addresses: Vec::new(),
                former_addresses: Vec::new(),
                agent_answers: true,
            });
            (finding.state.as_str().to_owned(), finding.detail)
        };
        assert_eq!(found(Some(&[]), Some(&[])).0, "ok");
        assert_eq!(found(Some(&[7]), Some(&[7, 9])).0, "ok");
        let (state, detail) = found(Some(&[7, 12, 13]), Some(&[7]));
        assert_eq!(state, "warn");
        assert!(detail.contains("program 12, 13 is attached"), "{detail}");
        let (state, detail) = found(Some(&[20]), Some(&[]));
        assert_eq!(state, "warn");
        assert!(detail.contains("is a backstop of dbfw that is not pinned"), "{detail}");
        assert!(found(Some(&[12, 20]), Some(&[])).1.contains("is not dbfw's"));
        assert!(found(None, Some(&[7])).1.contains("not checked"));
        assert!(found(Some(&[7]), None).1.contains("not checked"));
    }

    #[test]
    fn a_backstop_that_is_not_attached_is_told() {
        for (attached, told) in [
            (None, None),
            (Some(Attachments::new([2], true, [])), None),
            (Some(Attachments::new([], true, [])), None),
            (
                Some(Attachments::new([2], false, [])),
                Some(("warn", "the backstop is not attached")),
            ),
            (Some(Attachments::default()), Some(("ok", "nor is anything else of dbfw"))),
        ] {
            let links = Links {
                interfaces: Ok(Vec::new()),
                ours: Some(BTreeSet::new()),
                socket_lookup: Some(Vec::new()),
                backstops: BTreeSet::new(),
                new_addresses: Vec::new(),
                former_addresses: Vec::new(),
                agent_answers: true,
                attached,
            };
            let found = check(&links);
            assert_eq!(found.len(), 1 + usize::from(told.is_some()), "{found:?}");
            if let Some((state, text)) = told {
                assert_eq!(found[0].state.as_str(), state, "{found:?}");
                assert!(found[0].detail.contains(text), "{found:?}");
            }
        }
    }
}
