//! [`look`]: an endpoint as clients without a credential see it.

use std::{future::Future, io, sync::Arc, time::Duration};

use dbfw_core::audit::{CHECKS, CheckId, Engine, Finding, Level, State};
use jiff::Timestamp;
use rustls::{AlertDescription, pki_types::CertificateDer};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use super::{
    certificate::{self, Known},
    chain::Chain,
    endpoint::Endpoint,
    mongodb,
    mysql::{self, Greeting, Login},
    old_tls::{self, OldTls},
    postgres::{self, Answer, Offer},
    probe::{ProbeError, connect, handshake},
    redis::{self, Reply},
};

/// Time between the beginnings of two connections to one server.
const PACE: Duration = Duration::from_secs(1);
/// Time for a connection, from its beginning to its end.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time for the first word of a server that speaks first, where nobody knows the engine.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// The times at which one server may be connected to.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<Mutex<Option<Instant>>>);

impl Pace {
    /// Waits for the next of them.
    pub(super) async fn next(&self) {
        let mut next = self.0.lock().await;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        *next = Some(Instant::now() + PACE);
    }
}

/// An endpoint that answered, or did not.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) endpoint: Endpoint,
    /// `None`: nobody knows.
    pub(super) engine: Option<Engine>,
    /// The version, where the server says it.
    pub(super) version: Option<String>,
    /// Its TLS, if it has it.
    pub(super) tls: Option<Tls>,
    /// Whether TLS was asked for and refused, or the plain protocol was spoken.
    pub(super) has_no_tls: bool,
    pub(super) findings: Vec<Finding>,
}

/// The TLS of an endpoint.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) version: Option<String>,
    pub(super) chain: Chain,
    pub(super) is_verified: bool,
}

/// Looks at an endpoint. Each step takes some seconds at most, whatever the server does.
pub(super) async fn look(
    endpoint: Endpoint,
    engine: Option<Engine>,
    pace: &Pace,
    known: &Known,
) -> Looked {
    let mut probing = Probing {
        looked: Looked {
            endpoint,
            engine,
            version: None,
            tls: None,
            has_no_tls: false,
            findings: Vec::new(),
        },
        pace: pace.clone(),
    };
    let failed = match engine {
        Some(engine) => probing.engine(engine).await,
        None => probing.any().await,
    };
    let mut looked = probing.looked;
    if let Some(tls) = &mut looked.tls {
        let findings = certificate::judge(&tls.chain, known, Timestamp::now());
        tls.is_verified = findings
            .iter()
            .any(|finding| finding.check() == CheckId::T6 && finding.state() == State::Ok);
        looked.findings.extend(findings);
    }
    looked.leave_nothing_out(failed.err().as_deref());
    looked
}

/// A failure in words.
type Failed = Result<(), String>;

struct Probing {
    looked: Looked,
    pace: Pace,
}

/// A step within its time, its failure in words.
pub(super) async fn within<T>(step: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, step).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(said(&error)),
        Err(_) => Err(format!("it does not answer within {} seconds", PATIENCE.as_secs())),
    }
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it breaks off".to_owned(),
        _ => error.to_string(),
    }
}

