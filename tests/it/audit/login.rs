//! Audits that log in: real servers, each bad and then good, and a MySQL 8 that is none.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish, veth},
    postgres::Postgres,
    skew::Skew,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{audit_until, host, ids, json, set, write_key};
use crate::ca::{ADDRESS, Authority, Server, answering, ca_of, mariadb, program};

/// These tests are about the databases, and no filter is in force.
const NO_FILTER: &str = "E-3:no agent runs";
pub(super) const PASSWORD: &str = "s3cret-of-a-test";

/// A client's program, which stays connected until it is dropped.
struct Client {
    child: Child,
    _input: ChildStdin,
}

impl Client {
    /// Runs a command that reads from its input, and lets it read this much.
    fn start(command: &mut Command, input: &str) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("start a client");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).expect("write to it");
        Self { child, _input: stdin }
    }

    fn psql(netns: &Netns, target: &str) -> Self {
        let mut command = netns.command("psql");
        let target = format!("{target} dbname=postgres password={PASSWORD} connect_timeout=30");
        Self::start(command.args(["--no-psqlrc", &target]), "")
    }

    fn mariadb(netns: &Netns, user: &str, options: &[&str]) -> Self {
        let mut command = netns.command("mariadb");
        command.args(["--no-defaults", "-h", ADDRESS, "-u", user]).args(options);
        Self::start(command.env("MYSQL_PWD", PASSWORD), "select 1;\n")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A namespace of a client behind a network of its own: 10.99.NUMBER.2, and the server is .1.
pub(super) fn client(server: &Netns, number: u8) -> Netns {
    let client = Netns::new("client");
    veth((server, &format!("c{number}")), (&client, "eth0"));
    server.address(&format!("c{number}"), &format!("10.99.{number}.1/24"));
    client.address("eth0", &format!("10.99.{number}.2/24"));
    server.up(&format!("c{number}"));
    client.up("eth0");
    client.ip(&format!("route add {ADDRESS} via 10.99.{number}.1"));
    client
}

/// Runs SQL as PostgreSQL's first superuser.
pub(super) fn sql(netns: &Netns, postgres: &Postgres, port: u16, text: &str) {
    finish(
        netns
            .command("setpriv")
            .args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--", "psql"])
            .args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-p"])
            .arg(port.to_string())
            .arg("-h")
            .arg(postgres.socket_dir())
            .args(["-c", text]),
    );
}

pub(super) fn postgres(
    netns: &Netns,
    authority: &Authority,
    settings: &[&str],
    hba: &str,
) -> Postgres {
    let settings = [&["ssl=on", "max_connections=20"], settings].concat();
    Postgres::start_with(netns, 5432, &settings, |data| {
        fs::write(data.join("server.crt"), authority.whole()).expect("write it");
        write_key(&data.join("server.key"), authority);
        fs::write(data.join("pg_hba.conf"), hba).expect("write the rules");
    })
}

/// The text of the only finding of a check that fails.
pub(super) fn text<'a>(document: &'a Value, id: &str) -> &'a str {
    let findings = document["findings"].as_array().expect("findings").iter();
    let mut of = findings.filter(|finding| finding["id"] == id && finding["state"] == "fail");
    of.next().unwrap_or_else(|| panic!("no {id}: {document:#}"))["text"].as_str().expect("a text")
}

