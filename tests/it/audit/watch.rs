//! Connections of real clients to real servers, watched on their way in.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use dbfw_tests::{agent::Host, netns::Netns, traffic};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    host, ids,
    login::{PASSWORD, client, postgres, sql, text},
    mongo_answer, set,
};
use crate::ca::{ADDRESS, Authority, Server, answering, ca_of, mariadb, program};

const PATIENCE: Duration = Duration::from_secs(30);

/// An audit that watches until it is ended.
struct Watch(Child);

impl Watch {
    fn start(host: &Host<'_>, netns: &Netns, options: &[&str]) -> Self {
        let arguments = [&["audit", "--watch", "1h", "-o", "json"], options].concat();
        let mut command = host.command(&arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let watch = Self(child.spawn().expect("start an audit"));
        host.wait("two packet sockets", |_| {
            let listed = netns.command("cat").arg("/proc/net/packet").output().expect("run cat");
            String::from_utf8_lossy(&listed.stdout).lines().count() > 2
        });
        watch
    }

    /// Ends it as Ctrl-C does: the result so far.
    fn end(self) -> (Value, String) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("process ids fit"));
        kill(pid, Signal::SIGINT).expect("interrupt it");
        let output = self.0.wait_with_output().expect("wait for it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let document = serde_json::from_str(&text);
        (document.unwrap_or_else(|error| panic!("{error}: {output:?}")), text)
    }
}

/// Runs a client's command; whether it was served.
fn served(command: &mut Command) -> bool {
    let output = command.env("MYSQL_PWD", PASSWORD).env("PGPASSWORD", PASSWORD).output();
    output.expect("run a client").status.success()
}

fn psql(netns: &Netns, target: &str) -> bool {
    let target = format!("host={ADDRESS} dbname=postgres connect_timeout=30 {target}");
    served(netns.command("psql").args(["--no-psqlrc", "-c", "select 'a statement'", &target]))
}

/// The findings of the checks of connections, of a database: state and subject.
fn found(document: &Value, database: &str) -> Vec<(String, String, String)> {
    let findings = document["findings"].as_array().expect("findings").iter();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let of = findings.filter(|finding| {
        let id = finding["id"].as_str().expect("an id");
        finding["database"] == database && ["R-5", "X-4", "X-7"].contains(&id)
    });
    let mut found: Vec<_> =
        of.map(|one| (word(&one["id"]), word(&one["state"]), word(&one["subject"]))).collect();
    found.sort();
    found
}

fn expected(findings: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let own = |(id, state, subject): &(&str, &str, &str)| {
        ((*id).to_owned(), (*state).to_owned(), (*subject).to_owned())
    };
    findings.iter().map(own).collect()
}

/// A MongoDB that takes its time to read a message, and says yes.
fn mongo(mut stream: TcpStream) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut rest = vec![0; (u32::from_le_bytes(length) as usize).saturating_sub(4)];
        let ok = mongo_answer(b"\x01ok\0\0\0\0\0\0\0\xf0\x3f");
        if stream.read_exact(&mut rest).is_err() || stream.write_all(&ok).is_err() {
            return;
        }
    }
}

