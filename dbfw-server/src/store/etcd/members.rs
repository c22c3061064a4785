//! The members of an etcd: asked one at a time, and the next when one does not answer.

use std::{
    error::Error as _,
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dbfw_provider::{fs::read_file, token::Token};
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use secrecy::ExposeSecret as _;
use tokio::time::{sleep, timeout};

use super::super::{settings::EtcdSettings, txn::StoreError};

/// Time for a member to answer before the next is asked.
const ATTEMPT: Duration = Duration::from_millis(600);

/// Time between two rounds of all members.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a certificate or a key.
const MAX_FILE: u64 = 1 << 20;

/// Time after which a member that does not answer a ping is left, and between two pings. etcd takes
/// more than one in 5 s as abuse.
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));

/// etcd's code for a request that it cannot take from this client now, or not in time.
const CANCELLED: i32 = 1;
const DEADLINE_EXCEEDED: i32 = 4;
const UNAVAILABLE: i32 = 14;
/// For a token or a password that does not count.
const UNAUTHENTICATED: i32 = 16;

/// Whether a request may be sent a second time where the first was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same again.
    Safe,
    /// Only if it was never sent.
    Unsafe,
}

/// The members of an etcd, and a connection to those that were asked.
#[derive(Debug)]
pub(super) struct Members {
    settings: EtcdSettings,
    members: Vec<Member>,
    /// The one to ask.
    current: AtomicUsize,
}

struct Member {
    endpoint: String,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Member {
    fn lock(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reason why a member did not do it.
#[derive(Debug)]
enum Fault {
    /// Another may: it is not reached, or has no leader.
    Elsewhere { reason: String, was_sent: bool },
    /// No other would.
    Final(StoreError),
    /// No other would, until the files of the configuration are others.
    Login(StoreError),
}

impl Members {
    pub(super) fn new(settings: EtcdSettings) -> Arc<Self> {
        let member =
            |endpoint: &String| Member { endpoint: endpoint.clone(), client: Mutex::default() };
        let members = settings.endpoints.iter().map(member).collect();
        Arc::new(Self { settings, members, current: AtomicUsize::new(0) })
    }

    /// Asks the members in turn until one answers, as long as `patience` says.
    pub(super) async fn ask<T, F>(
        &self,
        repeat: Repeat,
        patience: Duration,
        call: impl Fn(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let end = Instant::now() + patience;
        let mut reason = None;
        for tried in 0.. {
            let at = self.current.load(Ordering::Relaxed);
            if tried > 0 && tried % self.members.len() == 0 {
                sleep(PAUSE).await;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // The only one has all the time.
            let time = if self.members.len() > 1 { left.min(ATTEMPT) } else { left };
            match self.attempt(at, time, &call).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Login(error)) => {
                    *self.members[at].lock() = None;
                    return Err(error);
                }
                Err(Fault::Elsewhere { reason: why, was_sent }) => {
                    self.leave(at);
                    tracing::debug!(member = self.members[at].endpoint, why, "etcd did not answer");
                    if was_sent && repeat == Repeat::Unsafe {
                        return Err(StoreError::Timeout);
                    }
                    reason = Some(why);
                }
            }
        }
        Err(reason.map_or(StoreError::Timeout, |reason| {
            let members = self.settings.endpoints.join(", ");
            StoreError::Failed(format!("no member of etcd answers ({members}): {reason}"))
        }))
    }

    async fn attempt<T, F>(
        &self,
        at: usize,
        time: Duration,
        call: &impl Fn(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let late =
            |was_sent| Fault::Elsewhere { reason: "it does not answer".to_owned(), was_sent };
        let client = timeout(time, self.client(at)).await.map_err(|_| late(false))??;
        match timeout(time.saturating_sub(began.elapsed()), call(client)).await {
            Ok(answer) => answer.map_err(|error| fault(&error)),
            Err(_) => Err(late(true)),
        }
    }

    /// A connection to the member that is asked now, for what goes on.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let at = self.current.load(Ordering::Relaxed);
        match timeout(ATTEMPT, self.client(at)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(Fault::Final(error) | Fault::Login(error))) => Err(error),
            Ok(Err(Fault::Elsewhere { reason, .. })) => Err(StoreError::Failed(reason)),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// Asks another member from now on.
    pub(super) fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed));
    }

    fn leave(&self, at: usize) {
        // The files may have changed since, and the connection may be dead.
        *self.members[at].lock() = None;
        let next = (at + 1) % self.members.len();
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn client(&self, at: usize) -> Result<Client, Fault> {
        let member = &self.members[at];
        if let Some(client) = &*member.lock() {
            return Ok(client.clone());
        }
        let options = options(&self.settings, &member.endpoint).map_err(Fault::Final)?;
        let client = Client::connect([&member.endpoint], Some(options)).await;
        let client = client.map_err(|error| match fault(&error) {
            // Nothing but the login was sent.
            Fault::Elsewhere { reason, .. } => Fault::Elsewhere { reason, was_sent: false },
            refused => refused,
        })?;
        *member.lock() = Some(client.clone());
        Ok(client)
    }
}

/// The options of a connection, from the files as they are now.
fn options(settings: &EtcdSettings, endpoint: &str) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(ATTEMPT)
        .with_keep_alive(PING.0, PING.1)
        // etcd takes a ping without a request as abuse.
        .with_keep_alive_while_idle(false)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if endpoint.starts_with("https://") {
        let mut tls = TlsOptions::new();
        if let Some(ca) = &settings.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(file(ca)?));
        }
        if let Some(identity) = &settings.identity {
            let (cert, key) = (file(&identity.cert_file)?, file(&identity.key_file)?);
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        options = options.with_tls(tls);
    }
    if let Some(login) = &settings.login {
        let password = Token::password(login.password_file.clone()).read();
        let password = password.map_err(|error| StoreError::Failed(error.to_string()))?;
        options = options.with_user(&login.user, password.expose_secret());
    }
    Ok(options)
}

