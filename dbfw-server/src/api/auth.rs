//! Callers, and their rights.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    app::App,
    connection::{Client, Connection, Peer},
    error::{ApiError, ErrorId},
    finish::RateSlot,
    rate::Exhausted,
    tally::Login,
};
use crate::{
    model::{AuditAction, By, Database, Databases, Scope, Secret, Token, Via},
    service::{Author, ServiceError},
};

/// Characters of a User-Agent that the history keeps.
const MAX_AGENT: usize = 100;

/// Characters of a client's text that an answer repeats.
const MAX_QUOTED: usize = 64;

/// The caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    who: Who,
    pub(crate) connection: Arc<Connection>,
    agent: Option<String>,
    /// Whether it comes by the panel.
    is_panel: bool,
}

#[derive(Clone, Debug)]
enum Who {
    /// Somebody in the network, with a token.
    Holder { token: Box<Token>, address: IpAddr },
    /// A user of this machine, by the admin socket: needs no token, and may do everything.
    User { uid: u32 },
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let connection = parts.extensions.get::<Arc<Connection>>().cloned();
        let connection = connection.ok_or_else(ApiError::unavailable)?;
        let agent = agent(&parts.headers);
        let address = match connection.peer() {
            Peer::Local { uid } => {
                return Ok(Self { who: Who::User { uid }, connection, agent, is_panel: false });
            }
            Peer::Network(address) => address,
        };
        let now = Timestamp::now().as_second();
        let token = match bearer(&parts.headers).and_then(Secret::parse) {
            Some(secret) => app.service.authenticate(&secret).await?,
            None => None,
        };
        let Some(token) = token else {
            app.tally.refused(Login::Api);
            let via = agent.as_deref().map_or(Via::Api, Via::of_agent);
            app.service.record_refusal(AuditAction::TokenRefused, via, address);
            // Whoever has a token is let in all the same: others may have the same address.
            let counted = app.rates.count_refused(address, now);
            return Err(
                counted.map_or_else(|exhausted| too_many(exhausted, now), |()| unauthorized())
            );
        };
        let slot = parts.extensions.get::<RateSlot>().cloned().unwrap_or_default();
        match app.rates.count(token.id, now) {
            Ok(rate) => slot.set(rate),
            Err(exhausted) => {
                slot.set(exhausted.0);
                return Err(too_many(exhausted, now));
            }
        }
        let who = Who::Holder { token: token.into(), address };
        Ok(Self { who, connection, agent, is_panel: false })
    }
}

impl Caller {
    /// The caller who has a session of the panel.
    pub(crate) fn of_session(
        token: Token,
        address: IpAddr,
        connection: Arc<Connection>,
        headers: &HeaderMap,
    ) -> Self {
        let who = Who::Holder { token: token.into(), address };
        Self { who, connection, agent: agent(headers), is_panel: true }
    }