#[test]
fn real_clients_are_named_by_source_and_no_password_is_told() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let sources = "trusted_sources = [{ type = \"ip_addr\", value = \"10.99.1.2\", users = [\"app\"] }, \
                   \"ip_addr:10.99.2.2\"]";
    let database = |name: &str, port: &str| {
        format!("[[database]]\nname = \"{name}\"\nports = [{port}]\n{sources}\n")
    };
    let databases =
        [("pg", "5432"), ("maria", "3306"), ("redis", "6379, 6390"), ("mongo", "27017")];
    let databases = databases.map(|(name, port)| database(name, port)).concat();
    host.configure("interfaces = [\"none\"]", &databases);
    let clients = [1, 2, 3].map(|number| client(&netns, number));
    let authority = Authority::new();

    let rules = "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n";
    let postgres = postgres(&netns, &authority, &[], rules);
    sql(&netns, &postgres, 5432, &format!("create role app login password '{PASSWORD}'"));
    sql(&netns, &postgres, 5432, &format!("create role other login password '{PASSWORD}'"));
    let users = ["app", "other"]
        .map(|user| format!("create user {user}@'%' identified by '{PASSWORD}';\n"));
    let mariadb = mariadb(&netns, &authority, &users.concat(), &[]);
    let redis = Server::start(&netns, "redis", &authority, |at| {
        let file = |name: &str| at.join(name).display().to_string();
        let mut words = vec![program("redis-server")];
        let user = format!(">{PASSWORD}");
        for option in [
            &["--bind", "0.0.0.0", "--save", "", "--port", "6379", "--tls-port", "6390"][..],
            &["--tls-auth-clients", "no", "--tls-cert-file", &file("chain.pem")],
            &["--tls-key-file", &file("key.pem"), "--tls-ca-cert-file", &file("root.pem")],
            &["--requirepass", PASSWORD, "--user", "app", "on", &user, "~*", "+@all"],
        ] {
            words.extend(option.iter().map(|word| (*word).to_owned()));
        }
        words
    });
    answering(&netns, 27017, mongo);
    for (server, port) in [(&mariadb, 3306), (&redis, 6390)] {
        host.configure(
            "interfaces = [\"none\"]",
            &format!("[[database]]\nname = \"orders\"\nports = [{port}]\n"),
        );
        ca_of(&host, server);
    }
    host.configure("interfaces = [\"none\"]", &databases);

    let watch = Watch::start(&host, &netns, &[]);
    let [first, second, stranger] = &clients;
    assert!(psql(first, "user=app sslmode=disable"));
    assert!(psql(first, "user=other sslmode=require"), "{}", postgres.log());
    assert!(psql(second, "user=other sslmode=require"));
    assert!(psql(second, "user=app sslmode=disable"));
    assert!(psql(stranger, "user=other sslmode=disable"));
    let maria = |netns: &Netns, user: &str, ssl: &str| {
        let mut command = netns.command("mariadb");
        command.args(["--no-defaults", "-h", ADDRESS, "-u", user, ssl, "-e", "select 1"]);
        served(&mut command)
    };
    assert!(maria(first, "other", "--skip-ssl"), "{}", mariadb.log());
    assert!(maria(second, "app", "--ssl"));
    let redis_cli = |netns: &Netns, words: &[&str]| {
        let mut command = netns.command("redis-cli");
        command.args(["-h", ADDRESS]).args(words).arg("ping");
        served(command.env("REDISCLI_AUTH", PASSWORD))
    };
    assert!(redis_cli(first, &["-p", "6379", "--user", "app"]), "{}", redis.log());
    assert!(redis_cli(second, &["-p", "6390", "--tls", "--insecure"]));
    // MongoDB's hello, as drivers begin.
    let program = b"\x02name\0\x0c\0\0\0night\x1b[2Jly\0";
    let nested = |key: &str, elements: &[u8]| {
        let length = (elements.len() as u32 + 5).to_le_bytes();
        [b"\x03", key.as_bytes(), b"\0", &length, elements, b"\0"].concat()
    };
    let elements = [
        &b"\x10hello\0\x01\0\0\0\x02saslSupportedMechs\0\x0a\0\0\0admin.bob\0"[..],
        &nested("client", &nested("application", program)),
        b"\x02$db\0\x06\0\0\0admin\0",
    ]
    .concat();
    let document = [&(elements.len() as u32 + 5).to_le_bytes(), &elements[..], &[0]].concat();
    let body = [&[0; 5], &document[..]].concat();
    let header = [16 + body.len() as u32, 1, 0, 2013].map(u32::to_le_bytes).concat();
    let target = format!("{ADDRESS}:27017").parse().expect("an address");
    let from = "10.99.1.2".parse().expect("an address");
    let mut stream = traffic::connect(first, from, target, PATIENCE).expect("connect");
    // In two packets: the beginning is kept until the rest has come.
    let message = [header, body].concat();
    stream.set_nodelay(true).expect("no delay");
    stream.write_all(&message[..30]).expect("write");
    thread::sleep(Duration::from_millis(50));
    stream.write_all(&message[30..]).expect("write");
    stream.read_exact(&mut [0; 16]).expect("an answer");

    let (document, printed) = watch.end();
    assert_eq!(document["level"], "watch");
    assert!(document["watched_seconds"].is_u64(), "{document:#}");
    let [one, two] = ["ip_addr:10.99.1.2", "ip_addr:10.99.2.2"];
    let (fail, ok, unknown) = ("fail", "ok", "unknown");
    assert_eq!(
        found(&document, "pg"),
        expected(&[
            ("R-5", fail, "app"),
            // Whom TLS hides.
            ("R-5", unknown, "-"),
            ("X-4", fail, one),
            ("X-4", fail, two),
            ("X-7", fail, &format!("{two} app")),
            ("X-7", unknown, "-"),
        ]),
        "{document:#}"
    );
    assert_eq!(
        found(&document, "maria"),
        expected(&[
            ("R-5", unknown, "-"),
            ("X-4", fail, one),
            ("X-7", fail, &format!("{one} other")),
            ("X-7", unknown, "-"),
        ]),
        "{document:#}"
    );
    assert_eq!(
        found(&document, "redis"),
        expected(&[("R-5", unknown, "-"), ("X-4", fail, one), ("X-7", unknown, "-")]),
        "{document:#}"
    );
    assert_eq!(
        found(&document, "mongo"),
        expected(&[("R-5", ok, "-"), ("X-4", fail, one), ("X-7", fail, &format!("{one} bob"))]),
        "{document:#}"
    );
    // With the names that the programs give themselves, which may be anything.
    let of = |database: &str| {
        let findings = document["findings"].as_array().expect("findings").iter();
        let mut of = findings.filter(|finding| {
            finding["database"] == database && finding["id"] == "X-4" && finding["subject"] == one
        });
        of.next().expect("X-4")["text"].as_str().expect("a text").to_owned()
    };
    assert!(of("pg").ends_with("have no TLS: app@10.99.1.2 (psql)"), "{document:#}");
    assert!(of("mongo").ends_with(": bob@10.99.1.2 (night\\u{1b}[2Jly)"), "{document:#}");
    assert!(!printed.contains("10.99.3.2"), "a stranger is nobody's finding: {printed}");
    for secret in [PASSWORD, "a statement"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let plain = host.dbfw(&["audit", "--watch", "1s"]);
    let table = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(table.contains("level watch 1s"), "{table}");
    assert!(table.contains("no client connected in the 1 s of the watch"), "{table}");
}