impl Probing {
    fn add(&mut self, finding: Finding) {
        self.looked.findings.push(finding);
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        self.pace.next().await;
        match timeout(PATIENCE, connect(self.looked.endpoint)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(ProbeError::Connect(error))) => Err(format!("cannot connect: {error}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("cannot connect: it does not answer".to_owned()),
        }
    }

    async fn engine(&mut self, engine: Engine) -> Failed {
        self.looked.engine = Some(engine);
        match engine {
            Engine::Postgres => {
                let mut stream = self.connect().await?;
                let offer = within(postgres::ask(&mut stream)).await?;
                self.postgres(stream, offer).await
            }
            Engine::MySql => {
                let stream = self.connect().await?;
                self.mysql(stream).await
            }
            Engine::Redis => self.redis().await,
            Engine::MongoDb => self.mongodb().await,
        }
    }

    /// Tells the engine by what it says.
    async fn any(&mut self) -> Failed {
        let stream = self.connect().await?;
        if timeout(FIRST_WORD, stream.readable()).await.is_ok() {
            self.looked.engine = Some(Engine::MySql);
            return self.mysql(stream).await.inspect_err(|_| self.looked.engine = None);
        }
        let mut stream = stream;
        match within(postgres::ask(&mut stream)).await {
            Ok(offer @ (Offer::Tls | Offer::Plain)) => {
                self.looked.engine = Some(Engine::Postgres);
                return self.postgres(stream, offer).await;
            }
            Ok(Offer::Other(_)) | Err(_) => drop(stream),
        }
        let mut stream = self.connect().await?;
        match within(redis::ping(&mut stream)).await {
            Ok(Reply::Pong | Reply::NoAuth | Reply::Protected | Reply::Refused(_)) => {
                return self.engine(Engine::Redis).await;
            }
            Ok(Reply::Other) | Err(_) => drop(stream),
        }
        let mut stream = self.connect().await?;
        if within(mongodb::run(&mut stream, "hello")).await.is_ok() {
            return self.engine(Engine::MongoDb).await;
        }
        let stream = self.connect().await?;
        self.handshake(stream).await?;
        Err("it begins with TLS, and which database it is nobody knows".to_owned())
    }

    /// Begins TLS and keeps what the server shows. The stream is there unless the server broke off
    /// after that.
    async fn handshake(
        &mut self,
        stream: TcpStream,
    ) -> Result<Option<tokio_rustls::client::TlsStream<TcpStream>>, String> {
        // The engine is only for the error.
        let step = timeout(PATIENCE, handshake(stream, None)).await;
        let (found, stream) = match step {
            Ok(Ok(found)) => found,
            Ok(Err(ProbeError::Tls { source, .. })) => {
                return Err(format!("TLS fails: {}", said(&source)));
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("TLS fails: it does not answer".to_owned()),
        };
        let sent: &[CertificateDer<'static>] = &found.certificates;
        let chain = Chain::of(sent)?;
        self.looked.tls = Some(Tls { version: found.version, chain, is_verified: false });
        Ok(stream)
    }

    /// Goes on after the answer to a request for TLS.
    async fn postgres(&mut self, mut stream: TcpStream, offer: Offer) -> Failed {
        let (by_tls, plain) = match offer {
            Offer::Tls => {
                let by_tls = match self.handshake(stream).await? {
                    Some(mut stream) => {
                        let answer = within(postgres::log_in(&mut stream)).await;
                        let _ = timeout(PATIENCE, stream.shutdown()).await;
                        answer
                    }
                    None => Err("it wants a client certificate".to_owned()),
                };
                let mut stream = self.connect().await?;
                (Some(by_tls), within(postgres::log_in(&mut stream)).await)
            }
            Offer::Plain => {
                self.looked.has_no_tls = true;
                (None, within(postgres::log_in(&mut stream)).await)
            }
            Offer::Other(byte) => {
                return Err(format!("it answers {byte:#04x} to a request for TLS"));
            }
        };
        self.add(plaintext_of_postgres(&plain, by_tls.as_ref()));
        self.add(clear_password(&plain));
        self.add(no_password(&plain, by_tls.as_ref()));
        if self.looked.tls.is_some() {
            let mut stream = self.connect().await?;
            match within(postgres::ask(&mut stream)).await? {
                Offer::Tls => self.old_tls(stream).await,
                Offer::Plain | Offer::Other(_) => {}
            }
        }
        Ok(())
    }

    async fn old_tls(&mut self, mut stream: TcpStream) {
        let check = CheckId::T4;
        let finding = match within(old_tls::greet(&mut stream)).await {
            Ok(OldTls::Accepted(version)) => Finding::fail(check, format!("it accepts {version}")),
            Ok(OldTls::Refused) => Finding::ok(check, "it refuses TLS 1.0 and 1.1"),
            Ok(OldTls::Alert(alert)) => {
                Finding::unknown(check, format!("it answers TLS 1.1 with alert {alert}"))
            }
            Ok(OldTls::Other) => Finding::unknown(check, "it answers TLS 1.1 with something else"),
            Err(why) => Finding::unknown(check, format!("to a hello of TLS 1.1: {why}")),
        };
        self.add(finding);
    }

    async fn mysql(&mut self, mut stream: TcpStream) -> Failed {
        let greeting = within(mysql::read(&mut stream)).await?;
        let login = match Greeting::parse(&greeting) {
            Some(Greeting::Ready { version, tls, .. }) => {
                // MariaDB 10 says it so that old replicas do not take it for an older MySQL.
                let own = version.strip_prefix("5.5.5-").filter(|own| own.contains("MariaDB"));
                self.looked.version = Some(own.unwrap_or(&version).to_owned());
                self.add(Finding::unknown(
                    CheckId::T4,
                    "a hello of TLS 1.1 would count as an interrupted handshake of this host \
                     (max_connect_errors)",
                ));
                if tls {
                    within(mysql::ask(&mut stream)).await?;
                    match self.handshake(stream).await? {
                        Some(mut stream) => {
                            let login = within(mysql::log_in(&mut stream, true)).await;
                            let _ = timeout(PATIENCE, stream.shutdown()).await;
                            login
                        }
                        None => Err("it breaks off after its certificate".to_owned()),
                    }
                } else {
                    self.looked.has_no_tls = true;
                    within(mysql::log_in(&mut stream, false)).await
                }
            }
            Some(Greeting::Refused(why)) => return Err(format!("it refuses this host: {why}")),
            None => return Err("its first packet is none of MySQL's".to_owned()),
        };
        let check = CheckId::A1;
        self.add(match login {
            Ok(Login::In) => Finding::fail(
                check,
                "a user that it does not know gets in: it has an anonymous one",
            ),
            Ok(Login::Refused { code: 1045, .. }) => {
                Finding::ok(check, "it refuses a user that it does not know")
            }
            Ok(Login::Refused { code, message }) => {
                Finding::unknown(check, format!("it refuses with error {code}: {message}"))
            }
            Ok(Login::Other) => Finding::unknown(check, "its answer to a login is not understood"),
            Err(why) => Finding::unknown(check, format!("to a login: {why}")),
        });
        Ok(())
    }

    async fn redis(&mut self) -> Failed {
        let mut stream = self.connect().await?;
        let plain = within(redis::ping(&mut stream)).await;
        drop(stream);
        let reply = match plain {
            Ok(Reply::Other) | Err(_) => {
                self.add(Finding::ok(CheckId::T2, "it does not speak without TLS"));
                let stream = self.connect().await?;
                let reply = match self.handshake(stream).await {
                    Ok(Some(mut stream)) => {
                        let reply = timeout(PATIENCE, redis::ping(&mut stream)).await;
                        let _ = timeout(PATIENCE, stream.shutdown()).await;
                        reply.map_err(|_| "it does not answer".to_owned())
                    }
                    Ok(None) => Err("it breaks off after its certificate".to_owned()),
                    Err(why) => {
                        // Then it is not known either whether it speaks without TLS.
                        self.looked.findings.clear();
                        let plain = plain.err().unwrap_or_else(|| "it is not Redis".to_owned());
                        return Err(format!("without TLS: {plain}; {why}"));
                    }
                };
                let stream = self.connect().await?;
                self.old_tls(stream).await;
                match reply {
                    Ok(Ok(reply)) => reply,
                    Ok(Err(error)) if wants_certificate(&error) => {
                        for check in [CheckId::A1, CheckId::A4] {
                            self.add(Finding::ok(check, "it wants a client certificate"));
                        }
                        return Ok(());
                    }
                    Ok(Err(error)) => return Err(said(&error)),
                    Err(why) => return Err(why),
                }
            }
            Ok(reply) => {
                self.looked.has_no_tls = true;
                self.add(match reply {
                    Reply::Protected => Finding::ok(
                        CheckId::T2,
                        "it refuses clients from other hosts (protected mode)",
                    ),
                    _ => Finding::fail(CheckId::T2, "it answers commands without TLS"),
                });
                reply
            }
        };
        match reply {
            Reply::Pong => {
                self.add(Finding::fail(CheckId::A1, "it answers PING without a password"));
                self.add(Finding::fail(CheckId::A4, "the default user needs no password"));
            }
            Reply::NoAuth => {
                self.add(Finding::ok(CheckId::A1, "it asks for a password"));
                self.add(Finding::ok(CheckId::A4, "the default user needs a password"));
            }
            Reply::Protected => {
                let text = "it refuses clients from other hosts (protected mode)";
                self.add(Finding::ok(CheckId::A1, text));
                let text = "the default user needs no password; protected mode alone refuses it";
                self.add(Finding::fail(CheckId::A4, text));
            }
            Reply::Refused(why) => return Err(format!("it refuses: {why}")),
            Reply::Other => return Err("its answer to PING is none of Redis'".to_owned()),
        }
        Ok(())
    }

    async fn mongodb(&mut self) -> Failed {
        let mut stream = self.connect().await?;
        let plain = within(mongodb::run(&mut stream, "hello")).await;
        let plain = match plain {
            Ok(_) => {
                self.add(Finding::fail(CheckId::T2, "it answers commands without TLS"));
                Ok(self.authorization(&mut stream).await)
            }
            Err(why) => Err(why),
        };
        drop(stream);
        let stream = self.connect().await?;
        let by_tls = self.handshake(stream).await;
        match (plain, by_tls) {
            (Err(plain), Err(by_tls)) => Err(format!("without TLS: {plain}; {by_tls}")),
            (Ok(found), Err(_)) => {
                self.looked.has_no_tls = true;
                found
            }
            (plain, Ok(stream)) => {
                let found = match (plain, stream) {
                    (Ok(found), _) => found,
                    (Err(_), Some(mut stream)) => {
                        self.add(Finding::ok(CheckId::T2, "it does not speak without TLS"));
                        self.authorization(&mut stream).await
                    }
                    (Err(_), None) => Err("it wants a client certificate".to_owned()),
                };
                let stream = self.connect().await?;
                self.old_tls(stream).await;
                found
            }
        }
    }

    /// Asks for the version, and for what takes a privilege.
    async fn authorization<S>(&mut self, stream: &mut S) -> Failed
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let info = within(mongodb::run(stream, "buildInfo")).await?;
        self.looked.version = info.version;
        let listed = within(mongodb::run(stream, "listDatabases")).await?;
        let (state, text): (fn(CheckId, String) -> Finding, String) = match listed {
            answer if answer.is_ok => {
                (Finding::fail, "it lists its databases without a password".to_owned())
            }
            answer if answer.code == Some(mongodb::UNAUTHORIZED) => {
                (Finding::ok, "it lists its databases only for users".to_owned())
            }
            answer => {
                let code = answer.code.unwrap_or_default();
                let message = answer.message.unwrap_or_default();
                (Finding::unknown, format!("it refuses with error {code}: {message}"))
            }
        };
        for check in [CheckId::A1, CheckId::A5] {
            self.add(state(check, text.clone()));
        }
        Ok(())
    }
}

/// Whether a server broke off because the client showed no certificate.
fn wants_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::HandshakeFailure
                | AlertDescription::BadCertificate
        ))
    )
}

