//! [`log_in`]: a login to a server, and what it says of itself then.

mod limits;
mod mysql;
mod postgres;
mod redis;
mod server_socket;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use dbfw_core::audit::{
    CHECKS, CheckId, Engine, Finding, Level, MySqlCatalog, PostgresCatalog, RedisCatalog,
    SeenConnection, State, Trusted, judge_accounts, judge_connections, judge_default_user,
};
use dbfw_provider::token::Token;
use secrecy::SecretString;
use tokio::time::timeout;

use self::{
    mysql::MySql,
    redis::Redis,
    server_socket::{ServerSocket, SystemUser},
};
use super::{endpoint::Endpoint, probe::connect, processes::Listener, wire::Pace};
use crate::config::AuditLogin;

/// Time for all of a server.
const PATIENCE: Duration = Duration::from_secs(20);
/// The system's administrator, whom servers know as theirs.
const ROOT: &str = "root";

/// A server to log in to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) engine: Engine,
    /// Its listeners.
    pub(super) listeners: &'a [&'a Listener],
    /// `[database.audit]`.
    pub(super) login: &'a AuditLogin,
    pub(super) pace: &'a Pace,
}

/// The answers of a server to somebody who logged in.
#[derive(Debug)]
pub(super) struct LoggedIn {
    /// The way in: "peer as postgres".
    pub(super) by: String,
    /// The server's version.
    pub(super) version: Option<String>,
    pub(super) catalog: Catalog,
}

/// The answers by engine.
#[derive(Debug)]
pub(super) enum Catalog {
    Postgres(PostgresCatalog),
    MySql(MySqlCatalog),
    Redis(RedisCatalog),
}

/// Logs in, asks, and leaves. Takes some seconds at most, whatever the server does.
///
/// # Errors
///
/// Nobody gets in: the reason.
pub(super) async fn log_in(target: &Target<'_>) -> Result<LoggedIn, String> {
    let password = match &target.login.password_file {
        Some(path) => {
            let read = Token::password(path.clone()).read();
            Some(read.map_err(|error| format!("nobody logs in: {error}"))?)
        }
        None => None,
    };
    let logging_in = async {
        match target.engine {
            Engine::Postgres => target.postgres(password.as_ref()).await,
            Engine::MySql => target.mysql(password.as_ref()).await,
            Engine::Redis => target.redis(password.as_ref()).await,
            Engine::MongoDb => Err("no login to MongoDB is made".to_owned()),
        }
    };
    let logged_in = timeout(PATIENCE, logging_in).await;
    logged_in.unwrap_or_else(|_| {
        Err(format!("it does not come to an end within {} seconds", PATIENCE.as_secs()))
    })
}

