//! Verdicts over random `pg_hba.conf` files against those of a real PostgreSQL.
//!
//! `DBFW_HBA_FILES` sets how many files are tried (default 300) and `DBFW_HBA_SEED` the seed,
//! which every run prints.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dbfw_core::{
    hba::{
        Client, Database, Dialect, Encryption, Facts, FileError, Files, Method, NoFacts, Role,
        Rules, Verdict,
    },
    source::Prefix,
};
use dbfw_tests::{
    netns::Netns,
    postgres::{Postgres, query},
    traffic::connect,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::fuzz::variable;

const PORT: u16 = 5432;
const DEFAULT_FILES: u64 = 300;
/// Clients tried on one file.
const CLIENTS: usize = 8;

/// Addresses of clients; every one of 127.0.0.0/8 is local.
const ADDRESSES: [&str; 9] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.0.1.1",
    "127.1.0.1",
    "127.1.2.3",
    "127.1.2.4",
    "127.200.0.9",
    "127.255.255.254",
    "::1",
];
const ROLES: [&str; 6] = ["postgres", "app", "ops", "a b", "nobody", "all"];
const DATABASES: [&str; 5] = ["postgres", "orders", "app", "none", "+apps"];

/// Facts of the server that are not in its file.
struct Server {
    own: Vec<(IpAddr, u8)>,
}

impl Facts for Server {
    fn is_member(&self, member: &[u8], group: &[u8]) -> Option<bool> {
        let exists = [&b"postgres"[..], b"app", b"ops", b"apps", b"a b"].contains(&member);
        Some(exists && (member == group || (member, group) == (b"app", b"apps")))
    }

    fn has_name(&self, _: &Prefix, name: &[u8]) -> Option<bool> {
        assert_eq!(name, b"all", "a name that nobody has");
        Some(false)
    }

    fn own_addresses(&self) -> Option<&[(IpAddr, u8)]> {
        Some(&self.own)
    }
}

/// The files beside `pg_hba.conf`.
struct Directory;

impl Files for Directory {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound,
            _ => FileError::Other(error.to_string()),
        })
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let found = fs::read_dir(directory).map_err(|_| FileError::NotFound)?;
        Ok(found.flatten().map(|entry| entry.file_name().into()).collect())
    }
}

/// The server's answer to the first message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// No password is asked for.
    Trusted,
    Password,
    Md5,
    Scram,
    /// A line refuses.
    Rejected,
    /// No line matches.
    NoEntry,
}

/// One client.
#[derive(Clone, Debug)]
struct Try {
    address: IpAddr,
    database: Option<&'static str>,
    role: String,
    tls: bool,
}

/// The first message of a client, and what the server answers: its type and its body.
fn start(stream: &mut (impl Read + Write), who: &Try) -> io::Result<Answer> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    let mut put = |name: &str, value: &str| {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    };
    put("user", &who.role);
    match who.database {
        Some(database) => put("database", database),
        None => put("replication", "true"),
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).expect("a short message");
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&body)?;
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(match (head[0], body.get(3)) {
        (b'R', Some(0)) => Answer::Trusted,
        (b'R', Some(3)) => Answer::Password,
        (b'R', Some(5)) => Answer::Md5,
        (b'R', Some(10)) => Answer::Scram,
        (b'E', _) if text.contains("pg_hba.conf rejects") => Answer::Rejected,
        (b'E', _) if text.contains("no pg_hba.conf entry") => Answer::NoEntry,
        _ => return Err(io::Error::other(format!("{:?} {text:?}", char::from(head[0])))),
    })
}

/// Takes every certificate: who the server is, is not asked here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("a client")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

fn ask(netns: &Netns, who: &Try, tls: &Arc<ClientConfig>) -> io::Result<Answer> {
    let to = if who.address.is_ipv4() { "127.0.0.1" } else { "::1" };
    let server = SocketAddr::new(to.parse().expect("an address"), PORT);
    let mut stream = connect(netns, who.address, server, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    if !who.tls {
        return start(&mut stream, who);
    }
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, *b"S", "the server has TLS");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    start(&mut Stream::<_, TcpStream>::new(&mut session, &mut stream), who)
}

