//! Sources and lists whose provider has no table.

use super::{Dir, SHORT, check_database};

/// Keys of a database, and their problems.
const NEEDS: &[(&str, &[&str])] = &[
    (
        r#"trusted_sources = ["tag:backend", "ip_addr:10.0.0.0/8", "droplet:1", "k8s:x", "app:y", "vpc:z"]"#,
        &[
            r#"trusted_sources[0]: tag:backend needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
            r#"trusted_sources[2]: droplet:1 needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
            r#"trusted_sources[3]: k8s:x needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
            r#"trusted_sources[4]: app:y needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
            r#"trusted_sources[5]: vpc:z needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
        ],
    ),
    (
        r#"trusted_sources = [{ type = "tag", value = "backend" }]"#,
        &[
            r#"trusted_sources[0]: tag:backend needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
        ],
    ),
    (
        r#"provider = { kind = "digitalocean", cluster = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30" }"#,
        &[
            r#"provider: the list of a cluster needs the table [digitalocean], which is missing: write [digitalocean] with token_file = "/etc/dbfw/do-token""#,
        ],
    ),
    (
        r#"provider = { kind = "aptible", vhost = 123 }"#,
        &[
            r#"provider: the list of an endpoint needs the table [aptible], which is missing: write [aptible] with token_file = "/etc/dbfw/aptible-token""#,
        ],
    ),
    (
        r#"provider = { kind = "server", database = "orders" }"#,
        &[
            r#"provider: the list of a server needs the table [server] with urls, which is missing: run `dbfw join`, which writes it, or write [server] with urls = ["https://ctl.example.com:7443"] and token_file = "/etc/dbfw/host-token""#,
        ],
    ),
    (
        r#"provider = { kind = "server" }"#,
        &[r#"provider.database: is missing: add database = "orders""#],
    ),
    (
        r#"provider = { kind = "server", database = "or/ders" }"#,
        &[
            r#"provider.database: "or/ders" is not the name of a database: write the database's name at the server, as in "orders""#,
        ],
    ),
];

#[test]
fn what_needs_a_table() {
    for (text, expected) in NEEDS {
        check_database(text, expected);
    }
}

#[test]
fn feeds_and_names_need_none() {
    let sources = r#"["feed:https://a.example/", "feed:/a", "dns:db.example"]"#;
    let dir = Dir::new(SHORT.replace(r#"["ip_addr:10.0.0.0/8"]"#, sources));
    let config = dir.load().unwrap();
    assert_eq!((config.digitalocean, config.aptible), (None, None));
    assert_eq!(config.warnings, []);
}

#[test]
fn a_table_in_any_file_will_do() {
    let dir = Dir::new(SHORT.replace("ip_addr:10.0.0.0/8", "tag:backend"));
    assert_eq!(dir.load().unwrap_err().len(), 1);
    dir.write("conf.d/do.toml", "[digitalocean]\n");
    assert!(dir.load().unwrap().digitalocean.is_some());
    // With a problem of its own it is there all the same.
    dir.write("conf.d/do.toml", "[digitalocean]\npoll = 1\n");
    assert_eq!(dir.load().unwrap_err().len(), 1);
    // A file that could not be read may have it.
    dir.write("conf.d/do.toml", "[digitalocean\n");
    let problems = dir.load().unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("@/conf.d/do.toml:1: not valid TOML"), "{problems:?}");
}
