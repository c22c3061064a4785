//! Bad `[agent]`.

use super::check_table;

/// Keys of `[agent]`, and their problems.
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
        r#"interfaces = ["eth0", 7, "", "[", "auto", "eth0/1"]"#,
        &[
            r#"interfaces[1]: must be a string, not an integer: write ["eth0"], or "auto" for every interface with hardware"#,
            r#"interfaces[2]: an interface has a name: write ["eth0"], or "auto" for every interface with hardware"#,
            r#"interfaces[3]: "[" is not a glob (invalid range pattern): write a pattern like "eth*" or "enp[0-9]s0""#,
            r#"interfaces[4]: "auto" cannot be combined with others: write interfaces = "auto""#,
            r#"interfaces[5]: no interface can be called "eth0/1": use at most 127 bytes, without "/" and spaces"#,
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
    ("gone_after = 120", &[r#"gone_after: must be a string, not an integer: use "0s" to "24h""#]),
    (
        r#"gone_after = "two minutes""#,
        &[r#"gone_after: "two minutes" is not a length of time: write it like 15s, 2h or 1d12h"#],
    ),
    (r#"gone_after = "25h""#, &[r#"gone_after: "25h" is not a possible delay: use "0s" to "24h""#]),
    (r#"gone_after = "-1s""#, &[r#"gone_after: "-1s" is not a possible delay: use "0s" to "24h""#]),
    (
        r#"max_stale = "0s""#,
        &[r#"max_stale: "0s" is not "off" or a possible age: use "1s" to "365d""#],
    ),
    (
        r#"max_stale = "366d""#,
        &[r#"max_stale: "366d" is not "off" or a possible age: use "1s" to "365d""#],
    ),
    (
        r#"max_stale = "1 year""#,
        &[
            r#"max_stale: "1 year" is not a length of time: months and years differ in length; write days"#,
        ],
    ),
    ("max_stale = false", &[r#"max_stale: must be a string, not a boolean: use "1s" to "365d""#]),
    (r#"gone_afer = "1m""#, &[r#"gone_afer: unknown key: did you mean "gone_after"?"#]),
    (
        r#"colour = "red""#,
        &[
            "colour: unknown key: remove it (known here: interfaces, attach, backstop, exempt_interfaces, fragments, metrics_listen, state_dir, run_dir, pin_dir, events_per_second, gone_after, max_stale)",
        ],
    ),
    (
        r#""a b" = 1"#,
        &[
            r#""a b": unknown key: remove it (known here: interfaces, attach, backstop, exempt_interfaces, fragments, metrics_listen, state_dir, run_dir, pin_dir, events_per_second, gone_after, max_stale)"#,
        ],
    ),
];

#[test]
fn bad_agent() {
    for (text, expected) in AGENT {
        check_table("agent", text, expected);
    }
}
