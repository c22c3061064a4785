//! PostgreSQL's catalogue: a login over the Unix socket, and read-only queries.

use std::{collections::BTreeMap, io, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dbfw_core::audit::{DbRole, Memberships, PostgresCatalog, SeenConnection, StoredPassword};
use ring::{
    digest, hmac, pbkdf2,
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    super::{
        postgres::{VERSION, field},
        user::USER,
        wire::within,
    },
    limits::STATEMENT_TIMEOUT,
};

/// Bytes of a message.
const MAX_MESSAGE: usize = 1 << 20;
/// Bytes of an answer, each message with what it costs to keep.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes that a message costs besides its own.
const KEEPING: usize = 256;
/// Messages of a login.
const MAX_ROUNDS: usize = 200;
/// Rounds of a password's hash that are computed: a server asks for 4096.
const MAX_ITERATIONS: u32 = 1_000_000;
/// Databases that are asked for, one after the other: what is asked is the same in all.
const DATABASES: [&str; 2] = ["postgres", "template1"];
/// There is no database of this name.
const NO_DATABASE: &str = "3D000";

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    /// A step of the login, by its number, with the rest.
    Login(u32, Vec<u8>),
    /// A setting with its value.
    Setting(String, String),
    /// A row.
    Row(Vec<Option<String>>),
    /// A refusal: its SQLSTATE and the reason.
    Refused(String, String),
    /// It waits for a query.
    Ready,
    /// Something that says nothing here.
    Other,
}

impl Message {
    /// Reads the body of a message; `None`: it is damaged.
    fn parse(kind: u8, body: &[u8]) -> Option<Self> {
        Some(match kind {
            b'R' => {
                let (number, rest) = body.split_first_chunk()?;
                Self::Login(u32::from_be_bytes(*number), rest.to_vec())
            }
            b'S' => {
                let mut texts = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                Self::Setting(texts.next()?.into_owned(), texts.next()?.into_owned())
            }
            b'D' => Self::Row(row(body)?),
            b'E' => Self::Refused(
                field(body, b'C').unwrap_or_default(),
                field(body, b'M').unwrap_or_default(),
            ),
            b'Z' => Self::Ready,
            _ => Self::Other,
        })
    }
}

/// The values of a row.
fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        rest = after;
        if length == -1 {
            values.push(None);
            continue;
        }
        let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(values)
}

/// A connection.
pub(super) struct Postgres<S> {
    stream: S,
    /// "15.18".
    pub(super) version: Option<String>,
    /// The way in, as "peer".
    pub(super) by: &'static str,
}

