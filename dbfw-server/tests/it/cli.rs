//! The command line: setting up, exit codes, what it prints.

use std::{fs, path::PathBuf};

use dbfw_provider::{digitalocean::DigitalOceanConfig, http::HttpConfig, token::TokenSource};
use nix::sys::signal::Signal;

use crate::support::Server;

fn code(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let output = server.run(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn init_sets_up_what_is_not_there_and_nothing_twice() {
    let server = Server::bare("");
    fs::remove_file(server.config()).unwrap();
    // Without a configuration the defaults are written, which are for root's directories: checked
    // here, and not used.
    let dir = server.path("etc/dbfw-server.toml");
    let checked = server.run(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    server.configure("");
    let token = server.done(&["init"]);
    assert!(token.starts_with("dodbfw_") && token.trim().len() == 71);
    let (exit, error) = code(&server, &["init"]);
    assert_eq!(exit, Some(1), "{error}");
    assert!(error.contains("set up before"), "{error}");
}

#[test]
fn the_configuration_that_init_writes_is_the_default() {
    let server = Server::bare("");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/dbfw-server.toml");
    let text = fs::read_to_string(shipped).unwrap();
    fs::write(server.config(), &text).unwrap();
    let config = dbfw_server::config::load(&server.config()).unwrap();
    assert_eq!(config, dbfw_server::config::Config::default());
    // And with every key switched on it is valid, and all but the examples is the default still.
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') => format!("{rest}\n"),
            Some(rest) if rest.contains(" = ") && !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(server.config(), on).unwrap();
    let mut config = dbfw_server::config::load(&server.config()).unwrap();
    assert_eq!(config.tls_names, ["ctl.example.com"]);
    config.tls_names.clear();
    assert_eq!(config.url.take().as_deref(), Some("https://ctl.example.com:7443"));
    let ca_file = Some(PathBuf::from("/etc/dbfw-server/ca.pem"));
    let account = config.resolve.digitalocean.take();
    let example = DigitalOceanConfig {
        token: TokenSource::File("/etc/dbfw-server/do-token".into()),
        http: HttpConfig { ca_file: ca_file.clone(), ..HttpConfig::default() },
        ..DigitalOceanConfig::default()
    };
    assert_eq!(account, Some(example));
    assert_eq!(config.resolve.feeds.http.ca_file.take(), ca_file);
    assert_eq!(std::mem::take(&mut config.resolve.dns.servers).len(), 1);
    assert_eq!(config, dbfw_server::config::Config::default());
}

#[test]
fn every_failure_has_its_code_and_says_what_to_do() {
    let mut server = Server::set_up("");
    for arguments in [&["database", "list"][..], &["token", "list"]] {
        let (exit, error) = code(&server, arguments);
        assert_eq!(exit, Some(69), "{error}");
        assert!(error.contains("no server answers on"), "{error}");
    }
    for usage in [&["serv"][..], &["token", "add", "x"], &["database"]] {
        assert_eq!(code(&server, usage).0, Some(2), "{usage:?}");
    }
    server.spawn(&[]);
    server.database("orders");
    for (arguments, wanted) in [
        (&["database", "add", "orders"][..], "there is a database with the name orders"),
        (&["database", "add", "Orders"], "name: "),
        (&["database", "rm", "none"], "there is no such database"),
        (&["database", "rm", "a/../b?c"], "there is no such database"),
        (&["token", "add", "x", "--preset", "root"], "viewer, editor or admin"),
        (&["token", "add", "x", "--scope", "all"], "database:read"),
        (&["token", "rm", "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"], "there is no such token"),
        (&["serve"], "is open in another process"),
        (&["store", "load"], "not whole"),
    ] {
        let (exit, error) = code(&server, arguments);
        assert_eq!(exit, Some(1), "{arguments:?}: {error}");
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
    assert_eq!(server.stop(Signal::SIGTERM), Some(0));
    server.configure("name = 7\nmrege = true");
    for verb in ["check", "serve", "init"] {
        let (exit, error) = code(&server, &[verb]);
        assert_eq!(exit, Some(78), "{verb}: {error}");
        assert!(error.contains("did you mean \"merge\"?"), "{verb}: {error}");
    }
}

#[test]
fn a_server_without_a_store_or_an_authority_says_what_to_run() {
    let server = Server::bare("");
    fs::create_dir_all(server.path("state")).unwrap();
    let (exit, error) = code(&server, &["serve"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("dbfw-server init"), "{error}");
    assert!(!server.path("state/store.redb").exists(), "none was made");
    let (exit, error) = code(&server, &["store", "dump"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("there is no store"), "{error}");
    assert!(!server.path("state/store.redb").exists(), "none was made");
    let server = Server::set_up("");
    fs::remove_dir_all(server.path("state/tls")).unwrap();
    let (exit, error) = code(&server, &["serve"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("ca.pem: run `dbfw-server init`"), "{error}");
    // As advised, whichever of the files is lost.
    for lost in ["state/tls/ca.pem", "state/tls/ca.key"] {
        let before = fs::read(server.path("state/tls/ca.pem")).ok();
        let (exit, error) = code(&server, &["init"]);
        assert_eq!(exit, Some(0), "{error}");
        assert!(error.contains("a new certificate authority"), "{error}");
        assert_ne!(fs::read(server.path("state/tls/ca.pem")).ok(), before);
        fs::remove_file(server.path(lost)).unwrap();
    }
    let (exit, _) = code(&server, &["init"]);
    assert_eq!(exit, Some(0));
    let (exit, error) = code(&server, &["init"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("was set up before"), "{error}");
}

#[test]
fn a_damaged_store_is_replaced_by_a_backup_as_advised() {
    let mut server = Server::set_up("");
    let backup = server.done(&["store", "dump"]);
    let store = server.path("state/store.redb");
    let whole = fs::read(&store).unwrap();
    for content in [&b"nonsense"[..], &whole[..whole.len() / 2], &[0; 4096]] {
        fs::write(&store, content).unwrap();
        for verb in [&["serve"][..], &["store", "dump"]] {
            let (exit, error) = code(&server, verb);
            assert_eq!(exit, Some(1), "{verb:?}: {error}");
            assert!(error.contains("move it away, then load a backup"), "{error}");
        }
        fs::rename(&store, server.path("away")).unwrap();
        let loaded = server.run_with(&["store", "load"], backup.as_bytes());
        assert!(loaded.status.success(), "{loaded:?}");
    }
    // Likewise on a machine that has nothing.
    fs::remove_dir_all(server.path("state")).unwrap();
    assert!(server.run_with(&["store", "load"], backup.as_bytes()).status.success());
    server.done(&["init"]);
    server.spawn(&[]);
    assert!(server.done(&["token", "list", "--output", "plain"]).starts_with("admin\t"));
}

#[test]
fn lists_are_tables_json_and_plain_fields() {
    let server = Server::start();
    let id = server.database("orders");
    let table = server.done(&["database", "list"]);
    assert!(table.starts_with("NAME    ID "), "{table}");
    let plain = server.done(&["database", "list", "--output", "plain"]);
    assert_eq!(plain, format!("orders\t{id}\tpg\t0\t0\n"));
    let tokens = server.done(&["token", "list", "--output", "plain"]);
    assert!(tokens.starts_with("admin\t"), "{tokens}");
    let completions = server.done(&["completions", "bash"]);
    assert!(completions.contains("dbfw-server"));
    assert!(server.done(&["man"]).contains("dbfw\\-server"));
}
