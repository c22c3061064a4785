//! `dbfw-server init`: sets the server up.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use tokio::runtime;

use super::{
    args::Context,
    exit::Exit,
    output::{note, print, warn},
    owner::{hand_over, make_directories},
};
use crate::{
    config::{self, Tls},
    serve::{Authority, open_store},
    service::{InitError, initialize},
};

/// The configuration with every default.
const CONFIG: &str = include_str!("../../../packaging/dbfw-server.toml");

/// Makes what is not there yet, and prints the first token.
pub(super) fn init(context: &Context) -> anyhow::Result<Exit> {
    write_config(&context.config)?;
    let config = config::load(&context.config)?;
    make_directories(&config)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let store = runtime.block_on(open_store(&config))?;
    let authority = Authority::of(&config);
    let is_new_authority = config.tls == Tls::Own && authority.make()?;
    let initialized = runtime.block_on(initialize(&store));
    hand_over(&config)?;
    let secret = match initialized {
        Ok((_, secret)) => secret,
        Err(InitError::Exists) if config.store.file().is_none() => {
            note("the store was set up before: this server shares it, and its tokens count here");
            if is_new_authority {
                warn(&format!(
                    "this server has a certificate authority of its own: clients and agents of \
                     several servers need one for all; set tls = {{ cert = …, key = … }}, or copy {} \
                     of the first server",
                    config.state_dir.join("tls").display()
                ));
            }
            return Ok(Exit::Ok);
        }
        // The store is there, and only the certificates were lost.
        Err(InitError::Exists) if is_new_authority => {
            warn(&format!(
                "a new certificate authority is in place of the one that was lost: give {} to every \
                 client and agent; the store and its tokens are as they were",
                authority.certificate().display()
            ));
            return Ok(Exit::Ok);
        }
        Err(error) => return Err(error.into()),
    };
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
