//! Sessions of the panel: logging in, checking, logging out.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{
    Service, audit,
    documents::{commit, get, list, write},
    error::ServiceError,
    lists::Author,
    now, random,
};
use crate::{
    model::{AuditAction, By, Secret, Session, SessionSecret, Token, Via, keys},
    store::{Require, Txn},
};

/// The time after which a session ends.
pub const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(12);

/// Sessions that a token has at a time; one more ends the oldest.
const OF_A_TOKEN: usize = 32;

impl Service {
    /// Begins a session of the token that a secret is of, if it counts.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn log_in(
        &self,
        secret: &Secret,
        from: IpAddr,
    ) -> Result<Option<(Token, SessionSecret)>, ServiceError> {
        let Some(token) = self.authenticate(secret).await? else { return Ok(None) };
        let (hash, began_at) = (secret.hash(), now());
        let ends_at = began_at.checked_add(SESSION_LASTS).unwrap_or(Timestamp::MAX);
        let mut txn = Txn::new();
        let mut same = Vec::new();
        for (key, read) in list::<Session>(&self.store, keys::SESSIONS).await? {
            if read.document.ends_at <= began_at {
                txn = txn.delete(key);
            } else if read.document.token == hash {
                same.push((read.document.began_at, key));
            }
        }
        same.sort();
        for (_, key) in same.iter().rev().skip(OF_A_TOKEN - 1) {
            txn = txn.delete(key.clone());
        }
        let session = SessionSecret::of_random(random()?);
        let key = keys::session(&session.hash());
        let document = Session { token: hash, began_at, ends_at };
        let txn = txn.require(key.clone(), Require::Absent).put(key, write(&document)?);
        let by = By::Token { id: token.id, name: token.name.clone() };
        let author = Author { by, via: Via::Panel, agent: None, from: Some(from), reason: None };
        let txn = audit::add(txn, AuditAction::LoggedIn, &author, &token.name)?;
        commit(&self.store, txn).await?.ok_or(ServiceError::Busy)?;
        self.look();
        Ok(Some((token, session)))
    }

    /// The token of a session that goes on.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn session(&self, secret: &SessionSecret) -> Result<Option<Token>, ServiceError> {
        let key = keys::session(&secret.hash());
        let Some(read) = get::<Session>(&self.store, &key).await? else { return Ok(None) };
        if read.document.ends_at <= now() {
            return Ok(None);
        }
        self.token_in_use(keys::token(&read.document.token)).await
    }

    /// The number of sessions that go on.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sessions(&self) -> Result<usize, ServiceError> {
        let (found, now) = (list::<Session>(&self.store, keys::SESSIONS).await?, now());
        Ok(found.iter().filter(|(_, read)| read.document.ends_at > now).count())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn log_out(&self, secret: &SessionSecret) -> Result<(), ServiceError> {
        let txn = Txn::new().delete(keys::session(&secret.hash()));
        commit(&self.store, txn).await?;
        Ok(())
    }
}