    /// Whether the caller has the right to do this, to some database at least.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.needs(scope).is_ok()
    }

    /// Refuses what the caller may not do.
    ///
    /// # Errors
    /// The token has not this scope.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), ApiError> {
        match self.token() {
            Some(token) if !token.scopes.contains(&scope) => {
                Err(forbidden(format!("the token has not the scope {scope}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what a token for some databases may not do, since it concerns all.
    ///
    /// # Errors
    /// The token is for some databases.
    pub(crate) fn needs_all_databases(&self) -> Result<(), ApiError> {
        match self.token() {
            Some(token) if token.databases != Databases::All => {
                Err(forbidden("the token is for some databases only"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the caller may see a database.
    pub(crate) fn sees(&self, database: Uuid) -> bool {
        self.token().is_none_or(|token| token.databases.contains(database))
    }

    /// Whether the caller may see one of these databases.
    pub(crate) fn sees_any(&self, databases: &BTreeSet<Uuid>) -> bool {
        databases.iter().any(|id| self.sees(*id))
    }

    /// Refuses what concerns databases that are not the caller's.
    ///
    /// # Errors
    /// One of them is not.
    pub(super) fn needs_databases(&self, databases: &BTreeSet<Uuid>) -> Result<(), ApiError> {
        match databases.iter().all(|id| self.sees(*id)) {
            true => Ok(()),
            false => Err(forbidden("it has databases that the token is not for")),
        }
    }

    /// The databases of these names or ids, which the caller wants to pass on.
    ///
    /// # Errors
    /// There is no such database, or it is not the caller's.
    pub(super) async fn named_databases(
        &self,
        app: &App,
        names: &[String],
    ) -> Result<BTreeSet<Uuid>, ApiError> {
        let mut ids = BTreeSet::new();
        for name in names {
            let database = app.service.find(name).await?.filter(|found| self.sees(found.id));
            let Some(database) = database else {
                let name: String = name.chars().take(MAX_QUOTED).collect();
                let reason = format!("there is no database {name:?} that you may pass on");
                return Err(ServiceError::field("databases", reason, "name others").into());
            };
            ids.insert(database.id);
        }
        Ok(ids)
    }

    /// The database that a path names, if the caller may do this with it. Who has a token for
    /// some databases does not learn which others there are.
    ///
    /// # Errors
    /// There is none, or it is not the caller's.
    pub(crate) async fn database(
        &self,
        app: &App,
        id_or_name: &str,
        scope: Scope,
    ) -> Result<Database, ApiError> {
        self.needs(scope)?;
        let found = app.service.find(id_or_name).await?;
        match found {
            Some(database) if self.sees(database.id) => Ok(database),
            None if self.needs_all_databases().is_ok() => {
                Err(ApiError::new(ErrorId::NotFound, "there is no such database"))
            }
            _ => Err(forbidden("the token is not for this database")),
        }
    }

    /// Refuses to make a token that may do more than the caller.
    ///
    /// # Errors
    /// It may do more.
    pub(crate) fn may_pass_on<'s>(
        &self,
        mut scopes: impl Iterator<Item = &'s Scope>,
        databases: &Databases,
    ) -> Result<(), ApiError> {
        let Some(token) = self.token() else { return Ok(()) };
        if let Some(scope) = scopes.find(|scope| !token.scopes.contains(scope)) {
            return Err(forbidden(format!("the token has not the scope {scope} to pass on")));
        }
        let covers = match (&token.databases, databases) {
            (Databases::All, _) => true,
            (Databases::Only(_), Databases::All) => false,
            (Databases::Only(own), Databases::Only(wanted)) => wanted.is_subset(own),
        };
        if covers { Ok(()) } else { Err(forbidden("the token is for fewer databases")) }
    }

    /// The token; who comes by the admin socket has none.
    pub(crate) fn token(&self) -> Option<&Token> {
        match &self.who {
            Who::Holder { token, .. } => Some(token),
            Who::User { .. } => None,
        }
    }

    /// The client, if what it reads on its connection is what it changes.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<Client> {
        Client::of(self.token()?.id, headers)
    }

    /// The author of a change.
    pub(crate) fn author(&self, reason: Option<String>) -> Author {
        let (by, via, from) = match &self.who {
            Who::Holder { token, address } => {
                let via = match self.is_panel {
                    true => Via::Panel,
                    false => self.agent.as_deref().map_or(Via::Api, Via::of_agent),
                };
                (By::Token { id: token.id, name: token.name.clone() }, via, Some(*address))
            }
            Who::User { uid } => (By::User { uid: *uid }, Via::Admin, None),
        };
        Author { by, via, agent: self.agent.clone(), from, reason }
    }
}

/// The content of the header Authorization.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// The name that a client gives itself, without characters that would deceive a reader.
fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect())
}

pub(super) fn unauthorized() -> ApiError {
    ApiError::new(ErrorId::Unauthorized, "Unable to authenticate you.")
}

pub(crate) fn forbidden(why: impl std::fmt::Display) -> ApiError {
    let message = format!("You do not have permission to perform this action: {why}");
    ApiError::new(ErrorId::Forbidden, message)
}

pub(crate) fn too_many(Exhausted(rate): Exhausted, now: i64) -> ApiError {
    let wait = u64::try_from(rate.reset - now).unwrap_or(0).max(1);
    ApiError::new(ErrorId::TooManyRequests, "API rate limit exceeded.").retry_after(wait)
}
