//! The readers, with the agent running.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::Stdio,
};

use dbfw_tests::{agent::Host, netns::veth, traffic};

use super::{
    NEIGHBOR, Net, OFFICE, OFFICE6, STRANGER, assert_exit, assert_snapshot, in_every_form, text,
    transcript,
};

#[test]
fn every_reader_in_every_form() {
    let net = Net::new();
    let host = net.started();
    net.fixed_traffic(&host);
    assert_snapshot("status", &in_every_form(&host, "status"));
    assert_snapshot("sources", &in_every_form(&host, "sources"));
    assert_snapshot("map_dump", &in_every_form(&host, "map dump"));
    assert_snapshot("drops", &in_every_form(&host, "drops"));
    assert_snapshot("drops_limited", &transcript(&host, &["drops -n 1 -o plain"]));
    let lookups = [OFFICE, NEIGHBOR, STRANGER, OFFICE6, "2001:db8::1"];
    let lookups = lookups.map(|address| in_every_form(&host, &format!("map lookup {address}")));
    assert_snapshot("map_lookup", &lookups.join("\n"));
}

#[test]
fn explain_says_what_and_why() {
    let net = Net::new();
    let host = net.started();
    assert_snapshot("explain_trusted", &in_every_form(&host, &format!("explain {OFFICE}")));
    assert_snapshot(
        "explain_untrusted",
        &in_every_form(&host, &format!("explain {STRANGER} --port 5432")),
    );
    assert_snapshot("explain_partly", &transcript(&host, &[&format!("explain {NEIGHBOR}")]));
    assert_snapshot(
        "explain_other_port",
        &in_every_form(&host, &format!("explain {STRANGER} --port 22")),
    );
    assert_snapshot(
        "explain_v6",
        &transcript(
            &host,
            &[
                "explain fd77::2 --port 5432",
                "explain fd77::9 --port 5432",
                "explain fd77::9 --port 22",
                "explain ::ffff:10.77.0.2 --port 5432 -o plain",
                "explain ::ffff:10.77.0.9 --port 5432 -o plain",
            ],
        ),
    );
    assert_snapshot(
        "explain_loopback",
        &transcript(&host, &["explain 127.0.0.1 --port 5432", "explain ::1 --port 5432"]),
    );
}

#[test]
fn explain_takes_ports_as_the_configuration_does() {
    let net = Net::new();
    let mut host = net.started();
    for runs in [true, false] {
        if !runs {
            host.stop(nix::sys::signal::Signal::SIGTERM);
        }
        for (asked, port, database) in [
            ("9999", "udp/9999", Some("metering")),
            ("udp/9999", "udp/9999", Some("metering")),
            ("tcp/9999", "tcp/9999", None),
            ("tcp/5432", "tcp/5432", Some("orders")),
            ("udp/5432", "udp/5432", None),
        ] {
            let document = host.json(&["explain", OFFICE, "-p", asked]).expect("JSON");
            let all = document.as_array().expect("an array");
            let found: Vec<_> =
                all.iter().map(|one| (one["port"].as_str(), one["database"].as_str())).collect();
            assert_eq!(found, [(Some(port), database)], "{asked}");
        }
    }
}

/// What `explain` says of a source is what happens to it.
#[test]
fn explain_and_the_wire_agree() {
    let net = Net::new();
    let host = net.started();
    let _server = traffic::Echo::start(&net.database, 5432);
    for (source, target) in
        [(OFFICE, "10.77.0.1:5432"), (STRANGER, "10.77.0.1:5432"), (OFFICE6, "[fd77::1]:5432")]
    {
        let explained = host.dbfw(&["explain", source, "--port", "5432"]);
        let reached = traffic::reaches(
            &net.client,
            source.parse().expect("an address"),
            target.parse().expect("an address with its port"),
        );
        assert_exit(&explained, i32::from(!reached), &format!("explain {source}"));
    }
}

#[test]
fn refusals_are_followed_as_they_happen() {
    let net = Net::new();
    let host = net.started();
    let form = |form: &str, lines: usize| {
        let line = format!("drops --follow --output {form}");
        format!("$ dbfw {line}\n{}", followed(&net, &host, form, lines))
    };
    let forms = [form("table", 2), form("plain", 1), form("json", 1)];
    assert_snapshot("drops_follow", &forms.join("\n"));
}

/// The first lines of `drops --follow` while a stranger knocks.
fn followed(net: &Net, host: &Host<'_>, form: &str, lines: usize) -> String {
    let mut follower = host
        .command(&["drops", "--follow", "--output", form])
        .stdout(Stdio::piped())
        .spawn()
        .expect("follow the drops");
    let out = BufReader::new(follower.stdout.take().expect("a pipe"));
    // The follower is not there from the first refusal on.
    let text: Vec<_> =
        net.while_a_stranger_knocks(|| out.lines().take(lines).map_while(Result::ok).collect());
    let text = text.join("\n").replace('\t', "→") + "\n";
    follower.kill().expect("end the follower");
    follower.wait().expect("wait for the follower");
    text
}

