//! Tokens: making, checking, revoking.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    Service, audit,
    documents::{commit, get, list, write},
    error::ServiceError,
    lists::Author,
    now, random,
};
use crate::{
    model::{AuditAction, Databases, Scope, Secret, Token, keys},
    store::{Require, Store, Txn},
};

/// Bytes of a token's name.
const MAX_NAME: usize = 64;

/// The last use of a token is written once in this time.
const LAST_USED: SignedDuration = SignedDuration::from_hours(1);

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Its rights.
    pub scopes: BTreeSet<Scope>,
    /// To which databases.
    pub databases: Databases,
    /// The time from which on it counts no more.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token in a store, by `by`, in a transaction that does this too.
pub(super) async fn make(
    store: &Store,
    new: &NewToken,
    by: &str,
    txn: Txn,
) -> Result<(Token, Secret), ServiceError> {
    let is_odd = |c: char| c.is_control() || dbfw_core::misleads(c);
    let length = new.name.len();
    if !(1..=MAX_NAME).contains(&length)
        || new.name.trim() != new.name
        || new.name.chars().any(is_odd)
    {
        let fix = format!("use 1 to {MAX_NAME} bytes on one line, without space around them");
        return Err(ServiceError::field("name", "is no name", fix));
    }
    if new.scopes.is_empty() {
        let fix = "name what it may do, or the preset viewer, editor or admin";
        return Err(ServiceError::field("scopes", "are empty", fix));
    }
    if new.databases == Databases::Only(BTreeSet::new()) {
        let fix = "name those it is for, or leave it out for all";
        return Err(ServiceError::field("databases", "are none", fix));
    }
    let created_at = now();
    if new.expires_at.is_some_and(|at| at <= created_at) {
        return Err(ServiceError::field("expires_at", "has passed", "name a time to come"));
    }
    let secret = Secret::of_random(random()?);
    let token = Token {
        id: Uuid::new_v4(),
        name: new.name.clone(),
        begins_with: secret.begins_with(),
        scopes: new.scopes.clone(),
        databases: new.databases.clone(),
        expires_at: new.expires_at,
        created_at,
        created_by: by.to_owned(),
        last_used: None,
    };
    let key = keys::token(&secret.hash());
    let txn = txn.require(key.clone(), Require::Absent).put(key, write(&token)?);
    commit(store, txn).await?.ok_or(ServiceError::Busy)?;
    Ok((token, secret))
}

impl Service {
    /// The token that a secret is of, if it counts.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn authenticate(&self, secret: &Secret) -> Result<Option<Token>, ServiceError> {
        self.token_in_use(keys::token(&secret.hash())).await
    }

    /// The token of a key, if it counts; that it was used is noted.
    pub(super) async fn token_in_use(&self, key: String) -> Result<Option<Token>, ServiceError> {
        let Some(read) = get::<Token>(&self.store, &key).await? else { return Ok(None) };
        let (token, now) = (read.document, now());
        if token.has_expired(now) {
            return Ok(None);
        }
        if token.last_used.is_none_or(|last| now.duration_since(last) >= LAST_USED) {
            let used = Token { last_used: Some(now), ..token.clone() };
            let txn = Txn::new()
                .require(key.clone(), Require::At(read.entry.revision))
                .put(key, write(&used)?);
            let store = self.store.clone();
            // Nobody waits for it, and one that is lost does no harm.
            tokio::spawn(async move { store.commit(txn).await });
        }
        Ok(Some(token))
    }

    /// Every token, by name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn tokens(&self) -> Result<Vec<Token>, ServiceError> {
        let found = list::<Token>(&self.store, keys::TOKENS).await?;
        let mut tokens: Vec<Token> = found.into_iter().map(|(_, read)| read.document).collect();
        tokens.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        Ok(tokens)
    }

    /// Makes a token. Its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// A field cannot be what it is, or the store does not answer.
    pub async fn add_token(
        &self,
        new: &NewToken,
        author: &Author,
    ) -> Result<(Token, Secret), ServiceError> {
        let txn = audit::add(Txn::new(), AuditAction::TokenAdded, author, &new.name)?;
        let (token, secret) = make(&self.store, new, &author.by.name(), txn).await?;
        self.look();
        tracing::info!(token = token.name, id = %token.id, by = author.by.name(), "a token was made");
        Ok((token, secret))
    }

    /// Revokes a token: its next request is refused.
    ///
    /// # Errors
    /// There is no such token, or the store does not answer.
    pub async fn remove_token(&self, id: Uuid, author: &Author) -> Result<(), ServiceError> {
        let found = list::<Token>(&self.store, keys::TOKENS).await?;
        let found = found.into_iter().find(|(_, read)| read.document.id == id);
        let (key, read) = found.ok_or(ServiceError::NoToken)?;
        let name = read.document.name;
        let txn = Txn::new().delete(key);
        commit(&self.store, audit::add(txn, AuditAction::TokenRemoved, author, &name)?).await?;
        self.look();
        tracing::info!(token = name, %id, by = author.by.name(), "a token was revoked");
        Ok(())
    }
}
