//! `/api/v1/databases`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dbfw_core::toml::parse_duration;
use dbfw_wire::api::{
    DatabaseDocument, DatabaseList, DatabaseRequest, DatabaseSettings, MinPrefix,
};

use super::super::{
    answer::{json, ok},
    app::App,
    auth::Caller,
    body::document,
    error::ApiError,
};
use crate::{
    list::List,
    model::{Database, Name, NameError, Scope},
    service::{DatabasePatch, NewDatabase, ServiceError},
};

type Answer = Result<Response, ApiError>;

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    caller.needs(Scope::DatabaseRead)?;
    let mut found = Vec::new();
    for database in app.service.databases().await? {
        if !caller.sees(database.id) {
            continue;
        }
        match app.service.list(database.id).await {
            Ok(stored) => found.push(shown(&database, &stored.list)),
            // Removed since.
            Err(ServiceError::NoDatabase) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ok(&DatabaseList { databases: found })
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let list = app.service.list(database.id).await?.list;
    ok(&shown(&database, &list))
}

pub(super) async fn add(State(app): State<Arc<App>>, caller: Caller, body: Body) -> Answer {
    caller.needs(Scope::DatabaseCreate)?;
    caller.needs_all_databases()?;
    let database = create(&app, &caller, document(body).await?).await?;
    json(StatusCode::CREATED, &shown(&database, &List::default()))
}

/// Adds a database.
pub(crate) async fn create(
    app: &App,
    caller: &Caller,
    request: DatabaseRequest,
) -> Result<Database, ApiError> {
    caller.needs(Scope::DatabaseCreate)?;
    caller.needs_all_databases()?;
    let DatabaseRequest { name, id, settings } = request;
    let name: Name = name.parse().map_err(|error: NameError| {
        ServiceError::field("name", error.to_string(), "as in orders or orders-eu_2")
    })?;
    let new = NewDatabase { id, name, settings: patch(settings)? };
    Ok(app.service.add_database(&new, &caller.author(None)).await?)
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    // The guards are settings: who may change only lists could lift them otherwise.
    let database = caller.database(&app, &id, Scope::DatabaseCreate).await?;
    let settings: DatabaseSettings = document(body).await?;
    let author = caller.author(None);
    let database = app.service.change_database(database.id, &patch(settings)?, &author).await?;
    let list = app.service.list(database.id).await?.list;
    ok(&shown(&database, &list))
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseDelete).await?;
    app.service.remove_database(database.id, &caller.author(None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn patch(settings: DatabaseSettings) -> Result<DatabasePatch, ServiceError> {
    let DatabaseSettings {
        engine,
        version,
        region,
        tags,
        host,
        port,
        ca,
        allow_any,
        min_prefix,
        merge,
        wait,
    } = settings;
    let MinPrefix { ipv4, ipv6 } = min_prefix.unwrap_or_default();
    let min_prefix = [ipv4, ipv6];
    let wait = match wait.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(text) => {
            let time = parse_duration(text).ok().and_then(|time| Duration::try_from(time).ok());
            let bad = || ServiceError::field("wait", "is no time", "write it like 1s or 500ms");
            Some(Some(time.ok_or_else(bad)?))
        }
    };
    Ok(DatabasePatch {
        engine,
        version,
        region,
        tags,
        host,
        port,
        ca,
        allow_any,
        min_prefix,
        merge,
        wait,
    })
}

fn shown(database: &Database, list: &List) -> DatabaseDocument {
    let [ipv4, ipv6] = database.min_prefix.map(Some);
    DatabaseDocument {
        id: database.id,
        name: database.name.to_string(),
        settings: DatabaseSettings {
            engine: Some(database.engine.clone()),
            version: Some(database.version.clone()),
            region: Some(database.region.clone()),
            tags: Some(database.tags.clone()),
            host: Some(database.connection.host.clone()),
            port: Some(database.connection.port),
            ca: Some(database.ca.clone().unwrap_or_default()),
            allow_any: Some(database.allow_any),
            min_prefix: Some(MinPrefix { ipv4, ipv6 }),
            merge: Some(database.merge),
            wait: database.wait_ms.map(|ms| format!("{ms}ms")),
        },
        sources: list.rules.len(),
        list_version: list.version,
        created_at: database.created_at,
        created_by: database.created_by.clone(),
    }
}
