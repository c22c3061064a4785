//! `dbfw-server init`: sets the server up.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use tokio::runtime;

use super::{
    args::Context,
    exit::Exit,
    output::{note, print},
    owner::hand_over,
};
use crate::{
    config::{self, StoreConfig, Tls},
    serve::{Authority, open_store},
    service::initialize,
};

/// The configuration with every default.
const CONFIG: &str = include_str!("../../../packaging/dbfw-server.toml");

/// Makes what is not there yet, and prints the first token.
pub(super) fn init(context: &Context) -> anyhow::Result<Exit> {
    write_config(&context.config)?;
    let config = config::load(&context.config)?;
    make_directory(&config.state_dir)?;
    let StoreConfig::File(path) = &config.store;
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let store = open_store(&config)?;
    let authority = Authority::of(&config);
    if config.tls == Tls::Own {
        authority.make()?;
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (_, secret) = runtime.block_on(initialize(&store))?;
    hand_over(&config)?;
    print(format!("{}\n", secret.expose()).as_bytes())?;
    note("this token may do everything, and is shown only here");
    if config.tls == Tls::Own {
        let ca = authority.certificate();
        note(&format!(
            "clients trust the server by {}: SSL_CERT_FILE, REQUESTS_CA_BUNDLE, ca_file",
            ca.display()
        ));
    }
    Ok(Exit::Ok)
}

/// Writes the configuration, unless there is one.
fn write_config(path: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(failed)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(mut file) => {
            file.write_all(CONFIG.as_bytes()).with_context(failed)?;
            note(&format!("wrote {}", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(failed),
    }
}

/// Makes a directory for its owner alone, unless it is there.
fn make_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}
