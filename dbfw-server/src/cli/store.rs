//! `dbfw-server store`: backups, and the way to another store.

use std::io::BufReader;

use anyhow::bail;
use tokio::runtime::{self, Runtime};

use super::{
    args::{Context, StoreVerb},
    client::{Client, ClientError},
    exit::Exit,
    output::{note, print},
    owner::{hand_over, make_directories},
};
use crate::{
    config::{self, Config},
    serve::{STORE_PATH, open_store},
    service::{InitError, load},
    store::{Dumped, Presence, Snapshot, Store, dump, read_dump},
};

/// Does what the verb says.
pub(super) fn store(context: &Context, verb: StoreVerb) -> anyhow::Result<Exit> {
    match verb {
        StoreVerb::Dump => print(&dumped(context)?)?,
        StoreVerb::Load { replace } => {
            let dumped = read_dump(&mut BufReader::new(std::io::stdin().lock()))?;
            fill(&config::load(&context.config)?, dumped, replace)?;
        }
        StoreVerb::Copy { to, replace } => {
            let from = config::load(&context.config)?;
            let to = config::load(&to)?;
            if from.store == to.store {
                bail!("both configurations have the store {}", from.store);
            }
            let entries = runtime()?.block_on(entries(&from))?.entries.into_iter();
            fill(&to, entries.map(|(key, entry)| (key, entry.value)).collect(), replace)?;
        }
    }
    Ok(Exit::Ok)
}

fn runtime() -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Fills the store of a configuration.
fn fill(config: &Config, dumped: Dumped, replace: bool) -> anyhow::Result<()> {
    make_directories(config)?;
    let meta = runtime()?.block_on(async {
        let store = open_store(config).await?;
        anyhow::Ok(load(&store, dumped, replace).await?)
    })?;
    hand_over(config)?;
    note(&format!("loaded store {}; its epoch is {} now", meta.store_id, meta.epoch));
    Ok(())
}

/// The store as text: from the server that has it open, or from where it is.
fn dumped(context: &Context) -> anyhow::Result<Vec<u8>> {
    match Client::new(context.socket()).data(STORE_PATH) {
        Ok(text) => return Ok(text.to_vec()),
        Err(ClientError::Unreachable(..)) => {}
        Err(error) => return Err(error.into()),
    }
    let config = config::load(&context.config)?;
    let snapshot = runtime()?.block_on(async {
        let store = found(&config).await?;
        all(&config, &store).await
    })?;
    let mut text = Vec::new();
    dump(&snapshot, &mut text)?;
    Ok(text)
}

/// The entries of a store that no server changes meanwhile.
async fn entries(config: &Config) -> anyhow::Result<Snapshot> {
    let store = found(config).await?;
    let running = Presence::all(&store).await?;
    if !running.is_empty() {
        return Err(InitError::InUse(running).into());
    }
    all(config, &store).await
}

/// The store of a configuration, which has to be there: opening a file would make one.
async fn found(config: &Config) -> anyhow::Result<Store> {
    if let Some(path) = config.store.file().filter(|path| !path.exists()) {
        bail!("there is no store {}: run `dbfw-server init`", path.display());
    }
    Ok(open_store(config).await?)
}

async fn all(config: &Config, store: &Store) -> anyhow::Result<Snapshot> {
    let snapshot = store.list("").await?;
    if snapshot.entries.is_empty() {
        bail!("the store {} is empty: there is nothing to back up", config.store);
    }
    Ok(snapshot)
}
