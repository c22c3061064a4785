//! The accounts and connections of MySQL or MariaDB: a login over the Unix socket, and queries that
//! read.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
};

use dbfw_core::audit::{DbAccount, MySqlCatalog, Proof, SeenConnection};
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        mysql::{self, CLIENT_CONNECT_ATTRS, FLAGS, Greeting},
        user::USER,
        wire::within,
    },
    limits::STATEMENT_TIMEOUT,
};

/// Bytes of a packet of an answer.
const MAX_PACKET: usize = 1 << 20;
/// Bytes of an answer, each packet with what it costs to keep.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes that a packet costs besides its own.
const KEEPING: usize = 256;
/// Packets of a login.
const MAX_ROUNDS: usize = 8;
/// Columns of an answer.
const MAX_COLUMNS: u64 = 64;
/// The end of a list of columns or rows.
const END: u8 = 0xfe;
/// The state of a packet with an error.
const ERROR: u8 = 0xff;

const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";

/// A connection.
pub(super) struct MySql<S> {
    stream: S,
    /// "10.11.19-MariaDB".
    pub(super) version: String,
    /// The way in: the name of the server's plugin.
    pub(super) by: String,
}

/// What the server says while it lets somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    In,
    /// It wants another method, whose name and nonce these are.
    Switch(String, Vec<u8>),
    /// More of the method: its first byte.
    More(u8),
    Refused(String),
}

impl Step {
    /// Reads the payload of a packet; `None`: it is none of a login.
    fn parse(payload: &[u8]) -> Option<Self> {
        Some(match payload {
            [0, ..] => Self::In,
            [0xfe, rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == 0)?;
                let nonce = rest[end + 1..].strip_suffix(&[0]).unwrap_or(&rest[end + 1..]);
                Self::Switch(String::from_utf8_lossy(&rest[..end]).into_owned(), nonce.to_vec())
            }
            [1, more, ..] => Self::More(*more),
            [ERROR, rest @ ..] => Self::Refused(error(rest)),
            _ => return None,
        })
    }
}

