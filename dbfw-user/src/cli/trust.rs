//! `dbfw trust`.

use anyhow::Context as _;
use jiff::Timestamp;

use super::{args::TrustVerb, context::Context, exit::Exit, note, warn};
use crate::{
    control::wire::{Request, TrustList},
    source::TrustedSource,
};

pub(super) fn trust(context: &Context, verb: TrustVerb) -> anyhow::Result<Exit> {
    let (request, done) = match verb {
        TrustVerb::List => (Request::TrustList {}, None),
        TrustVerb::Rm { source, database } => {
            let source = source.to_string();
            (Request::TrustRemove { database, source }, Some("trusted no more"))
        }
        TrustVerb::Add { source, database, lifetime, why } => {
            if is_everyone(&source) {
                warn(&format!("{source} opens {database} to everyone"));
            }
            let source = source.to_string();
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

fn is_everyone(source: &TrustedSource) -> bool {
    let prefixes = source.literal_prefixes().and_then(Result::ok).unwrap_or_default();
    prefixes.iter().any(|prefix| prefix.len() == 0)
}
