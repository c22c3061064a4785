//! The JSON that dbfw reads and writes, as types of serde.
//!
//! They are shapes, not the domain's types: whoever reads a document turns it into those of
//! `dbfw-core`, and whoever writes one makes it of them. Nothing here does IO.
//!
//! - [`agent`]: the protocol between agents and dbfw-server
//! - [`api`]: the server's own API
//! - [`control`]: requests to the agent, and the documents it answers with
//! - [`digitalocean`]: DigitalOcean's API, for clients and servers
//!
//! ```
//! use dbfw_wire::{
//!     control::Request,
//!     digitalocean::{Firewall, FirewallRule},
//! };
//!
//! let request: Request = serde_json::from_str(r#"{"verb": "explain", "address": "10.0.0.1"}"#)?;
//! let address = "10.0.0.1".parse().unwrap();
//! assert_eq!(request, Request::Explain { address, port: None, udp: None, to: None });
//!
//! let rule = FirewallRule { kind: "tag".into(), value: "backend".into(), ..Default::default() };
//! let body = serde_json::to_string(&Firewall { rules: vec![rule.clone()] })?;
//! assert_eq!(serde_json::from_str::<Firewall>(&body)?.rules, [rule]);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod absent;
pub mod agent;
pub mod api;
pub mod control;
pub mod digitalocean;
mod words;
