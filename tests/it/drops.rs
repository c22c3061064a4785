//! `dbfw drops` about clients that are refused by real packets.

use std::{
    io::{BufRead as _, BufReader},
    net::IpAddr,
    process::{Output, Stdio},
};

use dbfw_tests::{
    agent::Host,
    netns::veth,
    pair::{
        FRIEND4, HOST4, INTERFACE, OTHER_PORT, PORT, Pair, STRANGER4, STRANGER6, interfaces, orders,
    },
};
use serde_json::{Value, json};

/// The port of a second database.
const SECOND_PORT: u16 = 5433;

/// A host whose database "orders" has both ports with a listener.
fn started<'a>(pair: &'a Pair, keys: &str) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    configure(&host, keys);
    host.start();
    host
}

fn configure(host: &Host<'_>, keys: &str) {
    let ports = format!("[{PORT}, {OTHER_PORT}]");
    let orders = orders(keys).replace(&format!("[{PORT}]"), &ports);
    let second = format!("\n[[database]]\nname = \"reports\"\nports = [{SECOND_PORT}]\n");
    host.configure(&interfaces(), &(orders + &second));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn done(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The rows of `dbfw drops` with further arguments.
fn rows(host: &Host<'_>, arguments: &[&str]) -> Vec<Value> {
    let document = host.json(&[&["drops"], arguments].concat()).expect("JSON");
    document["sources"].as_array().expect("rows").clone()
}

/// The addresses of those rows.
fn addresses(host: &Host<'_>, arguments: &[&str]) -> Vec<String> {
    let rows = rows(host, arguments);
    rows.iter().map(|row| row["source"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The row of a client at orders, once it is whole.
fn row(host: &Host<'_>, client: IpAddr, is_whole: impl Fn(&Value) -> bool) -> Value {
    let find = |host: &Host<'_>| {
        let client = client.to_string();
        let found = rows(host, &["--address", &client, "--database", "orders"]);
        assert!(found.len() <= 1, "{client} stands there more than once: {found:?}");
        found.into_iter().next().filter(&is_whole)
    };
    host.wait("the refusals to be listed", |host| find(host).is_some());
    find(host).expect("it was there")
}

fn lists(row: &Value, key: &str, values: Value) -> bool {
    row[key] == values
}

#[test]
fn a_client_at_two_ports_is_one_row_with_its_interface() {
    let pair = Pair::new();
    let host = started(&pair, "");
    for client in [STRANGER4, STRANGER6] {
        assert!(!pair.reaches_port(client, PORT));
        assert!(!pair.reaches_port(client, OTHER_PORT));
        let row = row(&host, client, |row| lists(row, "ports", json!([PORT, OTHER_PORT])));
        assert_eq!(row["interfaces"], json!([INTERFACE]), "{row}");
        assert_eq!(row["reasons"], json!(["untrusted"]), "{row}");
        assert_eq!((&row["port"], &row["reason"]), (&json!(OTHER_PORT), &json!("untrusted")));
        assert_eq!((&row["trusted_now"], &row["trusted_by"]), (&json!(false), &Value::Null));
        assert!(row["estimated_packets"].as_u64() >= Some(2), "{row}");
    }
    // At another database it is another row.
    assert!(!pair.reaches_port(STRANGER4, SECOND_PORT));
    host.wait("the other database", |host| rows(host, &["--database", "reports"]).len() == 1);
    assert_eq!(rows(&host, &["--address", &STRANGER4.to_string()]).len(), 2);
    let table = done(host.dbfw(&["drops"]));
    let line = |table: &str| -> Vec<String> {
        let is_it = |line: &&str| line.starts_with("10.77.0.9 ") && line.contains(" orders ");
        let line = table.lines().find(is_it).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        line(&table)[..6],
        ["10.77.0.9", "orders", "5432,8080", "drop", "untrusted", INTERFACE],
        "{table}"
    );
}

#[test]
fn a_client_refused_by_hook_and_backstop_in_any_mode_is_one_row() {
    let pair = Pair::new();
    let host = started(&pair, "mode = \"observe\"");
    assert!(pair.reaches(STRANGER4), "observe lets it in");
    let both = json!(["untrusted", "backstop"]);
    let seen = row(&host, STRANGER4, |row| lists(row, "reasons", both.clone()));
    assert_eq!(seen["verdict"], "observe", "{seen}");

    configure(&host, "");
    done(host.dbfw(&["reload"]));
    assert!(!pair.reaches(STRANGER4));
    let seen = row(&host, STRANGER4, |row| row["verdict"] == "drop");
    assert_eq!((&seen["reasons"], &seen["interfaces"]), (&both, &json!([INTERFACE])), "{seen}");

    // The same client over an interface that no hook covers.
    veth((&pair.db, "db1"), (&pair.clients, "cl1"));
    for name in ["all", "db1"] {
        pair.db.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "0");
    }
    pair.db.address("db1", "10.78.0.1/24");
    pair.clients.ip(&format!("route add {HOST4}/32 dev cl1"));
    assert!(!pair.reaches(STRANGER4));
    let both = json!([INTERFACE, "db1"]);
    let seen = row(&host, STRANGER4, |row| lists(row, "interfaces", both.clone()));
    assert_eq!((&seen["reason"], &seen["verdict"]), (&json!("backstop"), &json!("drop")), "{seen}");
}

#[test]
fn the_newest_is_first_and_address_time_and_database_choose() {
    let pair = Pair::new();
    let host = started(&pair, "");
    let knock = |client: IpAddr| {
        assert!(!pair.reaches(client));
        let client = client.to_string();
        host.wait("it to be listed first", |host| {
            addresses(host, &["--database", "orders"]).first() == Some(&client)
        });
    };
    let [friend, stranger] = [FRIEND4, STRANGER4].map(|client| client.to_string());
    knock(STRANGER4);
    knock(FRIEND4);
    assert_eq!(addresses(&host, &[]), [&*friend, &stranger]);
    knock(STRANGER4);
    assert_eq!(addresses(&host, &[]), [&*stranger, &friend]);
    assert_eq!(addresses(&host, &["--sort", "packets"]), [&*stranger, &friend]);

    assert_eq!(addresses(&host, &["--address", &friend]), [&*friend]);
    assert_eq!(addresses(&host, &["--address", "10.77.0.0/29"]), [&*friend]);
    assert_eq!(addresses(&host, &["--address", "10.77.0.0/24"]), [&*stranger, &friend]);
    assert_eq!(addresses(&host, &["--address", "fd77::/64"]), [""; 0]);
    assert_eq!(addresses(&host, &["-d", "reports"]), [""; 0]);
    assert_eq!(addresses(&host, &["-d", "orders", "--since", "1h"]), [&*stranger, &friend]);
    std::thread::sleep(std::time::Duration::from_millis(5_100));
    knock(FRIEND4);
    assert_eq!(addresses(&host, &["--since", "5s"]), [&*friend]);
    let empty = done(host.dbfw(&["drops", "-d", "reports"]));
    assert!(empty.starts_with("2 refused sources are known since "), "{empty}");

    let unknown = host.dbfw(&["drops", "-d", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("no database nosuch; there are: orders, reports"));

    // What is cut is counted, with the way to see it.
    let cut = done(host.dbfw(&["drops", "-n", "1"]));
    assert!(cut.contains(&friend) && !cut.contains(&stranger), "{cut}");
    assert!(cut.ends_with("\n1 more source is not shown: --limit 2\n"), "{cut}");
    let document = host.json(&["drops", "-n", "1"]).expect("JSON");
    assert_eq!((&document["left_out"], &document["remembered"]), (&json!(1), &json!(2)));
    assert_eq!(document["forgotten"], 0);
    let plain = host.dbfw(&["drops", "-n", "1", "-o", "plain"]);
    assert_eq!(text(&plain.stdout).lines().count(), 1);
    assert!(text(&plain.stderr).contains("1 more source is not shown"), "{plain:?}");
}

#[test]
fn who_is_trusted_now_does_not_look_refused_until_the_trust_ends() {
    let pair = Pair::new();
    let host = started(&pair, "");
    let friend = FRIEND4.to_string();
    assert!(!pair.reaches(FRIEND4) && !pair.reaches(STRANGER4));
    for client in [FRIEND4, STRANGER4] {
        let seen = row(&host, client, |_| true);
        assert_eq!(seen["trusted_now"], false, "{seen}");
    }
    let trust = |verb: &str, source: &str| {
        done(host.dbfw(&["trust", verb, source, "--database", "orders"]));
    };
    for source in ["ip_addr:10.77.0.3", "ip_addr:10.77.0.0/29"] {
        trust("add", source);
        let seen = row(&host, FRIEND4, |_| true);
        assert_eq!((&seen["trusted_now"], &seen["trusted_by"]), (&json!(true), &json!(source)));
        assert_eq!(row(&host, STRANGER4, |_| true)["trusted_now"], false);
        let table = done(host.dbfw(&["drops"]));
        let (refused, trusted) =
            table.split_once("\nNot trusted before, trusted now:\n").expect("two tables");
        assert!(refused.contains("10.77.0.9 ") && !refused.contains(&friend), "{table}");
        assert!(trusted.contains(&friend) && trusted.contains(source), "{table}");
        let plain = done(host.dbfw(&["drops", "--address", &friend, "-o", "plain"]));
        assert!(plain.ends_with(&format!("\tyes\t{source}\n")), "{plain}");
        assert!(pair.reaches(FRIEND4));

        trust("rm", source);
        assert_eq!(row(&host, FRIEND4, |_| true)["trusted_now"], false);
    }
    let before = row(&host, FRIEND4, |_| true);
    assert!(!pair.reaches(FRIEND4));
    let more =
        |row: &Value| row["estimated_packets"].as_u64() > before["estimated_packets"].as_u64();
    let after = row(&host, FRIEND4, more);
    assert_eq!((&after["trusted_now"], &after["trusted_by"]), (&json!(false), &Value::Null));
    assert_eq!(addresses(&host, &[]).first(), Some(&friend), "it came back, and is the newest");
    let table = done(host.dbfw(&["drops"]));
    assert!(table.contains(&friend) && !table.contains("trusted now"), "{table}");
    // At another database nothing of this holds.
    trust("add", "ip_addr:10.77.0.3");
    assert!(!pair.reaches_port(FRIEND4, SECOND_PORT));
    host.wait("the other database", |host| rows(host, &["-d", "reports"]).len() == 1);
    assert_eq!(rows(&host, &["-d", "reports"])[0]["trusted_now"], false);
}

/// As many sources as the memory holds, by real datagrams.
#[test]
fn every_one_of_many_sources_is_in_json_and_plain() {
    const SOURCES: usize = 4096;
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let udp = orders("").replace(&format!("[{PORT}]"), &format!("[\"udp/{PORT}\"]"));
    host.configure(&(interfaces() + "\nevents_per_second = 100000"), &udp);
    host.start();
    pair.clients.ip("route add local 10.80.0.0/20 dev lo");
    pair.clients.run(|| {
        for n in 0..SOURCES as u16 {
            let source = IpAddr::from([10, 80, (n >> 8) as u8, n as u8]);
            let socket = std::net::UdpSocket::bind((source, 0)).expect("a socket");
            socket.send_to(b"stats", (HOST4, PORT)).expect("sent");
            if n % 64 == 0 {
                // The events of a second must fit the ring buffer until the agent reads it.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    host.wait("every source", |host| rows(host, &[]).len() == SOURCES);
    let document = host.json(&["drops"]).expect("JSON");
    assert_eq!((&document["left_out"], &document["forgotten"]), (&json!(0), &json!(0)));
    let mut all = addresses(&host, &[]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), SOURCES);
    assert_eq!(done(host.dbfw(&["drops", "-o", "plain"])).lines().count(), SOURCES);
    let table = done(host.dbfw(&["drops"]));
    assert!(table.ends_with("\n4076 more sources are not shown: --limit 4096\n"), "{table}");
    assert_eq!(table.lines().count(), 1 + 20 + 2, "{table}");
    // A whole network is trusted: every one of them is.
    done(host.dbfw(&["trust", "add", "ip_addr:10.80.0.0/20", "-d", "orders"]));
    assert!(rows(&host, &[]).iter().all(|row| row["trusted_now"] == true));
}

#[test]
fn an_address_and_a_database_can_be_followed() {
    let pair = Pair::new();
    let host = started(&pair, "");
    for (arguments, wanted) in [
        (["--address", "10.77.0.3", "--database", "orders"], ("10.77.0.3", "orders")),
        (["--address", "10.77.0.0/24", "--database", "reports"], ("10.77.0.9", "reports")),
    ] {
        let mut follower = host
            .command(&[&["drops", "--follow", "-o", "json"], &arguments[..]].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("follow the drops");
        let lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
        let knock = || {
            pair.reaches(STRANGER4);
            pair.reaches(FRIEND4);
            pair.reaches_port(STRANGER4, SECOND_PORT);
        };
        let found: Vec<Value> = std::thread::scope(|scope| {
            let found = scope.spawn(|| {
                let lines = lines.take(2).map_while(Result::ok);
                lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
            });
            while !found.is_finished() {
                knock();
            }
            found.join().expect("the follower's lines")
        });
        follower.kill().expect("end the follower");
        follower.wait().expect("wait for the follower");
        assert_eq!(found.len(), 2);
        for event in found {
            assert_eq!(
                (&event["source"], &event["database"]),
                (&json!(wanted.0), &json!(wanted.1))
            );
        }
    }
    let unknown = host.dbfw(&["drops", "--follow", "-d", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("there is no database nosuch"), "{unknown:?}");
}
