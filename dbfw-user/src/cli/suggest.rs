//! `dbfw suggest`: asks the agent which refused sources could be trusted.

use dbfw_wire::control::{Request, Suggestions};

use super::{context::Context, exit::Exit, message::warn, output::Shown};

pub(super) fn suggest(
    context: &Context,
    database: Option<String>,
    all: bool,
) -> anyhow::Result<Exit> {
    let found: Suggestions = context.call(&Request::Suggest { database })?;
    if let Some(error) = &found.inventory_error {
        warn(&format!("addresses are not matched with what the account holds: {error}"));
    }
    if let Some(error) = &found.connections_error {
        warn(&format!("it is not known who is connected: {error}"));
    }
    context.show(&Shown { suggestions: &found, all })?;
    Ok(Exit::Ok)
}
