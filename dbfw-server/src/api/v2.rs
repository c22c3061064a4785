//! DigitalOcean's API, as far as trusted sources need it.
//!
//! Fields that its clients dereference are always there. Everything else below `/v2` is 501, which they do
//! not retry, and which does not make terraform forget a resource as 404 does.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use dbfw_wire::digitalocean::{
    Account, Application, Autoscale, Certificate, DatabaseCluster, DatabaseClusters,
    DatabaseConnection, Firewall, FirewallRule, FirewallUpdate, Links, MaintenanceWindow, Meta,
    OneAccount, OneCertificate, OneDatabaseCluster, RuleUpdate, StorageAutoscale, Team, TokenInfo,
};
use uuid::Uuid;

use super::{
    answer::ok,
    app::App,
    auth::Caller,
    body::document,
    enforced::{enforced, tell},
    error::{ApiError, ErrorId},
    query::query_value,
};
use crate::{
    list::{List, Rule, Setting, Violation, Wanted, read},
    model::{Database, Scope},
    service::{ETag, IfMatch, Request, ServiceError},
};

const MERGED: HeaderName = HeaderName::from_static("x-dbfw-merged");

type Answer = Result<Response, ApiError>;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/account", get(account))
        .route("/databases", get(databases))
        .route("/databases/{id}", get(database))
        .route("/databases/{id}/firewall", get(firewall).put(replace_firewall))
        .route("/databases/{id}/ca", get(ca))
        .route("/databases/{id}/autoscale", get(autoscale))
        .fallback(not_managed)
        .method_not_allowed_fallback(not_managed)
}

async fn account(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let (uuid, name) = match caller.token() {
        Some(token) => (token.id, token.name.clone()),
        None => (Uuid::nil(), "admin socket".to_owned()),
    };
    ok(&OneAccount {
        account: Account {
            droplet_limit: 0,
            floating_ip_limit: 0,
            reserved_ip_limit: 0,
            volume_limit: 0,
            email: name.clone(),
            name,
            uuid,
            email_verified: true,
            status: "active".to_owned(),
            status_message: String::new(),
            team: Team { uuid: app.settings.store_id, name: app.settings.name.clone() },
        },
    })
}

/// `/v1/oauth/token/info`.
pub(super) async fn token_info(caller: Caller) -> Answer {
    let Some(token) = caller.token() else {
        return Err(ApiError::new(ErrorId::NotFound, "there is no token on the admin socket"));
    };
    let seconds = |at: jiff::Timestamp| at.as_second() - jiff::Timestamp::now().as_second();
    ok(&TokenInfo {
        resource_owner_id: 0,
        scopes: token.scopes.iter().map(ToString::to_string).collect(),
        expires_in_seconds: token.expires_at.map(seconds),
        application: Application::default(),
        created_at: token.created_at.as_second(),
    })
}

