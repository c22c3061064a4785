//! `dbfw suggest`: asks the agent which refused sources could be trusted.

use dbfw_wire::control::{Request, Suggestions};

use super::{context::Context, exit::Exit, message::warn};

pub(super) fn suggest(context: &Context, database: Option<String>) -> anyhow::Result<Exit> {
    let found: Suggestions = context.call(&Request::Suggest { database })?;
    if let Some(error) = &found.inventory_error {
        warn(&format!("addresses are not matched with what the account holds: {error}"));
    }
    context.show(&found)?;
    Ok(Exit::Ok)
}