/// A file that only its owner reads.
fn secret(host: &Host<'_>, name: &str, content: &str) -> String {
    let path = host.path(name);
    fs::write(&path, content).expect("write a secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("protect it");
    path.display().to_string()
}

fn roots(host: &Host<'_>, authority: &Authority) -> String {
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    roots.display().to_string()
}

#[test]
fn postgresql_bad_and_good() {
    let netns = Netns::new("audit");
    let database = "ports = [5432]\ntrusted_sources = [{ type = \"ip_addr\", value = \"10.99.1.2\", users = \
                    [\"app\"] }, \"ip_addr:10.99.0.0/16\"]";
    let host = host(&netns, database);
    let clients = [1, 2].map(|number| client(&netns, number));
    let authority = Authority::new();
    let roots = roots(&host, &authority);
    let bad = "local all all peer\nhost replication all 0.0.0.0/0 scram-sha-256\n\
               host all app 10.99.0.0/16 scram-sha-256\nhost all all 0.0.0.0/0 md5\n";
    let postgres_bad =
        postgres(&netns, &authority, &["log_connections=off", "password_encryption=md5"], bad);
    sql(
        &netns,
        &postgres_bad,
        5432,
        &format!(
            "alter role postgres password '{PASSWORD}'; create role old login password \
             '{PASSWORD}'; set password_encryption = 'scram-sha-256'; create role ops login \
             superuser replication password '{PASSWORD}'; create role app login password \
             '{PASSWORD}'; create role empty login; create role past login password '{PASSWORD}' \
             valid until '2020-01-01'; create role staff; grant staff to app"
        ),
    );
    let target = format!("host={ADDRESS} port=5432");
    let connected = [
        Client::psql(&clients[0], &format!("{target} sslmode=disable user=ops")),
        Client::psql(&clients[0], &format!("{target} user=ops replication=database")),
        Client::psql(&clients[0], &format!("{target} sslmode=disable user=app")),
        Client::psql(&clients[1], &format!("{target} sslmode=require user=app")),
    ];
    let failing =
        ["A-3", "E-6", "L-1", "L-2", "R-1", "R-2", "R-3", "R-5", "T-2", "X-1", "X-4", "X-6", "X-7"];
    let arguments = ["--login", "--ca-file", &roots, "--names", "db.test", "--accept", NO_FILTER];
    let (document, output) = audit_until(&host, &arguments, &failing);
    // Nothing ran that could have counted packets.
    assert_eq!(ids(&document, "unknown"), set(&["R-6", "X-2"]), "{document:#}");
    assert_eq!(document["level"], "login");
    let database = &document["databases"][0];
    assert_eq!(database["login"], "peer as postgres");
    let version = database["version"].as_str().expect("a version");
    assert!(version.starts_with(&format!("{}.", Postgres::version())), "{version}");
    assert!(text(&document, "R-1").contains("ops is logged in from 10.99.1.2"));
    assert!(text(&document, "R-2").contains("postgres may log in"), "{document:#}");
    assert!(text(&document, "R-5").contains("app is used by 2 trusted sources"));
    assert!(text(&document, "X-4").contains("ip_addr:10.99.1.2: 2 of 3 connections have no TLS"));
    assert!(text(&document, "X-6").contains("10.99.2.0/28"), "{document:#}");
    let subjects: Vec<&str> = document["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["state"] == "fail")
        .filter_map(|finding| finding["subject"].as_str())
        .collect();
    for subject in ["old", "password_encryption", "empty", "past", "ip_addr:10.99.1.2 ops"] {
        assert!(subjects.contains(&subject), "{subject} {subjects:?}");
    }
    assert!(!String::from_utf8_lossy(&output.stdout).contains(PASSWORD));
    let table = host.dbfw(&["audit", "orders", "--login"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(", login (peer as postgres)\n"), "{table}");
    assert!(table.contains("; level login; "), "{table}");
    drop(connected);
    drop(postgres_bad);

    let sources = "ports = [5432]\ntrusted_sources = [{ type = \"ip_addr\", value = \"10.99.1.2\", users = \
                   [\"app\"] }, { type = \"ip_addr\", value = \"10.99.2.2\", users = [\"bi\"] }]";
    let configure = |more: &str| {
        host.configure(
            "interfaces = [\"none\"]",
            &format!("[[database]]\nname = \"orders\"\n{sources}\n{more}"),
        );
    };
    configure("");
    let good = format!(
        "local all dbfw_audit scram-sha-256\nlocal all all peer\n\
         hostssl all app 10.99.1.2/32 scram-sha-256\nhostssl all +staff 10.99.2.2/32 \
         scram-sha-256\nhostssl all all {ADDRESS}/32 scram-sha-256\n"
    );
    let postgres_good = postgres(&netns, &authority, &[], &good);
    sql(
        &netns,
        &postgres_good,
        5432,
        &format!(
            "create role app login password '{PASSWORD}'; create role staff; create role bi login \
             password '{PASSWORD}' in role staff; create role ops login superuser password \
             '{PASSWORD}'; create role dbfw_audit login password '{PASSWORD}'; grant pg_monitor to \
             dbfw_audit"
        ),
    );
    let connected = [
        Client::psql(&clients[0], &format!("{target} sslmode=require user=app")),
        Client::psql(&clients[1], &format!("{target} sslmode=require user=bi")),
    ];
    let (document, _) = audit_until(&host, &arguments, &[]);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");

    // Without the membership of the role it cannot be said.
    let wire = json(&host.dbfw(&["audit", "orders", "-o", "json"]));
    assert!(ids(&wire, "unknown").contains("X-3"), "{wire:#}");
    assert_eq!(wire["databases"][0]["login"], Value::Null);

    // Nor whether any role that nobody declared is a member.
    host.configure(
        "interfaces = [\"none\"]",
        "[[database]]\nname = \"orders\"\nports = [5432]\n\
         trusted_sources = [\"ip_addr:10.99.1.2\", \"ip_addr:10.99.2.2\"]\n",
    );
    let wire = json(&host.dbfw(&["audit", "orders", "-o", "json"]));
    assert!(ids(&wire, "unknown").contains("X-3"), "{wire:#}");
    let rules = postgres_good.data().join("pg_hba.conf");
    sql(&netns, &postgres_good, 5432, "create role idle; create role idler in role idle");
    for (group, prefix, failing) in [
        ("staff", "10.99.2.2/32", &[][..]),
        ("staff", "10.99.2.0/24", &["X-1"]),
        // Its one member may not log in.
        ("idle", "10.99.2.0/24", &["X-3"]),
    ] {
        let rest = format!("hostssl all +{group} {prefix} scram");
        let changed = good.replace("hostssl all +staff 10.99.2.2/32 scram", &rest);
        assert!(changed.contains(&rest), "{changed}");
        fs::write(&rules, changed).expect("write the rules");
        let (document, _) = audit_until(&host, &arguments, failing);
        assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    }
    fs::write(&rules, &good).expect("write the rules");

    // As a role for it, which may not see hashes.
    let file = secret(&host, "password", &format!("{PASSWORD}\n"));
    let login = format!("[database.audit]\nuser = \"dbfw_audit\"\npassword_file = \"{file}\"\n");
    configure(&login);
    let (document, _) = audit_until(&host, &arguments, &[]);
    assert_eq!(document["databases"][0]["login"], "scram-sha-256 as dbfw_audit");
    assert_eq!(ids(&document, "unknown"), set(&["A-3", "R-3", "X-2"]), "{document:#}");

    // Nothing was written, and nothing is left.
    let log = postgres_good.log();
    for complaint in ["FATAL", "ERROR:  cannot", "could not receive data", "unexpected EOF"] {
        let ours = log.lines().filter(|line| line.contains(complaint));
        // pg_isready asks as root, who is no role, and before the server is up.
        let others = ["dbfw-audit", "role \"root\" does not exist", "is starting up"];
        let ours = ours.filter(|line| !others.iter().any(|other| line.contains(other)));
        let ours: Vec<&str> = ours.collect();
        assert!(ours.is_empty(), "{ours:?}");
    }

    // Ways in that lead nowhere.
    let wrong = secret(&host, "wrong", "another-s3cret");
    let open = secret(&host, "open", PASSWORD);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("open it");
    for (login, why) in [
        (
            format!("user = \"dbfw_audit\"\npassword_file = \"{wrong}\""),
            "password authentication failed",
        ),
        (
            format!("user = \"dbfw_audit\"\npassword_file = \"{open}\""),
            "may be read or written by everybody",
        ),
        ("user = \"dbfw_audit\"\npassword_file = \"/none\"".to_owned(), "does not exist"),
        ("user = \"nobody_of_this_name\"".to_owned(), "the system has no user"),
        ("user = \"daemon\"".to_owned(), "it refuses daemon"),
        ("socket = \"/none\"".to_owned(), "cannot connect to /none"),
    ] {
        configure(&format!("[database.audit]\n{login}\n"));
        let output = host.dbfw(&["audit", "orders", "--login", "-o", "json"]);
        let document = json(&output);
        let unknown = ids(&document, "unknown");
        for id in ["A-3", "L-1", "R-1", "R-5", "X-4", "X-7"] {
            assert!(unknown.contains(id), "{login}: {id} {document:#}");
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(why), "{login}: {said}");
        assert!(!said.contains("s3cret"), "{login}: {said}");
    }
    drop(connected);
}

/// A socket of another user's process hears no password.
#[test]
fn a_socket_that_is_not_the_servers_hears_nothing() {
    let netns = Netns::new("audit");
    let authority = Authority::new();
    let _postgres = Postgres::start(&netns, 5432);
    let redis = Server::start(&netns, "redis", &authority, |at| {
        let socket = at.join("socket").display().to_string();
        let words = ["--port", "0", "--unixsocketperm", "777", "--save", "", "--unixsocket"];
        let server = program("redis-server");
        let words = [&[&*server], &words[..], &[&*socket]].concat();
        words.into_iter().map(str::to_owned).collect()
    });
    let socket = redis.directory.path().join("socket");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    host.wait("its socket", |_| socket.exists());
    let password = secret(&host, "password", PASSWORD);
    let database = format!(
        "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = []\n[database.audit]\n\
         socket = \"{}\"\nuser = \"app\"\npassword_file = \"{password}\"\n",
        socket.display()
    );
    fs::set_permissions(redis.directory.path(), fs::Permissions::from_mode(0o755))
        .expect("let others in");
    host.configure("interfaces = [\"none\"]", &database);
    let output = host.dbfw(&["audit", "orders", "--login", "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("is not a socket of postgres's"), "{said}\n{}", redis.log());
}

#[test]
fn mariadb_bad_and_good() {
    let netns = Netns::new("audit");
    let database = "ports = [3306]\ntrusted_sources = [{ type = \"ip_addr\", value = \"10.99.1.2\", users = \
                    [\"app\"] }, \"ip_addr:10.99.2.2\", \"ip_addr:10.98.0.1\"]";
    let host = host(&netns, database);
    let clients = [1, 2].map(|number| client(&netns, number));
    let authority = Authority::new();
    let roots = roots(&host, &authority);
    let bad = mariadb(
        &netns,
        &authority,
        &format!(
            "create user root@'10.99.%' identified by '{PASSWORD}';\n\
             grant all on *.* to root@'10.99.%' with grant option;\n\
             create user app@'10.99.%' identified by '{PASSWORD}';\n\
             create user bi@'%' identified by '{PASSWORD}';\ndrop user bi@'%';\n\
             create user empty@'10.99.1.2';\n"
        ),
        &["--skip-name-resolve", "--tls-version=TLSv1.1,TLSv1.2"],
    );
    ca_of(&host, &bad);
    let connected = [
        Client::mariadb(&clients[0], "root", &["--skip-ssl"]),
        Client::mariadb(&clients[0], "app", &["--skip-ssl"]),
        Client::mariadb(&clients[1], "app", &["--ssl"]),
    ];
    let failing = ["A-3", "R-1", "R-2", "R-3", "R-5", "T-2b", "T-4", "X-1", "X-3", "X-4", "X-7"];
    let arguments = ["--login", "--ca-file", &roots, "--names", "db.test", "--accept", NO_FILTER];
    let (document, output) = audit_until(&host, &arguments, &failing);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    let database = &document["databases"][0];
    assert_eq!(database["login"], "unix_socket as mysql");
    assert!(text(&document, "X-3").contains("10.98.0.1"), "{document:#}");
    assert!(text(&document, "X-4").contains("ip_addr:10.99.1.2: 2 of 2"), "{document:#}");
    assert!(text(&document, "R-2").contains("root@10.99.%"), "{document:#}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains(PASSWORD));
    drop((connected, bad));

    let configure = |more: &str| {
        host.configure(
            "interfaces = [\"none\"]",
            &format!(
                "[[database]]\nname = \"orders\"\nports = [3306]\ntrusted_sources = [{{ type = \"ip_addr\", value = \
                 \"10.99.1.2\", users = [\"app\"] }}]\n{more}"
            ),
        );
    };
    configure("");
    // Every host, for R-4; the rest is well.
    let wide = mariadb(
        &netns,
        &authority,
        &format!(
            "install soname 'auth_ed25519';\ncreate user app@'%' identified via ed25519 using \
             password('{PASSWORD}') require ssl;\ncreate user dbfw_audit@localhost identified by \
             '{PASSWORD}';\ngrant select, process on *.* to dbfw_audit@localhost;\n"
        ),
        &["--skip-name-resolve", "--require-secure-transport=ON"],
    );
    ca_of(&host, &wide);
    let (document, _) = audit_until(&host, &arguments, &["A-3", "R-4"]);
    assert!(text(&document, "R-4").contains("RENAME USER 'app'@'%' TO 'app'@'10.99.1.2'"));
    assert!(text(&document, "A-3").contains("dbfw_audit@localhost"), "{document:#}");
    let file = secret(&host, "password", PASSWORD);
    configure(&format!("[database.audit]\nuser = \"dbfw_audit\"\npassword_file = \"{file}\"\n"));
    let (document, _) = audit_until(&host, &arguments, &["A-3", "R-4"]);
    assert_eq!(document["databases"][0]["login"], "mysql_native_password as dbfw_audit");
    drop(wide);
    configure("");
    let good = mariadb(
        &netns,
        &authority,
        &format!(
            "install soname 'auth_ed25519';\ncreate user app@'10.99.1.2' identified via ed25519 \
             using password('{PASSWORD}') require ssl;\ncreate user here@'{ADDRESS}' identified \
             via ed25519 using password('{PASSWORD}') require ssl;\n"
        ),
        &["--skip-name-resolve", "--require-secure-transport=ON"],
    );
    ca_of(&host, &good);
    let _connected = Client::mariadb(&clients[0], "app", &["--ssl"]);
    let (document, _) = audit_until(&host, &arguments, &[]);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
}

#[test]
fn redis_bad_and_good() {
    let netns = Netns::new("audit");
    let database = "ports = [6379, 6390]\ntrusted_sources = [\"ip_addr:10.99.1.2\", \
                    { type = \"ip_addr\", value = \"10.99.2.2\", users = [\"app\"] }]";
    let host = host(&netns, database);
    let clients = [1, 2].map(|number| client(&netns, number));
    let authority = Authority::new();
    let roots = roots(&host, &authority);
    let start = |options: &[&str]| {
        Server::start(&netns, "redis", &authority, |at| {
            let file = |name: &str| at.join(name).display().to_string();
            let fixed = ["--bind", "0.0.0.0", "--save", "", "--tls-auth-clients", "no"];
            let mut words = vec![program("redis-server")];
            words.extend(fixed.map(str::to_owned));
            for (option, name) in [
                ("--tls-cert-file", "chain.pem"),
                ("--tls-key-file", "key.pem"),
                ("--tls-ca-cert-file", "root.pem"),
                ("--unixsocket", "socket"),
            ] {
                words.extend([option.to_owned(), file(name)]);
            }
            words.extend(options.iter().map(|option| (*option).to_owned()));
            words
        })
    };
    let redis_cli = |netns: &Netns, words: &[&str]| {
        let mut command = netns.command("redis-cli");
        command.env("REDISCLI_AUTH", PASSWORD).args(["-h", ADDRESS]).args(words);
        Client::start(&mut command, "PING\n")
    };
    let file = secret(&host, "password", PASSWORD);
    let configure = |more: &str| {
        host.configure(
            "interfaces = [\"none\"]",
            &format!("[[database]]\nname = \"orders\"\n{database}\n[database.audit]\n{more}"),
        );
    };
    configure(&format!("user = \"default\"\npassword_file = \"{file}\"\n"));
    let bad = start(&["--port", "6379", "--tls-port", "6390", "--requirepass", PASSWORD]);
    ca_of(&host, &bad);
    let connected = [
        redis_cli(&clients[0], &["-p", "6379"]),
        redis_cli(&clients[1], &["-p", "6390", "--tls", "--insecure"]),
    ];
    let arguments = ["--login", "--ca-file", &roots, "--names", "db.test", "--accept", NO_FILTER];
    let failing = ["R-2", "R-5", "T-2", "X-4", "X-7"];
    let (document, output) = audit_until(&host, &arguments, &failing);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    assert_eq!(document["databases"][0]["login"], "password as default");
    assert!(text(&document, "X-4").starts_with("ip_addr:10.99.1.2: 1 of 1 connections"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains(PASSWORD));
    drop((connected, bad));

    let password = format!(">{PASSWORD}");
    let mut words = vec!["--port", "0", "--tls-port", "6390", "--user", "default", "off"];
    for user in ["app", "bi"] {
        words.extend(["--user", user, "on", &password, "~*", "+@all"]);
    }
    words.extend(["--user", "dbfw", "on", &password, "+ping", "+info", "+quit"]);
    words.extend(["+client|list", "+client|setname", "+acl|getuser", "+config|get"]);
    let good = start(&words);
    let socket = good.directory.path().join("socket");
    configure(&format!(
        "socket = \"{}\"\nuser = \"dbfw\"\npassword_file = \"{file}\"\n",
        socket.display()
    ));
    ca_of(&host, &good);
    let tls = ["-p", "6390", "--tls", "--insecure", "--user"];
    let _connected = [
        redis_cli(&clients[0], &[&tls[..], &["bi"]].concat()),
        redis_cli(&clients[1], &[&tls[..], &["app"]].concat()),
    ];
    let (document, _) = audit_until(&host, &arguments, &[]);
    assert_eq!(ids(&document, "unknown"), set(&["X-2"]), "{document:#}");
    assert_eq!(document["databases"][0]["login"], "password as dbfw");
    // A user that may say nothing.
    configure(&format!(
        "socket = \"{}\"\nuser = \"nobody\"\npassword_file = \"{file}\"\n",
        socket.display()
    ));
    let said = host.dbfw(&["audit", "orders", "--login"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("it refuses nobody"), "{said:?}");
}

/// A packet of MySQL's.
fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&[length[0], length[1], length[2], number], payload].concat()
}

fn read_packet(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    stream.read_exact(&mut payload).ok()?;
    Some(payload)
}

/// The greeting of a MySQL 8 without TLS.
fn greeting() -> Vec<u8> {
    let mut payload = b"\x0a8.0.36\0\x07\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\xdf\x15".to_vec();
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
    packet(0, &payload)
}

/// Columns and rows of text.
fn result(rows: &[&[&str]]) -> Vec<u8> {
    let columns = rows.first().map_or(1, |row| row.len());
    let end = [0xfe, 0, 0, 2, 0];
    let mut number = 0;
    let mut next = |payload: &[u8]| {
        number += 1;
        packet(number, payload)
    };
    let mut all = next(&[columns as u8]);
    for _ in 0..columns {
        all.extend(next(b"\x03def\0\0\0\x01c\0\x0c"));
    }
    all.extend(next(&end));
    for row in rows {
        let values = row.iter().flat_map(|value| [&[value.len() as u8], value.as_bytes()].concat());
        all.extend(next(&values.collect::<Vec<u8>>()));
    }
    all.extend(next(&end));
    all
}

/// A MySQL 8 that asks for the password by caching_sha2_password, and whose answers are these.
fn mysql8(mut stream: UnixStream) -> Option<()> {
    stream.write_all(&greeting()).ok()?;
    read_packet(&mut stream)?;
    let switch = [b"\xfecaching_sha2_password\0", &b"ABCDEFGHIJKLMNOPQRST\0"[..]].concat();
    stream.write_all(&packet(2, &switch)).ok()?;
    let proof = read_packet(&mut stream)?;
    assert_eq!(proof.len(), 32, "a SHA-256");
    // It has no proof in its cache: the password itself, over a socket that nobody overhears.
    stream.write_all(&packet(4, &[1, 4])).ok()?;
    let said = read_packet(&mut stream)?;
    let is_right = said == [PASSWORD.as_bytes(), &[0]].concat();
    let refused = b"\xff\x15\x04#28000Access denied\x1b[2J";
    stream.write_all(&packet(6, if is_right { &[0, 0, 0, 2, 0, 0, 0] } else { refused })).ok()?;
    loop {
        let query = read_packet(&mut stream)?;
        let text = String::from_utf8_lossy(query.get(1..)?).into_owned();
        let answer = if text.contains("mysql.user") {
            result(&[
                &["app", "%", "mysql_native_password", "kept", "N", "0", "N", "N", "N"],
                &["bi", "10.99.0.5", "caching_sha2_password", "kept", "N", "1", "N", "N", "N"],
                &["root", "%", "caching_sha2_password", "kept", "Y", "0", "N", "Y", "N"],
            ])
        } else if text.contains("SHOW GLOBAL VARIABLES") {
            result(&[
                &["performance_schema", "ON"],
                &["require_secure_transport", "OFF"],
                &["tls_version", "TLSv1.2,TLSv1.3"],
            ])
        } else if text.contains("threads") {
            result(&[&["app", "10.99.0.5", "d", "TCP/IP"], &["app", "db.test", "d", "SSL/TLS"]])
        } else if text.contains("host_cache") {
            result(&[&["db.test", "10.99.0.6"]])
        } else {
            packet(1, &[0, 0, 0, 2, 0, 0, 0])
        };
        stream.write_all(&answer).ok()?;
    }
}

fn listening(path: &Path, serve: impl Fn(UnixStream) -> Option<()> + Send + Clone + 'static) {
    let listener = UnixListener::bind(path).expect("a Unix socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

#[test]
fn mysql_8_by_its_own_method() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [3306]\ntrusted_sources = []");
    listening(&host.path("socket"), mysql8);
    // By TCP it refuses whoever has no TLS.
    answering(&netns, 3306, |mut stream: TcpStream| {
        let _ = stream.write_all(&greeting());
        let _ = stream.read(&mut [0; 512]);
        let refused = b"\xff\x57\x0c#HY000Connections using insecure transport are prohibited";
        let _ = stream.write_all(&packet(2, refused));
        let _ = stream.read(&mut [0; 512]);
    });
    let configure = |password: &str| {
        let password = secret(&host, "password", password);
        host.configure(
            "interfaces = [\"none\"]",
            &format!(
                "[[database]]\nname = \"orders\"\nports = [3306]\ntrusted_sources = \
                 [\"ip_addr:10.99.0.5\", \"ip_addr:10.99.0.6\", \"ip_addr:10.99.0.7\"]\n\
                 [database.audit]\nsocket = \"{}\"\nuser = \"audit\"\npassword_file = \
                 \"{password}\"\n",
                host.path("socket").display()
            ),
        );
    };
    configure(PASSWORD);
    let failing = ["A-3", "R-4", "R-5", "T-1", "T-2b", "X-4"];
    let (document, _) = audit_until(&host, &["--login"], &failing);
    assert_eq!(document["databases"][0]["login"], "caching_sha2_password as audit");
    assert_eq!(document["databases"][0]["version"], "8.0.36");
    let unknown = document["findings"].as_array().expect("findings").iter();
    let a1 = unknown.clone().find(|finding| finding["id"] == "A-1").expect("A-1");
    assert_eq!(a1["state"], "unknown");
    assert!(a1["text"].as_str().expect("a text").contains("error 3159"), "{a1}");
    configure("another");
    let output = host.dbfw(&["audit", "orders", "--login"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("it refuses audit: Access denied\\u{1b}[2J"), "{said}");
}

/// Servers that let nobody come to an end with a login.
#[test]
fn hostile_servers_are_unknown_and_bounded() {
    let netns = Netns::new("audit");
    let host = host(&netns, "ports = [5432]\ntrusted_sources = []");
    let password = secret(&host, "password", PASSWORD);
    type Serve = fn(UnixStream) -> Option<()>;
    let cases: [(u16, &str, Serve); 6] = [
        (5432, "silent", |stream| {
            thread::sleep(std::time::Duration::from_secs(60));
            drop(stream);
            None
        }),
        (5433, "a message without an end", |mut stream| {
            let _ = stream.write_all(b"R\xff\xff\xff\xff");
            while stream.write_all(&[0; 65536]).is_ok() {}
            None
        }),
        (5434, "rows without an end", |mut stream| {
            let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
            while stream.write_all(b"D\0\0\0\x0b\0\x01\0\0\0\x01x").is_ok() {}
            None
        }),
        (3306, "columns without an end", |mut stream| {
            let _ = stream.write_all(&greeting());
            read_packet(&mut stream)?;
            let _ = stream.write_all(&packet(2, &[0, 0, 0, 2, 0, 0, 0]));
            while stream.write_all(&packet(1, &[1])).is_ok() {}
            None
        }),
        (6379, "lists in lists", |mut stream| {
            while stream.write_all(b"*1\r\n").is_ok() {}
            None
        }),
        (6380, "garbage", |mut stream| {
            while stream.write_all(b"\xff\xff\xff\x7f\x1b[2J").is_ok() {}
            None
        }),
    ];
    let mut databases = String::new();
    for (port, _, serve) in cases {
        let socket = host.path(&port.to_string());
        listening(&socket, serve);
        databases.push_str(&format!(
            "[[database]]\nname = \"at{port}\"\nports = [{port}]\ntrusted_sources = []\n\
             [database.audit]\nsocket = \"{}\"\nuser = \"audit\"\npassword_file = \"{password}\"\n",
            socket.display()
        ));
        answering(&netns, port, drop);
    }
    host.configure("interfaces = [\"none\"]", &databases);
    let output = host.dbfw(&["audit", "--login", "-o", "json"]);
    let document = json(&output);
    for (port, what, _) in cases {
        let findings = document["findings"].as_array().expect("findings").iter();
        let x4 = findings
            .filter(|finding| finding["database"] == format!("at{port}"))
            .find(|finding| finding["id"] == "X-4")
            .unwrap_or_else(|| panic!("{what}: {document:#}"));
        assert_eq!(x4["state"], "unknown", "{what}: {x4}");
    }
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\u{1b}'));
}

/// A filter in force, a client with TLS, one without, a superuser, and a stranger. The audit names
/// what is wrong with the three, and nothing of the one that the filter keeps out.
#[test]
fn clients_behind_the_filter_are_told_apart() {
    let netns = Netns::new("audit");
    let clients = [1, 2, 3, 4].map(|number| client(&netns, number));
    let authority = Authority::new();
    let mut host = Host::new(&netns);
    let roots = roots(&host, &authority);
    host.configure(
        "interfaces = [\"c*\"]",
        "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = [\n  { type = \"ip_addr\", value = \
         \"10.99.1.2\", description = \"shop\" },\n  { type = \"ip_addr\", value = \"10.99.2.2\", \
         description = \"reports\" },\n  { type = \"ip_addr\", value = \"10.99.3.2\", description = \"admin\" \
         },\n]\n",
    );
    host.start();
    let hba = "local all all peer\nhost all app 10.99.1.2/32 scram-sha-256\n\
               host all app 10.99.2.2/32 scram-sha-256\nhostssl all ops 10.99.3.2/32 \
               scram-sha-256\nhostssl all all 10.99.1.1/32 scram-sha-256\n";
    let postgres = postgres(&netns, &authority, &[], hba);
    sql(
        &netns,
        &postgres,
        5432,
        &format!(
            "create role app login password '{PASSWORD}'; create role ops login superuser \
             password '{PASSWORD}'"
        ),
    );
    let target = |number: u8| format!("host=10.99.{number}.1 port=5432");
    let _connected = [
        Client::psql(&clients[0], &format!("{} sslmode=require user=app", target(1))),
        Client::psql(&clients[1], &format!("{} sslmode=disable user=app", target(2))),
        Client::psql(&clients[2], &format!("{} sslmode=require user=ops", target(3))),
        Client::psql(&clients[3], &format!("{} sslmode=disable user=app", target(4))),
    ];
    // T-2 is the line by which the second client comes.
    let failing = ["R-1", "R-5", "T-2", "X-4"];
    let arguments = ["--login", "--ca-file", &roots, "--names", "db.test"];
    let (document, output) = audit_until(&host, &arguments, &failing);
    // The agent may not have counted the packets of all of them yet.
    let unknown = ids(&document, "unknown");
    assert!(unknown.is_subset(&set(&["X-2"])), "{document:#}");
    let failed = document["findings"].as_array().expect("findings").iter();
    let failed = failed.filter(|finding| finding["state"] == "fail");
    let of_login: Vec<(&str, &str)> = failed
        .filter(|finding| finding["id"] != "T-2")
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().expect("a text");
            (text("id"), text("text"))
        })
        .collect();
    assert_eq!(
        of_login,
        [
            ("R-1", "the superuser ops is logged in from 10.99.3.2, ip_addr:10.99.3.2 (admin)"),
            ("X-4", "ip_addr:10.99.2.2 (reports): 1 of 1 connections have no TLS: app@10.99.2.2"),
            (
                "R-5",
                "app is used by 2 trusted sources: ip_addr:10.99.1.2 (shop), ip_addr:10.99.2.2 \
                 (reports)"
            ),
        ]
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains("10.99.4.2"), "{document:#}");
    assert!(!postgres.log().contains("10.99.4.2"), "{}", postgres.log());
}

/// A role whose one way in is a source that nobody used for a month, beside others.
#[test]
fn a_role_that_only_an_unused_source_leads_to_is_named() {
    let netns = Netns::new("audit");
    let clients = [1, 2].map(|number| client(&netns, number));
    let authority = Authority::new();
    let mut host = Host::new(&netns);
    let roots = roots(&host, &authority);
    host.configure(
        "interfaces = [\"c*\"]",
        "[[database]]\nname = \"orders\"\nports = [5432]\n\
         trusted_sources = [\"ip_addr:10.99.1.2\", \"ip_addr:10.99.2.2\"]\n",
    );
    // The agent began to count a month ago.
    let skew = Skew::new();
    skew.set(-31 * 24 * 3600, 0);
    host.spawn_through(&skew.wrapper().each_ref().map(String::as_str));
    host.wait("the agent to be ready", |host| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
    });
    host.stop(Signal::SIGTERM);
    host.start();
    let hba = "local all all peer\nhostssl all app,shared 10.99.1.2/32 scram-sha-256\n\
               hostssl all old,shared 10.99.2.2/32 scram-sha-256\n\
               hostssl all all 10.99.1.1/32 scram-sha-256\n";
    let postgres = postgres(&netns, &authority, &[], hba);
    for role in ["app", "old", "shared"] {
        let create = format!("create role {role} login password '{PASSWORD}'");
        sql(&netns, &postgres, 5432, &create);
    }
    let connect = |number: u8, role: &str| {
        let target = format!("host=10.99.{number}.1 port=5432 sslmode=require user={role}");
        Client::psql(&clients[usize::from(number) - 1], &target)
    };
    let _app = connect(1, "app");
    host.wait("its packets to be counted", |host| {
        let found = host.json(&["sources"]).unwrap_or_default();
        let sources = found["sources"].as_array().into_iter().flatten();
        let mut of_app = sources.filter(|source| source["source"] == "ip_addr:10.99.1.2");
        of_app.any(|source| source["last_hit"].is_string())
    });
    let arguments = ["--login", "--ca-file", &roots, "--names", "db.test", "--fail-on", "info"];
    let (document, _) = audit_until(&host, &arguments, &["R-6", "X-2"]);
    assert_eq!(
        text(&document, "R-6"),
        "old may log in only from what is not used: ip_addr:10.99.2.2"
    );
    let failed = document["findings"].as_array().expect("findings").iter();
    let failed = failed.filter(|finding| finding["id"] == "R-6" && finding["state"] == "fail");
    assert_eq!(failed.count(), 1, "{document:#}");
    // It comes after all.
    let _old = connect(2, "old");
    audit_until(&host, &arguments, &[]);
}
