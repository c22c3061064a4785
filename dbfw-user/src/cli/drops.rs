//! `dbfw drops`: asks the agent for refused sources, once or as they come.

use dbfw_core::source::Prefix;
use dbfw_wire::control::{DropEvent, DropOrder, Drops, Request};
use jiff::Timestamp;

use super::{
    args::Order,
    context::Context,
    exit::Exit,
    message::note,
    output::{Format, forgotten, is_let_in, left_out},
};
use crate::control::client::ClientError;

/// The request for the refused sources of an address and a database since a moment.
pub(super) fn request(
    order: Order,
    since: Option<Timestamp>,
    address: Option<Prefix>,
    database: Option<String>,
) -> Request {
    let order = match order {
        Order::Newest => DropOrder::Newest,
        Order::Packets => DropOrder::Packets,
    };
    Request::Drops { follow: false, limit: usize::MAX, address, database, since, order }
}

/// The sources that were refused, at most `limit` of them.
pub(super) fn list(context: &Context, limit: usize, request: &Request) -> anyhow::Result<Exit> {
    let mut drops: Drops = context.call(request)?;
    if context.output == Format::Table {
        // Whoever is let in now is what can be left out.
        drops.sources.sort_by_key(is_let_in);
    }
    drops.left_out += drops.sources.len().saturating_sub(limit);
    drops.sources.truncate(limit);
    if context.output == Format::Plain {
        [left_out(&drops), forgotten(&drops)].iter().flatten().for_each(|text| note(text));
    }
    context.show(&drops)?;
    Ok(Exit::Ok)
}

/// Refusals as they happen.
pub(super) fn follow(
    context: &Context,
    address: Option<Prefix>,
    database: Option<String>,
) -> anyhow::Result<Exit> {
    let agent = context.connect()?;
    let mut printer = context.printer();
    let mut events = false;
    let order = DropOrder::default();
    let request = Request::Drops { follow: true, limit: 0, address, database, since: None, order };
    let followed = agent.stream(&request, |value| {
        // The first document is the list of those before.
        if !std::mem::replace(&mut events, true) {
            return Ok(());
        }
        let event: DropEvent = serde_json::from_value(value).map_err(ClientError::Garbled)?;
        if event.missed > 0 {
            note(&format!("{} refusals are missing here: they came too fast", event.missed));
        }
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
