//! The server's own API, `/api/v1`: requests and documents.
//!
//! Requests are strict: an unknown field is an error. `Some(None)` is `null`, which clears a
//! property; a field that is absent changes nothing.

mod audit;
mod change;
mod database;
mod host;
mod resolved;
mod source;
mod status;
mod token;

pub use self::{
    audit::{AuditDocument, AuditList},
    change::{ChangeDocument, Changes, EditedSource, RevertRequest, Reverted},
    database::{DatabaseDocument, DatabaseList, DatabaseRequest, DatabaseSettings, MinPrefix},
    host::{
        HostDocument, HostList, IssuedJoinToken, JoinTokenDocument, JoinTokenList, JoinTokenRequest,
    },
    resolved::{HeldLoss, Resolution, ResolutionState, ResolvedList, ResolvedSource},
    source::{SourceDocument, SourceList, SourcePatch, SourceRequest, SourcesRequest},
    status::{
        DatabaseState, DatabaseStatus, HostAtDatabase, HostState, LiveHost, Propagation,
        RefusedSource, RefusedSources,
    },
    token::{IssuedToken, TokenDocument, TokenList, TokenRequest},
};