/// The text of an error, behind its number and its SQLSTATE.
fn error(rest: &[u8]) -> String {
    let text = rest.get(2..).unwrap_or_default();
    let text = match text {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    String::from_utf8_lossy(text).into_owned()
}

/// A number of variable length, and what is behind it; `None`: NULL, or there is none.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let length = match first {
        0..=0xfa => return Some((u64::from(*first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xfb | 0xff => return None,
    };
    let (bytes, rest) = rest.split_at_checked(length)?;
    let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some((number, rest))
}

/// The values of a row; `None`: it is damaged.
fn row(mut rest: &[u8], columns: u64) -> Option<Vec<Option<String>>> {
    let mut values = Vec::new();
    for _ in 0..columns {
        if let [0xfb, after @ ..] = rest {
            values.push(None);
            rest = after;
            continue;
        }
        let (length, after) = number(rest)?;
        let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(values)
}

/// The proof of a password by a method.
fn proof(method: &str, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
    let hash = |algorithm: &'static Algorithm, parts: &[&[u8]]| {
        let mut context = Context::new(algorithm);
        for part in parts {
            context.update(part);
        }
        context.finish()
    };
    let both = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect();
    match method {
        _ if password.is_empty() => Some(Vec::new()),
        NATIVE => {
            let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
            let once = hash(sha1, &[password.as_bytes()]);
            let twice = hash(sha1, &[once.as_ref()]);
            let mixed = hash(sha1, &[nonce, twice.as_ref()]);
            Some(both(once.as_ref(), mixed.as_ref()))
        }
        SHA2 => {
            let once = hash(&SHA256, &[password.as_bytes()]);
            let twice = hash(&SHA256, &[once.as_ref()]);
            let mixed = hash(&SHA256, &[twice.as_ref(), nonce]);
            Some(both(once.as_ref(), mixed.as_ref()))
        }
        // Over a Unix socket the password itself is no secret from anybody else.
        "mysql_clear_password" => Some([password.as_bytes(), &[0]].concat()),
        _ => None,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> MySql<S> {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// The server refuses, or what it says is not understood: the reason.
    pub(super) async fn log_in(
        mut stream: S,
        user: &str,
        password: Option<&SecretString>,
    ) -> Result<Self, String> {
        let greeting = within(mysql::read(&mut stream)).await?;
        let (version, mut nonce) = match Greeting::parse(&greeting) {
            Some(Greeting::Ready { version, nonce, .. }) => (version, nonce),
            Some(Greeting::Refused(why)) => return Err(format!("it refuses: {why}")),
            None => return Err("its first packet is none of MySQL's".to_owned()),
        };
        let own = version.strip_prefix("5.5.5-").unwrap_or(&version).to_owned();
        let secret = password.map_or("", |password| password.expose_secret());
        let mut method = NATIVE.to_owned();
        let first = proof(&method, secret, &nonce).unwrap_or_default();
        let mut packet = mysql::head(FLAGS | CLIENT_CONNECT_ATTRS);
        packet.extend_from_slice(user.as_bytes());
        packet.push(0);
        packet.push(first.len() as u8);
        packet.extend_from_slice(&first);
        packet.extend_from_slice(method.as_bytes());
        packet.push(0);
        let attributes: Vec<u8> = ["program_name", USER]
            .iter()
            .flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat())
            .collect();
        packet.push(attributes.len() as u8);
        packet.extend_from_slice(&attributes);
        let mut sent = 1;
        for _ in 0..MAX_ROUNDS {
            within(mysql::write(&mut stream, sent, &packet)).await?;
            // A method may say something that needs no answer.
            packet = loop {
                let payload = within(mysql::read(&mut stream)).await?;
                sent = sent.wrapping_add(2);
                match Step::parse(&payload) {
                    Some(Step::In) => {
                        let by = match password {
                            Some(_) => method,
                            None => "unix_socket".to_owned(),
                        };
                        return Ok(Self { stream, version: own, by });
                    }
                    Some(Step::Refused(why)) => return Err(format!("it refuses {user}: {why}")),
                    Some(Step::Switch(wanted, new)) => {
                        (method, nonce) = (wanted, new);
                        break match password {
                            // The socket alone may be enough, as for auth_socket.
                            None => Vec::new(),
                            Some(_) => proof(&method, secret, &nonce).ok_or_else(|| {
                                format!("it wants the method {method}, which is not spoken")
                            })?,
                        };
                    }
                    // It knows the password already.
                    Some(Step::More(3)) => {}
                    Some(Step::More(4)) if method == SHA2 => {
                        break [secret.as_bytes(), &[0]].concat();
                    }
                    Some(Step::More(_)) | None => {
                        return Err("what it says to a login is not understood".to_owned());
                    }
                }
            };
        }
        Err("it does not come to an end with the login".to_owned())
    }

    /// The rows of a query.
    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        within(mysql::write(&mut self.stream, 0, &[&[3], sql.as_bytes()].concat())).await?;
        let odd = || "what it answers is not understood".to_owned();
        let mut left = MAX_ANSWER;
        let first = self.next(&mut left).await?;
        let columns = match first.split_first() {
            Some((0, _)) => return Ok(Vec::new()),
            Some((&ERROR, rest)) => return Err(format!("it refuses to say: {}", error(rest))),
            _ => number(&first).map(|(count, _)| count).filter(|count| *count <= MAX_COLUMNS),
        };
        let columns = columns.ok_or_else(odd)?;
        let (mut ends, mut rows) = (0, Vec::new());
        loop {
            let packet = self.next(&mut left).await?;
            match packet.split_first() {
                Some((&END, rest)) if rest.len() < 8 => {
                    ends += 1;
                    if ends == 2 {
                        return Ok(rows);
                    }
                }
                Some((&ERROR, rest)) => return Err(format!("it refuses to say: {}", error(rest))),
                _ if ends == 0 => {}
                _ => rows.push(row(&packet, columns).ok_or_else(odd)?),
            }
        }
    }

    async fn next(&mut self, left: &mut usize) -> Result<Vec<u8>, String> {
        let step = within(async {
            let packet = mysql::read_up_to(&mut self.stream, MAX_PACKET).await?;
            let rest = left.checked_sub(packet.len() + KEEPING);
            *left = rest.ok_or_else(|| io::Error::other("it answers with too much"))?;
            Ok(packet)
        });
        step.await
    }

    fn is_mariadb(&self) -> bool {
        self.version.contains("MariaDB")
    }

    /// Asks for what the checks need.
    pub(super) async fn catalog(&mut self) -> MySqlCatalog {
        let limit = match self.is_mariadb() {
            true => format!("SET SESSION max_statement_time = {}", STATEMENT_TIMEOUT.as_secs()),
            false => format!("SET SESSION max_execution_time = {}", STATEMENT_TIMEOUT.as_millis()),
        };
        for begin in [&*limit, "START TRANSACTION READ ONLY"] {
            if let Err(why) = self.query(begin).await {
                return MySqlCatalog {
                    accounts: Err(why.clone()),
                    connections: Err(why.clone()),
                    requires_tls: Err(why.clone()),
                    tls_version: Err(why),
                };
            }
        }
        let accounts = self.accounts().await;
        let settings = self.query(SETTINGS).await.map(|rows| {
            let pair = |row: Vec<Option<String>>| {
                let [name, value] = <[_; 2]>::try_from(row).ok()?;
                Some((name?.to_lowercase(), value?))
            };
            rows.into_iter().filter_map(pair).collect::<BTreeMap<String, String>>()
        });
        let setting = |name: &str| match &settings {
            Ok(settings) => settings.get(name).cloned().ok_or(format!("it does not say {name}")),
            Err(why) => Err(why.clone()),
        };
        let is_on = |value: &str| matches!(value, "ON" | "1");
        let has_details = setting("performance_schema").is_ok_and(|value| is_on(&value));
        let connections = match has_details {
            true => self.detailed_connections().await,
            false => self.connections().await,
        };
        let tls_version = match setting("have_ssl") {
            Ok(have) if have == "DISABLED" || have == "NO" => Ok(String::new()),
            _ => setting("tls_version"),
        };
        let requires_tls = setting("require_secure_transport").map(|value| is_on(&value));
        MySqlCatalog { accounts, connections, requires_tls, tls_version }
    }

    async fn accounts(&mut self) -> Result<Vec<DbAccount>, String> {
        let sql = if self.is_mariadb() { MARIADB_ACCOUNTS } else { MYSQL_ACCOUNTS };
        let rows = self.query(sql).await?.into_iter().map(account);
        let accounts: Option<Vec<Option<DbAccount>>> = rows.collect();
        let accounts = accounts.ok_or("what it says of its accounts is not understood")?;
        Ok(accounts.into_iter().flatten().collect())
    }

    /// The connections, each with its encryption.
    async fn detailed_connections(&mut self) -> Result<Vec<SeenConnection>, String> {
        let mut names: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for row in self.query(HOST_NAMES).await.unwrap_or_default() {
            if let Ok([Some(name), Some(address)]) = <[_; 2]>::try_from(row)
                && let Ok(address) = address.parse()
            {
                names.entry(name).or_default().insert(address);
            }
        }
        let rows = self.query(THREADS).await?;
        let connections = rows.into_iter().filter_map(|row| {
            let [user, host, database, kind] = <[_; 4]>::try_from(row).ok()?;
            let tls = match kind.as_deref() {
                Some("SSL/TLS") => Some(true),
                Some("TCP/IP") => Some(false),
                Some("Socket") => return None,
                _ => None,
            };
            Some(seen(user, host?, database, tls, &names))
        });
        connections.filter_map(Result::transpose).collect()
    }

    async fn connections(&mut self) -> Result<Vec<SeenConnection>, String> {
        let rows = self.query(PROCESSES).await?;
        let connections = rows.into_iter().filter_map(|row| {
            let [user, host, database] = <[_; 3]>::try_from(row).ok()?;
            Some(seen(user, host?, database, None, &BTreeMap::new()))
        });
        connections.filter_map(Result::transpose).collect()
    }

    /// Says good-bye: who leaves without it is an aborted client.
    pub(super) async fn leave(mut self) {
        // The connection ends either way.
        let _ = within(mysql::write(&mut self.stream, 0, &[1])).await;
    }
}

/// A connection from a host, whose address may have to be looked up; `Ok(None)`: it is this one.
fn seen(
    user: Option<String>,
    host: String,
    database: Option<String>,
    tls: Option<bool>,
    names: &BTreeMap<String, BTreeSet<IpAddr>>,
) -> Result<Option<SeenConnection>, String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && host.parse::<IpAddr>().is_err() => {
            name
        }
        _ => &host,
    };
    if matches!(name, "localhost" | "") {
        return Ok(None);
    }
    let address = name.parse().ok().or_else(|| host.parse().ok().map(|host: SocketAddr| host.ip()));
    let address = address.or_else(|| match names.get(name) {
        Some(addresses) if addresses.len() == 1 => addresses.first().copied(),
        _ => None,
    });
    match address {
        Some(from) => Ok(Some(SeenConnection { from, user, database, application: None, tls })),
        None => Err(format!(
            "a client is {name} to it, whose address is not known: set skip_name_resolve"
        )),
    }
}

