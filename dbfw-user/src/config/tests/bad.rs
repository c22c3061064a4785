//! Bad configurations, and exactly what is said about them.

use std::{fs, os::unix::fs::symlink};

use super::{Dir, good::SHORT};

/// What stands in `[agent]`, and the problems behind "dbfw.toml:5: agent.".
const AGENT: &[(&str, &[&str])] = &[
    (r#"interface = ["eth0"]"#, &[r#"interface: unknown key: did you mean "interfaces"?"#]),
    (
        r#"interfaces = "eth0""#,
        &[
            r#"interfaces: "eth0" is not an array of interfaces: write ["eth0"], or "auto" for every interface with hardware"#,
        ],
    ),
    (
        "interfaces = 7",
        &[
            r#"interfaces: must be an array, not an integer: write ["eth0"], or "auto" for every interface with hardware"#,
        ],
    ),
    (
        "interfaces = []",
        &[
            r#"interfaces: lists no interface: write ["eth0"], or "auto" for every interface with hardware"#,
        ],
    ),
    (
        r#"interfaces = ["eth0", 7, "", "[", "auto", "a-name-of-16-byte"]"#,
        &[
            r#"interfaces[1]: must be a string, not an integer: write ["eth0"], or "auto" for every interface with hardware"#,
            r#"interfaces[2]: an interface has a name: write ["eth0"], or "auto" for every interface with hardware"#,
            r#"interfaces[3]: "[" is not a glob (invalid range pattern): write a pattern like "eth*" or "enp[0-9]s0""#,
            r#"interfaces[4]: "auto" stands alone: write interfaces = "auto""#,
            r#"interfaces[5]: no interface can be called "a-name-of-16-byte": use at most 15 bytes, without "/" and spaces"#,
        ],
    ),
    (
        r#"exempt_interfaces = "docker0""#,
        &[r#"exempt_interfaces: must be an array, not a string: write ["docker0"]"#],
    ),
    (
        r#"attach = "xdp""#,
        &[r#"attach: "xdp" is not an attach mode: use "auto", "native", "tcx" or "generic""#],
    ),
    (
        "attach = true",
        &[r#"attach: must be a string, not a boolean: use "auto", "native", "tcx" or "generic""#],
    ),
    (
        r#"backstop = "true""#,
        &["backstop: must be true or false, not a string: write true or false without quotes"],
    ),
    (
        r#"fragments = "allow""#,
        &[r#"fragments: "allow" is not a way to treat fragments: use "pass" or "drop""#],
    ),
    (
        r#"metrics_listen = "localhost:9787""#,
        &[
            r#"metrics_listen: "localhost:9787" is not an address with a port: write "127.0.0.1:9787", "[::1]:9787" or "off""#,
        ],
    ),
    (
        "metrics_listen = 9787",
        &[
            r#"metrics_listen: must be a string, not an integer: write "127.0.0.1:9787", "[::1]:9787" or "off""#,
        ],
    ),
    (
        r#"state_dir = "var/lib/dbfw""#,
        &[
            r#"state_dir: "var/lib/dbfw" is not an absolute path: begin it with "/", as in "/var/lib/dbfw""#,
        ],
    ),
    (
        r#"state_dir = ["/a"]"#,
        &[r#"state_dir: must be a string, not an array: write "/var/lib/dbfw""#],
    ),
    (
        r#"run_dir = "/run/\u0000""#,
        &[r#"run_dir: "/run/\0" has a NUL byte, which no path can have: remove it"#],
    ),
    (
        r#"pin_dir = """#,
        &[r#"pin_dir: "" is not an absolute path: begin it with "/", as in "/sys/fs/bpf/dbfw""#],
    ),
    (
        "events_per_second = 100001",
        &["events_per_second: 100001 is not a possible rate: use 0 to 100000"],
    ),
    ("events_per_second = -1", &["events_per_second: -1 is not a possible rate: use 0 to 100000"]),
    (
        "events_per_second = 1e3",
        &["events_per_second: must be an integer, not a float: use 0 to 100000"],
    ),
    (
        r#"events_per_second = "many""#,
        &["events_per_second: must be an integer, not a string: use 0 to 100000"],
    ),
    (
        r#"colour = "red""#,
        &[
            "colour: unknown key: remove it (known here: interfaces, attach, backstop, exempt_interfaces, fragments, metrics_listen, state_dir, run_dir, pin_dir, events_per_second)",
        ],
    ),
    (
        r#""a b" = 1"#,
        &[
            r#""a b": unknown key: remove it (known here: interfaces, attach, backstop, exempt_interfaces, fragments, metrics_listen, state_dir, run_dir, pin_dir, events_per_second)"#,
        ],
    ),
];

/// What stands in a database named "a", and the problems behind "dbfw.toml:4: database.a.".
const DATABASE: &[(&str, &[&str])] = &[
    (
        r#"trusted_sources = ["ip_addr:10.0.0.5/24"]"#,
        &[
            "trusted_sources[0]: ip_addr: 10.0.0.5/24 has host bits set: write 10.0.0.0/24, or 10.0.0.5 for the one address",
        ],
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
            r#"trusted_sources: must be an array, not a string: write trusted_sources = ["ip_addr:10.0.0.0/8"]"#,
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:300.0.0.1", 7]"#,
        &[
            r#"trusted_sources[0]: ip_addr: "300.0.0.1" is not an IPv4 or IPv6 address: write an address, a CIDR or a range"#,
            r#"trusted_sources[1]: must be a string or a table, not an integer: write "ip_addr:10.0.0.0/8" or { type = "ip_addr", value = "10.0.0.0/8" }"#,
        ],
    ),
    (
        r#"trusted_sources = ["ip_addr:10.0.0.0/33"]"#,
        &[
            r#"trusted_sources[0]: ip_addr: "10.0.0.0/33": the length after '/' must be a number from 0 to 32: write an address, a CIDR or a range"#,
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
            "trusted_sources[0]: ip_addr: 10.0.0.1-::1: both ends of a range must be IPv4 or both IPv6: write an address, a CIDR or a range",
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
            r#"trusted_sources[0]: unknown type "ipaddr": the types are ip_addr, droplet, k8s, tag, app"#,
        ],
    ),
    (
        r#"trusted_sources = ["backend"]"#,
        &[
            r#"trusted_sources[0]: "backend" has no type: write type:value, where type is one of ip_addr, droplet, k8s, tag, app"#,
        ],
    ),
    (
        r#"trusted_sources = ["tag:backend", "droplet:1", "k8s:x", "app:y"]"#,
        &[
            "trusted_sources[0]: tag:backend needs the DigitalOcean provider, which this version does not have: list its addresses as ip_addr sources",
            "trusted_sources[1]: droplet:1 needs the DigitalOcean provider, which this version does not have: list its addresses as ip_addr sources",
            "trusted_sources[2]: k8s:x needs the DigitalOcean provider, which this version does not have: list its addresses as ip_addr sources",
            "trusted_sources[3]: app:y needs the DigitalOcean provider, which this version does not have: list its addresses as ip_addr sources",
        ],
    ),
    (
        r#"trusted_sources = [{ type = "tag", value = "backend" }]"#,
        &[
            "trusted_sources[0].value: tag:backend needs the DigitalOcean provider, which this version does not have: list its addresses as ip_addr sources",
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ipaddr", value = "10.0.0.1" }]"#,
        &[
            r#"trusted_sources[0].type: "ipaddr" is not a type of trusted source: did you mean "ip_addr"?"#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "host", value = 7 }]"#,
        &[
            r#"trusted_sources[0].type: "host" is not a type of trusted source: use "ip_addr""#,
            r#"trusted_sources[0].value: must be a string, not an integer: write "ip_addr:10.0.0.0/8" or { type = "ip_addr", value = "10.0.0.0/8" }"#,
        ],
    ),
    (
        r#"trusted_sources = [{ value = "10.0.0.1", desc = "x" }]"#,
        &[
            "trusted_sources[0].desc: unknown key: remove it (known here: type, value, description, expires_at)",
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
            r#"trusted_sources[0].expires_at: "tomorrow" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 2026-12-01 }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-12-01" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 2026-12-01T00:00:00 }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-12-01T00:00:00" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = "2026-02-30T00:00:00Z" }]"#,
        &[
            r#"trusted_sources[0].expires_at: "2026-02-30T00:00:00Z" is not an RFC 3339 time: write a time with its offset, as in "2026-12-01T00:00:00Z""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "ip_addr", value = "10.0.0.1", expires_at = 1 }]"#,
        &[
            r#"trusted_sources[0].expires_at: must be a date with time and offset, not an integer: write a time with its offset, as in "2026-12-01T00:00:00Z""#,
        ],
    ),
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
        &[r#"max_shrink: "0%" is not a share: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "101%""#,
        &[r#"max_shrink: "101%" is not a share: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "half""#,
        &[r#"max_shrink: "half" is not a share: write "1%" to "100%", or "off" for no limit"#],
    ),
    (
        r#"max_shrink = "+5%""#,
        &[r#"max_shrink: "+5%" is not a share: write "1%" to "100%", or "off" for no limit"#],
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
        &[r#"provider.kind: "flie" is not a kind of provider: did you mean "file"?"#],
    ),
    (
        r#"provider = { kind = "aptible" }"#,
        &[r#"provider.kind: "aptible" is not a kind of provider: use "file""#],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = "9cc10173" }"#,
        &[
            r#"provider.kind: "digitalocean" needs the DigitalOcean provider, which this version does not have: use kind = "file" with a list of addresses"#,
        ],
    ),
    ("trusted_source = []", &[r#"trusted_source: unknown key: did you mean "trusted_sources"?"#]),
    ("port = 1", &[r#"port: unknown key: did you mean "ports"?"#]),
];

#[track_caller]
pub(super) fn check(text: &str, prefix: &str, expected: &[&str]) {
    let problems = Dir::new(text).load().expect_err(text);
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("{prefix}{line}").replace("@:", "@/dbfw.toml:"))
        .collect();
    assert_eq!(problems, expected, "{text}");
}

#[test]
fn bad_agent() {
    for (text, expected) in AGENT {
        let text = format!("[[database]]\nname = \"a\"\nports = [1]\n[agent]\n{text}\n");
        check(&text, "@/dbfw.toml:5: agent.", expected);
    }
}

#[test]
fn bad_database() {
    for (text, expected) in DATABASE {
        let text = format!("[[database]]\nname = \"a\"\nports = [1]\n{text}\n");
        check(&text, "@/dbfw.toml:4: database.a.", expected);
    }
}

#[test]
fn everything_in_all_files_is_reported_at_once() {
    let dir = Dir::new("[[database]]\nname = \"a\"\nports = [0]\nx = 1\n");
    dir.write("conf.d/1.toml", "[agent\n");
    dir.write("conf.d/2.toml", SHORT);
    dir.write("conf.d/3.toml", b"# \xff\n".as_slice());
    fs::create_dir(dir.path("conf.d/4.toml")).unwrap();
    symlink("nowhere", dir.path("conf.d/5.toml")).unwrap();
    assert_eq!(
        dir.load().unwrap_err(),
        [
            "@/conf.d/1.toml:1: not valid TOML: unclosed table, expected `]`: correct the line \
             (the syntax: https://toml.io)",
            "@/conf.d/2.toml:2: database.a.name: \"a\" is the name of a database already \
             (@/dbfw.toml:2): choose another",
            "@/conf.d/3.toml:1: not UTF-8: save the file as UTF-8",
            "@/conf.d/4.toml: is not a regular file: move it out of conf.d",
            "@/conf.d/5.toml: cannot be read: No such file or directory (os error 2): remove the \
             link that leads nowhere",
            "@/dbfw.toml:3: database.a.ports[0]: 0 is not a port: use 1 to 65535",
            "@/dbfw.toml:4: database.a.x: unknown key: remove it (known here: name, ports, mode, \
             trusted_sources, provider, on_empty, max_shrink, allow_any)",
        ]
    );
}

#[test]
fn without_a_main_file() {
    let dir = Dir::empty();
    let missing = "@/dbfw.toml: cannot be read: No such file or directory (os error 2): create \
                   it, or name another one with --config";
    assert_eq!(dir.load().unwrap_err(), [missing]);
    dir.write("conf.d/1.toml", SHORT);
    assert_eq!(dir.load().unwrap_err(), [missing]);
}

#[test]
fn a_file_where_the_directory_of_drop_ins_belongs() {
    let dir = Dir::new(SHORT);
    dir.write("conf.d", "");
    assert_eq!(
        dir.load().unwrap_err(),
        ["@/conf.d: cannot be read: Not a directory (os error 20): make it a readable directory, \
          or remove it"]
    );
}

#[test]
fn more_databases_than_a_host_can_have() {
    let databases = |count: usize| -> String {
        let database =
            |i: usize| SHORT.replace("\"a\"", &format!("\"a{i}\"")).replace("5432", &i.to_string());
        (1..=count).map(database).collect()
    };
    assert_eq!(Dir::new(databases(64)).load().unwrap().databases.len(), 64);
    assert_eq!(
        Dir::new(databases(66)).load().unwrap_err(),
        ["@/dbfw.toml:257: database.a65: one of 66 databases, more than a host can have: keep at \
          most 64; one database can have several ports"]
    );
}

#[test]
fn a_bad_expiry_does_not_trust_for_ever() {
    let source = r#"{ type = "ip_addr", value = "10.0.0.1", expires_at = "never" }"#;
    let text = format!("{SHORT}\n").replace(r#""ip_addr:10.0.0.0/8""#, source);
    assert_eq!(Dir::new(text).load().unwrap_err().len(), 1);
}

/// The keys of the documented example are all known; only what needs a provider that this
/// version lacks is refused.
#[test]
fn the_example_with_digitalocean() {
    let text = r#"[agent]
interfaces     = ["eth0", "eth1"]
attach         = "auto"
backstop       = true
metrics_listen = "127.0.0.1:9787"
state_dir      = "/var/lib/dbfw"

[[database]]
name  = "orders"
ports = [5432, 6432]
mode  = "enforce"
trusted_sources = [
  "ip_addr:10.10.0.0/16",
  "tag:backend",
  { type = "ip_addr", value = "203.0.113.7", description = "CI runner", expires_at = "2026-12-01T00:00:00Z" },
]
provider   = { kind = "digitalocean", cluster = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30" }
on_empty   = "keep"
max_shrink = "50%"

[digitalocean]
token_file = "/etc/dbfw/do-token"
api_url    = "https://api.digitalocean.com"
poll       = "15s"
"#;
    assert_eq!(
        Dir::new(text).load().unwrap_err(),
        [
            "@/dbfw.toml:14: database.orders.trusted_sources[1]: tag:backend needs the \
             DigitalOcean provider, which this version does not have: list its addresses as \
             ip_addr sources",
            "@/dbfw.toml:17: database.orders.provider.kind: \"digitalocean\" needs the \
             DigitalOcean provider, which this version does not have: use kind = \"file\" with a \
             list of addresses",
            "@/dbfw.toml:21: digitalocean: needs the DigitalOcean provider, which this version \
             does not have: remove this table",
        ]
    );
}
