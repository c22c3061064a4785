//! The pure core of dbfw: trusted sources, providers' answers about them, and the policy.
//!
//! Nothing here reads a file, asks a clock or opens a socket: time comes in as an argument.
//!
//! ```
//! use std::sync::Arc;
//!
//! use dbfw_core::{
//!     policy::{Changed, DatabasePolicy, Entries, Policy, SlotTable},
//!     source::{Origin, Prefix, Rule, TrustedSource},
//! };
//!
//! // A rule of the configuration, with the prefixes that it stands for.
//! let source: TrustedSource = "ip_addr:10.0.0.0/8".parse().unwrap();
//! let prefixes: Vec<Prefix> = vec!["10.0.0.0/8".parse().unwrap()];
//! let rule = Rule::of_source(Arc::new(source), Origin::Config, prefixes);
//!
//! // What the kernel should hold, and the way there from nothing.
//! let database = DatabasePolicy { id: 1, name: "orders".to_owned(), rules: vec![rule] };
//! let policy = Policy::build([database]);
//! assert_eq!(policy.verdict_mask("10.1.2.3".parse().unwrap()), 1);
//! let (nothing, held) = (Policy::default(), Entries::new());
//! let mut slots = SlotTable::default();
//! let plan = slots.assign(&nothing, &policy, &Changed::Everything, &held).plan;
//! assert_eq!((plan.writes.len(), plan.removals.len()), (1, 0));
//! ```

pub mod answers;
pub mod audit;
mod destinations;
pub mod exchange;
pub mod hba;
pub mod policy;
mod port;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
pub mod toml;
pub mod trust;

pub use destinations::Destinations;
pub use port::{Port, PortError, PortQuery, PortQueryError, PortRange, Ports};
pub use text::{escaped, misleads};
