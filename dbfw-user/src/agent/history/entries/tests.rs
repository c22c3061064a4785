use dbfw_core::source::TrustedSource;

use super::*;

/// Rules, each as its origin's first letter, its source, and its prefixes unless the source names
/// them.
type Rules<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn rule(&(origin, text, prefixes): &(&str, &str, &[&str])) -> Rule {
    let (text, ends) = text.split_once(' ').unwrap_or((text, ""));
    let mut source: TrustedSource = text.parse().unwrap();
    source.expires_at = (!ends.is_empty()).then(|| ends.parse().unwrap());
    source.description = (!ends.is_empty()).then(|| "CI".to_owned());
    let origin = match origin {
        "c" => Origin::Config,
        "l" => Origin::Local,
        _ => Origin::Provider("file:/orders.list".into()),
    };
    let named = source.key().prefixes().map(|prefixes| prefixes.to_vec());
    let prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    Rule::of_source(source.into(), origin, named.unwrap_or(prefixes))
}

fn policy(databases: &[(&str, Rules<'_>)]) -> Policy {
    let database = |((name, rules), id): (&(&str, Rules<'_>), u8)| DatabasePolicy {
        id,
        name: (*name).to_owned(),
        rules: rules.iter().map(rule).collect(),
    };
    Policy::build(databases.iter().zip(1..).map(database).collect::<Vec<_>>())
}

fn told(old: &Policy, new: &Policy) -> Vec<String> {
    let line = |change: SourceChange<'_>| {
        let kind = change.rule.map(|rule| rule.kind.to_string());
        let source = kind.unwrap_or_else(|| "rest".to_owned());
        let expired = if change.expired.is_some() { " expired" } else { "" };
        let named = |prefixes: &[Prefix]| {
            let names: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            if names.len() > 2 { names.len().to_string() } else { names.join(",") }
        };
        let (added, removed) = (named(&change.added), named(&change.removed));
        format!("{} {source} +{added} -{removed}{expired}", change.database)
    };
    let mut lines: Vec<String> = changes(old, new, now()).into_iter().map(line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn tells_what_came_and_went_by_source() {
    let old = policy(&[
        ("a", &[("c", "tag:x", &["10.0.0.1", "10.0.0.2"]), ("c", "tag:y", &["10.0.0.9"])]),
        ("b", &[("c", "ip_addr:10.1.0.0/16", &[])]),
    ]);
    let new = policy(&[("a", &[("c", "tag:x", &["10.0.0.2", "10.0.0.3", "10.0.0.4"])])]);
    assert_eq!(
        told(&old, &new),
        [
            "a tag:x +10.0.0.3/32,10.0.0.4/32 -10.0.0.1/32",
            "a tag:y + -10.0.0.9/32",
            "b ip_addr:10.1.0.0/16 + -10.1.0.0/16"
        ]
    );
    assert_eq!(told(&new, &new), [""; 0]);
}

#[test]
fn who_is_let_in_as_before_is_not_told_as_a_change() {
    let wide: Rules<'_> = &[("c", "ip_addr:10.0.0.0/8", &[])];
    let tag: Rules<'_> = &[("c", "tag:x", &["10.0.0.1", "2001:db8::1"])];
    let halves: Rules<'_> = &[("c", "ip_addr:10.0.0.0/9", &[]), ("p", "ip_addr:10.128.0.0/9", &[])];
    let quarters: Rules<'_> = &[
        ("c", "ip_addr:10.0.0.0/10", &[]),
        ("c", "ip_addr:10.64.0.0/10", &[]),
        ("l", "ip_addr:10.128.0.0/9", &[]),
    ];
    for (old, new) in [
        // Another spelling, origin or source; and one more that lets nobody in.
        (&[("c", "ip_addr:10.0.0.1", &[][..])][..], &[("c", "ip_addr:10.0.0.1/32", &[][..])][..]),
        (&[("c", "ip_addr:10.0.0.1", &[])], &[("l", "ip_addr:10.0.0.1", &[])]),
        (&[("p", "ip_addr:2001:db8::1", &[])], &[("c", "ip_addr:2001:0db8::1/128", &[])]),
        (tag, &[("c", "ip_addr:10.0.0.1", &[]), ("c", "ip_addr:2001:db8::1", &[])]),
        (wide, &[("c", "ip_addr:10.0.0.0-10.255.255.255", &[])]),
        (wide, halves),
        (halves, quarters),
        (wide, &[wide[0], ("l", "ip_addr:10.7.0.0/16", &[]), ("p", "tag:x", &["10.0.0.1"])]),
    ] {
        let [old, new] = [old, new].map(|rules| policy(&[("a", rules)]));
        assert_eq!(told(&old, &new), [""; 0], "{old:?}");
        assert_eq!(told(&new, &old), [""; 0], "{new:?}");
    }
    // What is the same for one database is none of another's.
    let of = |a: Rules<'_>, b: Rules<'_>| policy(&[("a", a), ("b", b)]);
    assert_eq!(
        told(&of(wide, &[]), &of(&[], wide)),
        ["a ip_addr:10.0.0.0/8 + -10.0.0.0/8", "b ip_addr:10.0.0.0/8 +10.0.0.0/8 -"]
    );
}

#[test]
fn what_stays_of_a_wider_source_is_named_beside_it() {
    let rules = |text| policy(&[("a", &[("c", text, &[])])]);
    let (wide, narrow) = (rules("ip_addr:10.0.0.0/8"), rules("ip_addr:10.7.0.0/16"));
    assert_eq!(
        told(&wide, &narrow),
        ["a ip_addr:10.0.0.0/8 + -10.0.0.0/8", "a ip_addr:10.7.0.0/16 +10.7.0.0/16 -"]
    );
    assert_eq!(told(&narrow, &wide), ["a ip_addr:10.0.0.0/8 +10.0.0.0/8 -"]);
    // Nearly all of it is not all.
    let gap: Rules<'_> = &[("c", "ip_addr:10.0.0.0-10.255.255.254", &[])];
    let shown = told(&wide, &policy(&[("a", gap)]));
    assert_eq!(shown[1], "a ip_addr:10.0.0.0/8 + -10.0.0.0/8");
}

#[test]
fn a_source_that_expires_is_told_also_if_another_lets_the_same_in() {
    let temporary = "ip_addr:10.0.0.1 2026-03-01T11:59:00Z";
    let later = "ip_addr:10.0.0.1 2026-03-01T12:01:00Z";
    for (old, new, line) in [
        (&[("l", temporary, &[][..])][..], &[][..], "a ip_addr:10.0.0.1 + -10.0.0.1/32 expired"),
        (
            &[("l", temporary, &[]), ("c", "tag:x", &["10.0.0.1"])],
            &[("c", "tag:x", &["10.0.0.1"][..])],
            "a ip_addr:10.0.0.1 + - expired",
        ),
        (&[("l", later, &[])], &[], "a ip_addr:10.0.0.1 + -10.0.0.1/32"),
    ] {
        assert_eq!(told(&policy(&[("a", old)]), &policy(&[("a", new)])), [line]);
    }
}

#[test]
fn a_long_list_is_summed_up() {
    let names: Vec<String> = (0..5000)
        .map(|i| format!("ip_addr:{}", std::net::Ipv4Addr::from(0x0a00_0000_u32 + 2 * i)))
        .collect();
    let rules: Vec<(&str, &str, &[&str])> =
        names.iter().map(|name| ("c", &**name, &[][..])).collect();
    let told = told(&policy(&[]), &policy(&[("a", &rules)]));
    assert_eq!(told.len(), 101);
    assert!(told.contains(&"a rest +4900 -".to_owned()), "{told:?}");
}