/// Near the limit a line for every caller would fill the log.
#[test]
fn too_many_connections_are_told_once() {
    let net = Net::new();
    let host = net.started();
    let connect = || UnixStream::connect(host.path("run/dbfw.sock")).expect("the socket");
    let told = |host: &Host<'_>, text: &str| host.log().matches(text).count();
    const TOO_MANY: &str = "too many connections to the control socket";
    for times in 1..3 {
        let mut clients: Vec<UnixStream> = (0..60).map(|_| connect()).collect();
        host.wait("connections to be refused", |host| told(host, TOO_MANY) >= 2 * times - 1);
        // Some end, and others come.
        for _ in 0..20 {
            clients.rotate_left(1);
            clients.pop();
            clients.push(connect());
        }
        drop(clients);
        host.wait("the end to be told", |host| {
            drop(connect());
            told(host, &format!("resolved: {TOO_MANY}")) == times
        });
        assert_eq!(told(&host, TOO_MANY), 2 * times, "{}", host.log());
    }
}

#[test]
fn a_socket_that_is_removed_is_made_again() {
    let net = Net::new();
    let host = net.started();
    let path = host.path("run/dbfw.sock");
    let answers = |host: &Host<'_>| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["pid"].is_number())
    };
    for take_away in [
        (|path| std::fs::remove_file(path)) as fn(&Path) -> std::io::Result<()>,
        |path| std::fs::rename(path, path.with_extension("old")),
        |path| std::fs::remove_dir_all(path.parent().expect("run_dir")),
    ] {
        take_away(&path).expect("take the socket away");
        host.wait("the agent to answer again", answers);
        let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }
    // What is not the agent's stays, and is told.
    std::fs::remove_file(&path).expect("remove the socket");
    std::fs::write(&path, "mine").expect("a file in its place");
    host.wait("the file to be told", |host| host.log().contains("is not a socket; remove it"));
    assert_eq!(std::fs::read(&path).expect("the file"), b"mine");
    std::fs::remove_file(&path).expect("as advised");
    host.wait("the agent to answer again", answers);
}

/// Clients that do not read their dump cannot take every thread of the agent, and leave none
/// behind when they go.
#[test]
fn dumps_at_once_are_few() {
    let net = Net::new();
    let mut host = net.host();
    // More than the buffers on the way to a client hold.
    let list: String =
        (0..20_000).map(|n| format!("10.{}.{}.1\n", 80 + n / 256, n % 256)).collect();
    host.replace("orders.list", &list);
    host.start();
    let mut clients: Vec<UnixStream> = Vec::new();
    for _ in 0..4 {
        let mut client = UnixStream::connect(host.path("run/dbfw.sock")).expect("the socket");
        client.write_all(b"{\"verb\":\"map_dump\"}\n").expect("ask for a dump");
        client.read_exact(&mut [0; 64]).expect("the dump begins");
        clients.push(client);
    }
    let fifth = host.dbfw(&["map", "dump"]);
    assert_exit(&fifth, 1, "a fifth dump");
    assert_eq!(
        text(&fifth.stderr),
        "error: the agent is busy: 4 dumps of the maps are under way; try again when one is done\n"
    );
    drop(clients);
    host.wait("the dumps to end with their clients", |host| {
        let dump = host.dbfw(&["map", "dump", "-o", "plain"]);
        dump.status.success() && text(&dump.stdout).lines().count() > 20_000
    });
}

/// An interface that is configured by its name and not there shows as one that is not.
#[test]
fn an_interface_that_is_not_there_is_shown() {
    let net = Net::new();
    let mut host = net.host();
    let databases = "[[database]]\nname = \"orders\"\nports = [5432]\n\
                     trusted_sources = [\"ip_addr:10.77.0.2\"]\n";
    host.configure("interfaces = [\"db0\", \"eth7\", \"eth7\", \"wg*\"]", databases);
    host.start();
    let status = host.json(&["status"]).expect("JSON");
    let rows: Vec<_> = status["interfaces"]
        .as_array()
        .expect("interfaces")
        .iter()
        .map(|row| {
            ["name", "mode", "detail"].map(|key| row[key].as_str().unwrap_or("-").to_owned())
        })
        .collect();
    assert_eq!(rows, [["db0", "native", "-"], ["eth7", "none", "no such interface"],]);
    assert_eq!((&status["protection"], &status["protected"]), (&"degraded".into(), &false.into()));
    assert_eq!(status["agent"]["ready"], true, "an interface to come must not hold up the boot");
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(1));
    assert!(text(&host.dbfw(&["status"]).stdout).starts_with("DEGRADED"));
    let metrics = text(&host.dbfw(&["metrics"]).stdout);
    for (state, value) in [("protected", 0), ("degraded", 1), ("not_protected", 0)] {
        let line = format!("dbfw_protection{{state=\"{state}\"}} {value}");
        assert!(metrics.lines().any(|have| have == line), "{line} in\n{metrics}");
    }
    for mode in ["native", "tcx", "generic"] {
        let series = format!("dbfw_attached{{interface=\"eth7\",mode=\"{mode}\"}} 0");
        let count = metrics.lines().filter(|line| *line == series).count();
        assert_eq!(count, 1, "{series} in\n{metrics}");
    }

    veth((&net.database, "eth7"), (&net.client, "cl7"));
    host.wait("the new interface to be attached", |host| {
        let row = host.json(&["status"]).map(|status| status["interfaces"].clone());
        row.and_then(|rows| {
            Some(rows.as_array()?.iter().any(|row| row["name"] == "eth7" && row["healthy"] == true))
        }) == Some(true)
    });

    host.configure("interfaces = [\"db0\", \"lo\"]", databases);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    let status = host.json(&["status"]).expect("JSON");
    assert_eq!(status["protection"], "degraded", "it comes in by lo, which nothing filters");
    let told = status["problems"].to_string();
    assert!(told.contains("lo: no program fits this kind of link"), "{told}");
    assert!(!host.log().contains("detail="), "there is nothing to tell of: {}", host.log());
}

