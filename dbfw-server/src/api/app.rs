//! [`App`]: what every request is answered from.

use uuid::Uuid;

use super::rate::Rates;
use crate::service::Service;

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
}

/// The parts that every request is answered from.
#[derive(Debug)]
pub struct App {
    pub(crate) service: std::sync::Arc<Service>,
    pub(crate) settings: ApiSettings,
    pub(crate) rates: Rates,
}

impl App {
    /// The APIs of a service.
    pub fn new(service: std::sync::Arc<Service>, settings: ApiSettings) -> Self {
        let rates = Rates::new(settings.requests_per_minute, REFUSED);
        Self { service, settings, rates }
    }
}