/// A random file, and another that it may name.
fn random_file(random: &mut SmallRng) -> (String, String) {
    let mut text = String::new();
    for _ in 0..random.random_range(1..12) {
        text += &random_line(random);
    }
    if random.random_ratio(1, 3) {
        text += "host all all all scram-sha-256 # the rest\n";
    }
    if random.random_ratio(1, 20) {
        let bad = [
            "host all all 127.0.0.1 trust\n",
            "hots all all all trust\n",
            "host all all\n",
            "host all all ::1/129 trust\n",
            "host all @none all trust\n",
            "host all all all peer\n",
            "host all all 127.0.0.1/8,::1 md5\n",
            "host all all localhost/8 md5\n",
            "host all all all md5 map=x\n",
            "include other\n",
            "host all all 127.1 ::1 md5\n",
        ];
        text += bad.choose(random).expect("some");
    }
    let names = [
        "app",
        "\"app\"\nops",
        "a, b # c\n\"a b\"",
        "+apps",
        "all",
        "app\n\n",
        "ops,app",
        "@other2",
        "",
    ];
    (text, names.choose(random).copied().expect("some").to_owned())
}

fn random_line(random: &mut SmallRng) -> String {
    let mut one = |of: &[&str]| of.choose(random).copied().expect("some").to_owned();
    let types =
        ["host", "host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc", "local"];
    let kind = one(&types);
    let databases = [
        "all",
        "all",
        "orders",
        "app",
        "sameuser",
        "samerole",
        "replication",
        "\"all\"",
        "none,orders",
        "app, replication",
        "\"sameuser\"",
        "+apps",
        "/x",
        "orders ",
    ];
    let database = one(&databases);
    let roles = [
        "all",
        "all",
        "app",
        "ops",
        "+apps",
        "\"+apps\"",
        "\"a b\"",
        "\"all\"",
        "ops,app",
        "+none",
        "nobody",
        "@names",
        "app,@names",
        "postgres",
        "\"a\"\" b\"",
        "/^a",
        "+app",
    ];
    let role = one(&roles);
    let addresses = [
        "all",
        "127.0.0.0/8",
        "127.0.0.1/32",
        "127.1.2.3/16",
        "127.0.0.0/31",
        "::1/128",
        "::/0",
        "0.0.0.0/0",
        "samehost",
        "samenet",
        "127.0.0.1 255.0.0.255",
        "127.1.0.1 255.255.0.0",
        "127.0x1.2.3/030",
        "127.1/32",
        "0/1",
        "\"all\"",
        "::ffff:127.0.0.0/104",
        "128.0.0.0/1",
        "::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "127.1.2.0/+24",
        "2130706433/32",
        "127.1.2.3/0",
        "127.128.0.0/9",
        "127.1.2.4/30",
    ];
    let address = one(&addresses);
    let method = one(&["trust", "reject", "password", "md5", "scram-sha-256"]);
    let gap = one(&[" ", "  ", "\t", " \\\n ", " , "]);
    let end = one(&["", " # all", "\t", "\r", " \\\n"]);
    match &*kind {
        "local" => format!("local{gap}{database} {role} {method}{end}\n"),
        _ => format!("{kind}{gap}{database}{gap}{role} {address}{gap}{method}{end}\n"),
    }
}

/// The answer of a server with these rules; `None` if it is not known.
fn expected(rules: &Rules, who: &Try, role: Role<'_>, facts: &dyn Facts) -> Option<Answer> {
    let client = Client {
        database: who
            .database
            .map_or(Database::Replication, |name| Database::Named(name.as_bytes())),
        role,
        encryption: if who.tls { Encryption::Tls } else { Encryption::Plain },
    };
    let judged = rules.judge(Prefix::host(who.address), &client, facts);
    assert_eq!(judged.len(), 1, "one address has one verdict");
    match judged[0].verdict {
        Verdict::NoLine => Some(Answer::NoEntry),
        Verdict::Unknown(_) => None,
        Verdict::Line(line) => Some(match line.method() {
            Method::Trust => Answer::Trusted,
            Method::Reject => Answer::Rejected,
            Method::Password => Answer::Password,
            Method::Md5 => Answer::Md5,
            Method::ScramSha256 => Answer::Scram,
            other => panic!("no file has {other}"),
        }),
    }
}

fn random_client(random: &mut SmallRng) -> Try {
    let address = ADDRESSES.choose(random).expect("some").parse().expect("an address");
    let database = match random.random_ratio(1, 8) {
        true => None,
        false => DATABASES.choose(random).copied(),
    };
    let role = ROLES.choose(random).copied().expect("some").to_owned();
    Try { address, database, role, tls: random.random_ratio(1, 3) }
}

