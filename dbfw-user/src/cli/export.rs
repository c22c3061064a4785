//! `dbfw export`: the list in force as rules of other systems.

use anyhow::{Context as _, bail};
use dbfw_core::{
    Destinations, PortRange,
    exchange::{self, Exported},
    source::Prefix,
};
use dbfw_wire::control::{
    DatabaseStatus, Export, ExportedDatabase, ExportedSource, Mode, Request, Sources, Status,
};

use super::{
    args::ExportForm,
    context::{Context, print},
    exit::Exit,
    message::note,
};
use crate::readers::offline;

/// The version of the JSON document.
const SCHEMA: u32 = 1;

pub(super) fn export(
    context: &Context,
    form: ExportForm,
    database: Option<&str>,
) -> anyhow::Result<Exit> {
    let (databases, sources) = context.ask_or_look(
        |agent| {
            let status: Status = agent.call(&Request::Status {})?;
            let sources: Sources = context.connect()?.call(&Request::Sources {})?;
            Ok((status.databases, sources))
        },
        |config, unanswered| {
            let found = offline::trusted(config, unanswered)?;
            context.note_pins(unanswered, "this is the list that was last in force");
            Ok(found)
        },
    )?;
    let document = document(databases, sources, database)?;
    let text = match form {
        ExportForm::Json => serde_json::to_string_pretty(&document)? + "\n",
        ExportForm::PgHba => exchange::pg_hba(&judged(&document)?),
        ExportForm::Nft => exchange::nft(&judged(&document)?),
    };
    print(&text)?;
    Ok(Exit::Ok)
}

fn document(
    databases: Vec<DatabaseStatus>,
    sources: Sources,
    wanted: Option<&str>,
) -> anyhow::Result<Export> {
    let names: Vec<String> = databases.iter().map(|database| database.name.clone()).collect();
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let mut exported: Vec<ExportedDatabase> = databases
        .into_iter()
        .filter(|database| is_wanted(&database.name))
        .map(|database| ExportedDatabase {
            name: database.name,
            ports: database.ports,
            addresses: database.addresses,
            mode: database.mode,
            sources: Vec::new(),
        })
        .collect();
    if let (Some(wanted), []) = (wanted, &*exported) {
        bail!("there is no database {wanted:?}; there are: {}", names.join(", "));
    }
    for source in sources.sources {
        let database = exported.iter_mut().find(|database| database.name == source.database);
        if let Some(database) = database {
            database.sources.push(ExportedSource {
                source: source.source,
                origin: source.origin,
                description: source.description,
                expires_at: source.expires_at,
                users: source.users,
                prefixes: source.prefixes,
            });
        }
    }
    Ok(Export { schema: SCHEMA, databases: exported })
}

/// The databases that judge packets, as rules are made of them.
fn judged(document: &Export) -> anyhow::Result<Vec<Exported>> {
    let mut judged = Vec::new();
    for database in &document.databases {
        match database.mode {
            Mode::Off => note(&format!("{} is off and left out", database.name)),
            Mode::Observe | Mode::Enforce => judged.push(exported(database)?),
        }
    }
    Ok(judged)
}

fn exported(database: &ExportedDatabase) -> anyhow::Result<Exported> {
    let ports: Result<_, _> = database.ports.iter().map(|text| text.parse::<PortRange>()).collect();
    let written = database.addresses.iter().filter(|text| *text != "local");
    let written: Result<Vec<Prefix>, _> = written.map(|text| text.parse()).collect();
    let written = written.context("the agent names an address that is none")?;
    let is_local = database.addresses.iter().any(|text| text == "local");
    let mut sources = Vec::new();
    for source in &database.sources {
        let prefixes: Result<_, _> = source.prefixes.iter().map(|text| text.parse()).collect();
        sources.push(exchange::ExportedSource {
            source: source.source.clone(),
            description: source.description.clone(),
            users: source.users.clone(),
            prefixes: prefixes.context("the agent names a prefix that is none")?,
        });
    }
    Ok(Exported {
        name: database.name.clone(),
        ports: ports.context("the agent names a port that is none")?,
        destinations: Destinations::new(is_local, written),
        drops: database.mode == Mode::Enforce,
        sources,
    })
}
