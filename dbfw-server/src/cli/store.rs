//! `dbfw-server store`: backups.

use std::io::BufReader;

use anyhow::bail;
use tokio::runtime;

use super::{
    args::{Context, StoreVerb},
    client::{Client, ClientError},
    exit::Exit,
    output::{note, print},
    owner::{hand_over, make_directories},
};
use crate::{
    config::{self, StoreConfig},
    serve::{STORE_PATH, open_store},
    service::load,
    store::{dump, read_dump},
};

/// Does what the verb says.
pub(super) fn store(context: &Context, verb: StoreVerb) -> anyhow::Result<Exit> {
    match verb {
        StoreVerb::Dump => print(&dumped(context)?)?,
        StoreVerb::Load { replace } => {
            let dumped = read_dump(&mut BufReader::new(std::io::stdin().lock()))?;
            let config = config::load(&context.config)?;
            make_directories(&config)?;
            let store = open_store(&config)?;
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let meta = runtime.block_on(load(&store, dumped, replace))?;
            hand_over(&config)?;
            note(&format!("loaded store {}; its epoch is {} now", meta.store_id, meta.epoch));
        }
    }
    Ok(Exit::Ok)
}

/// The store as text: from the server that has it open, or from the file.
fn dumped(context: &Context) -> anyhow::Result<Vec<u8>> {
    match Client::new(context.socket()).data(STORE_PATH) {
        Ok(text) => return Ok(text.to_vec()),
        Err(ClientError::Unreachable(..)) => {}
        Err(error) => return Err(error.into()),
    }
    let config = config::load(&context.config)?;
    let StoreConfig::File(path) = &config.store;
    // Opening it would make one.
    if !path.exists() {
        bail!("there is no store {}: run `dbfw-server init`", path.display());
    }
    let store = open_store(&config)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(store.list(""))?;
    if snapshot.entries.is_empty() {
        bail!("the store {} is empty: there is nothing to back up", path.display());
    }
    let mut text = Vec::new();
    dump(&snapshot, &mut text)?;
    Ok(text)
}
