//! `dbfw suggest`.

use super::{context::Context, exit::Exit, message::warn};
use crate::control::wire::{Request, Suggestions};

pub(super) fn suggest(context: &Context, database: Option<String>) -> anyhow::Result<Exit> {
    let found: Suggestions = context.call(&Request::Suggest { database })?;
    if let Some(error) = &found.inventory_error {
        warn(&format!("addresses are not matched with what the account holds: {error}"));
    }
    context.show(&found)?;
    Ok(Exit::Ok)
}