/// The name of a number of PostgreSQL's.
fn method(number: u32) -> String {
    match number {
        0 => "nothing (trust)".to_owned(),
        3 => "the password in the clear".to_owned(),
        5 => "an MD5 hash of the password".to_owned(),
        7 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        10 => "SASL (scram-sha-256)".to_owned(),
        other => format!("method {other}"),
    }
}

/// The SQLSTATE of a client that no line admits.
const NO_LINE: &str = "28000";

type Asked = Result<Answer, String>;

fn plaintext_of_postgres(plain: &Asked, by_tls: Option<&Asked>) -> Finding {
    let check = CheckId::T2;
    match plain {
        Ok(Answer::Ask(number)) => {
            Finding::fail(check, format!("without TLS it asks for {}", method(*number)))
        }
        Ok(Answer::Refused { code, .. }) if code == NO_LINE => match by_tls {
            Some(Ok(Answer::Ask(_))) => {
                Finding::ok(check, "it refuses this host without TLS, and not with it")
            }
            _ => {
                Finding::unknown(check, "pg_hba.conf admits this host neither with TLS nor without")
            }
        },
        other => Finding::unknown(check, odd(other)),
    }
}

fn clear_password(plain: &Asked) -> Finding {
    let check = CheckId::T3;
    match plain {
        Ok(Answer::Ask(3)) => Finding::fail(check, "without TLS it asks for the password itself"),
        Ok(Answer::Ask(number)) => {
            Finding::ok(check, format!("without TLS it asks for {}", method(*number)))
        }
        Ok(Answer::Refused { code, .. }) if code == NO_LINE => {
            Finding::ok(check, "it refuses this host without TLS")
        }
        other => Finding::unknown(check, odd(other)),
    }
}

