//! `dbfw sources`: asks the agent for the state of every trusted source.

use dbfw_wire::control::{Request, Sources};

use super::{context::Context, exit::Exit};

pub(super) fn sources(context: &Context) -> anyhow::Result<Exit> {
    context.show(&context.call::<Sources>(&Request::Sources {})?)?;
    Ok(Exit::Ok)
}
