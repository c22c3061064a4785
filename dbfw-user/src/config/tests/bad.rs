//! Bad configurations, and exactly what is said about them.

mod agent;
mod api;
mod database;
mod feeds;
mod needs;
mod server;
mod sources;

use std::{fs, os::unix::fs::symlink};

use super::{Dir, good::SHORT};

#[track_caller]
pub(super) fn check(text: &str, prefix: &str, expected: &[&str]) {
    let problems = Dir::new(text).load().expect_err(text);
    let expected: Vec<String> = expected
        .iter()
        .map(|line| format!("{prefix}{line}").replace("@:", "@/dbfw.toml:"))
        .collect();
    assert_eq!(problems, expected, "{text}");
}

/// Checks what stands in a database named "a", on its fourth line.
#[track_caller]
fn check_database(text: &str, expected: &[&str]) {
    let text = format!("[[database]]\nname = \"a\"\nports = [1]\n{text}\n");
    check(&text, "@/dbfw.toml:4: database.a.", expected);
}

/// Checks what stands in a table beside a database, on the second line.
#[track_caller]
fn check_table(table: &str, text: &str, expected: &[&str]) {
    let text = format!("[{table}]\n{text}\n[[database]]\nname = \"a\"\nports = [1]\n");
    check(&text, &format!("@/dbfw.toml:2: {table}."), expected);
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
            "@/conf.d/2.toml:2: database.a.name: \"a\" is already the name of a database \
             (@/dbfw.toml:2): choose another",
            "@/conf.d/3.toml:1: not UTF-8: save the file as UTF-8",
            "@/conf.d/4.toml: is not a regular file: move it out of conf.d",
            "@/conf.d/5.toml: cannot be read: No such file or directory (os error 2): remove the \
             broken link",
            "@/dbfw.toml:3: database.a.ports[0]: 0 is not a port: use 1 to 65535",
            "@/dbfw.toml:4: database.a.x: unknown key: remove it (known here: name, ports, addresses, \
             mode, trusted_sources, provider, on_empty, max_shrink, allow_any, min_prefix, audit)",
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
    let source = r#"{ type = "ip_addr", value = "10.0.0.1", expires_at = "soon" }"#;
    let text = format!("{SHORT}\n").replace(r#""ip_addr:10.0.0.0/8""#, source);
    assert_eq!(Dir::new(text).load().unwrap_err().len(), 1);
}
