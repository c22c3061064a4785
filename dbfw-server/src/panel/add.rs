//! Adding a trusted source.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_wire::api::SourceRequest;

use super::{
    fields::End,
    form::Form,
    message::{self, Done},
    page, sources,
    state::Panel,
    tabs,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId, v1},
    list::Edit,
    model::{Database, Scope},
    service::{IfMatch, Request, ServiceError},
};

/// Times that a source is added where others change the list meanwhile.
const ATTEMPTS: u32 = 8;

pub(super) async fn add(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, ApiError> {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    match added(&panel, &visitor, &database, &form).await {
        Ok(()) => Ok(Redirect::to(&Done::Added.at(&tabs::path(&database))).into_response()),
        Err(error) => again(&panel, &visitor, &database, &form, error).await,
    }
}

/// The page again, with the reason why it was not done and what was filled in.
pub(super) async fn again(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    form: &Form,
    error: ApiError,
) -> Result<Response, ApiError> {
    let is_theirs = matches!(error.id, ErrorId::UnprocessableEntity | ErrorId::Conflict);
    if !is_theirs || !visitor.caller.may(Scope::DatabaseRead) {
        return Err(error);
    }
    let problem = message::problem(&error.message);
    let response = sources::whole(panel, visitor, database, None, &problem, form).await?;
    Ok(page::with_status(response, error.id.status()))
}

async fn added(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    form: &Form,
) -> Result<(), ApiError> {
    let (lifetime, expires_at) = End::of(form)?.said();
    let request = SourceRequest {
        kind: form.get("type").to_owned(),
        value: form.get("value").to_owned(),
        description: form.text("description").map(Some),
        expires_at,
        lifetime,
        reason: None,
    };
    trust(panel, visitor, database, request, form.text("reason")).await
}

/// Adds a source that is not in the list.
///
/// # Errors
/// It is there already: an end that is meant for a new one would cut whoever has it for good.
pub(super) async fn trust(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    request: SourceRequest,
    reason: Option<String>,
) -> Result<(), ApiError> {
    let author = visitor.caller.author(v1::sources::reason(reason)?);
    let wanted = v1::sources::wanted(request)?;
    let change = Request::Edit(Edit::Add(wanted.clone()));
    for _ in 0..ATTEMPTS {
        let stored = panel.service().list(database.id).await?;
        if let Some(rule) = stored.list.rules.iter().find(|rule| rule.key == wanted.key) {
            let message = format!(
                "{} is in the list already, added by {}: edit it there",
                rule.key, rule.created_by
            );
            return Err(ApiError::new(ErrorId::Conflict, message));
        }
        let condition = IfMatch::parse(stored.tag.as_str());
        match panel.service().change(database.id, &change, Some(&condition), &author).await {
            Ok(_) => return Ok(()),
            Err(ServiceError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ServiceError::Busy.into())
}
