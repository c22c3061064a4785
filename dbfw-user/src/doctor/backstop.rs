//! The check of the backstop, the socket lookup program.

use dbfw_wire::control::Finding;

use super::{finding, links::Links};

/// Looks for somebody else's socket lookup programs: one that selects a socket overrides the
/// backstop's refusal.
pub(super) fn check(links: &Links) -> Finding {
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
    fn only_programs_of_others_are_told() {
        let found = |present: Option<&[u32]>, ours: Option<&[u32]>| {
            let finding = check(&Links {
                interfaces: Ok(Vec::new()),
                ours: ours.map(|ids| ids.iter().copied().collect::<BTreeSet<_>>()),
                socket_lookup: present.map(<[u32]>::to_vec),
                backstops: BTreeSet::from([20]),
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
}
