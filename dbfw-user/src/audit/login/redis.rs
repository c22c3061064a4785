//! What Redis or Valkey says to a user: its clients, and its default user.

use std::{io, net::SocketAddr};

use dbfw_core::audit::{DefaultUser, RedisCatalog, SeenConnection};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

use super::super::{user::USER, wire::within};

/// Bytes of an answer.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes of a line of the protocol.
const MAX_LINE: u64 = 64 * 1024;
/// Values of an answer, however deep.
const MAX_VALUES: usize = 100_000;
/// Lists in lists.
const MAX_DEPTH: usize = 4;

/// A value of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(Vec<u8>),
    Refused(String),
    List(Vec<Value>),
    Nothing,
}

/// The head of a value: all there is, or what comes behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    Whole(Value),
    Bytes(usize),
    Values(usize),
}

impl Head {
    /// Reads a line; `None`: it is not of the protocol.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n")?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (kind, rest) = line.split_first()?;
        let text = String::from_utf8_lossy(rest);
        let length = || text.parse::<i64>().ok();
        Some(match kind {
            b'+' | b':' => Self::Whole(Value::Text(rest.to_vec())),
            b'-' => Self::Whole(Value::Refused(text.into_owned())),
            b'$' | b'*' if length()? == -1 => Self::Whole(Value::Nothing),
            b'$' => Self::Bytes(usize::try_from(length()?).ok().filter(|n| *n <= MAX_ANSWER)?),
            b'*' => Self::Values(usize::try_from(length()?).ok().filter(|n| *n <= MAX_VALUES)?),
            _ => return None,
        })
    }
}

/// A connection.
pub(super) struct Redis<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Redis<S> {
    /// Logs in, if there is a user to log in as.
    ///
    /// # Errors
    ///
    /// The server refuses, or what it says is not understood: the reason.
    pub(super) async fn log_in(
        stream: S,
        login: Option<(&str, &SecretString)>,
    ) -> Result<Self, String> {
        let mut redis = Self { stream: BufReader::new(stream) };
        if let Some((user, password)) = login {
            let words = [b"AUTH", user.as_bytes(), password.expose_secret().as_bytes()];
            if let Value::Refused(why) = redis.ask(&words).await? {
                return Err(format!("it refuses {user}: {why}"));
            }
        }
        match redis.ask(&[b"PING"]).await? {
            Value::Text(_) => {}
            Value::Refused(why) if why.starts_with("NOAUTH") => {
                return Err("it asks for a password: write user and password_file in \
                            [database.audit]"
                    .to_owned());
            }
            Value::Refused(why) if !why.starts_with("NOPERM") => {
                return Err(format!("it refuses: {why}"));
            }
            _ => {}
        }
        // Its name in the server's list of clients, which a user may be forbidden to say.
        redis.ask(&[b"CLIENT", b"SETNAME", USER.as_bytes()]).await?;
        Ok(redis)
    }

    async fn ask(&mut self, words: &[&[u8]]) -> Result<Value, String> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        within(async {
            self.stream.write_all(&command).await?;
            self.stream.flush().await?;
            let (mut bytes, mut values) = (MAX_ANSWER, MAX_VALUES);
            Box::pin(self.value(0, &mut bytes, &mut values)).await
        })
        .await
    }

    async fn value(
        &mut self,
        depth: usize,
        bytes: &mut usize,
        values: &mut usize,
    ) -> io::Result<Value> {
        let too_much = || io::Error::other("it answers with too much");
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        *values = values.checked_sub(1).ok_or_else(too_much)?;
        *bytes = bytes.checked_sub(line.len()).ok_or_else(too_much)?;
        let odd = || io::Error::other("what it answers is none of Redis'");
        Ok(match Head::parse(&line).ok_or_else(odd)? {
            Head::Whole(value) => value,
            Head::Bytes(length) => {
                *bytes = bytes.checked_sub(length).ok_or_else(too_much)?;
                let mut text = Vec::new();
                (&mut self.stream).take(length as u64 + 2).read_to_end(&mut text).await?;
                if text.len() < length + 2 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                text.truncate(length);
                Value::Text(text)
            }
            Head::Values(_) if depth >= MAX_DEPTH => return Err(too_much()),
            Head::Values(count) => {
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(Box::pin(self.value(depth + 1, bytes, values)).await?);
                }
                Value::List(list)
            }
        })
    }

    /// Asks for what the checks need.
    pub(super) async fn catalog(&mut self) -> (Option<String>, RedisCatalog) {
        let info = self.text(&[b"INFO", b"server"]).await;
        let version = info.ok().and_then(|info| version(&info));
        let default_user = match self.ask(&[b"ACL", b"GETUSER", b"default"]).await {
            Ok(value) => default_user(value),
            Err(why) => Err(why),
        };
        let tls_port = match self.ask(&[b"CONFIG", b"GET", b"tls-port"]).await {
            Ok(value) => tls_port(&value),
            Err(_) => None,
        };
        let listed = self.text(&[b"CLIENT", b"LIST"]).await;
        let connections =
            listed.map(|text| text.lines().filter_map(|line| client(line, tls_port)).collect());
        (version, RedisCatalog { default_user, connections })
    }

    async fn text(&mut self, words: &[&[u8]]) -> Result<String, String> {
        match self.ask(words).await? {
            Value::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Value::Refused(why) => Err(format!("it refuses to say: {why}")),
            Value::List(_) | Value::Nothing => Err("what it answers is not understood".to_owned()),
        }
    }

    /// Says good-bye.
    pub(super) async fn leave(mut self) {
        // The connection ends either way.
        let _ = self.ask(&[b"QUIT"]).await;
    }
}