/// Every metric of the contract with its labels, from the start.
#[test]
fn the_metrics_of_the_contract() {
    const CONTRACT: [(&str, &[&str]); 19] = [
        ("dbfw_build_info", &["version", "revision"]),
        ("dbfw_up", &[]),
        ("dbfw_protection", &["state"]),
        ("dbfw_attached", &["interface", "mode"]),
        ("dbfw_allowed_packets_total", &["database", "family"]),
        ("dbfw_allowed_bytes_total", &["database", "family"]),
        ("dbfw_dropped_packets_total", &["database", "family", "reason"]),
        ("dbfw_dropped_bytes_total", &["database", "family", "reason"]),
        ("dbfw_observed_drops_total", &["database", "family", "reason"]),
        ("dbfw_prefixes", &["database", "family"]),
        ("dbfw_map_entries", &["map"]),
        ("dbfw_map_max_entries", &["map"]),
        ("dbfw_sync_total", &["database"]),
        ("dbfw_sync_failures_total", &["database", "cause"]),
        ("dbfw_sync_duration_seconds_count", &[]),
        ("dbfw_last_successful_sync_timestamp_seconds", &["database"]),
        ("dbfw_plan_refused_total", &["database", "guard"]),
        ("dbfw_config_last_reload_successful", &[]),
        ("dbfw_sync_duration_seconds_bucket", &["le"]),
    ];
    let net = Net::new();
    let host = net.started();
    let metrics = |host: &Host<'_>| text(&host.dbfw(&["metrics"]).stdout);
    let before = metrics(&host);
    for (name, labels) in CONTRACT {
        let found: Vec<_> = before.lines().filter(|line| name_of(line) == name).collect();
        assert!(!found.is_empty(), "{name} is missing in\n{before}");
        for line in found {
            assert_eq!(labels_of(line), labels, "labels of {line}");
        }
    }
    for series in [
        "dbfw_attached{interface=\"db0\",mode=\"native\"} 1",
        "dbfw_dropped_packets_total{database=\"metering\",family=\"ipv4\",reason=\"untrusted\"} 0",
        "dbfw_prefixes{database=\"orders\",family=\"ipv6\"} 1",
        "dbfw_up 1",
    ] {
        assert!(before.lines().any(|line| line == series), "{series} is missing in\n{before}");
    }

    net.fixed_traffic(&host);
    let after = metrics(&host);
    for series in [
        "dbfw_allowed_packets_total{database=\"metering\",family=\"ipv4\"} 3",
        "dbfw_allowed_packets_total{database=\"metering\",family=\"ipv6\"} 2",
        "dbfw_dropped_packets_total{database=\"metering\",family=\"ipv4\",reason=\"untrusted\"} 4",
        "dbfw_dropped_packets_total{database=\"metering\",family=\"ipv6\",reason=\"untrusted\"} 1",
    ] {
        assert!(after.lines().any(|line| line == series), "{series} is missing in\n{after}");
    }
    // A list that was written just before it was read is read twice.
    let syncs =
        after.lines().find_map(|line| line.strip_prefix("dbfw_sync_total{database=\"orders\"} "));
    assert!(syncs.is_some_and(|syncs| syncs != "0"), "{syncs:?} syncs in\n{after}");
    let document = host.json(&["metrics"]).expect("JSON");
    assert!(document["text"].as_str().is_some_and(|text| text.contains("dbfw_up 1")));
    let names = |text: &str| -> Vec<String> {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&before), names(&after), "no series appears or goes");
}

fn name_of(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap_or_default()
}

fn labels_of(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let (labels, _) = rest.split_once('}').expect("a closing brace");
    labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect()
}