/// The accounts, and nothing of their hashes.
const MARIADB_ACCOUNTS: &str = "SELECT u.User, u.Host, u.plugin, CASE u.authentication_string \
     WHEN '' THEN 'none' WHEN 'invalid' THEN 'invalid' ELSE 'kept' END, u.Super_priv, \
     u.ssl_type <> '', u.password_expired, COALESCE(JSON_VALUE(g.Priv, '$.account_locked'), 0), \
     u.is_role FROM mysql.user u JOIN mysql.global_priv g ON g.User = u.User AND g.Host = u.Host";
const MYSQL_ACCOUNTS: &str = "SELECT User, Host, plugin, IF(authentication_string = '', 'none', \
     'kept'), Super_priv, ssl_type <> '', password_expired, account_locked, 'N' FROM mysql.user";
const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('have_ssl', 'tls_version', \
                        'require_secure_transport', 'performance_schema')";
const HOST_NAMES: &str = "SELECT HOST, IP FROM performance_schema.host_cache \
                          WHERE HOST IS NOT NULL AND IP IS NOT NULL";
const THREADS: &str = "SELECT PROCESSLIST_USER, PROCESSLIST_HOST, PROCESSLIST_DB, CONNECTION_TYPE \
                       FROM performance_schema.threads WHERE PROCESSLIST_ID IS NOT NULL \
                       AND PROCESSLIST_HOST IS NOT NULL AND CONNECTION_TYPE IS NOT NULL";
