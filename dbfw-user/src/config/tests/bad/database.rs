//! Bad keys of a database.

use super::check_database;

/// Keys of a database, and their problems.
const DATABASE: &[(&str, &[&str])] = &[
    (
        "addresses = []",
        &[
            "addresses: lists no address: name one, or remove it: without addresses every destination is judged",
        ],
    ),
    (
        r#"addresses = "eth0""#,
        &[
            r#"addresses: "eth0" is not an array of addresses: write ["192.0.2.5"], or "local" for every address of this host"#,
        ],
    ),
    (
        r#"addresses = ["192.0.2.0/33", "192.0.2.9/24", "0.0.0.0/0", 5, "here"]"#,
        &[
            r#"addresses[0]: "192.0.2.0/33": the length after '/' is not a number from 0 to 32: write ["192.0.2.5"], or "local" for every address of this host"#,
            r#"addresses[1]: 192.0.2.9/24 has host bits set: write 192.0.2.0/24, or 192.0.2.9 for that address alone"#,
            r#"addresses[2]: "0.0.0.0/0" is every address: remove addresses: without it every destination is judged"#,
            r#"addresses[3]: must be a string, not an integer: write ["192.0.2.5"], or "local" for every address of this host"#,
            r#"addresses[4]: "here" is not an IPv4 or IPv6 address: write ["192.0.2.5"], or "local" for every address of this host"#,
        ],
    ),
    (
        "audit = 1",
        &["audit: must be a table, not an integer: write [database.audit] below its [[database]]"],
    ),
    (
        r#"audit = { socket = "s", user = "", password_file = "S3CRET" }"#,
        &[
            r#"audit.password_file: is not an absolute path: name a file that holds the password, as in "/etc/dbfw/orders-audit-password""#,
            r#"audit.socket: "s" is not an absolute path: begin it with "/", as in "/run/postgresql/.s.PGSQL.5432""#,
            r#"audit.user: "" is not a user's name: use 1 to 63 bytes without control characters"#,
        ],
    ),
    (
        r#"audit = { password_file = "/a" }"#,
        &[r#"audit.password_file: whose password it is is not said: write user = "dbfw_audit""#],
    ),
    (
        r#"audit = { user = "a", password = "S3CRET" }"#,
        &[
            r#"audit.password: a password does not belong in the configuration: write it to a file with mode 0600 and add password_file = "/etc/dbfw/orders-audit-password"; make a new password if others could read this file"#,
        ],
    ),
    (r#"audit = { users = "a" }"#, &[r#"audit.users: unknown key: did you mean "user"?"#]),
    (
        r#"mode = "enforced""#,
        &[r#"mode: "enforced" is not a mode: use "enforce", "observe" or "off""#],
    ),
    ("mode = 1", &[r#"mode: must be a string, not an integer: use "enforce", "observe" or "off""#]),
    (
        r#"on_empty = "ignore""#,
        &[r#"on_empty: "ignore" is not a meaning of an empty list: use "keep", "close" or "open""#],
    ),
    (
        "max_shrink = 50",
        &[
            r#"max_shrink: must be a string, not an integer: write "1%" to "100%", or "off" for no limit"#,
        ],
    ),
    (
        r#"max_shrink = "0%""#,
        &[r#"max_shrink: "0%" is not a percentage: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "101%""#,
        &[r#"max_shrink: "101%" is not a percentage: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "half""#,
        &[r#"max_shrink: "half" is not a percentage: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "+5%""#,
        &[r#"max_shrink: "+5%" is not a percentage: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"allow_any = "yes""#,
        &["allow_any: must be true or false, not a string: write true or false without quotes"],
    ),
    (
        r#"provider = "file:/etc/dbfw/orders.list""#,
        &[
            r#"provider: must be a table, not a string: write { kind = "file", path = "/etc/dbfw/orders.list" }"#,
        ],
    ),
    (r#"provider = { path = "/a" }"#, &[r#"provider.kind: is missing: add kind = "file""#]),
    (
        r#"provider = { kind = "file" }"#,
        &[r#"provider.path: is missing: add path = "/etc/dbfw/orders.list""#],
    ),
    (
        r#"provider = { kind = "file", path = "orders.list", poll = 1 }"#,
        &[
            r#"provider.path: "orders.list" is not an absolute path: begin it with "/", as in "/etc/dbfw/orders.list""#,
            "provider.poll: unknown key: remove it (known here: kind, path)",
        ],
    ),
    (
        r#"provider = { kind = "flie", path = "/a" }"#,
        &[
            r#"provider.kind: "flie" is not a kind of provider: use "file", "digitalocean", "aptible" or "server""#,
        ],
    ),
    (
        r#"provider = { kind = "digitalocean" }"#,
        &[r#"provider.cluster: is missing: add cluster = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = "9cc10173", path = "/a" }"#,
        &[
            r#"provider.cluster: "9cc10173" is not the id of a cluster: write the cluster's id, as in "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#,
            "provider.path: unknown key: remove it (known here: kind, cluster)",
        ],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff3g" }"#,
        &[
            r#"provider.cluster: "9cc10173-e9ea-4176-9dbc-a4cee4c4ff3g" is not the id of a cluster: write the cluster's id, as in "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#,
        ],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = "../9cc10173-e9ea-4176-9dbc-a4cee4c4ff30" }"#,
        &[
            r#"provider.cluster: "../9cc10173-e9ea-4176-9dbc-a4cee4c4ff30" is not the id of a cluster: write the cluster's id, as in "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#,
        ],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = 9, clustre = 1 }"#,
        &[
            r#"provider.cluster: must be a string, not an integer: write the cluster's id, as in "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#,
            r#"provider.clustre: unknown key: did you mean "cluster"?"#,
        ],
    ),
    (r#"provider = { kind = "aptible" }"#, &["provider.vhost: is missing: add vhost = 123"]),
    (
        r#"provider = { kind = "aptible", vhost = 0 }"#,
        &[
            "provider.vhost: 0 is not the id of an endpoint: write the endpoint's id, a number, as in 123",
        ],
    ),
    (
        r#"provider = { kind = "aptible", vhost = -1 }"#,
        &[
            "provider.vhost: -1 is not the id of an endpoint: write the endpoint's id, a number, as in 123",
        ],
    ),
    (
        r#"provider = { kind = "aptible", vhost = "db.example.com" }"#,
        &[
            r#"provider.vhost: "db.example.com" is not the id of an endpoint: write the endpoint's id, a number, as in 123"#,
        ],
    ),
    (
        r#"provider = { kind = "aptible", vhost = "18446744073709551616" }"#,
        &[
            r#"provider.vhost: "18446744073709551616" is not the id of an endpoint: write the endpoint's id, a number, as in 123"#,
        ],
    ),
    (
        r#"provider = { kind = "aptible", vhost = true }"#,
        &[
            "provider.vhost: must be an integer or a string, not a boolean: write the endpoint's id, a number, as in 123",
        ],
    ),
    (
        "min_prefix = 8",
        &["min_prefix: must be a table, not an integer: write { ipv4 = 8, ipv6 = 19 }"],
    ),
    (
        "min_prefix = { ipv4 = 0, ipv6 = 0 }",
        &[
            "min_prefix.ipv4: 0 is not the length of a prefix: use 1 to 32",
            "min_prefix.ipv6: 0 is not the length of a prefix: use 1 to 128",
        ],
    ),
    (
        "min_prefix = { ipv4 = 33, ipv6 = 129 }",
        &[
            "min_prefix.ipv4: 33 is not the length of a prefix: use 1 to 32",
            "min_prefix.ipv6: 129 is not the length of a prefix: use 1 to 128",
        ],
    ),
    (
        r#"min_prefix = { ipv4 = "/8", v6 = 19, ip = 1 }"#,
        &[
            "min_prefix.ip: unknown key: remove it (known here: ipv4, ipv6)",
            "min_prefix.ipv4: must be an integer, not a string: use 1 to 32",
            "min_prefix.v6: unknown key: remove it (known here: ipv4, ipv6)",
        ],
    ),
    ("trusted_source = []", &[r#"trusted_source: unknown key: did you mean "trusted_sources"?"#]),
    ("port = 1", &[r#"port: unknown key: did you mean "ports"?"#]),
];

#[test]
fn bad_database() {
    for (text, expected) in DATABASE {
        check_database(text, expected);
    }
}
