//! Audits of real servers, each bad and then good, and of servers that mean no good.
//!
//! `DBFW_AUDITS` sets how often a MariaDB that counts errors of hosts is audited, without a login
//! and with one (default 4).

mod login;
mod watch;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{agent::Host, netns::Netns, postgres::Postgres};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConnection;
use serde_json::Value;

use crate::{
    ca::{ADDRESS, Authority, Server, answering, ca_of, mariadb, program, stderr},
    fuzz::variable,
};

const DEFAULT_AUDITS: u64 = 4;

fn host<'a>(netns: &'a Netns, database: &str) -> Host<'a> {
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let host = Host::new(netns);
    host.configure(
        "interfaces = [\"none\"]",
        &format!("[[database]]\nname = \"orders\"\n{database}"),
    );
    host
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The ids of the findings in a state.
fn ids(document: &Value, state: &str) -> BTreeSet<String> {
    let findings = document["findings"].as_array().expect("findings");
    let in_state = findings.iter().filter(|finding| finding["state"] == state);
    in_state.map(|finding| finding["id"].as_str().expect("an id").to_owned()).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Audits until the findings that fail are the expected ones: a server takes a new configuration
/// soon after it is told.
fn audit_until(host: &Host<'_>, arguments: &[&str], expected: &[&str]) -> (Value, Output) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let arguments = [&["audit", "orders", "-o", "json"], arguments].concat();
    loop {
        let output = host.dbfw(&arguments);
        let document = json(&output);
        if ids(&document, "fail") == set(expected) {
            let code = i32::from(!expected.is_empty());
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            return (document, output);
        }
        assert!(Instant::now() < deadline, "not {expected:?}: {document:#}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn write_key(path: &Path, authority: &Authority) {
    fs::write(path, authority.key.serialize_pem()).expect("write the key");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("protect the key");
}

#[test]
fn postgresql_bad_and_good() {
    let netns = Netns::new("audit");
    let host = host(
        &netns,
        "ports = [5432]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\", \"ip_addr:2001:db8::/32\"]",
    );
    let authority = Authority::new();
    let bad = "local all all trust\nhostssl all all 10.99.0.0/24 scram-sha-256\n\
               host all all 0.0.0.0/0 password\n";
    let postgres = Postgres::start_with(&netns, 5432, &["ssl=on"], |data| {
        fs::write(data.join("server.crt"), authority.self_signed()).expect("write it");
        write_key(&data.join("server.key"), &authority);
        fs::write(data.join("pg_hba.conf"), bad).expect("write the rules");
    });
    let failing = ["A-2", "T-2", "T-3", "T-6", "X-1", "X-3", "X-5"];
    let (document, _) = audit_until(&host, &[], &failing);
    // Nothing ran that could have counted packets.
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    assert_eq!(document["schema"], 1);
    assert_eq!(document["level"], "wire");
    let database = &document["databases"][0];
    assert_eq!(database["engine"], "PostgreSQL");
    assert_eq!(database["version"], Postgres::version().to_string());
    assert_eq!(database["endpoints"][0]["address"], ADDRESS);
    assert_eq!(database["endpoints"][0]["tls"]["version"], "TLSv1.3");
    let findings = document["findings"].as_array().expect("findings");
    assert_eq!(findings[0]["id"], "T-3", "the worst is first");
    let shadowed = findings.iter().find(|finding| finding["id"] == "X-5").expect("X-5");
    assert_eq!(shadowed["subject"], "ip_addr:10.99.0.0/24");
    let text = shadowed["text"].as_str().expect("a text");
    assert!(text.contains("pg_hba.conf:2") && text.contains("pg_hba.conf:3"), "{text}");

    // The first audit is the baseline of the second, which has nothing new.
    let baseline = host.path("baseline.json");
    fs::write(&baseline, host.dbfw(&["audit", "orders", "-o", "json"]).stdout).expect("write it");
    let baseline = baseline.display().to_string();
    let (document, _) = audit_until(&host, &["--baseline", &baseline], &[]);
    assert_eq!(ids(&document, "accepted"), set(&failing));
    let (document, _) =
        audit_until(&host, &["--accept", "X-1:behind the filter", "--min", "critical"], &["T-3"]);
    assert_eq!(ids(&document, "accepted"), set(&[]), "it weighs less");
    let lenient = host.dbfw(&["audit", "orders", "--no-probe", "--fail-on", "critical"]);
    assert_eq!(lenient.status.code(), Some(0), "{lenient:?}");
    let table = String::from_utf8_lossy(&lenient.stdout).into_owned();
    assert!(table.contains("level host") && !table.contains("T-3"), "{table}");

    // What it says to do.
    let good = format!(
        "local all all trust\nhostssl all all 10.99.0.0/24 scram-sha-256\n\
         hostssl all all 2001:db8::/32 scram-sha-256\nhostssl all all {ADDRESS}/32 scram-sha-256\n"
    );
    fs::write(postgres.data().join("pg_hba.conf"), good).expect("write the rules");
    postgres.reload();
    let ca = host.path("ca.pem");
    fs::write(&ca, authority.self_signed()).expect("write the certificate");
    let sent = host.dbfw(&["ca", "orders"]).stdout;
    fs::write(&ca, sent).expect("write the certificate");
    let ca = ca.display().to_string();
    let (document, _) = audit_until(&host, &["--ca-file", &ca, "--names", "db.test"], &[]);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    let (_, output) = audit_until(&host, &["--ca-file", &ca, "--names", "other.test"], &["T-7"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("not for other.test"));

    // Rules that PostgreSQL would not load say nothing.
    fs::write(postgres.data().join("pg_hba.conf"), "host all\u{1b}[2J all x\n").expect("write it");
    let output = host.dbfw(&["audit", "orders", "--no-probe"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("A-2 X-5 X-1 X-3") && table.contains("would not load"), "{table}");
    assert!(!table.contains("\u{1b}[2J"), "{table:?}");

    // As the server's user: a link to what only root may read leads nowhere.
    let rules = postgres.data().join("pg_hba.conf");
    fs::remove_file(&rules).expect("remove the rules");
    std::os::unix::fs::symlink("/etc/shadow", &rules).expect("a link");
    let output = host.dbfw(&["audit", "orders", "--no-probe"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("Permission denied"), "{table}");

    let log = postgres.log();
    assert!(!log.contains("incomplete startup packet"), "{log}");
}

#[test]
fn certificates_of_a_real_server_bad_and_good() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    let authority = Authority::new();
    let postgres = Postgres::start_with(&netns, 5432, &["ssl=on"], |data| {
        fs::write(data.join("server.crt"), authority.whole()).expect("write it");
        write_key(&data.join("server.key"), &authority);
        let rules = "local all all trust\nhostssl all all 10.99.0.0/24 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("write the rules");
    });
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    let roots = roots.display().to_string();
    let soon = jiff::Timestamp::now() + Duration::from_secs(10 * 24 * 3600);
    let soon = soon.to_zoned(jiff::tz::TimeZone::UTC).date();
    let soon = date_time_ymd(soon.year().into(), soon.month() as u8, soon.day() as u8);
    let whole = |change: &dyn Fn(&mut CertificateParams)| {
        authority.leaf(|params| change(params)) + &authority.between
    };
    let past = whole(&|params| params.not_after = date_time_ymd(2021, 1, 1));
    let future = whole(&|params| params.not_before = date_time_ymd(2090, 1, 1));
    let ends = whole(&|params| params.not_after = soon);
    let nameless = whole(&|params| params.subject_alt_names.clear());
    for (sent, failing, severity, said) in [
        (past, "T-5", "high", "expired at 2021-01-01"),
        (future, "T-5", "high", "2090"),
        (ends, "T-5", "medium", "expires in"),
        (nameless, "T-7", "medium", "no subject alternative name"),
        (authority.leaf(|_| {}), "T-6", "medium", "its issuer CN=Example between is not sent"),
    ] {
        fs::write(postgres.data().join("server.crt"), sent).expect("write it");
        postgres.reload();
        let deadline = Instant::now() + Duration::from_secs(60);
        // A certificate of before may fail the same check.
        loop {
            let (document, _) = audit_until(&host, &["--ca-file", &roots], &[failing]);
            let finding = &document["findings"][0];
            let text = finding["text"].as_str().expect("a text");
            if text.contains(said) {
                assert_eq!(
                    (&finding["id"], &finding["severity"]),
                    (&failing.into(), &severity.into())
                );
                break;
            }
            assert!(Instant::now() < deadline, "not {said}: {document:#}");
        }
    }
    fs::write(postgres.data().join("server.crt"), authority.whole()).expect("write it");
    postgres.reload();
    audit_until(&host, &["--ca-file", &roots], &[]);
}

/// The certificate that Debian's ssl-cert makes, which any host can have.
#[test]
fn the_certificate_of_ssl_cert_is_told() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    let authority = Authority::new();
    let postgres = Postgres::start_with(&netns, 5432, &["ssl=on"], |data| {
        let of_debian = "/etc/ssl/certs/ssl-cert-snakeoil.pem";
        fs::copy(of_debian, data.join("server.crt")).expect("the package ssl-cert");
        let key = data.join("server.key");
        fs::copy("/etc/ssl/private/ssl-cert-snakeoil.key", &key).expect("the package ssl-cert");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("protect the key");
        let rules = "local all all trust\nhostssl all all 10.99.0.0/24 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("write the rules");
    });
    let (document, _) = audit_until(&host, &[], &["T-6", "T-8"]);
    let findings = document["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["id"] == "T-8").expect("T-8");
    assert!(finding["text"].as_str().expect("a text").contains("snakeoil"), "{finding}");
    fs::write(postgres.data().join("server.crt"), authority.whole()).expect("write it");
    write_key(&postgres.data().join("server.key"), &authority);
    postgres.reload();
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    audit_until(&host, &["--ca-file", &roots.display().to_string()], &[]);
}

#[test]
fn a_pooler_without_a_database_is_told() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    let authority = Authority::new();
    let _postgres = Postgres::start(&netns, 5432);
    let _pooler = Server::start(&netns, "postgres", &authority, |at| {
        let settings = "[databases]\n* = host=127.0.0.1 port=5432\n[pgbouncer]\nlisten_addr = *\n\
                        listen_port = 6432\nauth_type = any\nunix_socket_dir =\n";
        fs::write(at.join("pgbouncer.ini"), settings).expect("write the settings");
        vec![program("pgbouncer"), at.join("pgbouncer.ini").display().to_string()]
    });
    let until = |state: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let document = json(&host.dbfw(&["audit", "-o", "json", "--no-probe"]));
            let findings = document["findings"].as_array().cloned().expect("findings");
            let poolers: Vec<Value> =
                findings.into_iter().filter(|finding| finding["id"] == "E-4").collect();
            if poolers.iter().any(|finding| finding["state"] == state) {
                return poolers;
            }
            assert!(Instant::now() < deadline, "{document:#}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    for finding in until("fail") {
        assert!(finding["subject"].as_str().expect("one").starts_with("tcp/6432 "), "{finding}");
        assert!(finding["text"].as_str().expect("a text").contains("pgbouncer"), "{finding}");
    }
    host.configure(
        "interfaces = [\"none\"]",
        "[[database]]\nname = \"orders\"\nports = [5432, 6432]\n\
         trusted_sources = [\"ip_addr:10.99.0.0/24\"]",
    );
    assert!(until("ok").iter().all(|finding| finding["state"] == "ok"));
}

#[test]
fn postgresql_that_trusts_everybody_is_critical() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5433]\nmode = \"observe\"\ntrusted_sources = []");
    let _postgres = Postgres::start(&netns, 5433);
    let failing = ["A-1", "A-2", "E-5", "T-1", "T-2", "X-1"];
    let (document, _) = audit_until(&host, &[], &failing);
    assert_eq!(document["findings"][0]["id"], "A-1");
    assert_eq!(document["findings"][0]["severity"], "critical");
    // The host has another server that no database protects.
    let _other = Postgres::start(&netns, 5440);
    let document = json(&host.dbfw(&["audit", "-o", "json", "--no-probe"]));
    let findings = document["findings"].as_array().expect("findings");
    let exposed: Vec<&Value> = findings
        .iter()
        .filter(|finding| finding["id"] == "E-1" && finding["state"] == "fail")
        .collect();
    assert!(!exposed.is_empty(), "{document:#}");
    for finding in exposed {
        assert!(finding["subject"].as_str().expect("one").starts_with("tcp/5440 "), "{finding}");
    }
}

/// Rules of NAT that cannot be listed for a lock, say, are not waited for.
#[test]
fn a_listing_that_does_not_end_is_unknown() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let nft = host.path("nft");
    fs::write(&nft, "#!/bin/sh\nexec sleep 600\n").expect("write a program");
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755)).expect("make it one");
    let path = format!("{}:{}", host.path("").display(), std::env::var("PATH").expect("a path"));
    let mut command = host.command(&["audit", "--no-probe", "-o", "json"]);
    let output = command.env("PATH", path).output().expect("run dbfw");
    let document = json(&output);
    let findings = document["findings"].as_array().expect("findings").iter();
    let published: Vec<&Value> = findings.filter(|finding| finding["id"] == "E-2").collect();
    let [published] = &*published else { panic!("{document:#}") };
    assert_eq!(published["state"], "unknown", "{published}");
    assert!(published["text"].as_str().expect("a text").contains("5 seconds"), "{published}");
}