fn file(path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |error| StoreError::Failed(format!("cannot read {}: {error}", path.display()));
    read_file(path, MAX_FILE).map_err(failed)
}

/// The meaning of an error of the client.
fn fault(error: &Error) -> Fault {
    let Error::GRpcStatus(status) = error else {
        return match error {
            Error::TransportError(_) | Error::IoError(_) => {
                Fault::Elsewhere { reason: chain(error), was_sent: !was_refused(error) }
            }
            _ => Fault::Final(StoreError::Failed(chain(error))),
        };
    };
    match i32::from(status.code()) {
        CANCELLED | DEADLINE_EXCEEDED | UNAVAILABLE => {
            // etcd says this before it does anything.
            let has_no_leader = status.message().contains("no leader");
            let was_sent = !has_no_leader && !was_refused(status);
            Fault::Elsewhere { reason: told(status), was_sent }
        }
        // The password may be another by now: it is read again with the next connection.
        UNAUTHENTICATED => Fault::Elsewhere { reason: told(status), was_sent: false },
        _ if status.message().contains("authentication failed") => {
            Fault::Login(StoreError::Failed(advice(status.message())))
        }
        _ => Fault::Final(StoreError::Failed(advice(status.message()))),
    }
}

const TOO_LARGE: &str = "raise etcd's --max-request-bytes, or shorten the list";

/// etcd's words, and what to do.
fn advice(message: &str) -> String {
    let fix = [
        (
            "database space exceeded",
            "its quota is used up (NOSPACE): compact and defragment it, then `etcdctl alarm disarm`",
        ),
        ("request is too large", TOO_LARGE),
        ("message larger than max", TOO_LARGE),
        ("permission denied", "grant the user's role readwrite on the prefix of the store"),
        ("user name is empty", "etcd's authentication is on: set user and password_file"),
        ("authentication failed", "check user and password_file"),
        ("authentication is not enabled", "enable it, or remove user and password_file"),
    ];
    let found = fix.iter().find(|(words, _)| message.contains(words));
    found.map_or_else(|| format!("etcd: {message}"), |(_, fix)| format!("etcd: {message}: {fix}"))
}

/// Whether nothing was sent, because no connection came about.
fn was_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound,
    };
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                AddrNotAvailable
                    | ConnectionRefused
                    | HostUnreachable
                    | NetworkUnreachable
                    | NotFound
            );
        }
        next = error.source();
    }
    false
}

/// The message of a status, and the reasons below it.
fn told(status: &(dyn std::error::Error + 'static)) -> String {
    let mut last = status;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

fn chain(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), told)
}
