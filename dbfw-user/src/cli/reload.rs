//! `dbfw reload`.

use super::{context::Context, exit::Exit};
use crate::control::wire::{Reloaded, Request};

pub(super) fn reload(context: &Context, confirm: bool) -> anyhow::Result<Exit> {
    let reloaded: Reloaded = context.call(&Request::Reload { confirm })?;
    context.show(&reloaded)?;
    Ok(if reloaded.refused.is_empty() { Exit::Ok } else { Exit::Failure })
}
