//! The contents of the store: documents, and the keys they are under.

mod audit;
mod change;
mod database;
mod host;
pub mod keys;
mod meta;
mod resolved;
mod session;
mod token;

pub use self::{
    audit::{AuditAction, AuditEntry},
    change::{By, Change, Kept, Via, digest},
    database::{Connection, Database, MAX_WAIT, Name, NameError},
    host::{Host, JoinGrant},
    meta::{FORMAT, LOADING, Meta},
    resolved::{Confirmed, Piece, Resolved},
    session::{Session, SessionHash, SessionSecret},
    token::{Databases, Preset, Scope, Secret, Token, TokenHash, UnknownScope},
};
