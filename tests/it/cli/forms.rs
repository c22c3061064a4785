//! The promises every verb keeps: fields, colors, pipes, exit codes.

use std::{collections::BTreeSet, io::Write as _, process::Stdio};

use dbfw_tests::agent::Host;
use serde_json::Value;

use super::{Net, assert_exit, text};

/// Every document of `--output json` has exactly these fields.
#[test]
fn the_fields_of_every_document() {
    const CONTRACT: [(&str, &str, &str); 33] = [
        (
            "status",
            "",
            "accounts agent agent_absence backstop databases enforced interfaces passed_on_unjudged \
             problems protected protection version",
        ),
        (
            "status",
            "/agent",
            "config_files config_ok config_since detached generation pid programs ready started_at \
             trial",
        ),
        ("status", "/backstop", "detail exempt healthy"),
        ("status", "/interfaces/0", "detail healthy ifindex mode name"),
        (
            "status",
            "/databases/0",
            "addresses allowed_packets dropped_packets drops_per_second enforced mode name \
             observed_packets \
             oldest_age_seconds openings ports prefixes_ipv4 prefixes_ipv6 provider refused sources \
             stale_sources unresolved_sources unused_ports",
        ),
        ("status", "/databases/0/provider", "age_seconds error last_success name state"),
        ("sources", "", "sources"),
        (
            "sources",
            "/sources/0",
            "age_seconds database description error expires_at last_hit notes origin packets \
             prefixes resolved_from since source state unresolved users",
        ),
        ("map lookup 10.77.0.2", "", "address entry front"),
        ("map lookup 10.77.0.2", "/entry", "databases map prefix rules"),
        (
            "explain 10.77.0.2",
            "/0",
            "address database effect facts let_in_by mode passed_on_unjudged port prefix program reason \
             sources to verdict",
        ),
        (
            "explain 10.77.0.2",
            "/0/sources/0",
            "description expires_at last_hit origin packets prefix since source",
        ),
        ("drops", "", "forgotten left_out remembered since sources"),
        (
            "drops",
            "/sources/0",
            "database estimated_packets first_seen has_more interfaces last_seen port ports reason \
             reasons source trusted_by trusted_now verdict",
        ),
        ("suggest", "", "connections_error inventory_error observed scanners since suggestions"),
        (
            "suggest",
            "/suggestions/0",
            "addresses covers database established first_seen last_connected last_seen looks_like \
             minutes others packets ports source why",
        ),
        (
            "suggest",
            "/suggestions/0/addresses/0",
            "address belongs_to database established first_seen last_connected last_seen \
             looks_like minutes packets ports why",
        ),
        ("trust add ip_addr:192.0.2.1 -d orders", "", "sources"),
        (
            "trust add ip_addr:192.0.2.1 -d orders",
            "/sources/0",
            "added_at database expires_at source why",
        ),
        ("trust list", "", "sources"),
        ("trust list", "/sources/0", "added_at database expires_at source why"),
        (
            "reload",
            "",
            "added changes confirmable connections_error cut_off failed generation pending refused \
             removed restart trial unconfirmed",
        ),
        (
            "reload --confirm deadbeef",
            "",
            "added changes confirmable connections_error cut_off error failed generation pending refused \
             removed restart trial unconfirmed",
        ),
        ("reload --confirm deadbeef", "/error", "exit kind message"),
        ("reload --trial 1h", "/trial", "changes ends_at keep restores restores_since revert"),
        ("reload --trial 1h", "/trial/restores/0", "path sha256"),
        ("reload --keep", "", "text"),
        ("check", "", "attach backstop databases files interfaces warnings"),
        ("check", "/databases/0", "addresses mode name ports provider sources"),
        ("check --list LIST", "", "file prefixes sources warnings"),
        ("doctor", "", "findings"),
        ("doctor", "/findings/0", "check detail fix state"),
        ("metrics", "", "text"),
    ];
    let net = Net::new();
    let host = net.started();
    net.fixed_traffic(&host);
    for (line, pointer, fields) in CONTRACT {
        let list = host.path("orders.list").display().to_string();
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "LIST" { &*list } else { word }).collect();
        let document = host.json(&words).unwrap_or_else(|| panic!("{line} prints no JSON"));
        let value = document.pointer(pointer).unwrap_or_else(|| panic!("{line} has no {pointer}"));
        assert_eq!(keys(value), fields.split_whitespace().collect(), "{line} {pointer}");
    }
    let dump = text(&host.dbfw(&["map", "dump", "-o", "json"]).stdout);
    assert_eq!(dump.lines().count(), 5, "one line for every entry\n{dump}");
    for line in dump.lines() {
        let entry: Value = serde_json::from_str(line).expect("a document a line");
        assert_eq!(keys(&entry), "databases map prefix rules".split(' ').collect());
    }
    let detached = host.json(&["detach", "--yes"]).expect("JSON");
    assert_eq!(keys(&detached), BTreeSet::from(["text"]));

    host.replace("dbfw.toml", "[agent\n");
    let bad = host.json(&["check"]).expect("JSON");
    assert_eq!(keys(&bad), BTreeSet::from(["error", "problems"]));
    assert_eq!(keys(&bad["error"]), BTreeSet::from(["exit", "kind", "message"]));
    let fields = "file fix key line message".split(' ').collect();
    assert_eq!(keys(&bad["problems"][0]), fields, "check of a bad configuration");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    object.keys().map(String::as_str).collect()
}

