//! `dbfw reload`.

use super::{context::Context, exit::Exit};
use crate::control::wire::{Reloaded, Request};

pub(super) fn reload(context: &Context, confirm: bool) -> anyhow::Result<Exit> {
    let reloaded: Reloaded = context.call(&Request::Reload { confirm })?;
    context.show(&reloaded)?;
    let done = reloaded.refused.is_empty() && reloaded.failed.is_empty();
    Ok(if done { Exit::Ok } else { Exit::Failure })
}