#[test]
fn whom_the_filter_keeps_out_is_not_seen_and_a_refused_socket_is_unknown() {
    let netns = Netns::new("audit");
    let mut host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let clients = [1, 2].map(|number| client(&netns, number));
    host.configure(
        "interfaces = [\"c1\", \"c2\"]",
        "[[database]]\nname = \"orders\"\nports = [5432]\n\
         trusted_sources = [{ type = \"ip_addr\", value = \"10.99.1.2\", users = [\"app\"] }]",
    );
    let postgres =
        postgres(&netns, &Authority::new(), &[], "local all all trust\nhost all all all trust\n");
    sql(&netns, &postgres, 5432, "create role app login");
    host.start();
    let watch = Watch::start(&host, &netns, &["orders"]);
    assert!(psql(&clients[0], "user=app sslmode=disable"));
    let target = format!("{ADDRESS}:5432").parse().expect("an address");
    let stranger = "10.99.2.2".parse().expect("an address");
    traffic::connect(&clients[1], stranger, target, Duration::from_secs(2)).expect_err("dropped");
    let (document, printed) = watch.end();
    assert!(
        text(&document, "X-4").contains("1 of 1 connections have no TLS: app@10.99.1.2 (psql)")
    );
    assert!(!printed.contains("10.99.2.2"), "{printed}");

    let config = host.path("dbfw.toml");
    let output = netns
        .command("setpriv")
        .args(["--bounding-set=-net_raw", "--no-new-privs"])
        .arg(dbfw_tests::agent::binary())
        .args(["audit", "orders", "--watch", "1h", "-o", "json", "--config"])
        .arg(&config)
        .output()
        .expect("run dbfw");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let unknown = ids(&document, "unknown");
    assert!(unknown.is_superset(&set(&["R-5", "X-4", "X-6", "X-7"])), "{document:#}");
    let printed = document.to_string();
    assert!(printed.contains("AF_PACKET"), "{printed}");
    for wrong in [&["--watch", "0s"][..], &["--watch", "25h"], &["--watch", "1s", "--no-probe"]] {
        let refused = host.dbfw(&[&["audit"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    fs::remove_file(config).expect("remove it");
}
