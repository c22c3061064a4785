//! `dbfw-server database`: adds, lists and removes databases.

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use dbfw_wire::api::{
    DatabaseDocument, DatabaseList, DatabaseRequest, DatabaseSettings, MinPrefix,
};

use super::{
    args::{Context, DatabaseVerb, NewDatabase},
    client::Client,
    exit::Exit,
    output::{note, show},
};

/// Bytes of a certificate authority.
const MAX_CA: u64 = 64 << 10;

/// Does what the verb says.
pub(super) fn database(context: &Context, verb: DatabaseVerb) -> anyhow::Result<Exit> {
    let client = Client::new(context.socket());
    match verb {
        DatabaseVerb::Add(new) => {
            let request = request(*new)?;
            let added: DatabaseDocument = client.post("/api/v1/databases", &request)?;
            let rows = [row(&added)];
            show(context.output, &added, TITLES, &rows)?;
            note("nobody is trusted yet");
        }
        DatabaseVerb::List => {
            let list: DatabaseList = client.get("/api/v1/databases")?;
            let rows: Vec<_> = list.databases.iter().map(row).collect();
            show(context.output, &list, TITLES, &rows)?;
        }
        DatabaseVerb::Rm { database, yes } => {
            if !yes && !is_meant(&database)? {
                note("nothing was removed");
                return Ok(Exit::Failure);
            }
            client.delete(&format!("/api/v1/databases/{}", in_path(&database)))?;
            note(&format!(
                "{database} was removed; agents that ask for its list keep what they have"
            ));
        }
    }
    Ok(Exit::Ok)
}

const TITLES: [&str; 5] = ["NAME", "ID", "ENGINE", "SOURCES", "VERSION"];

fn row(database: &DatabaseDocument) -> [String; 5] {
    [
        database.name.clone(),
        database.id.to_string(),
        database.settings.engine.clone().unwrap_or_default(),
        database.sources.to_string(),
        database.list_version.to_string(),
    ]
}

fn request(new: NewDatabase) -> anyhow::Result<DatabaseRequest> {
    let ca = match &new.ca_file {
        None => None,
        Some(path) => {
            let read = dbfw_provider::fs::read_file(path, MAX_CA);
            let content = read.with_context(|| format!("{}", path.display()))?;
            Some(String::from_utf8_lossy(&content).into_owned())
        }
    };
    let (ipv4, ipv6) = (new.min_prefix_ipv4, new.min_prefix_ipv6);
    let min_prefix = (ipv4.is_some() || ipv6.is_some()).then_some(MinPrefix { ipv4, ipv6 });
    let settings = DatabaseSettings {
        engine: Some(new.engine),
        version: None,
        region: new.region,
        tags: (!new.tags.is_empty()).then_some(new.tags),
        host: new.host,
        port: new.port,
        ca,
        allow_any: new.allow_any.then_some(true),
        min_prefix,
        merge: new.no_merge.then_some(false),
        wait: new.wait,
    };
    Ok(DatabaseRequest { name: new.name, id: new.id, settings })
}

/// Asks whoever sits at a terminal. A script means what it says.
fn is_meant(database: &str) -> anyhow::Result<bool> {
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        return Ok(true);
    }
    note(&format!("this removes {database} with its list and its history; type y to go on"));
    let mut answer = [0; 1];
    let read = input.read(&mut answer).context("cannot read the answer")?;
    Ok(read == 1 && answer[0].eq_ignore_ascii_case(&b'y'))
}

/// A name in a path; what no name has is kept from having a meaning there.
pub(super) fn in_path(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
