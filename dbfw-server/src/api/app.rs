//! [`App`]: what every request is answered from.

use std::{sync::Arc, time::Duration};

use dbfw_wire::agent::Digest;
use uuid::Uuid;

use super::{rate::Rates, tally::Tally};
use crate::{fleet::Fleet, resolve::Resolver, service::Service, store::Leader};

/// Requests of an address in a minute that are refused because of their token.
const REFUSED: u32 = 120;

/// Settings of the APIs.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// The server's name, which clients show as the team of an account.
    pub name: String,
    /// The store's identity, which clients show as the team's.
    pub store_id: Uuid,
    /// Requests of one token in a minute.
    pub requests_per_minute: u32,
    /// Whether a change without If-Match is merged with others', where the database wants it.
    pub merge: bool,
    /// Time that the answer to a change waits for the hosts, unless the database says otherwise.
    pub wait: Duration,
    /// The address by which agents and clients reach the server.
    pub url: String,
    /// The authority that the server's certificate comes from, if that is its own.
    pub authority: Option<PinnedAuthority>,
}

/// The server's own certificate authority, as hosts that join get to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedAuthority {
    /// Its certificate.
    pub pem: String,
    /// The digest of its public key.
    pub pin: Digest,
}

/// The parts that every request is answered from.
#[derive(Debug)]
pub struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) leader: Leader,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) settings: ApiSettings,
    pub(crate) rates: Rates,
    pub(crate) tally: Tally,
}

impl App {
    /// The APIs of a service and its fleet.
    pub fn new(
        service: Arc<Service>,
        fleet: Arc<Fleet>,
        leader: Leader,
        resolver: Arc<Resolver>,
        settings: ApiSettings,
    ) -> Self {
        let rates = Rates::new(settings.requests_per_minute, REFUSED);
        let tally = Tally::default();
        Self { service, fleet, leader, resolver, settings, rates, tally }
    }
}
