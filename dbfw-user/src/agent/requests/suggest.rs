//! `dbfw suggest`: trusted sources proposed from what was refused.

use std::net::IpAddr;

use dbfw_core::answers::FetchError;
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::{ControlErrorKind, Suggestions};
use tokio::sync::oneshot;

use super::by_hand::unknown_database;
use crate::{
    agent::kernel::Kernel, control::server::Call, readers::suggest::suggest,
    traffic::refused::RefusedSources,
};

/// Suggests trusted sources from what was refused, once the provider's inventory was answered.
pub(super) fn answer(
    call: Call,
    database: Option<String>,
    kernel: &Kernel,
    refused: &RefusedSources,
    inventory: Option<oneshot::Receiver<Result<Inventory, FetchError>>>,
) {
    if let Some(name) = &database
        && !kernel.ids().contains_key(name)
    {
        return call.fail(ControlErrorKind::Invalid, unknown_database(kernel, name));
    }
    let refused = refused.clone();
    let policy = kernel.policy().clone();
    let ids = kernel.ids().clone();
    tokio::spawn(async move {
        let (inventory, inventory_error) = match inventory {
            None => (Inventory::default(), None),
            Some(answer) => match answer.await {
                Ok(Ok(inventory)) => (inventory, None),
                Ok(Err(error)) => (Inventory::default(), Some(error.message)),
                Err(_) => {
                    let message = "the provider's worker ended before it answered";
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
