//! [`Panel`]: what every page is made from.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::{
    api::{App, Rates},
    service::Service,
};

/// Logins of an address in a minute that fail.
const FAILED_LOGINS: u32 = 20;

/// Pages that are kept up to date at a time.
const LIVE: usize = 512;

/// The parts that every page is made from.
#[derive(Debug)]
pub struct Panel {
    pub(super) app: Arc<App>,
    pub(super) logins: Rates,
    /// Room for pages that are kept up to date.
    pub(super) live: Arc<Semaphore>,
    /// Whether the server is about to end.
    pub(super) stopped: watch::Receiver<bool>,
    /// Whether browsers speak TLS with this server itself.
    pub(super) is_tls: bool,
}

impl Panel {
    /// The panel of the same service as the APIs.
    pub fn new(app: Arc<App>, stopped: watch::Receiver<bool>, is_tls: bool) -> Self {
        let logins = Rates::new(0, FAILED_LOGINS);
        Self { app, logins, live: Arc::new(Semaphore::new(LIVE)), stopped, is_tls }
    }

    pub(super) fn service(&self) -> &Service {
        &self.app.service
    }

    /// The server's name.
    pub(super) fn name(&self) -> &str {
        &self.app.settings.name
    }
}
