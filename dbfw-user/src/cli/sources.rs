//! `dbfw sources`.

use super::{context::Context, exit::Exit};
use crate::control::wire::{Request, Sources};

pub(super) fn sources(context: &Context) -> anyhow::Result<Exit> {
    context.show(&context.call::<Sources>(&Request::Sources {})?)?;
    Ok(Exit::Ok)
}
