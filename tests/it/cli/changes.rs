//! What changes something: trust, reload, detach.

use nix::sys::signal::Signal;

use super::{
    DATABASES, Net, STRANGER, assert_exit, assert_snapshot, configure, in_every_form, text,
    transcript,
};

#[test]
fn trust_by_hand() {
    let net = Net::new();
    let host = net.started();
    assert_snapshot("trust_list_empty", &in_every_form(&host, "trust list"));
    let added = host.dbfw(&[
        "trust",
        "add",
        "ip_addr:10.77.0.9",
        "--database",
        "orders",
        "--for",
        "2h",
        "--why",
        "incident 42\n\u{1b}[2J",
    ]);
    assert_exit(&added, 0, "trust add");
    assert!(!text(&added.stdout).contains('\u{1b}'), "the reason must not steer the terminal");
    assert_exit(&host.dbfw(&["explain", STRANGER, "--port", "5432"]), 0, "explain once trusted");
    assert_snapshot("trust_list", &in_every_form(&host, "trust list"));
    assert_snapshot("trust_explain", &transcript(&host, &["explain 10.77.0.9 --port 5432"]));
    assert_snapshot(
        "trust_rm",
        &transcript(
            &host,
            &[
                "trust rm ip_addr:10.77.0.9 -d orders",
                "trust rm ip_addr:10.77.0.9 -d orders",
                "explain 10.77.0.9 --port 5432 -o plain",
                "trust add ip_addr:2001:db8::/64 -d orders -o json",
                "trust add ip_addr:0.0.0.0/0 -d reports -o plain",
                "trust add ip_addr:10.77.0.9 -d order",
                "trust add tag:backend -d orders",
                "trust list -o plain",
            ],
        ),
    );
}

#[test]
fn a_reason_too_long_is_refused_in_words() {
    let net = Net::new();
    let host = net.started();
    let why = "x".repeat(70_000);
    let output = host.dbfw(&["trust", "add", "ip_addr:10.77.0.9", "-d", "orders", "--why", &why]);
    assert_exit(&output, 1, "trust add with a reason of 70,000 bytes");
    assert_eq!(text(&output.stderr), "error: the request is longer than 64 KiB\n");
}

#[test]
fn reload_reads_everything_again() {
    let net = Net::new();
    let host = net.started();
    configure(&host, &DATABASES.replace("10.77.0.0/30", "10.77.0.0/28"));
    let changed = in_every_form(&host, "reload");
    // Not in place: the agent may read it between the truncation and the write, and refuse that.
    host.replace("orders.list", "10.77.0.2\nnonsense\n10.77.0.9/24\n");
    let broken = in_every_form(&host, "reload");
    for line in [2, 3] {
        let told = |record: &&str| record.contains(&format!("line {line}: "));
        let log = host.log();
        let records: Vec<_> = log.lines().filter(told).collect();
        assert_eq!(records.len(), 1, "line {line} of the list, once:\n{log}");
        assert!(records[0].contains(" WARN "), "a record of its own: {}", records[0]);
    }
    host.replace("orders.list", "");
    let refused = in_every_form(&host, "reload");
    let confirmed = transcript(&host, &["reload --confirm", "reload"]);
    host.replace("orders.list", "10.77.0.2\n");
    let good = transcript(&host, &["reload"]);
    configure(&host, "[[database]]\nname = \"orders\"\nport = 5432\n");
    let bad = transcript(&host, &["reload", "reload -o json"]);
    assert_snapshot("reload", &[changed, broken, refused, confirmed, good, bad].join("\n"));
    assert_snapshot("status_after_bad_reload", &transcript(&host, &["status"]));
    host.replace("dbfw.toml", "not TOML");
    let status = host.dbfw(&["status"]);
    assert!(
        text(&status.stderr).contains("cannot be used (`dbfw check` says why)"),
        "a reader that cannot find the agent for lack of a configuration says so: {}",
        text(&status.stderr)
    );
}

#[test]
fn detach_opens_and_reload_closes() {
    let net = Net::new();
    let mut host = net.started();
    let steps = [
        "detach --yes",
        "status",
        "status -o plain",
        "explain 10.77.0.9 --port 5432",
        "reload",
        "status -o plain",
        "detach --yes -o json",
        "reload -o plain",
    ];
    assert_snapshot("detach", &transcript(&host, &steps));

    host.stop(Signal::SIGKILL);
    let steps = ["detach --yes", "status", "detach -o plain"];
    assert_snapshot("detach_without_agent", &transcript(&host, &steps));
}
