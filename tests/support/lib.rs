//! What the tests stand on: the loaded kernel programs, the agent, namespaces, packets and
//! models.

pub mod agent;
pub mod btf;
pub mod capabilities;
pub mod control_plane;
pub mod corpus;
pub mod dns_server;
pub mod features;
pub mod foreign;
pub mod hang;
pub mod kernel;
pub mod link;
pub mod model;
pub mod mutate;
pub mod netns;
pub mod packets;
pub mod pair;
pub mod policy;
pub mod postgres;
pub mod provider_server;
pub mod pydo;
pub mod site;
pub mod skew;
pub mod stack;
pub mod steady;
mod sys;
pub mod systemd;
pub mod traffic;
pub mod tun;