const PROCESSES: &str = "SELECT USER, HOST, DB FROM information_schema.PROCESSLIST \
                         WHERE USER <> 'system user' AND USER <> 'event_scheduler'";

/// An account of a row; `None`: the row is none. `Some(None)`: it is a role, which is none.
fn account(row: Vec<Option<String>>) -> Option<Option<DbAccount>> {
    let [user, host, plugin, password, admin, needs_tls, expired, locked, is_role] =
        <[_; 9]>::try_from(row).ok()?;
    let is = |value: &Option<String>| {
        value.as_deref().is_some_and(|value| matches!(value, "Y" | "1" | "true"))
    };
    if is(&is_role) {
        return Some(None);
    }
    let proof = match (plugin.as_deref().unwrap_or_default(), password.as_deref()) {
        (_, Some("invalid")) => Proof::Impossible,
        (
            "" | NATIVE | "mysql_old_password" | SHA2 | "sha256_password" | "ed25519",
            Some("none"),
        ) => Proof::Nothing,
        ("" | NATIVE | "mysql_old_password", _) => Proof::NativePassword,
        (SHA2 | "sha256_password" | "ed25519" | "parsec", _) => Proof::Password,
        _ => Proof::Other,
    };
    Some(Some(DbAccount {
        user: user?,
        host: host?,
        proof,
        is_admin: is(&admin),
        is_locked: is(&locked),
        has_expired: is(&expired),
        needs_tls: is(&needs_tls),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_of_a_login() {
        assert_eq!(Step::parse(&[0, 0, 0, 2, 0]), Some(Step::In));
        assert_eq!(
            Step::parse(b"\xfecaching_sha2_password\0nonce\0"),
            Some(Step::Switch(SHA2.to_owned(), b"nonce".to_vec()))
        );
        assert_eq!(
            Step::parse(b"\xfeunix_socket\0"),
            Some(Step::Switch("unix_socket".to_owned(), vec![]))
        );
        assert_eq!(Step::parse(&[1, 4]), Some(Step::More(4)));
        let refused = Step::Refused("Access denied".to_owned());
        assert_eq!(Step::parse(b"\xff\x15\x04#28000Access denied"), Some(refused));
        assert_eq!(Step::parse(b"\xfeplugin"), None);
        assert_eq!(Step::parse(&[]), None);
    }

    #[test]
    fn rows_and_numbers() {
        let values = vec![Some("ab".to_owned()), None, Some(String::new())];
        assert_eq!(row(b"\x02ab\xfb\x00", 3), Some(values));
        assert_eq!(row(b"\x09ab", 1), None);
        assert_eq!(row(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff", 1), None);
        assert_eq!(number(b"\xfc\x01\x02x"), Some((0x201, &b"x"[..])));
        assert_eq!(number(b"\xfd\x01"), None);
    }

    /// The examples of the manuals.
    #[test]
    fn proofs_of_passwords() {
        let nonce = [7; 20];
        assert_eq!(proof(NATIVE, "", &nonce), Some(Vec::new()));
        assert_eq!(proof(NATIVE, "secret", &nonce).unwrap().len(), 20);
        assert_eq!(proof(SHA2, "secret", &nonce).unwrap().len(), 32);
        assert_ne!(proof(SHA2, "secret", &nonce), proof(SHA2, "secret", &[8; 20]));
        assert_eq!(proof("mysql_clear_password", "x", &nonce), Some(b"x\0".to_vec()));
        assert_eq!(proof("client_ed25519", "x", &nonce), None);
    }

    #[test]
    fn hosts_of_connections() {
        let names: BTreeMap<_, _> =
            [("db.test".to_owned(), BTreeSet::from(["10.0.0.9".parse().unwrap()]))].into();
        let from = |host: &str| {
            let seen = seen(None, host.to_owned(), None, None, &names);
            seen.map(|seen| seen.map(|seen| seen.from.to_string()))
        };
        for (host, expected) in [
            ("10.0.0.1:5000", Some("10.0.0.1")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:5000", Some("2001:db8::1")),
            ("db.test", Some("10.0.0.9")),
            ("db.test:5000", Some("10.0.0.9")),
            ("localhost", None),
        ] {
            assert_eq!(from(host), Ok(expected.map(str::to_owned)), "{host}");
        }
        assert!(from("other.test").unwrap_err().contains("other.test"));
    }

    #[test]
    fn accounts_by_their_proof() {
        let of = |plugin: &str, password: &str| {
            let row = ["u", "%", plugin, password, "N", "0", "N", "0", "N"];
            let row = row.map(|text| Some(text.to_owned())).to_vec();
            account(row).unwrap().unwrap().proof
        };
        assert_eq!(of(NATIVE, "kept"), Proof::NativePassword);
        assert_eq!(of(NATIVE, "none"), Proof::Nothing);
        assert_eq!(of(NATIVE, "invalid"), Proof::Impossible);
        assert_eq!(of(SHA2, "kept"), Proof::Password);
        assert_eq!(of("unix_socket", "none"), Proof::Other);
        assert_eq!(account(vec![None]), None);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_packet_panics(
            payload in proptest::collection::vec(any::<u8>(), 0..80),
            columns in 0u64..70,
            host in "\\PC{0,20}",
        ) {
            let _ = (Step::parse(&payload), number(&payload), error(&payload));
            if let Some(row) = row(&payload, columns) {
                let _ = account(row);
            }
            for first in [1, 0xfe, ERROR] {
                let _ = Step::parse(&[&[first], &*payload].concat());
            }
            let _ = seen(None, host, None, None, &BTreeMap::new());
        }
    }
}