#[test]
fn redis_bad_and_good() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [6379, 6390]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    let authority = Authority::new();
    let redis = |options: &[&str]| {
        Server::start(&netns, "redis", &authority, |at| {
            let words = [&*program("redis-server"), "--bind", ADDRESS, "--save", ""];
            let file = |name: &str| at.join(name).display().to_string();
            let mut words: Vec<String> = words.map(str::to_owned).into();
            words.extend(options.iter().map(|option| match option.strip_prefix("FILE:") {
                Some(name) => file(name),
                None => (*option).to_owned(),
            }));
            words
        })
    };
    let open = redis(&["--port", "6379", "--protected-mode", "no"]);
    audit_until(&host, &[], &["A-1", "A-4", "T-1", "T-2"]);
    drop(open);
    let protected = redis(&["--port", "6379"]);
    audit_until(&host, &[], &["A-4", "T-1"]);
    drop(protected);
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    let roots = roots.display().to_string();
    let tls = [
        "--tls-port",
        "6390",
        "--tls-cert-file",
        "FILE:chain.pem",
        "--tls-key-file",
        "FILE:key.pem",
        "--tls-ca-cert-file",
        "FILE:root.pem",
    ];
    let both = redis(
        &[&["--port", "6379", "--requirepass", "x", "--tls-auth-clients", "no"], &tls[..]].concat(),
    );
    audit_until(&host, &["--ca-file", &roots], &["T-2"]);
    drop(both);
    for clients in ["no", "yes"] {
        let good =
            [&["--port", "0", "--requirepass", "x", "--tls-auth-clients", clients], &tls[..]];
        let server = redis(&good.concat());
        ca_of(&host, &server);
        let (document, _) = audit_until(&host, &["--ca-file", &roots, "--names", "db.test"], &[]);
        assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{clients}: {document:#}");
    }
}

