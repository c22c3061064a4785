//! Audits of the databases of this host, and probes of them as a client without a credential.
//!
//! `run` is an audit. Its sources: `processes` and `published` say what listens here, `cluster` reads
//! PostgreSQL's files, `wire` connects, `login` does so as a user, and `watch` sees what clients send
//! first. `exposed`, `certificate` and `seen` judge what these found.
//!
//! `probe` asks an endpoint what it speaks, and for its certificates; `mysql`, `postgres`, `redis`,
//! `mongodb` and `old_tls` are the messages; `chain` says what the certificates are good for.

mod certificate;
mod chain;
mod cluster;
mod endpoint;
mod exposed;
mod login;
mod mongodb;
mod mysql;
mod old_tls;
mod postgres;
mod probe;
mod processes;
mod published;
mod redis;
mod run;
mod seen;
mod user;
mod watch;
mod wire;

pub use certificate::Known;
pub use chain::{Chain, Names, Root, Trust, Weakness};
pub use endpoint::Endpoint;
pub use probe::{Found, ProbeError, probe};
pub use run::{Audited, AuditedDatabase, AuditedEndpoint, AuditedTls, Order, run};
