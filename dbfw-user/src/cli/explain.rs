//! `dbfw explain`: asks what the loaded program does with packets from an address.

use std::net::IpAddr;

use dbfw_wire::control::{Explanation, Protection, Request, Status, Verdict};

use super::{
    context::Context,
    exit::Exit,
    message::{note, warn},
};
use crate::readers::offline;

pub(super) fn explain(
    context: &Context,
    address: IpAddr,
    port: Option<u16>,
) -> anyhow::Result<Exit> {
    let address = unmapped(address);
    let explanations: Vec<Explanation> = context.ask_or_look(
        |agent| {
            let found = agent.documents(&Request::Explain { address, port })?;
            let status: Status = context.call(&Request::Status {})?;
            doubt(&status);
            Ok(found)
        },
        |config| {
            let found = offline::explain(config, address, port)?;
            note(&format!(
                "{}; the pinned programs and maps were asked instead",
                context.no_agent()
            ));
            doubt(&offline::status(config, &context.socket())?);
            Ok(found)
        },
    )?;
    if explanations.is_empty() {
        note("no database is configured, so nothing is judged");
    }
    context.show(&explanations)?;
    let is_dropped = explanations.iter().any(|found| found.verdict == Verdict::Drop);
    Ok(if is_dropped { Exit::Failure } else { Exit::Ok })
}

/// Turns an IPv4-mapped IPv6 address, as servers log it, into the IPv4 address of its packets.
pub(super) fn unmapped(address: IpAddr) -> IpAddr {
    let canonical = address.to_canonical();
    if canonical != address {
        note(&format!("{address} is how IPv6 sockets show the IPv4 address {canonical}"));
    }
    canonical
}

/// Warns where the programs are not attached: there their decision means little.
fn doubt(status: &Status) {
    let doubt = match status.protection {
        Protection::Yes => return,
        Protection::Degraded => "this host is protected in part",
        Protection::No => "this host is not protected",
        Protection::Unknown => "whether this host is protected is unknown",
    };
    warn(&format!("{doubt} (`dbfw status` says why): it is only what the programs would decide"));
}
