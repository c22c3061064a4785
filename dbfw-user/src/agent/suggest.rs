//! `dbfw suggest`.

use std::net::IpAddr;

use super::{state::Agent, trust::unknown_database};
use crate::{
    control::{
        server::Call,
        wire::{ControlErrorKind, Suggestions},
    },
    provider::inventory::Inventory,
    readers::suggest::suggest,
};

impl Agent {
    /// Proposes trusted sources from what was refused. What the provider has is asked for
    /// beside the loop.
    pub(super) fn suggest(&self, call: Call, database: Option<String>) {
        if let Some(name) = &database
            && !self.ids.contains_key(name)
        {
            return call.fail(ControlErrorKind::Invalid, unknown_database(&self.ids, name));
        }
        let refused = self.refused_sources.clone();
        let policy = self.policy.clone();
        let ids = self.ids.clone();
        let inventory = self.workers.inventory();
        tokio::spawn(async move {
            let (inventory, inventory_error) = match inventory {
                None => (Inventory::default(), None),
                Some(answer) => match answer.await {
                    Ok(Ok(inventory)) => (inventory, None),
                    Ok(Err(error)) => (Inventory::default(), Some(error.message)),
                    Err(_) => {
                        let message = "the provider's task ended before it answered";
                        (Inventory::default(), Some(message.to_owned()))
                    }
                },
            };
            let is_trusted = |name: &str, address: IpAddr| {
                let bit = ids.get(name).map_or(0, |id| 1u64 << (id - 1));
                policy.verdict_mask(address) & bit != 0
            };
            let mut suggestions: Suggestions =
                suggest(&refused, database.as_deref(), &inventory, &is_trusted);
            suggestions.inventory_error = inventory_error;
            call.answer(&suggestions);
        });
    }
}
