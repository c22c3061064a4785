//! Bad files as a whole, and exactly what is said about them.

use super::bad::check;

/// Whole files, and the problems behind "dbfw.toml".
const WHOLE: &[(&str, &[&str])] = &[
    ("", &[": protects no database: add one that begins with [[database]]"]),
    ("[agent]\n", &[": protects no database: add one that begins with [[database]]"]),
    (
        "# nothing\n[[databases]]\nname = \"a\"\n",
        &[r#":2: databases: unknown key: did you mean "database"?"#],
    ),
    (
        "[database]\nname = \"a\"\nports = [1]\n",
        &[":1: database: must be an array, not a table: begin each database with [[database]]"],
    ),
    (
        "database = [1]\n",
        &[
            ":1: database[0]: must be a table, not an integer: begin each database with [[database]]",
        ],
    ),
    ("agent = 1\n", &[":1: agent: must be a table, not an integer: begin it with [agent]"]),
    (
        "[digitalocean]\ntoken_file = \"/etc/dbfw/do-token\"\n",
        &[": protects no database: add one that begins with [[database]]"],
    ),
    (
        "[digital-ocean]\n[dsn]\n",
        &[
            r#":1: digital-ocean: unknown key: did you mean "digitalocean"?"#,
            r#":2: dsn: unknown key: did you mean "dns"?"#,
        ],
    ),
    (
        "[[database]]\n",
        &[
            r#":1: database[0].name: is missing: add name = "orders""#,
            ":1: database[0].ports: is missing: write ports = [5432]",
        ],
    ),
    (
        "[[database]]\nname = 7\nports = 5432\n",
        &[
            r#":2: database[0].name: must be a string, not an integer: write name = "orders""#,
            ":3: database[0].ports: must be an array, not an integer: write ports = [5432]",
        ],
    ),
    (
        "[[database]]\nname = \"\"\nports = []\n",
        &[
            ":2: database[0].name: is empty: give the database a name",
            ":3: database[0].ports: lists no port: write ports = [5432]",
        ],
    ),
    (
        "[[database]]\nname = \"my db\"\nports = [0, 65536, -1, 5432.0, true]\n",
        &[
            r#":2: database[0].name: "my db" has a ' ': use letters, digits, "-", "_" and ".""#,
            ":3: database[0].ports[0]: 0 is not a port: use 1 to 65535",
            ":3: database[0].ports[1]: 65536 is not a port: use 1 to 65535",
            ":3: database[0].ports[2]: -1 is not a port: use 1 to 65535",
            r#":3: database[0].ports[3]: must be an integer or a string, not a float: write 5432, "6432-6440" or "udp/1234""#,
            r#":3: database[0].ports[4]: must be an integer or a string, not a boolean: write 5432, "6432-6440" or "udp/1234""#,
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [\"udp/0\", \"tcp/65536\", \"sctp/1\", \"5432\", \"udp/+1\", \"tcp/\"]\n",
        &[
            r#":3: database.a.ports[0]: "udp/0" is not a port: use 1 to 65535"#,
            r#":3: database.a.ports[1]: "tcp/65536" is not a port: use 1 to 65535"#,
            r#":3: database.a.ports[2]: "sctp/1" is not a port: write 5432, "6432-6440", "tcp/5432" or "udp/1234""#,
            r#":3: database.a.ports[3]: "5432" is not a port: write 5432, "6432-6440", "tcp/5432" or "udp/1234""#,
            r#":3: database.a.ports[4]: "udp/+1" is not a port: write 5432, "6432-6440", "tcp/5432" or "udp/1234""#,
            r#":3: database.a.ports[5]: "tcp/" is not a port: write 5432, "6432-6440", "tcp/5432" or "udp/1234""#,
        ],
    ),
    (
        "[[database]]\nname = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"\nports = [99999999999999999999]\n",
        &[
            r#":2: database[0].name: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is 65 bytes long: use at most 64"#,
            ":3: database[0].ports[0]: 99999999999999999999 is not a port: use 1 to 65535",
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [1, 2, \"tcp/1\", \"udp/1\"]\n",
        &[":3: database.a.ports[2]: tcp/1 is listed twice: remove one"],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [1, 2]\n[[database]]\nname = \"b\"\nports = [3, 2]\n[[database]]\nname = \"a\"\nports = [4]\n",
        &[
            ":6: database.b.ports[1]: tcp/2 already belongs to a database (database.a.ports[1], \
             @:3): give each port to one database, or both addresses of their own",
            r#":8: database.a.name: "a" is already the name of a database (@:2): choose another"#,
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [\"10-20\", 15, \"9-8\", \"0-3\", \"1-70000\", \"udp/15\"]\n",
        &[
            ":3: database.a.ports[1]: tcp/15 and tcp/10-20 have ports in common: list each port once",
            r#":3: database.a.ports[2]: "9-8" is not a port: write the lower port first"#,
            r#":3: database.a.ports[3]: "0-3" is not a port: use 1 to 65535"#,
            r#":3: database.a.ports[4]: "1-70000" is not a port: use 1 to 65535"#,
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [5432]\naddresses = [\"192.0.2.0/24\"]\n[[database]]\nname = \"b\"\nports = [\"5430-5440\"]\n[[database]]\nname = \"c\"\nports = [5432]\naddresses = [\"192.0.2.9\"]\n[[database]]\nname = \"d\"\nports = [\"udp/5432\"]\naddresses = \"local\"\n[[database]]\nname = \"e\"\nports = [\"udp/5432\"]\naddresses = [\"2001:db8::1\"]\n",
        &[
            ":7: database.b.ports[0]: tcp/5430-5440 (tcp/5432) already belongs to a database (database.a.ports[0], @:3): give the port to one database, or addresses to the other as well",
            ":10: database.c.ports[0]: tcp/5432 (tcp/5430-5440) already belongs to a database (database.b.ports[0], @:7): give the port to one database, or addresses to the other as well",
            ":10: database.c.ports[0]: tcp/5432 already belongs to a database (database.a.ports[0], @:3): give each address to one database",
            r#":18: database.e.ports[0]: udp/5432 already belongs to a database (database.d.ports[0], @:14): write out the addresses of both: "local" may be any"#,
        ],
    ),
    (
        "[agent]\nbackstop = false\n[[database]]\nname = \"a\"\nports = [1]\naddresses = [\"local\", \"192.0.2.1\"]\n",
        &[
            r#":6: database.a.addresses: "local" needs the backstop, which judges an address that has just come up: remove backstop = false, or write out the addresses"#,
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nname = \"b\"\n",
        &[":3: not valid TOML: duplicate key: correct the line (the syntax: https://toml.io)"],
    ),
    (
        "[agent\n",
        &[
            ":1: not valid TOML: unclosed table, expected `]`: correct the line (the syntax: https://toml.io)",
        ],
    ),
    (
        "[agent]\nstate_dir = \"/a\n",
        &[
            r#":2: not valid TOML: invalid basic string, expected `"`: correct the line (the syntax: https://toml.io)"#,
        ],
    ),
    (
        "[agent]\nstate_dir = /a\n",
        &[
            ":2: not valid TOML: string values must be quoted, expected literal string: correct the line (the syntax: https://toml.io)",
        ],
    ),
    (
        "x\n",
        &[
            ":1: not valid TOML: key with no value, expected `=`: correct the line (the syntax: https://toml.io)",
        ],
    ),
    (
        "[[database]]\nname = \"a\"\nports = [70000]\nmode = \"x\"\nmax_shrink = 1\nextra = 1\n\n[agent]\nattach = 1\n",
        &[
            ":3: database.a.ports[0]: 70000 is not a port: use 1 to 65535",
            r#":4: database.a.mode: "x" is not a mode: use "enforce", "observe" or "off""#,
            r#":5: database.a.max_shrink: must be a string, not an integer: write "1%" to "100%", or "off" for no limit"#,
            ":6: database.a.extra: unknown key: remove it (known here: name, ports, addresses, mode, trusted_sources, provider, on_empty, max_shrink, allow_any, min_prefix, audit)",
            r#":9: agent.attach: must be a string, not an integer: use "auto", "native", "tcx" or "generic""#,
        ],
    ),
];

#[test]
fn bad_files() {
    for (text, expected) in WHOLE {
        check(text, "@/dbfw.toml", expected);
    }
}
