//! `dbfw explain`.

use std::net::IpAddr;

use super::{context::Context, exit::Exit, note, offline, output::Explanations};
use crate::control::{client::ClientError, wire::Request};

pub(super) fn explain(
    context: &Context,
    address: IpAddr,
    port: Option<u16>,
) -> anyhow::Result<Exit> {
    let explanations = context.ask_or_look(
        |agent| {
            let mut found = Vec::new();
            agent.stream(&Request::Explain { address, port }, |value| {
                found.push(serde_json::from_value(value).map_err(ClientError::Garbled)?);
                Ok::<(), ClientError>(())
            })?;
            Ok(found)
        },
        |config| {
            let found = offline::explain(config, address, port)?;
            note("the agent is not running; the pinned programs and maps were asked instead");
            Ok(found)
        },
    )?;
    if explanations.is_empty() {
        note("no database is configured, so nothing is judged");
    }
    let explanations = Explanations(explanations);
    context.show(&explanations)?;
    Ok(if explanations.denied() { Exit::Failure } else { Exit::Ok })
}
