//! `dbfw map`: reads the kernel's maps, through the agent or from the pins.

use dbfw_wire::control::{Lookup, MapEntry, Request};

use super::{args::MapVerb, context::Context, exit::Exit, explain::unmapped};
use crate::readers::offline;

const FROM_PINS: &str = "this is read from the pinned maps";

pub(super) fn map(context: &Context, verb: MapVerb) -> anyhow::Result<Exit> {
    match verb {
        MapVerb::Dump => dump(context)?,
        MapVerb::Lookup { address } => {
            let address = unmapped(address);
            let found: Lookup = context.ask_or_look(
                |agent| Ok(agent.call(&Request::MapLookup { address })?),
                |config, unanswered| {
                    let found = offline::map_lookup(config, address)?;
                    context.note_pins(unanswered, FROM_PINS);
                    Ok(found)
                },
            )?;
            context.show(&found)?;
        }
    }
    Ok(Exit::Ok)
}

fn dump(context: &Context) -> anyhow::Result<()> {
    context.ask_or_look(
        |agent| {
            let mut printer = context.printer();
            agent.stream(&Request::MapDump {}, |entry: MapEntry| printer.item(&entry))?;
            printer.flush()
        },
        |config, unanswered| {
            let mut printer = context.printer();
            offline::map_dump(config, &mut |entry| printer.item(&entry))?;
            context.note_pins(unanswered, FROM_PINS);
            printer.flush()
        },
    )
}
