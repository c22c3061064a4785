//! The certificates of real servers, and what real clients do with them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish},
    postgres::Postgres,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

/// The server's address, which is on the loopback device and is no loopback address.
pub(crate) const ADDRESS: &str = "10.99.0.1";

/// An authority, one between, and certificates of a server's key.
pub(crate) struct Authority {
    pub(crate) root: String,
    pub(crate) between: String,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) key: KeyPair,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let root_key = key();
        let root_params = authority_params("Example root");
        let root = root_params.self_signed(&root_key).expect("a root").pem();
        let root_issuer = Issuer::new(root_params, root_key);
        let between_key = key();
        let params = authority_params("Example between");
        let between = params.signed_by(&between_key, &root_issuer).expect("one between").pem();
        Self { root, between, issuer: Issuer::new(params, between_key), key: key() }
    }

    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> String {
        let params = Self::params(change);
        params.signed_by(&self.key, &self.issuer).expect("a certificate").pem()
    }

    pub(crate) fn self_signed(&self) -> String {
        Self::params(|_| {}).self_signed(&self.key).expect("a certificate").pem()
    }

    fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let names = vec!["db.test".to_owned(), ADDRESS.to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "db.test");
        change(&mut params);
        params
    }

    pub(crate) fn whole(&self) -> String {
        self.leaf(|_| {}) + &self.between + &self.root
    }

    /// A server of TLS with these certificates.
    pub(crate) fn server_config(&self) -> ServerConfig {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.whole().as_bytes())
                .map(|one| one.expect("PEM"))
                .collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes());
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("a server")
            .with_no_client_auth()
            .with_single_cert(chain, key.expect("a key"))
            .expect("its certificate")
    }
}

pub(crate) fn host<'a>(netns: &'a Netns, port: u16) -> Host<'a> {
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let host = Host::new(netns);
    let database =
        format!("[[database]]\nname = \"orders\"\nports = [{port}]\naddresses = [\"{ADDRESS}\"]");
    host.configure("interfaces = [\"none\"]", &database);
    host
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of PEM, which tools end differently.
fn pem(text: impl AsRef<[u8]>) -> Vec<String> {
    let text = String::from_utf8_lossy(text.as_ref()).into_owned();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Asks until the certificates are the expected ones: a server takes new ones soon after it is told.
fn ca_until(host: &Host<'_>, expected: &str) -> Output {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output = host.dbfw(&["ca", "orders"]);
        if pem(&output.stdout) == pem(expected) {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            return output;
        }
        assert!(Instant::now() < deadline, "not {expected}\n{output:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn postgresql_and_what_psql_does_with_it() {
    const PORT: u16 = 5432;
    let netns = Netns::new("ca");
    let host = host(&netns, PORT);
    let authority = Authority::new();
    let whole = authority.whole();
    let postgres = Postgres::start_with(&netns, PORT, &["ssl=on"], |data| {
        fs::write(data.join("server.crt"), &whole).expect("write the certificate");
        let key = data.join("server.key");
        fs::write(&key, authority.key.serialize_pem()).expect("write its key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("protect the key");
    });
    let change = |certificates: &str| {
        fs::write(postgres.data().join("server.crt"), certificates).expect("write it");
        postgres.reload();
    };
    // What `dbfw ca` printed, given to psql as it says.
    let psql = |output: &Output, mode: &str, name: &str| {
        let file = host.path("orders-ca.pem");
        fs::write(&file, &output.stdout).expect("write the authority");
        let target = format!(
            "host={name} hostaddr={ADDRESS} port={PORT} user=postgres dbname=postgres \
             sslmode={mode} sslrootcert={}",
            file.display()
        );
        let answer = netns.command("psql").args([&*target, "-Atc", "select 1"]).output();
        let answer = answer.expect("run psql");
        (answer.status.success(), stderr(&answer))
    };

    let output = ca_until(&host, &whole);
    let said = stderr(&output);
    for text in [
        "orders: PostgreSQL at 10.99.0.1 port 5432, TLSv1.3; 3 certificates of CN=db.test",
        "psql \"host=db.test port=5432 sslmode=verify-full sslrootcert=orders-ca.pem\"",
    ] {
        assert!(said.contains(text), "{text}\n{said}");
    }
    assert!(!said.contains("warning"), "{said}");
    // psql, which breaks off where it does not trust, comes later.
    let log = postgres.log();
    assert!(!log.contains("could not accept SSL"), "{log}");
    assert_eq!(psql(&output, "verify-full", "db.test"), (true, String::new()));
    assert!(!psql(&output, "verify-full", "other.test").0, "a name that it is not for");

    let without_root = authority.leaf(|_| {}) + &authority.between;
    change(&without_root);
    let output = ca_until(&host, &without_root);
    let said = stderr(&output);
    assert!(said.contains("this output is no sslrootcert"), "{said}");
    assert!(said.contains("CN=Example root"), "{said}");
    assert!(!psql(&output, "verify-full", "db.test").0, "psql has no root");
    let roots = host.path("roots.pem");
    fs::write(&roots, &authority.root).expect("write the root");
    let known = host.dbfw(&["ca", "orders", "--ca-file", &roots.display().to_string()]);
    assert!(!stderr(&known).contains("warning"), "{known:?}");

    // In another order than they sign.
    change(&(authority.leaf(|_| {}) + &authority.root + &authority.between));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output = host.dbfw(&["ca", "orders"]);
        let sent = pem(&output.stdout);
        if sent.ends_with(&pem(&authority.root)) && sent.len() > pem(&without_root).len() {
            break;
        }
        assert!(Instant::now() < deadline, "{output:?}");
        thread::sleep(Duration::from_millis(100));
    }

    let self_signed = authority.self_signed();
    change(&self_signed);
    let output = ca_until(&host, &self_signed);
    assert!(stderr(&output).contains("the certificate signs itself"), "{output:?}");
    assert_eq!(psql(&output, "verify-full", "db.test"), (true, String::new()));

    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 4] = [
        (|params| params.not_after = date_time_ymd(2021, 1, 1), "the certificate expired at 2021"),
        (|params| params.not_before = date_time_ymd(2090, 1, 1), "good only from 2090"),
        (|params| params.subject_alt_names.clear(), "verify-full cannot work"),
        (
            |params| {
                params.subject_alt_names =
                    vec![SanType::DnsName("*.db.test".try_into().expect("a name"))];
            },
            "host=NAME.db.test",
        ),
    ];
    for (made, expected) in cases {
        let certificates = authority.leaf(made) + &authority.between + &authority.root;
        change(&certificates);
        let output = ca_until(&host, &certificates);
        assert!(stderr(&output).contains(expected), "{expected}\n{output:?}");
        if expected.contains("cannot work") {
            assert!(stderr(&output).contains("libpq alone would take its common name, db.test"));
            assert_eq!(psql(&output, "verify-ca", "anything"), (true, String::new()));
        }
    }
    let log = postgres.log();
    for complaint in ["incomplete startup packet", "could not receive data"] {
        assert!(!log.contains(complaint), "{complaint}\n{log}");
    }
}

/// A server of a Debian package, ended with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) directory: TempDir,
}

