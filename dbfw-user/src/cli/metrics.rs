//! `dbfw metrics`: prints the metrics, from the agent or from the pins.

use dbfw_wire::control::{Request, Text};

use super::{context::Context, exit::Exit};
use crate::readers::offline;

pub(super) fn metrics(context: &Context) -> anyhow::Result<Exit> {
    let metrics: Text = context.ask_or_look(
        |agent| Ok(agent.call(&Request::Metrics {})?),
        |config, unanswered| {
            let text = offline::metrics(config)?;
            context.note_pins(unanswered, "these are the metrics the pinned maps have");
            Ok(Text { text })
        },
    )?;
    context.show(&metrics)?;
    Ok(Exit::Ok)
}
