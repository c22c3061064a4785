//! The server as a process, asked over TLS as its clients do. Needs no root.

#![expect(clippy::unwrap_used, reason = "a test ends at the place of what it did not expect")]

// The panel in a real browser.
mod browser;
// What the clients send, recorded: doctl, godo, terraform.
mod clients;
// An agent, as far as the protocol goes.
mod agent;
// The command line, and what it makes.
mod cli;
// Answers that say what is enforced.
mod enforced;
// A real etcd.
mod etcd;
// Expired sources go.
mod expiry;
// Hosts that join.
mod hosts;
// Streams of lists to hosts.
mod streams;
// Bodies, headers and connections of whoever means harm.
mod hostile;
// DigitalOcean, as far as a tag goes.
mod digitalocean;
// Sources that the server resolves, at the hosts.
mod resolved;
// The worker of an agent.
mod worker;
// The own API.
mod metrics;
mod native;
// The description of the own API.
mod openapi;
// The panel, over HTTP.
mod panel;
// Many at once: nothing is lost.
mod races;
// Who may do what.
mod rights;
// Several servers on one etcd.
mod servers;
// Backups, kills, full disks.
mod storage;
// The server and its clients.
mod support;
// Certificates.
mod tls;
