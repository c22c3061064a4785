use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders},
};
use nix::sys::signal::Signal;

fn started(pair: &Pair) -> Host<'_> {
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    host.start();
    host
}

fn trusted_by_hand(host: &Host<'_>) -> Vec<String> {
    let list = host.json(&["trust", "list"]).expect("the list as JSON");
    let sources = list["sources"].as_array().expect("an array of sources");
    sources.iter().map(|source| source["source"].as_str().unwrap_or_default().to_owned()).collect()
}

const FRIEND: &str = "ip_addr:10.77.0.3";

#[test]
fn a_source_trusted_by_hand_for_a_while_ends_by_itself() {
    let pair = Pair::new();
    let host = started(&pair);
    assert!(!pair.reaches(FRIEND4));
    // Long enough to be seen on a busy machine.
    let add = ["trust", "add", FRIEND, "--database", "orders", "--for", "3s", "--why", "a test"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    assert_eq!(trusted_by_hand(&host), [FRIEND]);
    host.wait("it to expire", |host| trusted_by_hand(host).is_empty());
    host.wait("the friend to be refused", |_| !pair.reaches(FRIEND4));
    host.wait("the others to be left alone", |_| pair.reaches(TRUSTED4));
}

#[test]
fn a_source_trusted_by_hand_survives_a_crash_until_it_is_removed() {
    let pair = Pair::new();
    let mut host = started(&pair);
    let add = ["trust", "add", FRIEND, "--database", "orders", "--why", "a test"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    host.stop(Signal::SIGKILL);
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    host.start();
    assert_eq!(trusted_by_hand(&host), [FRIEND]);
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));

    let remove = ["trust", "rm", FRIEND, "--database", "orders"];
    assert_eq!(host.dbfw(&remove).status.code(), Some(0), "{}", host.log());
    assert_eq!(trusted_by_hand(&host), Vec::<String>::new());
    assert!(!pair.reaches(FRIEND4));
    let again = host.dbfw(&remove);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    host.stop(Signal::SIGKILL);
    host.start();
    assert!(!pair.reaches(FRIEND4), "what was removed does not come back");
}

#[test]
fn what_cannot_be_trusted_is_refused_and_changes_nothing() {
    let pair = Pair::new();
    let host = started(&pair);
    // What is no source at all is wrong usage; the agent is not even asked.
    for (source, database, code, said) in [
        (FRIEND, "nosuch", 1, "there is no database nosuch"),
        ("tag:backend", "orders", 1, "tag:backend"),
        ("ip_addr:10.77.0.3/24", "orders", 2, "host bits"),
        ("nonsense", "orders", 2, "nonsense"),
    ] {
        let output = host.dbfw(&["trust", "add", source, "--database", database]);
        assert_eq!(output.status.code(), Some(code), "{source}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{source}: {error}");
    }
    assert_eq!(trusted_by_hand(&host), Vec::<String>::new());
    assert!(!pair.reaches(STRANGER4) && !pair.reaches(FRIEND4));
}
