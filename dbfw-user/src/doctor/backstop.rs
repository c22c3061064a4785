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
    match others.first() {
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
            });
            (finding.state.as_str().to_owned(), finding.detail)
        };
        assert_eq!(found(Some(&[]), Some(&[])).0, "ok");
        assert_eq!(found(Some(&[7]), Some(&[7, 9])).0, "ok");
        let (state, detail) = found(Some(&[7, 12, 13]), Some(&[7]));
        assert_eq!(state, "warn");
        assert!(detail.contains("program 12, 13 is attached"), "{detail}");
        assert!(found(None, Some(&[7])).1.contains("not checked"));
        assert!(found(Some(&[7]), None).1.contains("not checked"));
    }
}