#[test]
fn a_real_server_gives_the_same_verdicts() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
    let seed = variable("DBFW_HBA_SEED").unwrap_or(clock.as_nanos() as u64);
    let files = variable("DBFW_HBA_FILES").unwrap_or(DEFAULT_FILES);
    println!("DBFW_HBA_SEED={seed} DBFW_HBA_FILES={files}");
    let mut random = SmallRng::seed_from_u64(seed);
    let netns = Netns::new("hba");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    // Without a hash of its own a role has the kind of this setting, which md5 lines go by.
    let settings = ["ssl=on", "password_encryption=md5", "log_connections=off"];
    let postgres = Postgres::start_with(&netns, PORT, &settings, |data| {
        fs::write(data.join("server.crt"), made.cert.pem()).expect("write the certificate");
        let key = data.join("server.key");
        fs::write(&key, made.signing_key.serialize_pem()).expect("write its key");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, mode).expect("protect the key");
    });
    let sql =
        "create role apps; create role app login in role apps; create role ops superuser login;
               create role \"a b\" login";
    let made = query(&netns, "127.0.0.1", PORT, sql);
    assert!(made.status.success(), "{made:?}");
    let dialect = if Postgres::version() < 16 { Dialect::Before16 } else { Dialect::From16 };
    let own =
        [("127.0.0.1", 8), ("::1", 128)].map(|(own, length)| (own.parse().expect("one"), length));
    let facts = Server { own: own.into() };
    let tls = tls();
    let path = postgres.data().join("pg_hba.conf");
    let mut tally = BTreeMap::<String, u64>::new();
    for number in 0..files {
        let (body, names) = random_file(&mut random);
        // Who asks for both of these roles learns whether the file is in force: to any other file
        // they are the same.
        let markers = [format!("trusted{number}"), format!("rejected{number}")];
        let text = format!(
            "host all {} all trust\nhost all {} all reject\n{body}",
            markers[0], markers[1]
        );
        fs::write(postgres.data().join("names"), &names).expect("write the names");
        fs::write(postgres.data().join("other"), "host all all all trust\n").expect("write it");
        fs::write(&path, &text).expect("write the file");
        let read = Rules::parse(&path, text.as_bytes(), dialect, &mut Directory);
        let from = postgres.log_length();
        postgres.reload();
        let probes = markers.map(|role| Try {
            address: "127.0.0.1".parse().expect("an address"),
            database: Some("postgres"),
            role,
            tls: false,
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let about = format!("seed {seed}, file {number}, names {names:?}:\n{text}\n{read:?}");
        let is_loaded = loop {
            let answers = probes.each_ref().map(|probe| ask(&netns, probe, &tls).ok());
            if answers == [Some(Answer::Trusted), Some(Answer::Rejected)] {
                break true;
            }
            if postgres.log_after(from).contains("pg_hba.conf was not reloaded") {
                break false;
            }
            assert!(Instant::now() < deadline, "the server does not reload: {about}");
            thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(is_loaded, read.is_ok(), "{about}\n{}", postgres.log_after(from));
        let Ok(rules) = read else {
            *tally.entry("refused file".to_owned()).or_default() += 1;
            continue;
        };
        for _ in 0..CLIENTS {
            let who = random_client(&mut random);
            let found =
                ask(&netns, &who, &tls).unwrap_or_else(|error| panic!("{error}: {who:?} {about}"));
            match expected(&rules, &who, Role::Named(who.role.as_bytes()), &facts) {
                Some(expected) => assert_eq!(expected, found, "{who:?} {about}"),
                None => *tally.entry("unknown".to_owned()).or_default() += 1,
            }
            // The role that does not exist, where no line names it.
            let is_named = rules.roles().contains(who.role.as_bytes());
            if who.role == "nobody" && !is_named {
                let judged = expected(&rules, &who, Role::Unrelated, &NoFacts);
                if let Some(expected) = judged {
                    assert_eq!(expected, found, "of no group: {who:?} {about}");
                    *tally.entry("of no group".to_owned()).or_default() += 1;
                }
            }
            *tally.entry(format!("{found:?}")).or_default() += 1;
        }
    }
    println!("{tally:#?}");
    if files >= DEFAULT_FILES {
        for answer in [
            "Trusted",
            "Password",
            "Md5",
            "Scram",
            "Rejected",
            "NoEntry",
            "refused file",
            "of no group",
        ] {
            assert!(tally.contains_key(answer), "no file gave {answer}: {tally:?}");
        }
        assert_eq!(tally.get("unknown"), None, "everything is known: {tally:?}");
    }
}
