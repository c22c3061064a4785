//! Lists as rules of other systems, and the rules of others as a list.
//!
//! ```
//! use dbfw_core::exchange::{import_ufw, list};
//!
//! let found = import_ufw("### tuple ### allow tcp 5432 0.0.0.0/0 any 192.0.2.0/24 in\n", None);
//! assert_eq!(list(&found), "192.0.2.0/24 # 5432/tcp (line 1)\n");
//! ```

mod export;
mod hba;
mod imported;
mod nft;
mod ufw;

pub use export::{Exported, ExportedSource, nft, pg_hba};
pub use hba::import_hba;
pub use imported::{Imported, Left, list};
pub use nft::import_nft;
pub use ufw::import_ufw;

#[cfg(test)]
mod tests;