#[test]
fn mariadb_bad_and_good_counts_no_error() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [3306]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    let authority = Authority::new();
    let bad = mariadb(&netns, &authority, "create user ''@'%';\n", &["--skip-ssl"]);
    let (document, _) = audit_until(&host, &[], &["A-1", "T-1"]);
    assert_eq!(document["findings"][0]["id"], "A-1");
    drop(bad);
    let users = "create user app@'%' identified by 'x';\n";
    let good = mariadb(&netns, &authority, users, &[]);
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    let roots = roots.display().to_string();
    // Before it is up nothing fails either.
    ca_of(&host, &good);
    let arguments = ["--ca-file", &roots, "--names", "db.test"];
    for _ in 0..variable("DBFW_AUDITS").unwrap_or(DEFAULT_AUDITS) {
        let (document, _) = audit_until(&host, &arguments, &[]);
        assert_eq!(ids(&document, "unknown"), set(&["T-4", "X-2"]), "{document:#}");
        let login = json(
            &host.dbfw(&[&["audit", "orders", "-o", "json", "--login"], &arguments[..]].concat()),
        );
        assert_eq!(login["databases"][0]["login"], "unix_socket as mysql", "{login:#}");
    }
    let sql =
        "select coalesce(sum(SUM_CONNECT_ERRORS), 0), count(*) from performance_schema.host_cache";
    let counted = Command::new(program("mariadb"))
        .args(["--no-defaults", "-uroot", "-BN", "-e", sql])
        .arg(format!("--socket={}", good.directory.path().join("socket").display()))
        .output()
        .expect("run mariadb");
    let counted = String::from_utf8_lossy(&counted.stdout).trim().to_owned();
    assert_eq!(counted, "0\t1", "{}", good.log());
}

