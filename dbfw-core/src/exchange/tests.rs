//! Rules by hand, random ones, and lists that go there and back.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    Destinations, PortQuery, Ports,
    hba::{Dialect, NoFiles, Rules},
    source::{Prefix, TrustedSource, lines},
    testing::cases,
};

fn hba(text: &str) -> String {
    let rules =
        Rules::parse("pg_hba.conf".as_ref(), text.as_bytes(), Dialect::From16, &mut NoFiles);
    list(&import_hba(&rules.unwrap()))
}

#[test]
fn lines_of_pg_hba() {
    let text = "local all postgres peer\nhost all all 127.0.0.1/32 md5\nhostssl app app 10.1.2.3/16 md5\n\
                host all all 192.0.2.1 255.255.255.0 reject\nhost all all samenet md5\n\
                host all all db.example md5\nhost all all 10.0.0.1 255.0.0.255 md5\n\
                host all all ::ffff:10.0.0.0/104 md5\nhost all all all md5\nhost x y 10.1.0.0/16 md5";
    let expected = "\
# not taken: line 1: local all postgres peer: it is for unix sockets
# not taken: 127.0.0.1/32, line 2: host all all 127.0.0.1/32 md5: loopback is never judged
10.1.0.0/16 # line 3: hostssl app app 10.1.2.3/16 md5
# not taken: line 4: host all all 192.0.2.1/24 reject: it refuses, and a list only admits: take these addresses out of the others
# not taken: line 5: host all all samenet md5: it means addresses of the server's host, which are not written here
# not taken: line 6: host all all db.example md5: it has a host name: write dns:NAME if it is to be asked for
# not taken: line 7: host all all 10.0.0.1 255.0.0.255 md5: its addresses are no network
# not taken: line 8: host all all ::ffff:10.0.0.0/104 md5: no client has an IPv4-mapped address
0.0.0.0/0 # line 9: host all all all md5
::/0 # line 9: host all all all md5
";
    assert_eq!(hba(text), expected);
}

#[test]
fn rules_of_ufw() {
    let text = "*filter\n### tuple ### allow tcp 5432 0.0.0.0/0 any 192.0.2.0/24 in\n\
                -A ufw-user-input -p tcp --dport 5432 -s 192.0.2.0/24 -j ACCEPT\n\
                ### tuple ### allow any 22 0.0.0.0/0 any 0.0.0.0/0 in\n\
                ### tuple ### deny tcp 5432 0.0.0.0/0 any 198.51.100.7 in\n\
                ### tuple ### allow tcp 5000:6000 0.0.0.0/0 any 198.51.100.8 in comment=6f66\n\
                ### tuple ### allow tcp 5432 0.0.0.0/0 any 198.51.100.9 in_eth0\n\
                Status: active\nTo    Action   From\n--    ------   ----\n\
                5432/tcp   ALLOW IN    203.0.113.0/24    # office\n\
                [ 2] 5432  ALLOW IN  Anywhere (v6)\n5432  DENY  203.0.113.9\nOpenSSH ALLOW Anywhere\n\
                5432/tcp on eth0 ALLOW IN 10.0.0.1\n";
    let port: PortQuery = "tcp/5432".parse().unwrap();
    let expected = "\
192.0.2.0/24 # 5432/tcp (line 2)
# not taken: line 4: ### tuple ### allow any 22 0.0.0.0/0 any 0.0.0.0/0 in: it is for other ports
# not taken: line 5: ### tuple ### deny tcp 5432 0.0.0.0/0 any 198.51.100.7 in: it refuses, and a list only admits: take these addresses out of the others
198.51.100.8/32 # 5000:6000/tcp (line 6)
# not taken: line 7: ### tuple ### allow tcp 5432 0.0.0.0/0 any 198.51.100.9 in_eth0: this form is not read
203.0.113.0/24 # 5432/tcp (line 11)
::/0 # 5432 (line 12)
# not taken: line 13: 5432  DENY  203.0.113.9: it refuses, and a list only admits: take these addresses out of the others
# not taken: line 14: OpenSSH ALLOW Anywhere: this form is not read
# not taken: line 15: 5432/tcp on eth0 ALLOW IN 10.0.0.1: this form is not read
";
    assert_eq!(list(&import_ufw(text, Some(port))), expected);
    let all = list(&import_ufw(text, None));
    assert!(all.contains("0.0.0.0/0 # 22 (line 4)\n"), "{all}");
}