impl Target<'_> {
    /// The process of the server.
    fn pid(&self) -> Option<u32> {
        let of_engine = |listener: &&&Listener| listener.engine() == Some(self.engine);
        Some(self.listeners.iter().find(of_engine)?.process.as_ref()?.pid)
    }

    fn socket(&self) -> Result<ServerSocket, String> {
        match (&self.login.socket, self.pid()) {
            (Some(path), pid) => ServerSocket::named(path, pid),
            (None, Some(pid)) => ServerSocket::of_process(self.engine, pid),
            (None, None) => Err("no process of the server is seen here: name its Unix socket in \
                                 [database.audit]"
                .to_owned()),
        }
    }

    /// The database's user, and the system user to come as.
    fn identity<'n>(
        &'n self,
        socket: &'n ServerSocket,
        password: Option<&SecretString>,
    ) -> Result<(&'n str, SystemUser), String> {
        match (&self.login.user, password) {
            (Some(user), Some(_)) => Ok((user, socket.server.clone())),
            (Some(user), None) => Ok((user, SystemUser::of_name(user)?)),
            (None, _) => Ok((&socket.server.name, socket.server.clone())),
        }
    }

    async fn postgres(&self, password: Option<&SecretString>) -> Result<LoggedIn, String> {
        let socket = self.socket()?;
        let (user, system_user) = self.identity(&socket, password)?;
        let connect = async || {
            self.pace.next().await;
            socket.open(&system_user)
        };
        let mut server = postgres::log_in(connect, user, password).await?;
        let catalog = Catalog::Postgres(server.catalog().await);
        let (by, version) = (format!("{} as {user}", server.by), server.version.clone());
        server.leave().await;
        Ok(LoggedIn { by, version, catalog })
    }

    async fn mysql(&self, password: Option<&SecretString>) -> Result<LoggedIn, String> {
        let socket = self.socket()?;
        let (user, system_user) = self.identity(&socket, password)?;
        self.pace.next().await;
        let logged_in = MySql::log_in(socket.open(&system_user)?, user, password).await;
        let (user, mut server) = match logged_in {
            Ok(server) => (user, server),
            // Some know the administrator alone.
            Err(_) if self.login.user.is_none() => {
                self.pace.next().await;
                let stream = socket.open(&SystemUser::of_name(ROOT)?)?;
                (ROOT, MySql::log_in(stream, ROOT, None).await?)
            }
            Err(why) => return Err(why),
        };
        let catalog = Catalog::MySql(server.catalog().await);
        let (by, version) = (format!("{} as {user}", server.by), Some(server.version.clone()));
        server.leave().await;
        Ok(LoggedIn { by, version, catalog })
    }

    async fn redis(&self, password: Option<&SecretString>) -> Result<LoggedIn, String> {
        let user = self.login.user.as_deref().unwrap_or("default");
        let login = password.map(|password| (user, password));
        let by = match login {
            Some(_) => format!("password as {user}"),
            None => "no password as default".to_owned(),
        };
        let (version, catalog) = match &self.login.socket {
            Some(path) => {
                let socket = ServerSocket::named(path, self.pid())?;
                self.pace.next().await;
                let mut server = Redis::log_in(socket.open(&socket.server)?, login).await?;
                let found = server.catalog().await;
                server.leave().await;
                found
            }
            None => {
                let stream = self.loopback().await?;
                let mut server = Redis::log_in(stream, login).await?;
                let found = server.catalog().await;
                server.leave().await;
                found
            }
        };
        Ok(LoggedIn { by, version, catalog: Catalog::Redis(catalog) })
    }

    /// A connection to a port of the server's from this host, without TLS.
    async fn loopback(&self) -> Result<tokio::net::TcpStream, String> {
        let of_engine = self.listeners.iter().filter(|one| one.engine() == Some(self.engine));
        let mut why = "no process of the server is seen here: name its Unix socket in \
                       [database.audit]"
            .to_owned();
        for listener in of_engine {
            let address = match listener.address {
                IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                own => own,
            };
            self.pace.next().await;
            match connect(Endpoint { address, port: listener.port }).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("{}: {error}", listener.port),
            }
        }
        Err(why)
    }
}

impl LoggedIn {
    /// The connections that the server lists, or the reason why it does not.
    pub(super) fn connections(&self) -> Result<&[SeenConnection], &str> {
        let connections = match &self.catalog {
            Catalog::Postgres(catalog) => &catalog.connections,
            Catalog::MySql(catalog) => &catalog.connections,
            Catalog::Redis(catalog) => &catalog.connections,
        };
        connections.as_deref().map_err(String::as_str)
    }

    /// The findings that need nothing but what the server said and the trusted sources.
    pub(super) fn judge(&self, trusted: Result<&[Trusted], &str>, own: &[IpAddr]) -> Vec<Finding> {
        let mut findings = match &self.catalog {
            Catalog::Postgres(_) => Vec::new(),
            Catalog::MySql(catalog) => judge_accounts(catalog, trusted, own),
            Catalog::Redis(catalog) => judge_default_user(catalog, trusted),
        };
        match (self.connections(), trusted) {
            (Ok(connections), Ok(trusted)) => {
                findings.extend(judge_connections(connections, trusted, own));
            }
            (Err(why), _) | (_, Err(why)) => {
                let checks = [CheckId::R5, CheckId::X4, CheckId::X6, CheckId::X7];
                findings.extend(checks.map(|check| Finding::unknown(check, why)));
            }
        }
        findings
    }
}

/// Adds a finding for each check of this level that was not made.
pub(super) fn leave_nothing_out(findings: &mut Vec<Finding>, engine: Option<Engine>, why: &str) {
    let meant = CHECKS.iter().filter(|check| {
        check.level == Level::Login && engine.is_none_or(|engine| check.engines.contains(&engine))
    });
    for check in meant {
        if !findings.iter().any(|finding| finding.check() == check.id) {
            findings.push(Finding::unknown(check.id, why));
        }
    }
}

/// Drops what an earlier level did not know of a check and this one does.
pub(super) fn drop_answered(earlier: &mut Vec<Finding>, found: &[Finding]) {
    earlier.retain(|finding| {
        finding.state() != State::Unknown
            || !found.iter().any(|later| later.check() == finding.check())
    });
}