/// The reason why a connection is of no use.
enum Failed {
    NoDatabase(String),
    Other(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// Logs in over connections of which there may be as many as databases are tried.
///
/// # Errors
///
/// The server refuses, or what it says is not understood: the reason.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    mut connect: impl AsyncFnMut() -> Result<S, String>,
    user: &str,
    password: Option<&SecretString>,
) -> Result<Postgres<S>, String> {
    let mut why = String::new();
    for database in DATABASES {
        match Postgres::begin(connect().await?, user, database, password).await {
            Ok(postgres) => return Ok(postgres),
            Err(Failed::NoDatabase(reason)) => why = reason,
            Err(Failed::Other(reason)) => return Err(reason),
        }
    }
    Err(why)
}

fn odd(what: &str) -> String {
    format!("it answers {what} with something else")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Postgres<S> {
    async fn begin(
        stream: S,
        user: &str,
        database: &str,
        password: Option<&SecretString>,
    ) -> Result<Self, Failed> {
        let mut postgres = Self { stream, version: None, by: "peer" };
        let timeout = STATEMENT_TIMEOUT.as_millis().to_string();
        let mut body = VERSION.to_be_bytes().to_vec();
        let settings = [
            ("user", user),
            ("database", database),
            ("application_name", USER),
            ("client_encoding", "UTF8"),
            ("search_path", "pg_catalog"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", &timeout),
        ];
        for text in settings.into_iter().flat_map(|(name, value)| [name, value]) {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        postgres.send(None, &body).await?;
        let mut scram = None;
        for _ in 0..MAX_ROUNDS {
            match postgres.next(&mut 0).await? {
                Message::Login(0 | 12, _) | Message::Other => {}
                Message::Login(3, _) => {
                    postgres.by = "password";
                    let password = needed(password)?.expose_secret();
                    postgres.send(Some(b'p'), &[password.as_bytes(), &[0]].concat()).await?;
                }
                Message::Login(10, mechanisms) => {
                    postgres.by = "scram-sha-256";
                    let mut names = mechanisms.split(|byte| *byte == 0);
                    if !names.any(|name| name == b"SCRAM-SHA-256") {
                        return Err(odd("a login").into());
                    }
                    let begun = Scram::begin(needed(password)?)?;
                    let first = begun.first();
                    let mut body = b"SCRAM-SHA-256\0".to_vec();
                    body.extend_from_slice(&(first.len() as u32).to_be_bytes());
                    body.extend_from_slice(first.as_bytes());
                    postgres.send(Some(b'p'), &body).await?;
                    scram = Some(begun);
                }
                Message::Login(11, challenge) => {
                    let scram = scram.take().ok_or_else(|| odd("a login"))?;
                    let challenge = String::from_utf8_lossy(&challenge).into_owned();
                    let proof = scram.prove(&challenge).ok_or_else(|| odd("a password"))?;
                    postgres.send(Some(b'p'), proof.as_bytes()).await?;
                }
                Message::Login(5, _) => {
                    let why = "it wants an MD5 hash of the password, which is not spoken: let it be \
                               scram-sha-256";
                    return Err(why.to_owned().into());
                }
                Message::Login(number, _) => {
                    return Err(format!("it asks for method {number}, which is not spoken").into());
                }
                Message::Setting(name, value) => {
                    if name == "server_version" {
                        postgres.version = value.split(' ').next().map(str::to_owned);
                    }
                }
                Message::Refused(code, message) if code == NO_DATABASE => {
                    return Err(Failed::NoDatabase(message));
                }
                Message::Refused(_, message) => {
                    return Err(format!("it refuses {user}: {message}").into());
                }
                Message::Ready => return Ok(postgres),
                Message::Row(_) => return Err(odd("a login").into()),
            }
        }
        Err(odd("a login").into())
    }

    async fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), String> {
        let length = u32::try_from(body.len() + 4).map_err(|_| "that is too long to say")?;
        let mut message = Vec::from_iter(kind);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        within(async {
            self.stream.write_all(&message).await?;
            self.stream.flush().await
        })
        .await
    }

    /// The next message; adds its length to those of an answer.
    async fn next(&mut self, read: &mut usize) -> Result<Message, String> {
        let (kind, body) = within(async {
            let kind = self.stream.read_u8().await?;
            let length = self.stream.read_u32().await? as usize;
            if !(4..=MAX_MESSAGE).contains(&length) {
                return Err(io::Error::other(format!("it sends a message of {length} bytes")));
            }
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).await?;
            Ok((kind, body))
        })
        .await?;
        *read += body.len() + KEEPING;
        if *read > MAX_ANSWER {
            return Err("it answers with too much".to_owned());
        }
        Message::parse(kind, &body).ok_or_else(|| "it sends a damaged message".to_owned())
    }

    /// The rows of a query, in a transaction of its own that can write nothing.
    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.send(Some(b'Q'), &[sql.as_bytes(), &[0]].concat()).await?;
        let (mut rows, mut refused, mut read) = (Vec::new(), None, 0);
        loop {
            match self.next(&mut read).await? {
                Message::Row(row) => rows.push(row),
                Message::Refused(_, message) => refused = Some(message),
                Message::Ready => break,
                Message::Login(..) => return Err(odd("a query")),
                Message::Setting(..) | Message::Other => {}
            }
        }
        match refused {
            Some(message) => Err(format!("it refuses to say: {message}")),
            None => Ok(rows),
        }
    }

    /// Asks for what the checks need.
    pub(super) async fn catalog(&mut self) -> PostgresCatalog {
        let roles = self.roles().await;
        let memberships = self.memberships(&roles).await;
        let connections = self.connections().await;
        let settings = self.query(SETTINGS).await.map(|rows| {
            let pair = |row: Vec<Option<String>>| {
                let [name, value] = <[_; 2]>::try_from(row).ok()?;
                Some((name?, value?))
            };
            rows.into_iter().filter_map(pair).collect::<BTreeMap<String, String>>()
        });
        let (connections, replicas) = match connections {
            Ok((all, replicas)) => (Ok(all), Ok(replicas)),
            Err(why) => (Err(why.clone()), Err(why)),
        };
        PostgresCatalog { roles, memberships, connections, replicas, settings }
    }

    async fn roles(&mut self) -> Result<Vec<DbRole>, String> {
        let rows = self.query(ROLES).await?;
        let passwords = match self.query(PASSWORDS).await {
            Ok(rows) => rows.into_iter().filter_map(password).collect(),
            Err(_) => BTreeMap::new(),
        };
        let roles = rows.into_iter().map(|row| role(row, &passwords));
        roles.collect::<Option<Vec<DbRole>>>().ok_or_else(|| odd("a query"))
    }

    async fn memberships(
        &mut self,
        roles: &Result<Vec<DbRole>, String>,
    ) -> Result<Memberships, String> {
        let roles = roles.as_ref().map_err(Clone::clone)?;
        let pair = |row: Vec<Option<String>>| {
            let [member, group] = <[_; 2]>::try_from(row).ok()?;
            Some((member?.into_bytes(), group?.into_bytes()))
        };
        let pairs = self.query(MEMBERSHIPS).await?.into_iter().filter_map(pair);
        let names = roles.iter().map(|role| role.name.clone().into_bytes());
        Ok(Memberships::new(names, Vec::from_iter(pairs)))
    }

    /// All connections, and those of replicas among them.
    async fn connections(&mut self) -> Result<(Vec<SeenConnection>, Vec<SeenConnection>), String> {
        let may = self.query(MAY_SEE_ALL).await?;
        if may != [[Some("t".to_owned())]] {
            return Err("it shows others' connections to members of pg_monitor alone: GRANT \
                        pg_monitor to the user"
                .to_owned());
        }
        let (mut all, mut replicas) = (Vec::new(), Vec::new());
        for row in self.query(CONNECTIONS).await? {
            let Some((connection, is_replica)) = connection(row) else {
                return Err(odd("a query"));
            };
            if is_replica {
                replicas.push(connection.clone());
            }
            all.push(connection);
        }
        Ok((all, replicas))
    }

    /// Says good-bye.
    pub(super) async fn leave(mut self) {
        // The connection ends either way.
        let _ = self.send(Some(b'X'), &[]).await;
    }
}

fn needed(password: Option<&SecretString>) -> Result<&SecretString, String> {
    password.ok_or_else(|| {
        "it asks for a password: write a line `local all USER peer` into pg_hba.conf, or \
         password_file in [database.audit]"
            .to_owned()
    })
}

const ROLES: &str = "SELECT rolname, oid = 10, rolsuper, rolcanlogin, \
                     coalesce(rolvaliduntil < now(), false) FROM pg_roles ORDER BY 1";
/// The kinds of the hashes, and nothing else of them.
const PASSWORDS: &str = "SELECT rolname, CASE WHEN rolpassword IS NULL THEN 'none' \
                         WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram' ELSE 'md5' END \
                         FROM pg_authid";
const MEMBERSHIPS: &str = "SELECT m.rolname, g.rolname FROM pg_auth_members a \
                           JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid";
const MAY_SEE_ALL: &str = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')";
const CONNECTIONS: &str = "SELECT a.usename, a.datname, host(a.client_addr), \
                           coalesce(s.ssl, false) OR coalesce(g.encrypted, false), \
                           a.backend_type = 'walsender' FROM pg_stat_activity a \
                           LEFT JOIN pg_stat_ssl s USING (pid) LEFT JOIN pg_stat_gssapi g \
                           USING (pid) WHERE a.client_addr IS NOT NULL";
const SETTINGS: &str = "SELECT name, setting FROM pg_settings \
                        WHERE name IN ('log_connections', 'password_encryption')";

fn is_true(text: Option<String>) -> bool {
    text.as_deref() == Some("t")
}

fn password(row: Vec<Option<String>>) -> Option<(String, StoredPassword)> {
    let [name, kind] = <[_; 2]>::try_from(row).ok()?;
    let kind = match &*kind? {
        "none" => StoredPassword::None,
        "scram" => StoredPassword::Scram,
        _ => StoredPassword::Md5,
    };
    Some((name?, kind))
}

fn role(row: Vec<Option<String>>, passwords: &BTreeMap<String, StoredPassword>) -> Option<DbRole> {
    let [name, is_first, is_superuser, may_log_in, has_expired] = <[_; 5]>::try_from(row).ok()?;
    let name = name?;
    let password = passwords.get(&name).copied();
    Some(DbRole {
        name,
        is_first: is_true(is_first),
        is_superuser: is_true(is_superuser),
        may_log_in: is_true(may_log_in),
        has_expired: is_true(has_expired),
        password,
    })
}

fn connection(row: Vec<Option<String>>) -> Option<(SeenConnection, bool)> {
    let [user, database, from, tls, is_replica] = <[_; 5]>::try_from(row).ok()?;
    let from: IpAddr = from?.parse().ok()?;
    let (application, tls) = (None, Some(is_true(tls)));
    let connection = SeenConnection { from, user, database, application, tls };
    Some((connection, is_true(is_replica)))
}

/// A proof of a password by SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: there is no
/// TLS on a Unix socket. The password is ASCII, of which SASLprep changes nothing.
struct Scram<'p> {
    password: &'p SecretString,
    nonce: String,
}