impl Server {
    pub(crate) fn start(
        netns: &Netns,
        user: &str,
        authority: &Authority,
        command: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let user = User::from_name(user)
            .expect("read the users")
            .unwrap_or_else(|| panic!("there is no user {user}: cargo xtask setup"));
        let directory = TempDir::with_prefix("dbfw-ca-").expect("a directory");
        let at = directory.path();
        for (name, text) in [
            ("chain.pem", authority.whole()),
            ("key.pem", authority.key.serialize_pem()),
            ("root.pem", authority.root.clone()),
        ] {
            fs::write(at.join(name), text).expect("write it");
            chown(at.join(name), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("its file");
        }
        chown(at, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("its directory");
        let words = command(at);
        let log = fs::File::create(at.join("server.log")).expect("its log");
        let child = netns
            .command("setpriv")
            .args(["--reuid", &user.name, "--regid", &user.gid.to_string(), "--clear-groups"])
            .args(["--pdeathsig", "KILL", "--"])
            .args(&words)
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .spawn()
            .expect("start the server");
        Self { child, directory }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Asks until the server is up.
pub(crate) fn ca_of(host: &Host<'_>, server: &Server) -> Output {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let output = host.dbfw(&["ca", "orders"]);
        if output.status.success() {
            return output;
        }
        assert!(Instant::now() < deadline, "{output:?}\n{}", server.log());
        thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn program(name: &str) -> String {
    let found = ["/usr/sbin", "/usr/bin"].map(|directory| Path::new(directory).join(name));
    let found: Option<&PathBuf> = found.iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name}: cargo xtask setup")).display().to_string()
}

#[test]
fn redis_and_what_its_client_does_with_it() {
    let netns = Netns::new("ca");
    let host = host(&netns, 6390);
    let authority = Authority::new();
    // By default a client has to show a certificate, and the server's is seen all the same.
    for clients in ["yes", "no"] {
        let server = Server::start(&netns, "redis", &authority, |at| {
            let file = |name: &str| at.join(name).display().to_string();
            let words = [
                &*program("redis-server"),
                "--port",
                "0",
                "--tls-port",
                "6390",
                "--bind",
                ADDRESS,
                "--tls-cert-file",
                &file("chain.pem"),
                "--tls-key-file",
                &file("key.pem"),
                "--tls-ca-cert-file",
                &file("root.pem"),
                "--tls-auth-clients",
                clients,
                "--protected-mode",
                "no",
                "--save",
                "",
            ];
            words.map(str::to_owned).into()
        });
        let output = ca_of(&host, &server);
        let said = stderr(&output);
        assert!(
            said.contains("redis-cli -h db.test -p 6390 --tls --cacert orders-ca.pem"),
            "{said}"
        );
        if clients == "no" {
            let file = host.path("orders-ca.pem");
            fs::write(&file, &output.stdout).expect("write the authority");
            let mut client = netns.command("redis-cli");
            client.args(["-h", ADDRESS, "-p", "6390", "--tls", "--cacert"]).arg(&file).arg("PING");
            let answer = client.output().expect("run redis-cli");
            assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "PONG", "{answer:?}");
        }
    }
    let plain = Server::start(&netns, "redis", &authority, |_| {
        let words = [&*program("redis-server"), "--port", "6390", "--bind", ADDRESS, "--save", ""];
        words.map(str::to_owned).into()
    });
    thread::sleep(Duration::from_secs(1));
    let output = host.dbfw(&["ca", "orders"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("10.99.0.1 port 6390: "), "{said}\n{}", plain.log());
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// A MariaDB that runs this SQL at its start. It blocks hosts after three interrupted handshakes.
pub(crate) fn mariadb(netns: &Netns, authority: &Authority, sql: &str, options: &[&str]) -> Server {
    Server::start(netns, "mysql", authority, |at| {
        let data = at.join("data").display().to_string();
        finish(
            Command::new(program("mariadb-install-db"))
                .args(["--no-defaults", "--user=mysql", "--skip-test-db"])
                .arg(format!("--datadir={data}")),
        );
        let file = |name: &str| at.join(name).display().to_string();
        fs::write(at.join("init.sql"), sql).expect("write it");
        let mut words = vec![
            program("mariadbd"),
            "--no-defaults".to_owned(),
            format!("--datadir={data}"),
            format!("--socket={}", file("socket")),
            format!("--init-file={}", file("init.sql")),
            format!("--pid-file={}", file("pid")),
            format!("--bind-address={ADDRESS}"),
            "--port=3306".to_owned(),
            "--max-connect-errors=3".to_owned(),
            "--performance-schema=ON".to_owned(),
            format!("--ssl-cert={}", file("chain.pem")),
            format!("--ssl-key={}", file("key.pem")),
            format!("--ssl-ca={}", file("root.pem")),
        ];
        words.extend(options.iter().map(|option| (*option).to_owned()));
        words
    })
}

/// A server that blocks hosts after three interrupted handshakes sees none.
#[test]
fn mariadb_blocks_nobody_who_asks() {
    let netns = Netns::new("ca");
    let host = host(&netns, 3306);
    let authority = Authority::new();
    // It refuses every host that no user may come from.
    let users = "create user app@'%' identified by 'x';\n";
    let server = mariadb(&netns, &authority, users, &[]);
    let output = ca_of(&host, &server);
    let said = stderr(&output);
    assert!(said.contains("--ssl-mode=VERIFY_IDENTITY --ssl-ca=orders-ca.pem"), "{said}");
    assert_eq!(pem(&output.stdout).last(), pem(&authority.root).last(), "the root is last");
    for _ in 0..10 {
        let output = host.dbfw(&["ca", "orders"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", server.log());
    }
    let sql =
        "select coalesce(sum(SUM_CONNECT_ERRORS), 0), count(*) from performance_schema.host_cache";
    let counted = Command::new(program("mariadb"))
        .args(["--no-defaults", "-uroot", "-BN", "-e", sql])
        .arg(format!("--socket={}", server.directory.path().join("socket").display()))
        .output()
        .expect("run mariadb");
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), "0\t1", "{counted:?}");
    // The real client verifies by the output, and is only refused for its user.
    let file = host.path("orders-ca.pem");
    fs::write(&file, &output.stdout).expect("write the authority");
    let client = netns
        .command(program("mariadb"))
        .args(["--no-defaults", "-h", ADDRESS, "-unobody", "--ssl"])
        .arg(format!("--ssl-ca={}", file.display()))
        .output()
        .expect("run mariadb");
    assert!(stderr(&client).contains("ERROR 1045"), "{client:?}");
}

/// A server that answers each connection in one way.
pub(crate) fn answering(
    netns: &Netns,
    port: u16,
    answer: impl Fn(std::net::TcpStream) + Send + 'static,
) {
    let address = SocketAddr::new(ADDRESS.parse().expect("an address"), port);
    let listener = netns.run(move || TcpListener::bind(address).expect("listen"));
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
}

#[test]
fn hostile_servers_end_soon_and_say_why() {
    let netns = Netns::new("ca");
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let keep = |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    };
    answering(&netns, 3306, keep);
    answering(&netns, 3307, |mut stream| drop(stream.write_all(&[0xff, 0xff, 0xff, 0, 10])));
    answering(&netns, 3308, |mut stream| {
        drop(stream.write_all(b"\x16\0\0\0\xff\x69\x04Host is blocked\x1b[2J"))
    });
    answering(&netns, 5432, |mut stream| {
        let _ = stream.read(&mut [0; 8]);
        let _ = stream.write_all(b"N");
        let _ = stream.read(&mut [0; 512]);
    });
    answering(&netns, 5433, move |mut stream| {
        let _ = stream.read(&mut [0; 8]);
        // A record of TLS that never ends.
        let _ = stream.write_all(b"S\x16\x03\x03\x40\x00\x02");
        thread::sleep(Duration::from_secs(60));
    });
    answering(&netns, 6379, |mut stream| drop(stream.write_all(&[b'-'; 100_000])));
    answering(&netns, 7000, drop);
    let cases = [
        (3306, "it does not answer within 8 seconds"),
        (3307, "it sends a packet of 16777215 bytes"),
        (3308, "it refuses this host: Host is blocked\\u{1b}[2J"),
        (5432, "PostgreSQL offers no TLS there"),
        (5433, "it does not answer within 8 seconds"),
        (6379, "Redis or Valkey offers no TLS there"),
        (7000, "it speaks no protocol that is known"),
        (9999, "cannot connect"),
    ];
    thread::scope(|scope| {
        for (port, expected) in cases {
            let netns = &netns;
            scope.spawn(move || {
                let host = Host::new(netns);
                let database = format!("[[database]]\nname = \"orders\"\nports = [{port}]");
                host.configure("interfaces = [\"none\"]", &database);
                let begun = Instant::now();
                let output = host.dbfw(&["ca", "orders"]);
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(1), "{port}: {said}");
                assert!(said.contains(expected), "{port}: {said}");
                assert!(output.stdout.is_empty(), "{port}: {output:?}");
                assert!(begun.elapsed() < Duration::from_secs(25), "{port}: {:?}", begun.elapsed());
            });
        }
    });
}

/// A MongoDB is a server that begins with TLS, on its port.
#[test]
fn mongodb_by_its_port_and_others_by_what_they_say() {
    let netns = Netns::new("ca");
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let authority = Authority::new();
    let config = Arc::new(authority.server_config());
    for port in [27017, 7001] {
        let config = Arc::clone(&config);
        answering(&netns, port, move |mut stream| {
            let mut session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            let _ = stream.read(&mut [0; 64]);
        });
    }
    let _postgres = Postgres::start_with(&netns, 7002, &["ssl=on"], |data| {
        fs::write(data.join("server.crt"), authority.whole()).expect("write the certificate");
        let key = data.join("server.key");
        fs::write(&key, authority.key.serialize_pem()).expect("write its key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("protect the key");
    });
    for (port, expected) in [
        (27017, "mongosh \"mongodb://db.test:27017/?tls=true&tlsCAFile=orders-ca.pem\""),
        (7001, "orders: a server at 10.99.0.1 port 7001"),
        (7002, "orders: PostgreSQL at 10.99.0.1 port 7002"),
    ] {
        let host = Host::new(&netns);
        let database = format!("[[database]]\nname = \"orders\"\nports = [{port}]");
        host.configure("interfaces = [\"none\"]", &database);
        let output = host.dbfw(&["ca", "orders"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(pem(&output.stdout).last(), pem(&authority.root).last(), "the root is last");
        assert!(stderr(&output).contains(expected), "{expected}\n{output:?}");
    }
    let host = Host::new(&netns);
    host.configure("interfaces = [\"none\"]", "[[database]]\nname = \"orders\"\nports = [1]");
    let unknown = host.dbfw(&["ca", "nothing"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(stderr(&unknown).contains("there are: orders"), "{unknown:?}");
    host.replace("dbfw.toml", "[agent\n");
    assert_eq!(host.dbfw(&["ca", "orders"]).status.code(), Some(78), "a bad configuration");
}
