//! `dbfw status`: shows whether the host is protected, by the agent or by the pins.

use dbfw_wire::control::{Protection, Request, Status};

use super::{context::Context, exit::Exit};
use crate::readers::offline;

pub(super) fn status(context: &Context) -> anyhow::Result<Exit> {
    let status: Status = context.ask_or_look(
        |agent| Ok(agent.call(&Request::Status {})?),
        // That there is no agent is part of the answer.
        |config, unanswered| offline::status(config, &context.socket(), unanswered),
    )?;
    context.show(&status)?;
    let holds = status.protection == Protection::Yes;
    Ok(if holds { Exit::Ok } else { Exit::Failure })
}
