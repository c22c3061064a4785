//! The unix socket between the command line and the agent.
//!
//! A connection carries one request, one line of JSON, and its answer:
//! [`dbfw_wire::control::Reply`] documents, one a line. The client keeps the connection open until
//! it has what it wants; that it goes away is how the agent learns that nobody listens any more.

pub mod client;
pub mod listen;
pub mod server;

/// Name of the socket in the agent's `run_dir`.
pub const SOCKET_NAME: &str = "dbfw.sock";
