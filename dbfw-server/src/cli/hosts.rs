//! `dbfw-server hosts` and `join-token`: who may read lists, and how one becomes that.

use anyhow::{Context as _, bail};
use dbfw_wire::api::{DatabaseList, HostDocument, HostList, IssuedJoinToken, JoinTokenRequest};
use uuid::Uuid;

use super::{
    args::{Context, Format, HostsVerb},
    client::Client,
    exit::Exit,
    output::{note, print, show, time},
};

/// Makes a join token, and prints the command for a host.
pub(super) fn join_token(
    context: &Context,
    databases: Vec<String>,
    uses: u32,
    lifetime: String,
) -> anyhow::Result<Exit> {
    let client = Client::new(context.socket());
    let request = JoinTokenRequest { databases, uses: Some(uses), lifetime: Some(lifetime) };
    let issued: IssuedJoinToken = client.post("/api/v1/join-tokens", &request)?;
    match context.output {
        Format::Json => show(Format::Json, &issued, [], &[])?,
        Format::Table | Format::Plain => {
            // The shell writes it into a pipe: no other program's arguments have it.
            let line = format!("echo {} | sudo dbfw join {}\n", issued.secret, issued.url);
            print(line.as_bytes())?;
        }
    }
    let hosts = if uses == 1 { "a host".to_owned() } else { format!("{uses} hosts") };
    let end = issued.join_token.expires_at;
    note(&format!("run this on {hosts} until {end}; the token is shown only here"));
    Ok(Exit::Ok)
}

/// Does what the verb says.
pub(super) fn hosts(context: &Context, verb: &HostsVerb) -> anyhow::Result<Exit> {
    let client = Client::new(context.socket());
    let list: HostList = client.get("/api/v1/hosts")?;
    match verb {
        HostsVerb::List => {
            let titles = ["NAME", "ID", "DATABASES", "JOINED", "STATE", "LAST SEEN"];
            let known: DatabaseList = client.get("/api/v1/databases")?;
            let rows: Vec<_> = list.hosts.iter().map(|host| row(host, &known)).collect();
            show(context.output, &list, titles, &rows)?;
        }
        HostsVerb::Rm { host } => {
            let id = find(&list, host)?;
            client.delete(&format!("/api/v1/hosts/{id}"))?;
            note(&format!("{host} was removed: it gets no list, and keeps what it enforces"));
        }
    }
    Ok(Exit::Ok)
}

fn find(list: &HostList, host: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = host.parse() {
        return Ok(id);
    }
    let mut found = list.hosts.iter().filter(|known| known.name == host);
    let id = found.next().with_context(|| format!("there is no host {host}"))?.id;
    if found.next().is_some() {
        bail!("several hosts have the name {host}: give the id that `hosts list` has");
    }
    Ok(id)
}

fn row(host: &HostDocument, known: &DatabaseList) -> [String; 6] {
    let name = |id: &Uuid| match known.databases.iter().find(|database| database.id == *id) {
        Some(database) => database.name.clone(),
        None => id.to_string(),
    };
    let databases: Vec<String> = host.databases.iter().map(name).collect();
    [
        host.name.clone(),
        host.id.to_string(),
        databases.join(","),
        host.joined_at.to_string(),
        if host.live.connected { "connected" } else { "offline" }.to_owned(),
        time(host.live.last_heard.or(host.last_seen)),
    ]
}
