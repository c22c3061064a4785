//! `dbfw run`: runs the agent in the foreground.

use super::{context::Context, exit::Exit};
use crate::agent;

pub(super) fn run(context: &Context) -> anyhow::Result<Exit> {
    agent::run(context.config.clone())?;
    Ok(Exit::Ok)
}
