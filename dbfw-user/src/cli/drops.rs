//! `dbfw drops`: asks the agent for refused sources, once or as they come.

use dbfw_wire::control::{DropEvent, Drops, Request};

use super::{context::Context, exit::Exit};
use crate::control::client::ClientError;

/// The sources that were refused most.
pub(super) fn top(context: &Context, limit: usize) -> anyhow::Result<Exit> {
    context.show(&context.call::<Drops>(&Request::Drops { follow: false, limit })?)?;
    Ok(Exit::Ok)
}

/// Refusals as they happen.
pub(super) fn follow(context: &Context) -> anyhow::Result<Exit> {
    let agent = context.connect()?;
    let mut printer = context.printer();
    let mut events = false;
    let followed = agent.stream(&Request::Drops { follow: true, limit: 0 }, |value| {
        // The first document is the list of those before.
        if !std::mem::replace(&mut events, true) {
            return Ok(());
        }
        let event: DropEvent = serde_json::from_value(value).map_err(ClientError::Garbled)?;
        printer.item(&event)?;
        printer.flush()
    });
    match followed.map_err(anyhow::Error::downcast) {
        Ok(()) => Ok(Exit::Ok),
        Err(Ok(ClientError::CutShort { path, .. })) if events => {
            Err(ClientError::WentAway { path }.into())
        }
        Err(Ok(error)) => Err(error.into()),
        Err(Err(error)) => Err(error),
    }
}
