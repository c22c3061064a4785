//! `dbfw ca`: the certificates of a database, and what clients must write.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use dbfw_core::audit::Engine;
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    context::{Context, print},
    exit::Exit,
    message::{note, warn},
};
use crate::{
    audit::{Chain, Endpoint, Found, Root, Trust, probe},
    causes::causes,
    config,
};

/// Endpoints that are tried, each for some seconds.
const MAX_TRIED: usize = 8;

pub(super) fn ca(context: &Context, name: &str, ca_file: Option<&Path>) -> anyhow::Result<Exit> {
    let config = config::load(&context.config)?;
    let database = config.databases.iter().find(|database| database.name == name);
    let Some(database) = database else {
        let names: Vec<&str> = config.databases.iter().map(|one| &*one.name).collect();
        bail!("there is no database {name:?}; there are: {}", names.join(", "));
    };
    let roots = match ca_file {
        Some(file) => roots_of(file, &certificates(file)?)?,
        None => system_roots(),
    };
    let mut endpoints = Vec::new();
    for port in database.ports.tcp() {
        endpoints.extend(Endpoint::all(port, &database.destinations)?);
    }
    let (endpoint, found) = first_with_tls(&endpoints)?;
    let chain = Chain::of(&found.certificates).map_err(anyhow::Error::msg)?;
    print(&chain.pem())?;
    tell(name, endpoint, &found, &chain, &roots);
    Ok(Exit::Ok)
}

/// Probes one endpoint after the other until one shows certificates.
fn first_with_tls(endpoints: &[Endpoint]) -> anyhow::Result<(Endpoint, Found)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for a server")?;
    let mut failures = Vec::new();
    for endpoint in endpoints.iter().take(MAX_TRIED) {
        match runtime.block_on(probe(*endpoint)) {
            Ok(found) => return Ok((*endpoint, found)),
            Err(error) => {
                let Endpoint { address, port } = endpoint;
                failures.push(format!("{address} port {port}: {}", causes(&error.into())));
            }
        }
    }
    bail!("no certificate can be had:\n{}", failures.join("\n"))
}

/// The authorities that this host knows.
pub(super) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The certificates of a file.
pub(super) fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let cannot = || format!("{} cannot be read as certificates in PEM", file.display());
    let text = fs::read(file).with_context(cannot)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    certificates.with_context(cannot)
}

/// The authorities among the certificates of a file.
pub(super) fn roots_of(
    file: &Path,
    certificates: &[CertificateDer<'static>],
) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        bail!("{} has no certificate in PEM", file.display());
    }
    Ok(roots)
}

/// Says on standard error what the chain is and what clients must write.
fn tell(name: &str, endpoint: Endpoint, found: &Found, chain: &Chain, roots: &RootCertStore) {
    let now = Timestamp::now();
    let Endpoint { address, port } = endpoint;
    let version = found.version.as_deref().unwrap_or("TLS");
    let (not_before, not_after) = chain.validity();
    note(&format!(
        "{name}: {} at {address} port {port}, {version}; {} of {}, SHA-256 {}",
        found.engine.map_or_else(|| "a server".to_owned(), |engine| engine.to_string()),
        if chain.len() == 1 {
            "the certificate".to_owned()
        } else {
            format!("{} certificates", chain.len())
        },
        chain.subject(),
        chain.fingerprint(),
    ));
    if let Some(not_before) = not_before.filter(|at| *at > now) {
        warn(&format!(
            "the certificate is good only from {not_before} on: no client can verify it"
        ));
    }
    match not_after {
        Some(at) if at <= now => {
            warn(&format!("the certificate expired at {at}: no client can verify it"));
        }
        Some(at) => note(&format!("it expires at {at}")),
        None => {}
    }
    let is_known = chain.trust(roots, now) == Trust::Yes;
    match (chain.root(), is_known) {
        (_, true) => {
            note("clients that know the same authorities as this host verify it without a file")
        }
        (Root::Missing { issuer }, false) => warn(&format!(
            "the server does not send its root, and this output is no sslrootcert: get the \
             certificate of {issuer} from whoever signs for it, or append it to the server's file"
        )),
        (Root::Sent, false) => {
            if let Trust::No(why) = chain.trust_by_itself(now) {
                warn(&format!("the chain does not verify even by its own root: {why}"));
            }
        }
        (Root::SelfSigned, false) => {
            note(
                "the certificate signs itself: clients need this output, and again when it changes",
            );
        }
    }
    let file = format!("{name}-ca.pem");
    let host = host(chain);
    match &host {
        Some(host) => {
            note(&format!("clients, with this output in {file}:"));
            for line in lines(found.engine, host, port, &file) {
                note(&line);
            }
        }
        None => {
            let common_name = match chain.common_name() {
                Some(name) => format!("; libpq alone would take its common name, {name}"),
                None => String::new(),
            };
            warn(&format!(
                "verify-full cannot work: the certificate names no host{common_name}. Have it issued \
                 with the server's name as subject alternative name; until then sslmode=verify-ca"
            ));
        }
    }
}

/// The name by which clients can reach the server and verify it.
fn host(chain: &Chain) -> Option<String> {
    let names = chain.names();
    let (wild, plain): (Vec<&String>, _) =
        names.hosts.iter().partition(|host| host.starts_with('*'));
    let plain = plain.into_iter().cloned();
    let wild = wild.into_iter().map(|host| host.replacen('*', "NAME", 1));
    let addresses = names.addresses.iter().map(ToString::to_string);
    plain.chain(wild).chain(addresses).find(|name| chain.is_for(name))
}

/// The lines that clients of an engine write.
fn lines(engine: Option<Engine>, host: &str, port: u16, file: &str) -> Vec<String> {
    let uri_host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let postgres =
        || format!("psql \"host={host} port={port} sslmode=verify-full sslrootcert={file}\"");
    let redis = || format!("redis-cli -h {host} -p {port} --tls --cacert {file}");
    let mongo = || format!("mongosh \"mongodb://{uri_host}:{port}/?tls=true&tlsCAFile={file}\"");
    match engine {
        Some(Engine::Postgres) => vec![postgres()],
        Some(Engine::MySql) => vec![
            format!("mysql --host={host} --port={port} --ssl-mode=VERIFY_IDENTITY --ssl-ca={file}"),
            format!("mariadb --host={host} --port={port} --ssl-verify-server-cert --ssl-ca={file}"),
        ],
        Some(Engine::Redis) => vec![redis()],
        Some(Engine::MongoDb) => vec![mongo()],
        None => vec![redis(), mongo()],
    }
}
