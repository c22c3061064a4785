//! `provider = { … }` of a database.

use dbfw_common::MAX_NAME;
use dbfw_core::{
    answers::{ClusterId, ListId},
    toml::{Report, Table, Value, is_digits, quoted, shortened},
};
use toml::de::DeValue;

const FIX: &str = r#"write { kind = "file", path = "/etc/dbfw/orders.list" }"#;
const CLUSTER_FIX: &str = r#"write the cluster's id, as in "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#;
const DATABASE_FIX: &str = r#"write the database's name at the server, as in "orders""#;
const VHOST_FIX: &str = "write the endpoint's id, a number, as in 123";

/// The provider that the table names.
pub(crate) fn read_provider(value: &Value<'_>, report: &mut Report) -> Option<ListId> {
    type Read = fn(&mut Table<'_>, &mut Report) -> Option<ListId>;
    const KINDS: [(&str, Read); 4] =
        [("file", file), ("digitalocean", digitalocean), ("aptible", aptible), ("server", server)];

    let mut table = value.table(FIX, report)?;
    let kind = table.require("kind", r#"add kind = "file""#, report)?;
    let read = kind.word(&KINDS, "a kind of provider", report)?;
    let provider = read(&mut table, report);
    table.finish(report);
    provider
}

fn file(table: &mut Table<'_>, report: &mut Report) -> Option<ListId> {
    const PATH: &str = "/etc/dbfw/orders.list";
    let path = table.require("path", &format!("add path = {PATH:?}"), report)?;
    Some(ListId::File(path.path(PATH, report)?))
}

fn digitalocean(table: &mut Table<'_>, report: &mut Report) -> Option<ListId> {
    let fix = r#"add cluster = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30""#;
    let value = table.require("cluster", fix, report)?;
    let written = value.string(CLUSTER_FIX, report)?;
    let cluster = ClusterId::new(written);
    if cluster.is_none() {
        let message = format!("{} is not the id of a cluster", quoted(written));
        report.problem(&value.place(), message, CLUSTER_FIX);
    }
    cluster.map(ListId::DigitalOcean)
}

fn aptible(table: &mut Table<'_>, report: &mut Report) -> Option<ListId> {
    let value = table.require("vhost", "add vhost = 123", report)?;
    let (written, number) = match value.get() {
        DeValue::Integer(written) => {
            let number = u64::from_str_radix(written.as_str(), written.radix()).ok();
            (shortened(&written.to_string()), number)
        }
        DeValue::String(written) => {
            let number = is_digits(written).then(|| written.parse().ok()).flatten();
            (quoted(written), number)
        }
        _ => {
            value.mismatch("an integer or a string", VHOST_FIX, report);
            return None;
        }
    };
    let vhost = number.filter(|number| *number > 0);
    if vhost.is_none() {
        let message = format!("{written} is not the id of an endpoint");
        report.problem(&value.place(), message, VHOST_FIX);
    }
    vhost.map(ListId::Aptible)
}

fn server(table: &mut Table<'_>, report: &mut Report) -> Option<ListId> {
    let value = table.require("database", r#"add database = "orders""#, report)?;
    let written = value.string(DATABASE_FIX, report)?;
    // The names that dbfw-server gives.
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if written.is_empty() || written.len() > MAX_NAME || !written.chars().all(usable) {
        let message = format!("{} is not the name of a database", quoted(written));
        report.problem(&value.place(), message, DATABASE_FIX);
        return None;
    }
    Some(ListId::Server(written.into()))
}
