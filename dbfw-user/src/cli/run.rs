//! `dbfw run`.

use super::{context::Context, exit::Exit, offline};

pub(super) fn run(context: &Context) -> anyhow::Result<Exit> {
    offline::run_agent(context.config_path().to_owned())?;
    Ok(Exit::Ok)
}
