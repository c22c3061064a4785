//! Probes of the databases of this host, as a client without a credential.
//!
//! `probe` asks an endpoint what it speaks, and for its certificates; `mysql` and `postgres` are
//! the messages before and after TLS; `chain` says what the certificates are good for.

mod chain;
mod endpoint;
mod mysql;
mod postgres;
mod probe;
mod user;

pub use chain::{Chain, Names, Root, Trust};
pub use endpoint::Endpoint;
pub use probe::{Engine, Found, ProbeError, probe};
