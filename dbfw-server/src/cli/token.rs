//! `dbfw-server token`: makes, lists and revokes tokens.

use anyhow::Context as _;
use dbfw_wire::api::{IssuedToken, TokenDocument, TokenList, TokenRequest};
use jiff::Timestamp;

use super::{
    args::{Context, Format, TokenVerb},
    client::Client,
    exit::Exit,
    output::{note, print, show, time},
};

/// Does what the verb says.
pub(super) fn token(context: &Context, verb: TokenVerb) -> anyhow::Result<Exit> {
    let client = Client::new(context.socket());
    match verb {
        TokenVerb::Add { name, preset, scopes, databases, lifetime } => {
            let expires_at = match lifetime {
                None => None,
                Some(lifetime) => {
                    let end = Timestamp::now().checked_add(lifetime);
                    Some(end.context("the lifetime ends beyond all calendars")?.to_string())
                }
            };
            let databases = (!databases.is_empty()).then_some(databases);
            let request = TokenRequest { name, preset, scopes, databases, expires_at };
            let issued: IssuedToken = client.post("/api/v1/tokens", &request)?;
            match context.output {
                Format::Json => show(Format::Json, &issued, [], &[])?,
                Format::Table | Format::Plain => {
                    print(format!("{}\n", issued.secret).as_bytes())?;
                }
            }
            note(&format!("this is the token {}; it is shown only here", issued.token.name));
        }
        TokenVerb::List => {
            let list: TokenList = client.get("/api/v1/tokens")?;
            let titles =
                ["NAME", "ID", "BEGINS", "SCOPES", "DATABASES", "EXPIRES", "LAST USED", "MADE BY"];
            let rows: Vec<_> = list.tokens.iter().map(row).collect();
            show(context.output, &list, titles, &rows)?;
        }
        TokenVerb::Rm { id } => {
            client.delete(&format!("/api/v1/tokens/{id}"))?;
            note("its next request is refused");
        }
    }
    Ok(Exit::Ok)
}

fn row(token: &TokenDocument) -> [String; 8] {
    let databases = token.databases.as_ref().map_or_else(
        || "all".to_owned(),
        |ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    );
    [
        token.name.clone(),
        token.id.to_string(),
        token.begins_with.clone(),
        token.scopes.join(","),
        databases,
        time(token.expires_at),
        time(token.last_used),
        token.created_by.clone(),
    ]
}