fn no_password(plain: &Asked, by_tls: Option<&Asked>) -> Finding {
    let check = CheckId::A1;
    let mut asked = [Some(plain), by_tls].into_iter().flatten();
    let mut numbers = asked.clone().filter_map(|asked| match asked {
        Ok(Answer::Ask(number)) => Some(*number),
        _ => None,
    });
    if numbers.clone().any(|number| number == 0) {
        return Finding::fail(check, "it lets in whoever says a role's name (trust)");
    }
    let is_sure = asked.all(|asked| match asked {
        Ok(Answer::Ask(_)) => true,
        Ok(Answer::Refused { code, .. }) => code == NO_LINE,
        _ => false,
    });
    match numbers.next_back() {
        Some(number) if is_sure => Finding::ok(check, format!("it asks for {}", method(number))),
        _ => Finding::unknown(
            check,
            match plain {
                Ok(Answer::Refused { code, .. }) if code == NO_LINE => {
                    "pg_hba.conf does not admit this host, from where it was asked".to_owned()
                }
                plain => odd(plain),
            },
        ),
    }
}

fn odd(asked: &Asked) -> String {
    match asked {
        Ok(Answer::Ask(number)) => format!("it asks for {}", method(*number)),
        Ok(Answer::Refused { code, message }) => {
            format!("it refuses with SQLSTATE {code}: {message}")
        }
        Ok(Answer::Other(byte)) => format!("it answers {byte:#04x} to a login"),
        Err(why) => why.clone(),
    }
}

