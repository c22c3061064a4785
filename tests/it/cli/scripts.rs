//! The promises to scripts: lists checked before they are used, and failures as documents.

use std::{
    io::Write as _,
    os::unix::net::UnixListener,
    process::{Command, Output, Stdio},
};

use dbfw_tests::agent::{Host, binary};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{DATABASES, Net, assert_exit, configure, text};

/// Not root, and in no group that may read anything of the agent's.
const NOBODY: &str = "65534";

/// Runs `dbfw check` on a list in a directory without a configuration.
fn check(arguments: &[&str], stdin: &str) -> Output {
    let mut check = Command::new(binary())
        .args(["check", "--config", "/nonexistent/dbfw.toml"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start dbfw check");
    // A list that is not read leaves a closed pipe.
    let _ = check.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    check.wait_with_output().expect("wait for dbfw check")
}

fn document(output: &Output, what: &str) -> Value {
    let mut documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let one: Value = documents
        .next()
        .unwrap_or_else(|| panic!("{what} prints nothing: {}", text(&output.stderr)))
        .unwrap_or_else(|error| panic!("{what}: {error}: {}", text(&output.stdout)));
    assert!(documents.next().is_none(), "{what}: one document: {}", text(&output.stdout));
    one
}

#[test]
fn a_list_is_checked_without_a_configuration() {
    let files = tempfile::tempdir().expect("a directory");
    let good = "192.0.2.1 # office\n198.51.100.0/24\ntag:backend\n";
    let bad = "192.0.2.1\n10.0.0.5/24\nnonsense\nvlan:7\n";
    let doubtful = "192.0.2.1\n192.0.2.1/32\n0.0.0.0/0\n";
    let toml = "trusted_sources = [\n  \"ip_addr:192.0.2.1\",\n  { type = \"ip_addr\", value = \
                \"192.0.2.2\", expires_at = \"2020-01-01T00:00:00Z\" },\n]\n";
    let toml_bad = "trusted_sources = [\n  \"ip_addr:192.0.2.300\",\n]\n";
    for (name, content, exit, lines, warnings, sources) in [
        ("good.list", good, 0, &[][..], 0, 3),
        ("bad.list", bad, 78, &[2, 3, 4][..], 0, 0),
        ("doubtful.list", doubtful, 0, &[][..], 2, 3),
        ("empty.list", "# nobody yet\n", 0, &[][..], 1, 0),
        ("list.toml", toml, 0, &[][..], 1, 2),
        ("bad.toml", toml_bad, 78, &[2][..], 0, 0),
        ("broken.toml", "trusted_sources = [", 78, &[1][..], 0, 0),
    ] {
        let path = files.path().join(name);
        std::fs::write(&path, content).expect("write the list");
        let path = path.display().to_string();
        let plain = check(&["--list", &path, "-o", "plain"], "");
        assert_exit(&plain, exit, name);
        let json = check(&["--list", &path, "-o", "json"], "");
        assert_exit(&json, exit, name);
        let found = document(&json, name);
        let table = check(&["--list", &path], "");
        assert_exit(&table, exit, name);
        if exit == 0 {
            assert_eq!(found["sources"], sources, "{found}");
            assert_eq!(found["warnings"].as_array().map(Vec::len), Some(warnings), "{found}");
            let told = text(&plain.stderr).lines().filter(|l| l.starts_with("warning: ")).count();
            assert_eq!(told, warnings, "{}", text(&plain.stderr));
            assert!(text(&plain.stdout).starts_with(&format!("list\t{path}\t{sources}\t")));
            assert!(text(&table.stdout).contains("is a valid list"), "{}", text(&table.stdout));
        } else {
            let told: Vec<i64> = found["problems"]
                .as_array()
                .expect("problems")
                .iter()
                .map(|problem| problem["line"].as_i64().expect("a line"))
                .collect();
            assert_eq!(told, lines, "{found}");
            assert_eq!(found["error"]["kind"], "bad_config");
            assert_eq!(found["error"]["exit"], 78);
            for line in lines {
                let place = format!("error: {path}:{line}: ");
                assert!(text(&table.stderr).contains(&place), "{}", text(&table.stderr));
            }
            assert_eq!(text(&plain.stdout).lines().count(), lines.len());
        }
        let strict = check(&["--strict", "--list", &path, "-o", "json"], "");
        assert_exit(&strict, if exit == 0 && warnings == 0 { 0 } else { 78 }, name);
        if exit == 0 && warnings > 0 {
            let found = document(&strict, name);
            assert_eq!(found["problems"].as_array().map(Vec::len), Some(warnings), "{found}");
        }
    }
    let missing = check(&["--list", "/nonexistent/orders.list", "-o", "json"], "");
    assert_exit(&missing, 78, "a list that is not there");
    let found = document(&missing, "a missing list");
    assert_eq!(found["problems"][0]["file"], "/nonexistent/orders.list");
    assert_exit(&check(&["--list", "/dev/zero"], ""), 78, "a device");
}

#[test]
fn a_list_is_judged_by_the_guards_of_its_databases() {
    let files = tempfile::tempdir().expect("a directory");
    let path = |name: &str| files.path().join(name).display().to_string();
    let database = |name: &str, port: u16, list: &str, guards: &str| {
        format!(
            "[[database]]\nname = \"{name}\"\nports = [{port}]\n{guards}\nprovider = {{ kind = \
             \"file\", path = \"{}\" }}\n",
            path(list)
        )
    };
    let config = [
        database("any", 1, "any.list", "allow_any = true"),
        database("narrow", 2, "wide.list", "min_prefix = { ipv4 = 24 }"),
        database("shared", 3, "shared.list", ""),
        database("shared-narrow", 4, "shared.list", "min_prefix = { ipv4 = 24 }"),
    ];
    std::fs::write(path("dbfw.toml"), config.concat()).expect("write the configuration");
    for (list, content, strict, told) in [
        ("any.list", "0.0.0.0/0\n", 0, ""),
        ("wide.list", "10.0.0.0/16\n", 78, "/24"),
        ("shared.list", "10.0.0.0/16\n", 78, "/24"),
        ("other.list", "10.0.0.0/16\n", 0, ""),
        ("other.list", "0.0.0.0/0\n", 78, "allow_any"),
    ] {
        std::fs::write(path(list), content).expect("write the list");
        let arguments = ["--strict", "--list", &path(list), "--config", &path("dbfw.toml")];
        let output = Command::new(binary()).arg("check").args(arguments).output().expect("run it");
        assert_exit(&output, strict, list);
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
}

#[test]
fn a_list_is_read_from_standard_input() {
    let good = check(&["--list", "-", "-o", "json"], "192.0.2.1\n2001:db8::/32\n");
    assert_exit(&good, 0, "a good list");
    let found = document(&good, "a good list");
    assert_eq!((&found["file"], &found["prefixes"]), (&"stdin".into(), &2.into()), "{found}");
    let bad = check(&["--list", "-"], "192.0.2.1\nnonsense\n");
    assert_exit(&bad, 78, "a bad list");
    assert!(text(&bad.stderr).starts_with("error: stdin:2: "), "{}", text(&bad.stderr));
    let large = check(&["--list", "-"], &"#".repeat((64 << 20) + 1));
    assert_exit(&large, 78, "a list of more than 64 MiB");
    assert!(text(&large.stderr).contains("has more than 67108864 bytes"));
}

#[test]
fn an_ordinary_user_may_check_a_list() {
    // Where everybody may start it: a build directory may be root's alone.
    let files = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let program = files.path().join("dbfw");
    std::fs::copy(binary(), &program).expect("copy the program");
    Command::new("chmod").args(["-R", "a+rX"]).arg(files.path()).status().expect("chmod");
    let mut check = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(&program)
        .args(["check", "--list", "-"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start dbfw check");
    check.stdin.take().expect("a pipe").write_all(b"192.0.2.1\n").expect("write the list");
    let output = check.wait_with_output().expect("wait");
    assert_exit(&output, 0, "check --list as nobody");
}

#[test]
fn the_host_says_whom_it_cannot_ask() {
    let net = Net::new();
    let host = net.host();
    host.replace("new.list", "tag:backend\nfeed:http://192.0.2.9/list\n192.0.2.1\n");
    let list = host.path("new.list").display().to_string();
    let found = document(&host.dbfw(&["check", "--list", &list, "-o", "json"]), "check --list");
    let warnings = found["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 2, "{found}");
    assert!(found["warnings"][0].as_str().unwrap().contains("[digitalocean]"), "{found}");
    assert!(found["warnings"][1].as_str().unwrap().contains("without TLS"), "{found}");
}

#[test]
fn strict_takes_warnings_for_problems() {
    let net = Net::new();
    let host = net.host();
    assert_exit(&host.dbfw(&["check", "--strict"]), 0, "check --strict");
    configure(&host, &DATABASES.replace("10.77.0.0/30", "0.0.0.0/0"));
    assert_exit(&host.dbfw(&["check"]), 0, "check with a warning");
    let strict = host.dbfw(&["check", "--strict", "-o", "json"]);
    assert_exit(&strict, 78, "check --strict with a warning");
    let found = document(&strict, "check --strict");
    assert_eq!(found["error"]["kind"], "bad_config");
    let told = found["problems"][0]["message"].as_str().unwrap();
    assert!(told.contains("opens the database to everyone"), "{found}");
    assert!(text(&strict.stderr).starts_with("error: "), "{}", text(&strict.stderr));
}

/// Every verb that asks the agent or the host, with arguments that are right.
const VERBS: [&str; 18] = [
    "status",
    "sources",
    "explain 10.77.0.2",
    "drops",
    "drops --follow",
    "suggest",
    "history",
    "map dump",
    "map lookup 10.77.0.2",
    "metrics",
    "doctor",
    "check",
    "reload",
    "reload --confirm",
    "trust list",
    "trust add ip_addr:10.77.0.9 -d orders",
    "trust rm ip_addr:10.77.0.9 -d orders",
    "detach --yes",
];

fn run(host: &Host<'_>, line: &str) -> Output {
    let words: Vec<&str> = line.split(' ').chain(["-o", "json"]).collect();
    host.command(&words).env("DBFW_OUTPUT", "table").output().expect("run dbfw")
}

/// Asserts that a run with an exit code of a failure printed one document, which names it.
fn assert_told(output: &Output, what: &str) -> Value {
    let code = output.status.code().expect("no signal ended it");
    let found = document(output, what);
    let error = &found["error"];
    if error.is_object() {
        assert_eq!(error["exit"], code, "{what}: {found}");
        let kind = error["kind"].as_str().expect("a kind");
        let codes = match kind {
            "usage" => 2,
            "unreachable" | "silent" | "busy" => 69,
            "not_permitted" => 77,
            "bad_config" => 78,
            "invalid" | "failed" => 1,
            other => panic!("{what}: an unknown kind {other}"),
        };
        assert_eq!(code, codes, "{what}: {found}");
        assert!(!error["message"].as_str().expect("a message").is_empty(), "{what}");
        assert!(text(&output.stderr).contains("error: "), "{what}: people read it too");
    } else {
        assert!(matches!(code, 0 | 1), "{what} exits with {code} and says no error: {found}");
    }
    found
}

#[test]
fn every_failure_is_one_document_where_json_is_asked_for() {
    let net = Net::new();
    let mut host = net.host();
    // Nothing runs, and nothing is pinned.
    for line in VERBS {
        assert_told(&run(&host, line), &format!("{line} without agent and pins"));
    }
    // It listens and never answers.
    let run_dir = host.path("run");
    std::fs::create_dir_all(&run_dir).expect("the run directory");
    let silent = UnixListener::bind(run_dir.join("dbfw.sock")).expect("a socket");
    for line in ["sources", "drops", "trust list", "suggest", "drops --follow"] {
        let found = assert_told(&run(&host, line), &format!("{line} of a silent agent"));
        assert_eq!(found["error"]["kind"], "silent", "{line}: {found}");
    }
    // It hangs up.
    let hung_up = std::thread::spawn(move || {
        for connection in silent.incoming().take(4) {
            drop(connection);
        }
    });
    for line in ["sources", "drops", "trust list", "suggest"] {
        assert_told(&run(&host, line), &format!("{line} of an agent that hangs up"));
    }
    hung_up.join().expect("the server ends");
    std::fs::remove_file(run_dir.join("dbfw.sock")).expect("remove the socket");

    host.start();
    for line in [
        "trust add ip_addr:10.77.0.9 -d nosuch",
        "trust rm ip_addr:10.99.0.9 -d orders",
        "suggest -d nosuch",
        "reload --confirm deadbeef",
    ] {
        let output = run(&host, line);
        assert_exit(&output, 1, line);
        assert_told(&output, line);
    }
    host.replace("dbfw.toml.good", &std::fs::read_to_string(host.path("dbfw.toml")).unwrap());
    let broken = std::fs::read_to_string(host.path("dbfw.toml")).unwrap() + "\nnonsense = [\n";
    host.replace("dbfw.toml", &broken);
    for line in ["reload", "check"] {
        let mut words: Vec<&str> = vec![line, "-o", "json"];
        let socket = host.path("run/dbfw.sock").display().to_string();
        words.extend(["--socket", &socket]);
        let output = host.dbfw(&words);
        assert_exit(&output, 78, line);
        assert_eq!(assert_told(&output, line)["error"]["kind"], "bad_config", "{line}");
    }
    std::fs::rename(host.path("dbfw.toml.good"), host.path("dbfw.toml")).unwrap();
    // Who may not open the socket, nor the pins.
    let program = tempfile::tempdir_in("/dev/shm").expect("a directory");
    std::fs::copy(binary(), program.path().join("dbfw")).expect("copy the program");
    Command::new("chmod").args(["-R", "a+rX"]).arg(program.path()).status().expect("chmod");
    for path in [host.path(""), host.path("dbfw.toml")] {
        Command::new("chmod").arg("a+rX").arg(path).status().expect("chmod");
    }
    for line in VERBS.iter().filter(|line| !matches!(**line, "doctor" | "check" | "history")) {
        let output = Command::new("setpriv")
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(program.path().join("dbfw"))
            .args(line.split(' '))
            .args(["-o", "json", "--config"])
            .arg(host.path("dbfw.toml"))
            .current_dir("/")
            .output()
            .expect("run dbfw");
        let found = assert_told(&output, &format!("{line} as nobody"));
        assert_eq!(found["error"]["kind"], "not_permitted", "{line}: {found}");
    }
    let second = run(&host, "run");
    assert_exit(&second, 1, "a second agent");
    assert_told(&second, "a second agent");
    assert_eq!(host.stop(Signal::SIGTERM), Some(0));
    // The pins are there, and no agent.
    for line in VERBS {
        let output = run(&host, line);
        if !output.status.success() {
            assert_told(&output, &format!("{line} without agent"));
        }
    }
}

#[test]
fn a_wrong_command_line_is_one_document_where_json_is_asked_for() {
    let net = Net::new();
    let host = net.host();
    for line in [
        "-o json",
        "statu -o json",
        "-o json status more",
        "status --output=json --color sometimes",
        "map -ojson",
        "map lookup 10.0.0.0/8 -o=json",
        "explain --output json",
        "drops -fo json -n 5",
        "drops -n 0 -o json",
        "trust add ip:10.77.0.9 -d orders -o json",
        "check --list -o json",
        "reload now -o json",
        "completions tcsh -o json",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = Command::new(binary()).args(&words).output().expect("run dbfw");
        assert_exit(&output, 2, line);
        let found = assert_told(&output, line);
        assert_eq!(found["error"]["kind"], "usage", "{line}: {found}");
        let said = found["error"]["message"].as_str().unwrap();
        assert!(!said.contains('\n') && !said.contains("Usage:"), "{line}: {said:?}");
    }
    let by_variable = Command::new(binary()).arg("statu").env("DBFW_OUTPUT", "json").output();
    assert_told(&by_variable.expect("run dbfw"), "statu with DBFW_OUTPUT");
    for line in ["statu", "statu -o plain", "trust rm -d json", "statu -- -o json"] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = Command::new(binary()).args(&words).output().expect("run dbfw");
        assert_exit(&output, 2, line);
        assert!(output.stdout.is_empty(), "{line} prints data");
    }
    let status = host.command(&["status"]).env("DBFW_OUTPUT", "json").output().expect("run dbfw");
    assert_eq!(document(&status, "status")["protection"], "no");
}
