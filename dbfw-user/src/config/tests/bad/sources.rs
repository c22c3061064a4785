//! Bad trusted sources.

use super::check_database;

/// Keys of a database, and their problems.
const SOURCES: &[(&str, &[&str])] = &[
    (
        r#"trusted_sources = ["ip_addr:10.0.0.5/24"]"#,
        &[
            "trusted_sources[0]: ip_addr: 10.0.0.5/24 has host bits set: write 10.0.0.0/24, or 10.0.0.5 for the one address",
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", users = ["app", "", "/x", 7] }]"#,
        &[
            r#"trusted_sources[0].users[1]: "" is not the name of a user: write users = ["app"]"#,
            r#"trusted_sources[0].users[2]: "/x" would be a pattern in pg_hba.conf: write users = ["app"]"#,
            r#"trusted_sources[0].users[3]: must be a string, not an integer: write users = ["app"]"#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", users = "app" }]"#,
        &[r#"trusted_sources[0].users: must be an array, not a string: write users = ["app"]"#],
    ),
    (
        r#"trusted_sources = ["10.0.0.0/8"]"#,
        &["trusted_sources[0]: 10.0.0.0/8 has no type: write ip_addr:10.0.0.0/8"],
    ),
    (
        r#"trusted_sources = ["2001:db8::/32"]"#,
        &["trusted_sources[0]: 2001:db8::/32 has no type: write ip_addr:2001:db8::/32"],
    ),
    (
        r#"trusted_sources = "ip_addr:10.0.0.0/8""#,
        &[
            r#"trusted_sources: must be an array, not a string: write trusted_sources = ["ip_addr:192.0.2.10"]"#,
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:300.0.0.1", 7]"#,
        &[
            r#"trusted_sources[0]: ip_addr: "300.0.0.1" is not an IPv4 or IPv6 address: write an address, a CIDR or a range"#,
            r#"trusted_sources[1]: must be a string or a table, not an integer: write "ip_addr:192.0.2.10" or { type = "ip_addr", value = "192.0.2.10" }"#,
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:10.0.0.0/33"]"#,
        &[
            r#"trusted_sources[0]: ip_addr: "10.0.0.0/33": the length after '/' is not a number from 0 to 32: write a length from 0 to 32, or none for the one address"#,
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:10.0.0.9-10.0.0.1"]"#,
        &[
            "trusted_sources[0]: ip_addr: 10.0.0.9-10.0.0.1 ends before it starts: write 10.0.0.1-10.0.0.9",
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:10.0.0.1-::1"]"#,
        &[
            "trusted_sources[0]: ip_addr: 10.0.0.1-::1 has ends of two families: write a range of IPv4 addresses or one of IPv6 addresses",
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:"]"#,
        &[
            "trusted_sources[0]: ip_addr: the value is empty: write an address, a CIDR or a range after ip_addr:",
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr: 10.0.0.1"]"#,
        &[
            r#"trusted_sources[0]: ip_addr: " 10.0.0.1" has white space around it or control characters in it: remove them"#,
        ],
    ),
    (
        r#"trusted_sources = ["ipaddr:10.0.0.1"]"#,
        &[
            r#"trusted_sources[0]: unknown type "ipaddr": the types are ip_addr, droplet, k8s, tag, app, vpc, feed, dns"#,
        ],
    ),
    (
        r#"trusted_sources = ["backend"]"#,
        &[
            r#"trusted_sources[0]: "backend" has no type: write type:value, where type is one of ip_addr, droplet, k8s, tag, app, vpc, feed, dns"#,
        ],
    ),
    (
        r#"trusted_sources = ["droplet:web-1", "droplet:0", "droplet:01", "droplet:18446744073709551616", "droplet:-1"]"#,
        &[
            r#"trusted_sources[0]: droplet: "web-1" is not a droplet's id: write the number, as in droplet:3164494"#,
            r#"trusted_sources[1]: droplet: "0" is not a droplet's id: write the number, as in droplet:3164494"#,
            r#"trusted_sources[2]: droplet: "01" is not a droplet's id: write the number, as in droplet:3164494"#,
            r#"trusted_sources[3]: droplet: "18446744073709551616" is not a droplet's id: write the number, as in droplet:3164494"#,
            r#"trusted_sources[4]: droplet: "-1" is not a droplet's id: write the number, as in droplet:3164494"#,
        ],
    ),
    (
        r#"trusted_sources = ["tag:back end", "tag:a/b", "tag:a&name=b"]"#,
        &[
            r#"trusted_sources[0]: tag: "back end" is not a tag: use at most 255 letters, digits, ':', '_' and '-'"#,
            r#"trusted_sources[1]: tag: "a/b" is not a tag: use at most 255 letters, digits, ':', '_' and '-'"#,
            r#"trusted_sources[2]: tag: "a&name=b" is not a tag: use at most 255 letters, digits, ':', '_' and '-'"#,
        ],
    ),
    (
        r#"trusted_sources = ["k8s:a/b", "app:..", { type = "vpc", value = "10.0.0.0/8" }]"#,
        &[
            r#"trusted_sources[0]: k8s: "a/b" is not an id: use at most 64 letters, digits and '-'"#,
            r#"trusted_sources[1]: app: ".." is not an id: use at most 64 letters, digits and '-'"#,
            r#"trusted_sources[2].value: vpc: "10.0.0.0/8" is not an id: use at most 64 letters, digits and '-'"#,
        ],
    ),
    (
        r#"trusted_sources = ["dns:", "dns:10.0.0.1", "dns:db..example", "dns:db.example:5432"]"#,
        &[
            "trusted_sources[0]: dns: the value is empty: write a host name after dns:",
            "trusted_sources[1]: dns: 10.0.0.1 is an address: write ip_addr:10.0.0.1",
            r#"trusted_sources[2]: dns: "db..example" has an empty label: write a host name"#,
            r#"trusted_sources[3]: dns: "db.example:5432" has the character ':': a host name has letters, digits, '-', '_' and '.'"#,
        ],
    ),
    (
        r#"trusted_sources = ["dns:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example"]"#,
        &[
            r#"trusted_sources[0]: dns: the label "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" has more than 63 characters: write a host name"#,
        ],
    ),
    (
        r##"trusted_sources = ["feed:list.txt", "feed:ftp://a.example/b", "feed:https://a.example/#b"]"##,
        &[
            r#"trusted_sources[0]: feed: "list.txt" is neither a URL nor an absolute path: write https://… or /…"#,
            "trusted_sources[1]: feed: ftp: is not a scheme that is fetched: write https://…, or /… for a local file",
            r#"trusted_sources[2]: feed: the selector "b" is of no known form: write #$… (a JSONPath) or #csv:… (a column)"#,
        ],
    ),
    (
        r#"trusted_sources = ["feed:https://user:S3CRET@a.example/"]"#,
        &[
            "trusted_sources[0]: feed: the URL holds a user or a password, which are shown to everybody: leave them out",
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ipaddr", value = "10.0.0.1" }]"#,
        &[
            r#"trusted_sources[0].type: "ipaddr" is not a type of trusted source: use "ip_addr", "droplet", "k8s", "tag", "app", "vpc", "feed" or "dns""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "host", value = 7 }]"#,
        &[
            r#"trusted_sources[0].type: "host" is not a type of trusted source: use "ip_addr", "droplet", "k8s", "tag", "app", "vpc", "feed" or "dns""#,
            r#"trusted_sources[0].value: must be a string, not an integer: write "ip_addr:192.0.2.10" or { type = "ip_addr", value = "192.0.2.10" }"#,
        ],
    ),
    (
        r#"trusted_sources = [{ value = "10.0.0.1", desc = "x" }]"#,
        &[
            "trusted_sources[0].desc: unknown key: remove it (known here: type, value, description, expires_at, users)",
            r#"trusted_sources[0].type: is missing: add type = "ip_addr""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.5/24", description = 1 }]"#,
        &[
            "trusted_sources[0].description: must be a string, not an integer: put quotes around it",
            "trusted_sources[0].value: ip_addr: 10.0.0.5/24 has host bits set: write 10.0.0.0/24, or 10.0.0.5 for the one address",
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", description = "a\tb" }]"#,
        &[
            r#"trusted_sources[0].description: "a\tb" has a control character: write it on one line, without tabs"#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = "tomorrow" }]"#,
        &[
            r#"trusted_sources[0].expires_at: "tomorrow" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 2026-12-01 }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-12-01" does not say of which offset from UTC it is: write "2026-12-01T00:00:00Z" if that is UTC, "2026-12-01T00:00:00+01:00" if it is one hour east of it"#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 2026-12-01T00:00:00 }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-12-01T00:00:00" does not say of which offset from UTC it is: write "2026-12-01T00:00:00Z" if that is UTC, "2026-12-01T00:00:00+01:00" if it is one hour east of it"#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = "2026-02-30T00:00:00Z" }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-02-30T00:00:00Z" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = "" }]"#,
        &[
            r#"trusted_sources[0].expires_at: "" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 10:30:00 }]"#,
        &[
            r#"trusted_sources[0].expires_at: "10:30:00" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 1 }]"#,
        &[
            r#"trusted_sources[0].expires_at: must be a date with time and offset, not an integer: write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        ],
    ),
];

#[test]
fn bad_sources() {
    for (text, expected) in SOURCES {
        check_database(text, expected);
    }
}