impl Looked {
    /// Adds a finding for each check that was not made, names the endpoint in all of them, and sorts
    /// out those that are not about it.
    fn leave_nothing_out(&mut self, failed: Option<&str>) {
        let why = failed.unwrap_or("it was not asked");
        let has_tls = self.tls.is_some();
        for check in CHECKS.iter().filter(|check| check.level == Level::Wire) {
            let is_made = self.findings.iter().any(|finding| finding.check() == check.id);
            let is_meant = self.engine.is_none_or(|engine| check.engines.contains(&engine));
            let is_of_tls = matches!(
                check.id,
                CheckId::T4 | CheckId::T5 | CheckId::T6 | CheckId::T7 | CheckId::T8
            );
            // Without TLS there is nothing to say about it.
            if is_made || !is_meant || check.id == CheckId::T1 || is_of_tls && self.has_no_tls {
                continue;
            }
            self.findings.push(Finding::unknown(check.id, why));
        }
        if self.has_no_tls && !has_tls {
            self.findings.retain(|finding| finding.check() != CheckId::T4);
        }
        self.findings.push(match (has_tls, self.has_no_tls) {
            (true, _) => Finding::ok(CheckId::T1, "it offers TLS"),
            (false, true) => Finding::fail(CheckId::T1, "it offers no TLS"),
            (false, false) => Finding::unknown(CheckId::T1, why),
        });
        let endpoint = self.endpoint.to_string();
        let findings = std::mem::take(&mut self.findings);
        self.findings = findings.into_iter().map(|finding| finding.at(&endpoint)).collect();
    }
}
