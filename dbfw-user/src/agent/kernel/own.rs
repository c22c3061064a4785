//! This host's own addresses, followed: who connects from one of them to another is local.

use dbfw_datapath::{Datapath, LocalRoutes};

/// The host's own addresses, and what stands in the way of knowing them.
#[derive(Debug)]
pub(super) struct OwnAddresses {
    routes: LocalRoutes,
    trouble: Option<String>,
}

impl OwnAddresses {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// A netlink socket cannot be had.
    pub(super) fn open() -> std::io::Result<Self> {
        Ok(Self { routes: LocalRoutes::open()?, trouble: None })
    }

    /// Puts into the maps what is local now. Where that cannot be had they keep what they have.
    pub(super) async fn follow(&mut self, datapath: &mut Datapath) {
        let trouble = match self.routes.read().await {
            Ok(local) => match datapath.set_own(&local) {
                Ok(0) if local.domains_left_out() == 0 => None,
                Ok(left_out) => Some(format!(
                    "{left_out} of this host's addresses and {} of its VRFs are more than the maps \
                     hold: a local client that connects from one of those is judged like any other",
                    local.domains_left_out()
                )),
                Err(error) => Some(format!("this host's own addresses are not known: {error}")),
            },
            Err(error) => Some(format!("this host's own addresses are not known: {error}")),
        };
        if let Some(told) = &trouble
            && self.trouble.as_ref() != Some(told)
        {
            tracing::error!("{told}");
        }
        self.trouble = trouble;
    }

    /// The problem, for the status.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}
