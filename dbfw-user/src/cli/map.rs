//! `dbfw map`: reads the kernel's maps, through the agent or from the pins.

use dbfw_wire::control::{Lookup, MapEntry, Request};

use super::{args::MapVerb, context::Context, exit::Exit, explain::unmapped, message::note};
use crate::readers::offline;

pub(super) fn map(context: &Context, verb: MapVerb) -> anyhow::Result<Exit> {
    match verb {
        MapVerb::Dump => dump(context)?,
        MapVerb::Lookup { address } => {
            let address = unmapped(address);
            let found: Lookup = context.ask_or_look(
                |agent| Ok(agent.call(&Request::MapLookup { address })?),
                |config| {
                    let found = offline::map_lookup(config, address)?;
                    from_pins(context);
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
        |config| {
            let mut printer = context.printer();
            offline::map_dump(config, &mut |entry| printer.item(&entry))?;
            from_pins(context);
            printer.flush()
        },
    )
}

fn from_pins(context: &Context) {
    note(&format!("{}; this is read from the pinned maps", context.no_agent()));
}
