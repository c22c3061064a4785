use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use dbfw_tests::{
    agent::Host,
    pair::{
        FRIEND4, Pair, STRANGER4, STRANGER6, TRUSTED4, TRUSTED6, interfaces, metric, orders,
        problems,
    },
};
use nix::sys::signal::Signal;

const TRUSTED: &str = "trusted_sources = [\"ip_addr:10.77.0.2\", \"ip_addr:fd77::2\"]\n";

/// A host that was protected, and whose agent ended.
fn stopped<'a>(pair: &'a Pair) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    host.wait("the last good configuration", |host| saved(host).exists());
    host.stop(Signal::SIGTERM);
    host
}

fn saved(host: &Host<'_>) -> PathBuf {
    host.path("state/config.json")
}

/// Takes away what a reboot takes away.
fn reboot(host: &Host<'_>) {
    let pins = host.pins();
    fs::remove_dir_all(pins.parent().expect("a pin directory")).expect("remove the pins");
}

fn assert_filtered(pair: &Pair, host: &Host<'_>) {
    for trusted in [TRUSTED4, TRUSTED6] {
        host.wait("the trusted client to be answered", |_| pair.reaches(trusted));
    }
    for stranger in [STRANGER4, STRANGER6] {
        assert!(!pair.reaches(stranger), "{stranger} was let in\n{}", host.log());
    }
}

/// Does to the configuration's files what makes them bad; the text that names it.
type Spoil = fn(&Host<'_>) -> &'static str;

fn spoil(host: &Host<'_>, change: impl FnOnce(String) -> String) {
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &change(good));
}

const SPOILS: [Spoil; 6] = [
    |host| {
        spoil(host, |good| good + "[[database\n");
        "dbfw.toml:"
    },
    |host| {
        spoil(host, |good| good.replace("10.77.0.2", "10.77.0.999"));
        "10.77.0.999"
    },
    |host| {
        spoil(host, |good| good + "ports_ = 1\n");
        "ports_"
    },
    |host| {
        let mut text = fs::read(host.path("dbfw.toml")).expect("the configuration");
        text.extend(b"# caf\xe9\n");
        fs::write(host.path("dbfw.toml"), text).expect("spoil the file");
        "not UTF-8"
    },
    |host| {
        fs::create_dir_all(host.path("conf.d/a.toml")).expect("spoil a drop-in");
        "is not a regular file"
    },
    |host| {
        spoil(host, |good| good.replace("[[database]]", "[[databases]]"));
        "databases"
    },
];

#[test]
fn a_bad_configuration_after_a_reboot_is_replaced_by_the_last_good_one() {
    let pair = Pair::new();
    for spoil in SPOILS {
        let mut host = stopped(&pair);
        let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
        reboot(&host);
        host.wait("the port to be open", |_| pair.reaches(STRANGER4));
        let said = spoil(&host);
        host.spawn();
        host.wait("the last good configuration to be in force", |host| {
            host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
        });
        assert_filtered(&pair, &host);
        assert!(problems(&host).contains(said), "{said}: {}", problems(&host));
        assert!(problems(&host).contains("in force since"), "{}", problems(&host));
        assert!(host.log().contains(said), "{}", host.log());
        assert_eq!(metric(&host, "dbfw_config_last_reload_successful"), Some(0.0));

        // A bad file that changes is as bad.
        assert_eq!(host.dbfw(&["reload"]).status.code(), Some(78));
        assert_filtered(&pair, &host);

        let _ = fs::remove_dir_all(host.path("conf.d"));
        host.replace("dbfw.toml", &good.replace("10.77.0.2", "10.77.0.3"));
        host.wait("the good file to be taken", |_| pair.reaches(FRIEND4));
        host.wait("the list of before to be gone", |_| !pair.reaches(TRUSTED4));
        host.wait("nothing to be wrong", |host| problems(host).is_empty());
        assert_eq!(host.dbfw(&["status"]).status.code(), Some(0));
    }
}

#[test]
fn the_last_good_configuration_is_roots_alone_and_follows_what_is_in_force() {
    let pair = Pair::new();
    let mut host = stopped(&pair);
    let mode = fs::metadata(saved(&host)).expect("the file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    host.start();
    let before = fs::read_to_string(saved(&host)).expect("the file");
    // A file that is bad, and one that cannot be put in force, are not good ones.
    spoil(&host, |good| good + "ports_ = 1\n");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(78));
    assert_eq!(fs::read_to_string(saved(&host)).expect("the file"), before);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.3\"]\n"));
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    host.wait("the new one to be saved", |host| {
        fs::read_to_string(saved(host)).is_ok_and(|text| text.contains("10.77.0.3"))
    });
}

#[test]
fn without_a_last_good_configuration_the_start_fails_and_says_what_that_means() {
    let pair = Pair::new();
    for (damage, said) in [
        (None, "there is no last good configuration"),
        (Some(&b"{}"[..]), "config.json.bad"),
        (Some(&b""[..]), "config.json.bad"),
        (Some(&br#"{"format":9,"sha256":"","body":""}"#[..]), "format 9"),
    ] {
        let mut host = stopped(&pair);
        reboot(&host);
        spoil(&host, |good| good + "ports_ = 1\n");
        match damage {
            None => fs::remove_file(saved(&host)).expect("remove the last good one"),
            Some(damage) => fs::write(saved(&host), damage).expect("damage the last good one"),
        }
        host.spawn();
        assert_eq!(host.ended(), Some(78), "{}", host.log());
        let log = host.log();
        assert!(log.contains("ports_") && log.contains(said), "{said}: {log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("the ports of the databases are OPEN to everyone"), "{log}");
        assert!(!host.pins().exists(), "nothing was attached");
        host.wait("the port to be open, as it says", |_| pair.reaches(STRANGER4));
        if damage.is_some() {
            assert!(host.path("state/config.json.bad").exists(), "it was set aside");
        }
    }
}

#[test]
fn a_start_that_fails_says_that_an_earlier_filter_goes_on() {
    let pair = Pair::new();
    let mut host = stopped(&pair);
    fs::remove_file(saved(&host)).expect("remove the last good one");
    spoil(&host, |good| good.replace("10.77.0.2", "10.77.0.999"));
    host.spawn();
    assert_eq!(host.ended(), Some(78), "{}", host.log());
    let log = host.log();
    assert!(log.contains("10.77.0.999"), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("goes on filtering"), "{log}");
    assert_filtered(&pair, &host);
}

#[test]
fn a_damaged_copy_is_named_while_the_file_itself_is_good() {
    let pair = Pair::new();
    let mut host = stopped(&pair);
    fs::write(saved(&host), "{").expect("damage the last good one");
    host.start();
    assert!(problems(&host).contains("config.json.bad"), "{}", problems(&host));
    host.wait("a new one", |host| saved(host).exists());
    assert_filtered(&pair, &host);
}