#[test]
fn rules_of_nftables() {
    let text = "define office = { 203.0.113.0/24, 203.0.113.7 }\ntable inet filter {\n\tset app {\n\
                \t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 10.0.0.1, 10.0.1.0/24,\n\
                \t\t\t     10.0.2.1-10.0.2.2, 10.0.3.1 timeout 1h expires 5m }\n\t}\n\tchain input {\n\
                \t\ttype filter hook input priority filter; policy drop;\n\
                \t\tct state established,related accept\n\t\tiif \"lo\" accept # local\n\
                \t\ttcp dport { 5432, 6432-6440 } ip saddr @app accept\n\
                \t\tip6 saddr 2001:db8::/32 tcp dport 5432 counter packets 0 bytes 0 accept\n\
                \t\ttcp dport 22 ip saddr 192.0.2.1 accept\n\
                \t\ttcp dport 5432 ip saddr 192.0.2.0/24 drop\n\
                \t\ttcp dport 5432 ip saddr != { 198.51.100.1 } drop\n\
                \t\ttcp dport 5432 ip saddr $office accept\n\t\ttcp dport 5432 jump other\n\
                \t\ttcp dport 5432 ip saddr != 10.9.9.9 accept\n\t}\n}\n\
                add rule inet filter input tcp dport 5432 ip saddr 198.51.100.2 accept\n";
    let port: PortQuery = "5432".parse().unwrap();
    let found = list(&import_nft(text, Some(port)));
    let expected = "\
# not taken: line 11: ct state established related accept: it names no source address
# not taken: line 12: iif lo accept: it names no source address
10.0.0.1/32 # line 13: tcp dport { } ip saddr @app accept
10.0.1.0/24 # line 13: tcp dport { } ip saddr @app accept
10.0.2.1/32 # line 13: tcp dport { } ip saddr @app accept
10.0.2.2/32 # line 13: tcp dport { } ip saddr @app accept
# not taken: 10.0.3.1, line 13: tcp dport { } ip saddr @app accept: it ends by itself: add it with dbfw trust add --for
2001:db8::/32 # line 14: ip6 saddr 2001:db8::/32 tcp dport 5432 counter packets 0 bytes 0 accept
# not taken: line 15: tcp dport 22 ip saddr 192.0.2.1 accept: it is for other ports
# not taken: line 16: tcp dport 5432 ip saddr 192.0.2.0/24 drop: it refuses, and a list only admits: take these addresses out of the others
198.51.100.1/32 # line 17: tcp dport 5432 ip saddr != { } drop
203.0.113.0/24 # line 18: tcp dport 5432 ip saddr $office accept
203.0.113.7/32 # line 18: tcp dport 5432 ip saddr $office accept
# not taken: line 20: tcp dport 5432 ip saddr != 10.9.9.9 accept: this form is not read
198.51.100.2/32 # line 23: tcp dport 5432 ip saddr 198.51.100.2 accept
";
    assert_eq!(found, expected);
}

fn exported() -> Exported {
    let source = |source: &str, description: Option<&str>, users: &[&str], prefixes: &[&str]| {
        ExportedSource {
            source: source.to_owned(),
            description: description.map(str::to_owned),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        }
    };
    Exported {
        name: "orders".to_owned(),
        ports: ["tcp/5432", "tcp/6432-6440", "udp/7000"]
            .iter()
            .map(|text| text.parse::<crate::PortRange>().unwrap())
            .collect(),
        destinations: Destinations::new(true, vec!["192.0.2.5".parse().unwrap()]),
        drops: true,
        sources: vec![
            source("tag:backend", None, &["app", "a\"b"], &["10.0.0.1", "2001:db8::/64"]),
            source("ip_addr:10.0.0.0/8", Some("all\\"), &[], &["10.0.0.0/8", "10.0.0.1"]),
        ],
    }
}

#[test]
fn a_list_as_pg_hba() {
    let expected = r#"# Written by dbfw export, to replace the lines for hosts.

# Trusted sources of orders
# tag:backend
hostssl all "app" 10.0.0.1/32 scram-sha-256
hostssl all "a""b" 10.0.0.1/32 scram-sha-256
hostssl all "app" 2001:db8::/64 scram-sha-256
hostssl all "a""b" 2001:db8::/64 scram-sha-256
# ip_addr:10.0.0.0/8: all\ #
hostssl all all 10.0.0.0/8 scram-sha-256
hostssl all all 10.0.0.1/32 scram-sha-256
"#;
    assert_eq!(pg_hba(&[exported()]), expected);
}

