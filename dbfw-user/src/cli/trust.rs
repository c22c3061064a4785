//! `dbfw trust`.

use anyhow::Context as _;
use jiff::Timestamp;

use super::{args::TrustVerb, context::Context, exit::Exit, note};
use crate::control::wire::{Request, TrustList};

pub(super) fn trust(context: &Context, verb: TrustVerb) -> anyhow::Result<Exit> {
    let (request, done) = match verb {
        TrustVerb::List => (Request::TrustList {}, None),
        TrustVerb::Rm { source, database } => {
            (Request::TrustRemove { database, source }, Some("trusted no more"))
        }
        TrustVerb::Add { source, database, lifetime, why } => {
            let expires_at = lifetime
                .map(|lifetime| {
                    lifetime.after(Timestamp::now()).context("--for ends after the year 9999")
                })
                .transpose()?;
            (Request::TrustAdd { database, source, expires_at, why }, Some("trusted from now on"))
        }
    };
    let list: TrustList = context.call(&request)?;
    if let Some(done) = done {
        note(done);
    }
    context.show(&list)?;
    Ok(Exit::Ok)
}