/// All of them: clients read the first page only.
async fn databases(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Answer {
    caller.needs(Scope::DatabaseRead)?;
    let value = |wanted: &str| query_value(query.as_deref(), wanted);
    let tag = value("tag_name").filter(|tag| !tag.is_empty());
    let is_first = match value("page").filter(|page| !page.is_empty()) {
        None => true,
        Some(page) => {
            page.parse::<u64>().map_err(|_| {
                ApiError::new(ErrorId::BadRequest, "page: is no number; write ?page=1")
            })? <= 1
        }
    };
    let mut found = Vec::new();
    for database in app.service.databases().await? {
        let is_tagged = tag.as_ref().is_none_or(|tag| database.tags.contains(tag));
        if !caller.sees(database.id) || !is_tagged {
            continue;
        }
        match app.service.list(database.id).await {
            Ok(stored) => found.push(cluster(&app, &database, &stored.list)),
            // Removed since.
            Err(ServiceError::NoDatabase) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let meta = Meta { total: u64::try_from(found.len()).ok() };
    let databases = if is_first { found } else { Vec::new() };
    ok(&DatabaseClusters { databases, links: Links::default(), meta })
}

async fn database(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let list = app.service.list(database.id).await?.list;
    ok(&OneDatabaseCluster { database: cluster(&app, &database, &list) })
}

async fn firewall(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let stored = app.service.list(database.id).await?;
    // HEAD shows no list.
    if let Some(client) = caller.client(&headers).filter(|_| method == Method::GET) {
        caller.connection.remember(database.id, client, stored.base());
    }
    let mut response = ok(&Firewall { rules: rules(database.id, &stored.list) })?;
    tagged(&mut response, &stored.tag);
    Ok(response)
}

async fn replace_firewall(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let condition = if_match(&headers);
    let update: FirewallUpdate = document(body).await?;
    let wanted = wanted(&update.rules)?;
    let client = caller.client(&headers);
    let base = client.as_ref().filter(|_| app.settings.merge && condition.is_none());
    let base = base.and_then(|client| caller.connection.base(database.id, client));
    // What a client that read the list takes it to be from now on. One that did not read says what
    // it wants to be there, each time.
    let known = base.as_ref().map(|_| wanted.iter().map(|wanted| wanted.key.clone()).collect());
    let request = Request::Replace { wanted, base };
    let author = caller.author(None);
    let changed = app.service.change(database.id, &request, condition.as_ref(), &author).await?;
    match (client, known) {
        (Some(client), Some(known)) => caller.connection.remember(database.id, client, known),
        _ => caller.connection.forget(database.id),
    }
    let enforcement = enforced(&app, &database, &changed).await;
    let mut response = StatusCode::NO_CONTENT.into_response();
    tagged(&mut response, &changed.tag);
    tell(&mut response, &enforcement);
    if let Some(kept) = changed.merged {
        response.headers_mut().insert(MERGED, HeaderValue::from(kept.added + kept.removed));
    }
    Ok(response)
}

async fn ca(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let Some(ca) = &database.ca else {
        let message = "no certificate authority is configured for this database";
        return Err(ApiError::new(ErrorId::NotFound, message));
    };
    ok(&OneCertificate { ca: Certificate { certificate: BASE64.encode(ca) } })
}

async fn autoscale(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.database(&app, &id, Scope::DatabaseRead).await?;
    ok(&Autoscale::default())
}

pub(super) async fn not_managed(caller: Caller, OriginalUri(uri): OriginalUri) -> ApiError {
    // Only who has a token is told what there is.
    drop(caller);
    let path: String = uri.path().chars().take(100).collect();
    let message = format!("dbfw-server manages trusted sources; {path:?} is not managed here");
    ApiError::new(ErrorId::NotImplemented, message)
}

/// The condition of a request.
pub(super) fn if_match(headers: &HeaderMap) -> Option<IfMatch> {
    let values: Vec<&str> = headers
        .get_all(header::IF_MATCH)
        .iter()
        // A tag that is no text is none of ours.
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    (!values.is_empty()).then(|| IfMatch::parse(&values.join(",")))
}

pub(super) fn tagged(response: &mut Response, tag: &ETag) {
    if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
        response.headers_mut().insert(header::ETAG, value);
    }
}

/// The setting of a property that a client sends.
pub(super) fn setting(said: Option<Option<String>>) -> Setting<String> {
    match said {
        None => Setting::Keep,
        Some(None) => Setting::Clear,
        Some(Some(text)) => Setting::Set(text),
    }
}

/// The sources that rules are, or everything that is wrong with them.
fn wanted(rules: &[RuleUpdate]) -> Result<Vec<Wanted>, ServiceError> {
    let (mut wanted, mut violations) = (Vec::with_capacity(rules.len()), Vec::<Violation>::new());
    for (at, rule) in rules.iter().enumerate() {
        let RuleUpdate { kind, value, description, expires_at } = rule;
        match read(kind, value, setting(description.clone()), &setting(expires_at.clone())) {
            Ok(read) => wanted.push(read),
            Err(violation) => violations.push(violation.in_rule(at)),
        }
    }
    if violations.is_empty() { Ok(wanted) } else { Err(ServiceError::Invalid(violations)) }
}

fn rules(database: Uuid, list: &List) -> Vec<FirewallRule> {
    let rule = |rule: &Rule| FirewallRule {
        uuid: rule.uuid.to_string(),
        cluster_uuid: database.to_string(),
        kind: rule.key.kind().to_string(),
        value: rule.key.value().to_owned(),
        created_at: rule.created_at.to_string(),
        description: rule.details.description.clone(),
        expires_at: rule.details.expires_at.map(|at| at.to_string()),
    };
    list.rules.iter().map(rule).collect()
}

fn cluster(app: &App, database: &Database, list: &List) -> DatabaseCluster {
    let connection = connection(database);
    DatabaseCluster {
        id: database.id,
        name: database.name.to_string(),
        engine: database.engine.clone(),
        version: database.version.clone(),
        num_nodes: app.fleet.joined(database.id),
        region: database.region.clone(),
        status: "online".to_owned(),
        size: "self-hosted".to_owned(),
        created_at: database.created_at,
        tags: database.tags.clone(),
        private_connection: connection.clone(),
        connection,
        maintenance_window: MaintenanceWindow {
            day: "any".to_owned(),
            hour: String::new(),
            pending: false,
            description: Vec::new(),
        },
        storage_size_mib: 0,
        storage_autoscale: StorageAutoscale::default(),
        rules: rules(database.id, list),
    }
}

fn connection(database: &Database) -> DatabaseConnection {
    let protocol = match database.engine.as_str() {
        "pg" | "postgres" | "postgresql" => "postgresql",
        "redis" | "valkey" => "rediss",
        other => other,
    };
    let (host, port) = (database.connection.host.clone(), database.connection.port);
    let authority = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    let uri = match (host.is_empty(), port) {
        (true, _) => String::new(),
        (false, 0) => format!("{protocol}://{authority}"),
        (false, port) => format!("{protocol}://{authority}:{port}"),
    };
    DatabaseConnection {
        protocol: protocol.to_owned(),
        host,
        port,
        ssl: true,
        uri,
        database: String::new(),
        user: String::new(),
    }
}
