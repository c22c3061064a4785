use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn plain(text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
    read("l", text)
}

fn toml(text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
    read("l.toml", text)
}

fn read(file: &str, text: impl AsRef<[u8]>) -> Result<Vec<TrustedSource>, Vec<String>> {
    parse(Path::new(file), text.as_ref())
        .map(|list| list.sources.into_iter().map(Arc::unwrap_or_clone).collect())
        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

fn shown(sources: &[TrustedSource]) -> Vec<String> {
    sources
        .iter()
        .map(|source| match &source.description {
            Some(description) => format!("{source} # {description}"),
            None => source.to_string(),
        })
        .collect()
}

#[test]
fn reads_plain_lists() {
    let text = "\u{feff}# office\r\n\
                10.0.0.1\r\n\
                \r\n\
                \t10.1.0.0/16   # the VPC\r\n\
                10.2.0.1-10.2.0.9 #range\n\
                10.2.1.1 - 10.2.1.9\n\
                ip_addr:192.0.2.1# CI # runner\n\
                2001:db8::/32\n\
                ip_addr:2001:db8::1\n\
                ::1 #\n\
                0.0.0.0/0";
    assert_eq!(
        shown(&plain(text).unwrap()),
        [
            "ip_addr:10.0.0.1",
            "ip_addr:10.1.0.0/16 # the VPC",
            "ip_addr:10.2.0.1-10.2.0.9 # range",
            "ip_addr:10.2.1.1 - 10.2.1.9",
            "ip_addr:192.0.2.1 # CI # runner",
            "ip_addr:2001:db8::/32",
            "ip_addr:2001:db8::1",
            "ip_addr:::1",
            "ip_addr:0.0.0.0/0",
        ]
    );
    for empty in ["", "\n", "# nothing\n\n", "\u{feff}"] {
        assert_eq!(plain(empty), Ok(Vec::new()), "{empty:?}");
    }
}

#[test]
fn every_type_may_be_listed() {
    let text = "droplet:3164494 # web\ntag:env:prod\nk8s:bd5f-59\napp:4f6c # shop\n\
                vpc:5a49\ndns:db.example.com # the office\n";
    assert_eq!(
        shown(&plain(text).unwrap()),
        [
            "droplet:3164494 # web",
            "tag:env:prod",
            "k8s:bd5f-59",
            "app:4f6c # shop",
            "vpc:5a49",
            "dns:db.example.com # the office",
        ]
    );
}

#[test]
fn in_a_feed_a_comment_begins_behind_white_space() {
    let text = "feed:https://a.example/list\n\
                feed:https://a.example/list # plain\n\
                \t feed:https://a.example/list#csv:network# part of the name\n\
                feed:https://a.example/list#csv:2\t# a column # of two\n\
                feed:/lists/ec2.json#$.prefixes[?@.a=='x' && @.b=='y'].ip # EC2\n\
                # feed:/not/this\n";
    assert_eq!(
        shown(&plain(text).unwrap()),
        [
            "feed:https://a.example/list",
            "feed:https://a.example/list # plain",
            "feed:https://a.example/list#csv:network# part of the name",
            "feed:https://a.example/list#csv:2 # a column # of two",
            "feed:/lists/ec2.json#$.prefixes[?@.a=='x' && @.b=='y'].ip # EC2",
        ]
    );
    assert_eq!(
        plain("feed: # nothing\nfeed:/a#\nfeed:/a# b\n").unwrap_err(),
        [
            "l:1: feed: the value is empty: write an https URL or an absolute path after feed:",
            "l:2: feed: nothing after '#': write #$… or #csv:…, or leave '#' out for a plain list",
            "l:3: feed: the selector \" b\" is of no known form: write #$… (a JSONPath) or #csv:… \
             (a column)",
        ]
    );
    // The longest feed has room.
    let longest = format!("feed:/{}", "x".repeat(2047));
    assert_eq!(shown(&plain(format!("{longest} # x\n")).unwrap()), [format!("{longest} # x")]);
}

#[test]
fn reports_every_bad_line() {
    let text = b"10.0.0.1\n10.0.0.5/24\nnonsense\ntag:back end\n2001:db8::zz\n\
                 host:db.example\n10.0.0.1\0\n\xff\xfe\na\x0bb\nip_addr:\n10.0.0.1 10.0.0.2\n";
    assert_eq!(
        plain(text).unwrap_err(),
        [
            "l:2: ip_addr: 10.0.0.5/24 has host bits set: write 10.0.0.0/24, or 10.0.0.5 for \
             the one address",
            "l:3: ip_addr: \"nonsense\" is not an IPv4 or IPv6 address: write an address, a \
             CIDR or a range",
            "l:4: tag: \"back end\" is not a tag: use at most 255 letters, digits, ':', '_' and '-'",
            "l:5: ip_addr: \"2001:db8::zz\" is not an IPv4 or IPv6 address: write an address, \
             a CIDR or a range",
            "l:6: unknown type \"host\": the types are ip_addr, droplet, k8s, tag, app, vpc, \
             feed, dns",
            "l:7: has the control character '\\0': remove it",
            "l:8: not UTF-8: save the file as UTF-8",
            "l:9: has the control character '\\u{b}': remove it",
            "l:10: ip_addr: the value is empty: write an address, a CIDR or a range after \
             ip_addr:",
            "l:11: ip_addr: \"10.0.0.1 10.0.0.2\" is not an IPv4 or IPv6 address: write an \
             address, a CIDR or a range",
        ]
    );
}

/// As Spamhaus publishes DROP: comments with ';', at the beginning and behind an entry.
#[test]
fn semicolons_begin_comments() {
    let text = "; Spamhaus DROP List\n; Expires: never\n\n1.10.16.0/20 ; SBL256894\n\
                1.19.0.0/16;SBL434604 # x\n2001:db8::/32 ;\ntag:web ; the shop\n\
                feed:https://a.example/l;v=1 ; by version\n";
    assert_eq!(
        shown(&plain(text).unwrap()),
        [
            "ip_addr:1.10.16.0/20 # SBL256894",
            "ip_addr:1.19.0.0/16 # SBL434604 # x",
            "ip_addr:2001:db8::/32",
            "tag:web # the shop",
            "feed:https://a.example/l;v=1 # by version",
        ]
    );
}

#[test]
fn a_comment_may_be_in_any_encoding() {
    for comment in [
        &b"B\xfcro M\xfcnchen"[..],
        b"\x93smart\x94 quotes",
        b"\x8c\x8e\x96\xb1\x8f\x8a",
        b"\x1b$B;vL3=j\x1b(B",
        b"\xff\xfe\x80",
        b"bell \x07 and NUL \0",
    ] {
        for sign in ['#', ';'] {
            let mut text = format!("192.0.2.1 {sign} ").into_bytes();
            text.extend(comment);
            text.extend(format!("\n{sign} ").as_bytes());
            text.extend(comment);
            text.extend(b"\n192.0.2.2\n");
            let sources = plain(&text).unwrap();
            assert_eq!(sources.len(), 2, "{comment:?}");
            let description = sources[0].description.as_ref().unwrap();
            assert!(!description.contains(char::is_control), "{description:?}");
        }
    }
    let problems = plain(b"192.0.2.1\n192.0.2.\xfc2 # x\n").unwrap_err();
    assert_eq!(problems, ["l:2: not UTF-8: save the file as UTF-8"]);
}

#[test]
fn other_encodings_are_named() {
    let text = "# office\r\n192.0.2.1\r\n";
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (file, text, charset) in [
        ("l", wide(text), "UTF-16LE"),
        ("l", wide(&format!("\u{feff}{text}")), "UTF-16"),
        ("l.toml", wide("trusted_sources = []\n"), "UTF-16LE"),
        ("l.toml", wide("\u{feff}trusted_sources = []\n"), "UTF-16"),
    ] {
        assert_eq!(
            read(file, text).unwrap_err(),
            [format!(
                "{file}: is UTF-16, not UTF-8: save it as UTF-8 (on a command line: iconv -f \
                 {charset} -t UTF-8)"
            )]
        );
    }
}

/// The command that the error names converts the list.
#[test]
fn the_command_for_another_encoding_works() {
    let list = "# B\u{fc}ro\r\n192.0.2.1 # M\u{fc}nchen\r\n";
    let marked = format!("\u{feff}{list}");
    let le = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let be = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let wide = marked.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for text in [le(list), be(list), le(&marked), be(&marked), wide] {
        let problems = plain(&text).unwrap_err();
        let (_, command) = problems[0].split_once("command line: ").unwrap();
        let words: Vec<&str> = command.trim_end_matches(')').split(' ').collect();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        std::fs::write(&file, &text).unwrap();
        let converted = std::process::Command::new(words[0]).args(&words[1..]).arg(&file).output();
        let converted = converted.unwrap_or_else(|error| panic!("{command}: {error}"));
        let sources = plain(&converted.stdout).unwrap();
        assert_eq!(shown(&sources), ["ip_addr:192.0.2.1 # M\u{fc}nchen"], "{command}");
    }
}

/// What an entry that is nearly an address says to write, and that it can be written.
#[test]
fn what_is_nearly_an_address_says_what_to_write() {
    for (entry, write) in [
        ("192.0.2.1:5432", "192.0.2.1: a source may connect from any port"),
        ("[2001:db8::1]:5432", "2001:db8::1: a source may connect from any port"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("\"192.0.2.1\",", "192.0.2.1"),
        ("192.0.2.1,", "192.0.2.1"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.0 255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.*", "192.0.2.0/24"),
        ("10.0/16", "10.0.0.0/16"),
        (
            "192.0.2.1-9",
            "192.0.2.1-192.0.2.9 (or 192.0.2.1/32, 192.0.2.2/31, 192.0.2.4/30, 192.0.2.8/31)",
        ),
        ("192.0.2.1\u{2013}192.0.2.2", "192.0.2.1-192.0.2.2 (or 192.0.2.1/32, 192.0.2.2/32)"),
        ("fe80::1%eth0", "fe80::1: a source is trusted on every interface"),
        ("ip_addr:[2001:db8::1]:5432", "2001:db8::1: a source may connect from any port"),
    ] {
        let problems = plain(entry).unwrap_err();
        assert_eq!(problems.len(), 1, "{entry}");
        assert!(problems[0].ends_with(&format!(": write {write}")), "{entry}: {}", problems[0]);
        let meant = write.split([' ']).next().unwrap().trim_end_matches(':');
        assert!(plain(meant).is_ok(), "{meant}");
    }
}

#[test]
fn lines_have_a_limit() {
    let longest = format!("10.0.0.1 #{}", "x".repeat(MAX_LINE - 10));
    assert_eq!(longest.len(), MAX_LINE);
    assert!(plain(format!("{longest}\r\n{longest}")).is_ok());
    assert_eq!(
        plain(format!("10.0.0.2\n{longest}x\n")).unwrap_err(),
        ["l:2: the line has 4097 bytes, more than 4096: write one source a line"]
    );
}

#[test]
fn entries_have_a_limit() {
    let text = "10.0.0.1\n".repeat(MAX_ENTRIES + 1);
    assert_eq!(
        plain(text).unwrap_err(),
        ["l:2000001: more than 2000000 sources: summarise addresses as CIDRs, or split the \
             list"]
    );
}

#[test]
fn a_file_that_is_no_list_does_not_flood() {
    let problems = plain("x\n".repeat(5000)).unwrap_err();
    assert_eq!(problems.len(), 1001);
    assert!(problems[999].starts_with("l:1000: "));
    assert_eq!(problems[1000], "l: 4000 more problems: fix these first");
}

#[test]
fn reads_toml_lists() {
    let text = "\u{feff}trusted_sources = [\r\n\
                \x20 \"ip_addr:10.0.0.0/8\",\r\n\
                \x20 { type = \"ip_addr\", value = \"192.0.2.7\", description = \"CI\", \
                expires_at = 2026-12-01T00:00:00Z },\r\n]\r\n";
    let sources = toml(text).unwrap();
    assert_eq!(shown(&sources), ["ip_addr:10.0.0.0/8", "ip_addr:192.0.2.7 # CI"]);
    assert_eq!(sources[1].expires_at, Some("2026-12-01T00:00:00Z".parse().unwrap()));
    assert_eq!(toml("trusted_sources = []"), Ok(Vec::new()));
    let tables = "[[trusted_sources]]\ntype = \"ip_addr\"\nvalue = \"10.0.0.1\"\n";
    assert_eq!(shown(&toml(tables).unwrap()), ["ip_addr:10.0.0.1"]);
}

#[test]
fn reports_everything_wrong_in_toml() {
    let text = "trusted_source = []\ntrusted_sources = [\n  \"10.0.0.1\",\n  7,\n  \
                { type = \"ip_addr\" },\n  \"tag:a b\",\n]\n";
    assert_eq!(
        toml(text).unwrap_err(),
        [
            "l.toml:1: trusted_source: unknown key: did you mean \"trusted_sources\"?",
            "l.toml:3: trusted_sources[0]: 10.0.0.1 has no type: write ip_addr:10.0.0.1",
            "l.toml:4: trusted_sources[1]: must be a string or a table, not an integer: write \
             \"ip_addr:192.0.2.10\" or { type = \"ip_addr\", value = \"192.0.2.10\" }",
            "l.toml:5: trusted_sources[2].value: is missing: add value = \"192.0.2.10\"",
            "l.toml:6: trusted_sources[3]: tag: \"a b\" is not a tag: use at most 255 letters, \
             digits, ':', '_' and '-'",
        ]
    );
    assert_eq!(
        toml("").unwrap_err(),
        ["l.toml:1: trusted_sources: is missing: add trusted_sources = \
             [\"ip_addr:192.0.2.10\"], or [] for none"]
    );
    assert_eq!(toml(b"a = 1\n\xff").unwrap_err(), ["l.toml:2: not UTF-8: save the file as UTF-8"]);
    assert!(toml("trusted_sources = [\n").unwrap_err()[0].starts_with("l.toml:1: not valid"));
}

#[test]
fn nothing_makes_it_panic() {
    let text = "10.0.0.1-10.0.0.9 # x\nip_addr:2001:db8::/32\r\n\u{fc}:1\n";
    for file in ["l", "l.toml"] {
        for end in 0..=text.len() {
            let _ = read(file, &text.as_bytes()[..end]);
        }
        for at in 0..text.len() {
            for byte in 0..=255 {
                let mut text = text.as_bytes().to_vec();
                text[at] = byte;
                let _ = read(file, text);
            }
        }
    }
}

#[test]
fn what_a_long_list_says_without_a_comment_is_prefixes() {
    let line = |i: usize| format!("10.{}.{}.0/24\n", i / 256, i % 256);
    let text: String = (0..MAX_NAMED).map(line).collect();
    let read = |text: &str| parse(Path::new("l"), text.as_bytes()).unwrap();
    let list = read(&text);
    assert_eq!((list.sources.len(), list.plain.len()), (MAX_NAMED, 0));
    let more = "tag:backend\n10.9.9.9 # CI\n10.200.0.1-10.200.0.2\n10.0.0.0/24\n2001:db8::1\n";
    let list = read(&format!("{more}{text}"));
    let named: Vec<_> = list.sources.into_iter().map(Arc::unwrap_or_clone).collect();
    assert_eq!(shown(&named), ["tag:backend", "ip_addr:10.9.9.9 # CI"]);
    assert_eq!(list.plain.len(), MAX_NAMED + 3, "one is named twice, one is a range of two");
    assert!(list.plain.is_sorted_by(|a, b| a < b));
    for prefix in ["10.0.0.0/24", "10.15.255.0/24", "10.200.0.1", "10.200.0.2", "2001:db8::1"] {
        assert!(list.plain.binary_search(&prefix.parse().unwrap()).is_ok(), "{prefix}");
    }
}

/// Lines of the alphabet of addresses, and whole ones with something around them.
fn line() -> impl Strategy<Value = String> {
    let types = ["", "feed:", "ip_addr:", "tag:", "fee:"];
    let address = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
        any::<u32>().prop_map(|bits| format!("::ffff:{}", std::net::Ipv4Addr::from_bits(bits))),
    ];
    let length = prop_oneof![3 => Just(String::new()), 1 => "/[0-9]{1,3}", 1 => "/+?0?(32|128)"];
    let around = || proptest::sample::select(vec!["", " ", "\t", "\u{a0}", "\u{c}", "\0"]);
    prop_oneof![
        "[0-9a-f.:/]{0,12}",
        (around(), proptest::sample::select(types.to_vec()), address, length, around())
            .prop_map(|(a, kind, address, length, b)| format!("{a}{kind}{address}{length}{b}")),
    ]
}

proptest! {
    #[test]
    fn a_prefix_is_what_the_source_of_its_line_names(line in line()) {
        let Some(prefix) = prefix_of(line.as_bytes()) else { return Ok(()) };
        let source = parse_line(line.as_bytes()).ok().flatten().unwrap();
        prop_assert!(is_bare(&source));
        prop_assert_eq!(&**source.key().prefixes().unwrap(), [prefix]);
    }
}

#[test]
fn addresses_and_networks_alone_are_prefixes() {
    let prefix = |line: &str| prefix_of(line.as_bytes()).map(|prefix| prefix.to_string());
    for (line, expected) in [
        ("192.0.2.1", Some("192.0.2.1/32")),
        (" 192.0.2.0/24\t", Some("192.0.2.0/24")),
        ("2001:db8::/32", Some("2001:db8::/32")),
        ("192.0.2.1 # CI", None),
        ("192.0.2.1-192.0.2.2", None),
        ("ip_addr:192.0.2.1", None),
        ("feed::1", None),
        ("", None),
    ] {
        assert_eq!(prefix(line).as_deref(), expected, "{line:?}");
    }
}
