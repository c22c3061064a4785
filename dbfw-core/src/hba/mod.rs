//! `pg_hba.conf`, read and judged as PostgreSQL does.
//!
//! ```
//! use dbfw_core::hba::{Client, Database, Dialect, Encryption, NoFacts, NoFiles, Role, Rules};
//!
//! let file = b"hostssl all all 10.0.0.0/8 scram-sha-256\nhost all all 0.0.0.0/0 password\n";
//! let rules = Rules::parse("pg_hba.conf".as_ref(), file, Dialect::From16, &mut NoFiles).unwrap();
//! let client = Client {
//!     database: Database::Named(b"orders"),
//!     role: Role::Other,
//!     encryption: Encryption::Plain,
//! };
//! let judged = rules.judge("10.0.0.0/8".parse().unwrap(), &client, &NoFacts);
//! assert_eq!(judged[0].verdict.line().unwrap().place().line, 2);
//! ```

mod address;
mod judge;
mod lex;
mod line;
mod problem;
mod token;

pub use address::Address;
pub use judge::{Client, Database, Encryption, Facts, Judged, NoFacts, Role, Verdict};
pub use lex::{Dialect, FileError, Files, NoFiles};
pub use line::{Connection, DatabaseItem, Line, Method, RoleItem, Rules};
pub use problem::{Fault, Place, Problem};

#[cfg(test)]
mod tests;
