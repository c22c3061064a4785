//! Trusting the address that the browser comes from, for a while.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_core::source::SourceType;
use dbfw_wire::api::SourceRequest;

use super::{
    add::{again, trust},
    fields::End,
    form::Form,
    message::Done,
    state::Panel,
    tabs,
    visitor::Visitor,
};
use crate::{api::ApiError, model::Scope};

pub(super) async fn add(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, ApiError> {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (lifetime, expires_at) = End::of(&form)?.said();
    let request = SourceRequest {
        kind: SourceType::IpAddr.to_string(),
        value: visitor.address.to_string(),
        description: Some(Some(format!("the browser of {}", visitor.name))),
        expires_at,
        lifetime,
        reason: None,
    };
    match trust(&panel, &visitor, &database, request, None).await {
        Ok(()) => Ok(Redirect::to(&Done::Added.at(&tabs::path(&database))).into_response()),
        Err(error) => again(&panel, &visitor, &database, &Form::default(), error).await,
    }
}