#[test]
fn a_list_as_nft() {
    let text = nft(&[exported()]);
    for line in [
        "\t\t\t# ip_addr:10.0.0.0/8: all\\ #",
        "\t\ttcp dport { 5432, 6432-6440 } fib daddr type != unicast ip saddr != @trusted1_ipv4 counter drop",
        "\t\ttcp dport { 5432, 6432-6440 } ip daddr { 192.0.2.5/32 } ip saddr != @trusted1_ipv4 counter drop",
        "\t\tudp dport { 7000 } fib daddr type != unicast ip6 saddr != @trusted1_ipv6 counter drop",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("ip6 daddr"), "{text}");
    // A first fragment without its port is for the database's addresses as well.
    let hidden = text.split_once("\tchain hidden {\n").expect("the chain").1;
    let expected = "\
\t\tth dport 0-65535 return
\t\tmeta l4proto != { tcp, udp } return
\t\tmeta nfproto ipv4 fib daddr type != unicast counter drop
\t\tmeta nfproto ipv4 ip daddr { 192.0.2.5/32 } counter drop
\t\tmeta nfproto ipv6 fib daddr type != unicast counter drop
\t}
}
";
    assert_eq!(hidden, expected);
    let every = Exported { destinations: Destinations::default(), ..exported() };
    let both = nft(&[exported(), every]);
    assert!(both.ends_with(" } return\n\t\tcounter drop\n\t}\n}\n"), "{both}");
    assert!(nft(&[]).ends_with(" return\n\t}\n}\n"), "{}", nft(&[]));
    let observed = nft(&[Exported { drops: false, ..exported() }]);
    assert!(!observed.contains("drop"), "{observed}");
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (any::<u32>(), 0..=32u8)
            .prop_map(|(bits, len)| Prefix::new(bits.to_be_bytes().into(), len)),
        (any::<u128>(), 0..=128u8)
            .prop_map(|(bits, len)| Prefix::new(bits.to_be_bytes().into(), len)),
    ]
    .prop_filter("loopback is never judged", |prefix| !prefix.addr().is_loopback())
}

fn database() -> impl Strategy<Value = Exported> {
    let text = "[ -~\\\\\"#\u{1b}\u{202e}\n]{0,12}";
    let source =
        (vec(prefix(), 0..6), proptest::option::of(text), vec("[a-z \"\\\\/+@]{1,6}", 0..3))
            .prop_map(|(prefixes, description, users)| ExportedSource {
                source: "tag:backend".to_owned(),
                description,
                users,
                prefixes,
            });
    (vec(source, 0..5), 1..u16::MAX).prop_map(|(sources, port)| Exported {
        name: "orders".to_owned(),
        ports: Ports::from(crate::Port { udp: false, port }),
        destinations: Destinations::default(),
        drops: true,
        sources,
    })
}

/// The prefixes of a list, read as lists are.
fn prefixes(list: &str) -> BTreeSet<Prefix> {
    let sources = lines::lines(list.as_bytes()).filter_map(|(_, line)| {
        let (entry, _) = lines::split_comment(line);
        let entry = str::from_utf8(entry).unwrap().trim();
        (!entry.is_empty()).then(|| format!("ip_addr:{entry}").parse::<TrustedSource>().unwrap())
    });
    let sets: Vec<_> = sources.map(|source| source.key().prefixes().unwrap().clone()).collect();
    sets.iter().flat_map(|set| set.iter().copied()).collect()
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn what_is_exported_is_imported_again(one in database(), two in database()) {
        let databases = [one, two];
        let all: BTreeSet<Prefix> = databases
            .iter()
            .flat_map(|database| &database.sources)
            .flat_map(|source| source.prefixes.iter().copied())
            .collect();
        let text = nft(&databases);
        prop_assert_eq!(&prefixes(&list(&import_nft(&text, None))), &all, "{}", text);
        let text = pg_hba(&databases);
        if !all.is_empty() {
            prop_assert_eq!(&prefixes(&hba(&text)), &all, "{}", text);
        }
    }

    #[test]
    fn no_text_panics(pieces in vec(piece(), 0..40)) {
        let text = pieces.concat();
        for port in [None, Some("5432".parse().unwrap())] {
            for imported in [import_nft(&text, port), import_ufw(&text, port)] {
                // A list that can be read.
                prefixes(&list(&imported));
            }
        }
    }
}

fn piece() -> impl Strategy<Value = String> {
    const PIECES: [&str; 40] = [
        "table",
        "inet",
        "t",
        "{",
        "}",
        "chain",
        "c",
        "set",
        "s",
        "elements",
        "=",
        ",",
        ";",
        "\n",
        "\\\n",
        "#",
        "\"",
        "ip",
        "ip6",
        "saddr",
        "daddr",
        "tcp",
        "dport",
        "!=",
        "@s",
        "$v",
        "define",
        "v",
        "accept",
        "drop",
        "10.0.0.0/8",
        "10.0.0.1-10.0.0.9",
        "::/0",
        "5432",
        "timeout",
        "### tuple ###",
        "allow tcp 5432 0.0.0.0/0 any",
        "in",
        "5432/tcp ALLOW IN",
        "Anywhere (v6)",
    ];
    prop_oneof![
        9 => select(&PIECES[..]).prop_map(|text| format!("{text} ")),
        1 => any::<char>().prop_map(|c| c.to_string()),
    ]
}
