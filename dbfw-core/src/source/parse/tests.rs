use proptest::prelude::*;

use super::*;

#[test]
fn what_was_meant() {
    for (text, mistake, write) in [
        ("192.0.2.1:5432", Mistake::Port, "192.0.2.1"),
        ("[2001:db8::1]:5432", Mistake::Port, "2001:db8::1"),
        ("[192.0.2.1]:5432", Mistake::Port, "192.0.2.1"),
        ("[2001:db8::1]", Mistake::Brackets, "2001:db8::1"),
        ("[2001:db8::/32]", Mistake::Brackets, "2001:db8::/32"),
        ("[2001:db8::]/32", Mistake::Brackets, "2001:db8::/32"),
        ("<192.0.2.1>", Mistake::Brackets, "192.0.2.1"),
        ("(192.0.2.0/24)", Mistake::Brackets, "192.0.2.0/24"),
        ("'192.0.2.1'", Mistake::Quotes, "192.0.2.1"),
        ("\"192.0.2.0/24\",", Mistake::Quotes, "192.0.2.0/24"),
        ("192.0.2.1 # office", Mistake::Comment, "192.0.2.1"),
        ("192.0.2.1;office", Mistake::Comment, "192.0.2.1"),
        ("192.0.2.1:80 ; x", Mistake::Comment, "192.0.2.1"),
        ("10.0.0.1-10.0.0.2 ; x-y", Mistake::Comment, "10.0.0.1-10.0.0.2"),
        ("fe80::1%eth0", Mistake::Zone, "fe80::1"),
        ("fe80::%2/64", Mistake::Zone, "fe80::/64"),
        ("10.0.0.0/255.0.0.0", Mistake::Netmask, "10.0.0.0/8"),
        ("10.0.0.0\t255.255.0.0", Mistake::Netmask, "10.0.0.0/16"),
        ("10.1.*.*", Mistake::Wildcard, "10.1.0.0/16"),
        ("10.1.*", Mistake::Wildcard, "10.1.0.0/16"),
        ("10.1.2.%", Mistake::Wildcard, "10.1.2.0/24"),
        ("10/8", Mistake::Shortened, "10.0.0.0/8"),
        ("172.16/12", Mistake::Shortened, "172.16.0.0/12"),
        ("192.0.2.1-9", Mistake::LastNumber, "192.0.2.1-192.0.2.9"),
        ("192.0.2.1 - 3.4", Mistake::LastNumber, "192.0.2.1-192.0.3.4"),
        ("192.0.2.0/25-192.0.2.128/25", Mistake::Networks, "192.0.2.0-192.0.2.255"),
        (
            "2001:db8::/64-2001:db8:0:1::/64",
            Mistake::Networks,
            "2001:db8::-2001:db8:0:1:ffff:ffff:ffff:ffff",
        ),
        ("192.0.2.1\u{2014}192.0.2.9", Mistake::Dash, "192.0.2.1-192.0.2.9"),
        ("192.000.002.010", Mistake::LeadingZeros, "192.0.2.10"),
        ("010.0.0.0/8", Mistake::LeadingZeros, "10.0.0.0/8"),
    ] {
        assert_eq!(meant(text), Some((mistake, write.to_owned())), "{text}");
    }
}

#[test]
fn no_guess_where_nothing_is_certain() {
    for text in [
        "",
        "db1",
        "db1:5432",
        "10.0.0.1 10.0.0.2",
        "10.0.0.5/24",
        "10.0.0.5/255.255.255.0",
        "10.0.0.0/0.255.255.255",
        "10.0.0",
        "*",
        "*.*.*.*",
        "10.*.1.1",
        "192.0.2.300:80",
        "192.0.2.1:123456",
        "192.0.2.9-1",
        "192.0.2.1-300",
        "; only a comment",
        "[",
        "[]",
        "[]:1",
        "%eth0",
        "1.2.3.4-",
        "/",
    ] {
        assert_eq!(meant(text), None, "{text}");
    }
}

#[test]
fn long_and_nested_texts_end() {
    let nested = |depth: usize| "[".repeat(depth) + "192.0.2.1" + &"]".repeat(depth);
    assert_eq!(meant(&nested(3)), Some((Mistake::Brackets, "192.0.2.1".to_owned())));
    assert_eq!(meant(&nested(1 << 20)), None);
    let long = "x".repeat(1 << 20);
    assert_eq!(meant(&long), None);
    let comment = format!("192.0.2.1 # {long}");
    assert_eq!(meant(&comment), Some((Mistake::Comment, "192.0.2.1".to_owned())));
}

proptest! {
    /// Whatever is said to be meant can be written, and is not what was written.
    #[test]
    fn what_is_meant_parses(text in "[0-9a-f:./%*;# \\[\\]\"'<>()\u{2013}-]{0,24}|\\PC{0,24}") {
        if exact_prefixes(&text).is_err() && let Some((_, write)) = meant(&text) {
            prop_assert!(exact_prefixes(&write).is_ok(), "{text:?}: {write:?}");
            prop_assert_ne!(write, text);
        }
    }
}