/// An answer of MongoDB's with these elements.
fn mongo_answer(elements: &[u8]) -> Vec<u8> {
    let document = [&(elements.len() as u32 + 5).to_le_bytes(), elements, &[0]].concat();
    let body = [&[0, 0, 0, 0, 0], &document[..]].concat();
    let header = [16 + body.len() as u32, 9, 1, 2013].map(u32::to_le_bytes).concat();
    [header, body].concat()
}

fn mongo(is_open: bool) -> impl Fn(TcpStream) + Send + 'static {
    move |mut stream| {
        let mut request = [0; 512];
        while let Ok(read) = stream.read(&mut request)
            && read > 0
        {
            let asks =
                |command: &[u8]| request[..read].windows(command.len()).any(|at| at == command);
            let ok = b"\x01ok\0\0\0\0\0\0\0\xf0\x3f";
            let answer = if asks(b"listDatabases") && !is_open {
                mongo_answer(b"\x01ok\0\0\0\0\0\0\0\0\0\x10code\0\x0d\0\0\0")
            } else if asks(b"buildInfo") {
                mongo_answer(&[&b"\x02version\0\x06\0\0\x007.0.4\0"[..], ok].concat())
            } else if asks(b"hello") || asks(b"listDatabases") {
                mongo_answer(ok)
            } else {
                return;
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

#[test]
fn mongodb_with_and_without_authorization() {
    let netns = Netns::new("audit");
    let open = host(&netns, "ports = [27017]\ntrusted_sources = [\"ip_addr:10.99.0.0/24\"]");
    answering(&netns, 27017, mongo(true));
    let (document, _) = audit_until(&open, &[], &["A-1", "A-5", "T-1", "T-2"]);
    assert_eq!(document["databases"][0]["version"], "7.0.4");
    answering(&netns, 27018, mongo(false));
    let host = Host::new(&netns);
    let database = "[[database]]\nname = \"orders\"\nports = [27018]\ntrusted_sources = []";
    host.configure("interfaces = [\"none\"]", database);
    audit_until(&host, &[], &["T-1", "T-2"]);
}

/// A server that takes TLS 1.1 from whoever offers no later one, as PostgreSQL begins it.
#[test]
fn old_tls_is_found_and_a_server_without_it_is_well() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let authority = Authority::new();
    let config = Arc::new(authority.server_config());
    for (port, hello) in [
        (5432, &[22, 3, 2, 0, 57, 2, 0, 0, 53, 3, 2][..]),
        (5433, &[22, 3, 1, 0, 57, 2, 0, 0, 53, 3, 1]),
        (5434, &[21, 3, 2, 0, 2, 2, 70]),
    ] {
        let config = Arc::clone(&config);
        answering(&netns, port, move |mut stream| {
            let _ = stream.read(&mut [0; 8]);
            let _ = stream.write_all(b"S");
            let mut head = [0; 11];
            while stream.peek(&mut head).is_ok_and(|length| length > 0 && length < 11) {}
            if head[9..] == [3, 2] {
                let _ = stream.write_all(hello);
                let _ = stream.read(&mut [0; 512]);
                return;
            }
            let mut session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            let _ = stream.read(&mut [0; 64]);
        });
        let database =
            format!("[[database]]\nname = \"orders\"\nports = [{port}]\ntrusted_sources = []");
        host.configure("interfaces = [\"none\"]", &database);
        let document = json(&host.dbfw(&["audit", "orders", "-o", "json"]));
        let findings = document["findings"].as_array().expect("findings");
        let t4 = findings.iter().find(|finding| finding["id"] == "T-4").expect("T-4");
        let (state, text) = match port {
            5432 => ("fail", "it accepts TLS 1.1"),
            5433 => ("fail", "it accepts TLS 1.0"),
            _ => ("ok", "it refuses TLS 1.0 and 1.1"),
        };
        assert_eq!(t4["state"], state, "{port}: {document:#}");
        assert!(t4["text"].as_str().expect("a text").contains(text), "{t4}");
    }
}

#[test]
fn hostile_servers_are_unknown_and_bounded() {
    let netns = Netns::new("audit");
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let keep = |stream| {
        thread::sleep(Duration::from_secs(90));
        drop(stream);
    };
    let ports = [3306, 3307, 5432, 5433, 5434, 6379, 27017, 7000];
    answering(&netns, 3306, keep);
    answering(&netns, 3307, |mut stream| drop(stream.write_all(&[0xff, 0xff, 0xff, 0, 10])));
    answering(&netns, 5432, |mut stream| drop(stream.write_all(b"HTTP/1.1 400 \x1b[2J\r\n\r\n")));
    answering(&netns, 5433, move |mut stream| {
        let _ = stream.read(&mut [0; 8]);
        // A record of TLS that never ends.
        let _ = stream.write_all(b"S\x16\x03\x03\x40\x00\x02");
        keep(stream);
    });
    answering(&netns, 5434, |mut stream| {
        let _ = stream.read(&mut [0; 8]);
        // An answer of 4 GiB.
        let _ = stream.write_all(b"NR\xff\xff\xff\xff");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    answering(&netns, 6379, |mut stream| while stream.write_all(&[b'+'; 65536]).is_ok() {});
    answering(
        &netns,
        27017,
        |mut stream| {
            while stream.write_all(&[0xff, 0xff, 0xff, 0x7f]).is_ok() {}
        },
    );
    answering(&netns, 7000, drop);
    let host = Host::new(&netns);
    let database = |port: &u16| {
        format!("[[database]]\nname = \"at{port}\"\nports = [{port}]\ntrusted_sources = []\n")
    };
    let databases: String = ports.iter().map(database).collect();
    host.configure("interfaces = [\"none\"]", &databases);
    let begun = Instant::now();
    let output = host.dbfw(&["audit", "-o", "json"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let document = json(&output);
    for port in ports {
        let name = format!("at{port}");
        let findings = document["findings"].as_array().expect("findings").iter();
        let own: Vec<&Value> = findings.filter(|finding| finding["database"] == *name).collect();
        let of_wire = own.iter().filter(|finding| {
            let id = finding["id"].as_str().expect("an id");
            id.starts_with('T') || id.starts_with('A')
        });
        // The one that says N has no TLS, and that is all anybody knows of it.
        let known = of_wire.filter(|finding| finding["state"] != "unknown");
        let known: Vec<&str> = known.map(|finding| finding["id"].as_str().expect("one")).collect();
        assert_eq!(known, if port == 5434 { vec!["T-1"] } else { vec![] }, "{port}: {own:#?}");
    }
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\u{1b}'));
}

#[test]
fn usage() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let explained = host.dbfw(&["audit", "--explain", "x-5"]);
    assert_eq!(explained.status.code(), Some(0), "{explained:?}");
    assert!(String::from_utf8_lossy(&explained.stdout).contains("gets past hostssl"));
    for (arguments, code, said) in [
        (&["audit", "--explain", "X-55"][..], 2, "no check of this name"),
        (&["audit", "--accept", "X-1"], 2, "ID:REASON"),
        (&["audit", "--fail-on", "severe"], 2, "critical"),
        (&["audit", "nobody"], 1, "there is no database"),
        (&["audit", "--baseline", "/none"], 1, "cannot be used as a baseline"),
    ] {
        let output = host.dbfw(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        assert!(stderr(&output).contains(said), "{arguments:?} {output:?}");
    }
    // Nobody listens, and nothing is attached.
    let (document, _) = audit_until(&host, &[], &[]);
    assert!(ids(&document, "unknown").contains("T-1"), "{document:#}");
}

#[test]
fn a_saved_audit_is_passed_on_by_the_agent_and_a_bad_one_changes_nothing() {
    let netns = Netns::new("audit");
    let mut host = host(&netns, "ports = [5432]\nmode = \"observe\"\ntrusted_sources = []");
    let metrics = |host: &Host<'_>| {
        let output = host.dbfw(&["metrics"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let audit = text.lines().filter(|line| line.starts_with("dbfw_audit_"));
        audit.map(str::to_owned).collect::<Vec<String>>()
    };
    let has =
        |host: &Host<'_>, start: &str| metrics(host).iter().any(|line| line.starts_with(start));
    host.start();
    let none = ["dbfw_audit_last_run_timestamp_seconds 0.0", "dbfw_audit_errors_total 0"];
    assert_eq!(metrics(&host), none);

    for wrong in [&["--save", "--fail-on", "low"][..], &["orders", "--save"]] {
        let refused = host.dbfw(&[&["audit"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    let finding = "dbfw_audit_findings{database=\"orders\",check=\"E-5\",severity=\"medium\"}";
    let saved = host.dbfw(&["audit", "--save", "--no-probe"]);
    assert_eq!(saved.status.code(), Some(0), "{saved:?}");
    host.wait("the metrics", |host| has(host, &format!("{finding} 1")));
    assert!(!has(&host, "dbfw_audit_last_run_timestamp_seconds 0.0"));
    let first = metrics(&host);

    // What others could have written, what is damaged, and what is no file.
    let file = host.path("state/audit.json");
    let good = fs::read(&file).expect("the saved audit");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
    assert_eq!(fs::metadata(&file).expect("it").permissions().mode() & 0o777, 0o600);
    let faults: [&dyn Fn(); 4] = [
        &|| mode(0o666),
        &|| std::os::unix::fs::chown(&file, Some(12_345), None).expect("another owner"),
        &|| {
            fs::remove_file(&file).expect("remove it");
            fs::write(&file, &good[..good.len() / 2]).expect("write half of it");
        },
        &|| {
            fs::remove_file(&file).expect("remove it");
            std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
        },
    ];
    for (at, fault) in faults.iter().enumerate() {
        fault();
        let errors = format!("dbfw_audit_errors_total {}", at + 1);
        host.wait("the problem to be counted", |host| has(host, &errors));
        let now = metrics(&host);
        assert_eq!(now[..now.len() - 1], first[..first.len() - 1], "nothing else changed");
    }
    assert!(host.log().contains("audit.json cannot be used"), "{}", host.log());
    // It is written anew over whatever is there.
    host.configure(
        "interfaces = [\"none\"]",
        "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = []",
    );
    assert!(host.dbfw(&["audit", "--save", "--no-probe"]).status.success());
    host.wait("the metrics", |host| has(host, &format!("{finding} 0")));
    fs::remove_file(&file).expect("remove it");
    host.wait("none", |host| has(host, "dbfw_audit_last_run_timestamp_seconds 0.0"));
    assert!(!has(&host, "dbfw_audit_findings"));
}