fn version(info: &str) -> Option<String> {
    // Valkey says both.
    let of = |name| info.lines().find_map(|line: &str| line.strip_prefix(name));
    of("valkey_version:").or_else(|| of("redis_version:")).map(|text| text.trim().to_owned())
}

/// The flags of `ACL GETUSER`, and nothing of its hashes.
fn default_user(value: Value) -> Result<DefaultUser, String> {
    let list = match value {
        Value::List(list) => list,
        Value::Refused(why) => return Err(format!("it refuses to say: {why}")),
        Value::Text(_) | Value::Nothing => {
            return Err("what it says of its default user is not understood".to_owned());
        }
    };
    let mut pairs = list.chunks_exact(2);
    let flags = pairs.find_map(|pair| match pair {
        [Value::Text(name), Value::List(flags)] if name == b"flags" => Some(flags),
        _ => None,
    });
    let flags = flags.ok_or("what it says of its default user is not understood")?;
    let has =
        |flag: &[u8]| flags.iter().any(|one| matches!(one, Value::Text(text) if text == flag));
    Ok(DefaultUser { is_on: has(b"on"), needs_password: !has(b"nopass") })
}

/// The port of TLS; 0: none.
fn tls_port(value: &Value) -> Option<u16> {
    let Value::List(list) = value else { return None };
    match &**list {
        [_, Value::Text(port)] => str::from_utf8(port).ok()?.parse().ok(),
        _ => None,
    }
}

/// A client of a line of `CLIENT LIST`; `None`: it comes by a Unix socket, or the line is none.
fn client(line: &str, tls_port: Option<u16>) -> Option<SeenConnection> {
    let field = |name: &str| {
        let mut words = line.split(' ').filter_map(|word| word.split_once('='));
        words.find(|(own, _)| *own == name).map(|(_, value)| value)
    };
    let from: SocketAddr = field("addr")?.parse().ok()?;
    let to = field("laddr").and_then(|to| to.parse::<SocketAddr>().ok());
    let tls = to.zip(tls_port).map(|(to, tls_port)| to.port() == tls_port);
    Some(SeenConnection {
        from: from.ip(),
        user: field("user").map(str::to_owned),
        database: field("db").map(str::to_owned),
        application: None,
        tls,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads() {
        let text = |text: &[u8]| Some(Head::Whole(Value::Text(text.to_vec())));
        assert_eq!(Head::parse(b"+OK\r\n"), text(b"OK"));
        assert_eq!(Head::parse(b":7\r\n"), text(b"7"));
        assert_eq!(Head::parse(b"$-1\r\n"), Some(Head::Whole(Value::Nothing)));
        assert_eq!(Head::parse(b"$12\r\n"), Some(Head::Bytes(12)));
        assert_eq!(Head::parse(b"*2\r\n"), Some(Head::Values(2)));
        for wrong in [&b"$99999999999\r\n"[..], b"*-2\r\n", b"$x\r\n", b"HTTP\r\n", b"+OK", b""] {
            assert_eq!(Head::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn clients_of_both_ports() {
        let line = "id=3 addr=10.0.0.1:5000 laddr=10.0.0.9:6390 fd=8 name= age=1 db=0 user=app";
        let found = client(line, Some(6390)).unwrap();
        assert_eq!((found.tls, found.user.as_deref()), (Some(true), Some("app")));
        assert_eq!(client(line, Some(0)).unwrap().tls, Some(false));
        assert_eq!(client(line, None).unwrap().tls, None);
        let v6 = "id=3 addr=[2001:db8::1]:5000 laddr=[::1]:6379 user=app";
        assert_eq!(client(v6, Some(6390)).unwrap().from.to_string(), "2001:db8::1");
        assert_eq!(client("id=4 addr=/run/redis.sock:0 laddr=/run/redis.sock:0", None), None);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_answer_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            text in "(addr=)?[0-9a-f.:\\[\\]]{0,12} ?(laddr=)?[0-9.:]{0,9}.{0,8}",
        ) {
            for kind in [&b""[..], b"$", b"*", b"-"] {
                let _ = Head::parse(&[kind, &bytes, b"\r\n"].concat());
            }
            let _ = (client(&text, Some(1)), version(&text));
        }
    }
}
