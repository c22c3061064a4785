//! Bad `[feeds]` and `[dns]`.

use super::{SHORT, check, check_table};

/// Keys of `[feeds]`, and their problems.
const FEEDS: &[(&str, &[&str])] = &[
    (r#"poll = "25h""#, &[r#"poll: "25h" is not a possible interval: use "100ms" to "24h""#]),
    ("max_bytes = 0", &["max_bytes: 0 is not a possible size: use 1 to 268435456"]),
    (r#"max_bytes = "16M""#, &["max_bytes: must be an integer, not a string: use 1 to 268435456"]),
    ("max_bytes = 268435457", &["max_bytes: 268435457 is not a possible size: use 1 to 268435456"]),
    (r#"timeout = "6m""#, &[r#"timeout: "6m" is not a possible timeout: use "100ms" to "5m""#]),
    (
        r#"ca_file = "a""#,
        &[r#"ca_file: "a" is not an absolute path: begin it with "/", as in "/etc/dbfw/ca.pem""#],
    ),
    (
        r#"allow_http = ["a b"]"#,
        &[r#"allow_http[0]: "a b" is not a host name: write only the name, as in "api.internal""#],
    ),
    ("max_byte = 1", &[r#"max_byte: unknown key: did you mean "max_bytes"?"#]),
    (
        r#"url = "https://a.example/""#,
        &[
            "url: unknown key: remove it (known here: poll, max_bytes, timeout, ca_file, allow_http)",
        ],
    ),
];

/// Keys of `[dns]`, and their problems.
const DNS: &[(&str, &[&str])] = &[
    (
        r#"servers = "192.0.2.53""#,
        &[
            r#"servers: must be an array, not a string: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
        ],
    ),
    (
        "servers = []",
        &["servers: lists no server: remove the key to ask the servers of /etc/resolv.conf"],
    ),
    (
        r#"servers = ["dns.example", "192.0.2.53:0", "192.0.2.53:", "[192.0.2.53]", "0.0.0.0", 53]"#,
        &[
            r#"servers[0]: "dns.example" is not the address of a server: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
            r#"servers[1]: "192.0.2.53:0" is not the address of a server: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
            r#"servers[2]: "192.0.2.53:" is not the address of a server: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
            r#"servers[3]: "[192.0.2.53]" is not the address of a server: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
            r#"servers[4]: "0.0.0.0" is not the address of a server: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
            r#"servers[5]: must be a string, not an integer: write ["192.0.2.53"], or ["[2001:db8::53]:5353"] with a port"#,
        ],
    ),
    (r#"servers = ["192.0.2.53", "192.0.2.53:53"]"#, &["servers[1]: is listed twice: remove one"]),
    (r#"timeout = "1ms""#, &[r#"timeout: "1ms" is not a possible timeout: use "100ms" to "5m""#]),
    (r#"grace = "2d""#, &[r#"grace: "2d" is not a possible grace: use "0s" to "24h""#]),
    (r#"min_ttl = "0s""#, &[r#"min_ttl: "0s" is not a possible TTL: use "100ms" to "24h""#]),
    (r#"max_ttl = "2d""#, &[r#"max_ttl: "2d" is not a possible TTL: use "100ms" to "24h""#]),
    (
        r#"max_ttl = "4s""#,
        &["max_ttl: min_ttl 5s is longer than max_ttl 4s: make min_ttl the smaller one"],
    ),
    (
        r#"min_ttl = "2h""#,
        &["min_ttl: min_ttl 2h is longer than max_ttl 1h: make min_ttl the smaller one"],
    ),
    ("server = []", &[r#"server: unknown key: did you mean "servers"?"#]),
    (
        "search = 1",
        &["search: unknown key: remove it (known here: servers, timeout, grace, min_ttl, max_ttl)"],
    ),
];

#[test]
fn bad_feeds() {
    for (text, expected) in FEEDS {
        check_table("feeds", text, expected);
    }
}

#[test]
fn bad_dns() {
    for (text, expected) in DNS {
        check_table("dns", text, expected);
    }
}

#[test]
fn feeds_without_tls() {
    let feeds = r#"["feed:http://a.example/x", "feed:http://B.example/x", "feed:http://[::1]/x", "feed:/x"]"#;
    let text = SHORT.replace(r#"["ip_addr:10.0.0.0/8"]"#, feeds);
    check(
        &format!("{text}[feeds]\nallow_http = [\"b.example\"]\n"),
        "@/dbfw.toml:4: database.a.trusted_sources",
        &[
            r#"[0]: feed:http://a.example/x would be fetched without TLS: use https, or write [feeds] with allow_http = ["a.example"]"#,
        ],
    );
}