#[test]
fn colors_only_where_they_are_wanted() {
    let net = Net::new();
    let host = net.started();
    let colored = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = host.command(&[&["status"], arguments].concat());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        let output = command.envs(variables.iter().copied()).output().expect("run dbfw status");
        assert_exit(&output, 0, "status");
        text(&output.stdout).contains('\u{1b}')
    };
    assert!(!colored(&[], &[]), "a pipe gets no colors");
    assert!(colored(&["--color", "always"], &[]), "--color always");
    assert!(!colored(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]), "--color never");
    assert!(colored(&[], &[("CLICOLOR_FORCE", "1")]), "CLICOLOR_FORCE");
    assert!(!colored(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "NO_COLOR");
    for form in ["json", "plain"] {
        assert!(!colored(&["--color", "always", "-o", form], &[]), "{form} is for programs");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let net = Net::new();
    let host = net.started();
    for line in [
        "status",
        "sources",
        "map dump",
        "map dump -o json",
        "explain 10.77.0.2",
        "drops",
        "metrics",
        "doctor",
        "check",
        "completions bash",
        "man",
        "--help",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = host
            .command(&line.split(' ').collect::<Vec<_>>())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("run dbfw");
        assert_exit(&output, 0, &format!("{line} into a closed pipe"));
        assert_eq!(text(&output.stderr), "", "{line} into a closed pipe complains");
    }
}

#[test]
fn wrong_usage_is_2() {
    let net = Net::new();
    let host = net.host();
    for line in [
        "",
        "statu",
        "status more",
        "status --output xml",
        "status --color sometimes",
        "map",
        "map lookup",
        "map lookup 10.0.0.0/8",
        "explain",
        "explain localhost",
        "explain 10.77.0.2 --port 0",
        "explain 10.77.0.2 --port 65536",
        "explain 10.77.0.2 --port -1",
        "explain 10.77.0.2 --port sctp/5432",
        "explain 10.77.0.2 --port udp/0",
        "drops -n 0",
        "drops -n -1",
        "drops -n many",
        "drops --follow -n 5",
        "drops --follow --since 1h",
        "drops --follow --sort packets",
        "drops --since 0s",
        "drops --since yesterday",
        "drops --address 10.77.0.9/24",
        "drops --address host",
        "drops --sort heaviest",
        "trust",
        "trust add ip_addr:10.77.0.9",
        "trust add 10.77.0.9 -d orders",
        "trust add ip_addr:10.77.0.9/24 -d orders",
        "trust add ip_addr:10.77.0.300 -d orders",
        "trust add ip:10.77.0.9 -d orders",
        "trust add ip_addr:10.77.0.9 -d orders --for 0s",
        "trust add ip_addr:10.77.0.9 -d orders --for 5",
        "trust add ip_addr:10.77.0.9 -d orders --for 1month",
        "trust rm -d orders",
        "reload now",
        "completions tcsh",
        "completions",
    ] {
        let output = host.dbfw(&line.split_whitespace().collect::<Vec<_>>());
        assert_exit(&output, 2, &format!("dbfw {line}"));
        assert!(output.stdout.is_empty(), "dbfw {line} prints data");
        assert!(!output.stderr.is_empty(), "dbfw {line} says nothing");
    }
}

#[test]
fn completions_for_every_shell() {
    let net = Net::new();
    let host = net.host();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = host.dbfw(&["completions", shell]);
        assert_exit(&output, 0, &format!("completions {shell}"));
        let script = text(&output.stdout);
        for word in VERBS.iter().chain(&["lookup", "--follow", "--confirm", "--output"]) {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.contains(word), "the {shell} completions lack {word}");
        }
        if shell == "bash" {
            check_syntax(&host, &script);
        }
    }
}

const VERBS: [&str; 15] = [
    "run",
    "check",
    "status",
    "sources",
    "map",
    "explain",
    "drops",
    "trust",
    "reload",
    "detach",
    "doctor",
    "metrics",
    "completions",
    "man",
    "help",
];

fn check_syntax(host: &Host<'_>, script: &str) {
    let path = host.path("completions.bash");
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(script.as_bytes()))
        .expect("write the script");
    let output = std::process::Command::new("bash").arg("-n").arg(&path).output();
    assert_exit(&output.expect("run bash"), 0, "bash -n");
}

#[test]
fn manual_pages() {
    let net = Net::new();
    let host = net.host();
    let page = host.dbfw(&["man"]);
    assert_exit(&page, 0, "man");
    let page = text(&page.stdout);
    assert!(page.contains(".TH dbfw 1"), "{page}");
    let dir = host.path("man");
    assert_exit(&host.dbfw(&["man", "--dir", &dir.display().to_string()]), 0, "man --dir");
    for verb in VERBS.iter().filter(|verb| **verb != "help") {
        assert!(page.contains(&format!("dbfw\\-{verb}(1)")), "dbfw(1) does not name {verb}");
        assert!(dir.join(format!("dbfw-{verb}.1")).is_file(), "dbfw-{verb}(1) is missing");
    }
    let refused = host.dbfw(&["man", "--dir", "/proc/nowhere"]);
    assert_exit(&refused, 1, "man --dir /proc/nowhere");
}