impl<'p> Scram<'p> {
    fn begin(password: &'p SecretString) -> Result<Self, String> {
        let mut nonce = [0; 18];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| "the system has no random numbers".to_owned())?;
        Ok(Self { password, nonce: STANDARD.encode(nonce) })
    }

    fn bare(&self) -> String {
        // PostgreSQL takes the name from the first message.
        format!("n=,r={}", self.nonce)
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// The answer to a challenge; `None`: it is none, or not one to this.
    fn prove(&self, challenge: &str) -> Option<String> {
        let mut fields = challenge.split(',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        let salt = STANDARD.decode(fields.next()?.strip_prefix("s=")?).ok()?;
        let iterations: u32 = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        let is_ours = nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len();
        let iterations = iterations.try_into().ok().filter(|_| iterations <= MAX_ITERATIONS)?;
        if !is_ours {
            return None;
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let password = self.password.expose_secret().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let mac =
            |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let client = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, client.as_ref());
        // "biws" is "n,,".
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.bare());
        let signature = mac(stored.as_ref(), message.as_bytes());
        let proof: Vec<u8> =
            client.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        Some(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages() {
        let mut body = vec![0, 2, 0, 0, 0, 1, b't'];
        body.extend_from_slice(&[0xff; 4]);
        let values = vec![Some("t".to_owned()), None];
        assert_eq!(Message::parse(b'D', &body), Some(Message::Row(values)));
        assert_eq!(Message::parse(b'D', &[0, 1, 0, 0, 0, 9, b't']), None);
        assert_eq!(Message::parse(b'R', &[0, 0, 0, 0]), Some(Message::Login(0, Vec::new())));
        assert_eq!(Message::parse(b'Z', b"I"), Some(Message::Ready));
        let setting = Message::Setting("server_version".to_owned(), "15.18 (Debian)".to_owned());
        assert_eq!(Message::parse(b'S', b"server_version\x0015.18 (Debian)\0"), Some(setting));
        let refused = Message::Refused("42501".to_owned(), "permission denied".to_owned());
        assert_eq!(Message::parse(b'E', b"SERROR\0C42501\0Mpermission denied\0\0"), Some(refused));
    }

    /// The exchange of RFC 7677, whose user's name PostgreSQL does not have in it.
    #[test]
    fn a_proof_of_a_password() {
        let password = SecretString::from("pencil");
        let scram = Scram { password: &password, nonce: "rOprNGfwEbeRWgbNEkqO".to_owned() };
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.prove(challenge).unwrap();
        assert!(
            proof.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
        );
        for wrong in [
            "",
            "r=other,s=W22Z,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999",
            "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
        ] {
            assert_eq!(scram.prove(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_message_panics(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            for kind in [kind, b'R', b'S', b'D', b'E', b'Z'] {
                if let Some(Message::Row(row)) = Message::parse(kind, &body) {
                    let _ = (role(row.clone(), &BTreeMap::new()), connection(row));
                }
            }
        }

        #[test]
        fn no_challenge_panics(text in "(r=abc[a-z]{0,4})?,?(s=[A-Za-z=]{0,8})?,?(i=[0-9]{0,3})?.{0,5}") {
            let password = SecretString::from("x");
            let _ = Scram { password: &password, nonce: "abc".to_owned() }.prove(&text);
        }
    }
}
