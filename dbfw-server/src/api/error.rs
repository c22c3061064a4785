//! Errors, in DigitalOcean's form.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::service::ServiceError;

/// The kind of an error. DigitalOcean's where it has the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorId {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnprocessableEntity,
    PreconditionRequired,
    TooManyRequests,
    HeadersTooLarge,
    NotImplemented,
    ServiceUnavailable,
}

impl ErrorId {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnprocessableEntity => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnprocessableEntity => "unprocessable_entity",
            Self::PreconditionRequired => "precondition_required",
            Self::TooManyRequests => "too_many_requests",
            Self::HeadersTooLarge => "request_header_fields_too_large",
            Self::NotImplemented => "not_implemented",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }
}

/// An error as a client gets it. [`super::finish`] gives it its body.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) id: ErrorId,
    pub(crate) message: String,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self { id, message: message.into(), retry_after: None }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The store or the system is at fault, and the log says how.
    pub(crate) fn unavailable() -> Self {
        let message = "the server cannot do that now: try again (its log says why)";
        Self::new(ErrorId::ServiceUnavailable, message).retry_after(1)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(ErrorId::UnprocessableEntity, message)
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let id = match &error {
            ServiceError::NoDatabase
            | ServiceError::NoToken
            | ServiceError::NoHost
            | ServiceError::NoRule(_)
            | ServiceError::NoVersion(_) => ErrorId::NotFound,
            ServiceError::Precondition => ErrorId::PreconditionFailed,
            ServiceError::Invalid(_) | ServiceError::Field { .. } => ErrorId::UnprocessableEntity,
            ServiceError::NotLetIn => ErrorId::Unauthorized,
            ServiceError::Exists(_) | ServiceError::HasHosts(_) | ServiceError::Busy => {
                ErrorId::Conflict
            }
            ServiceError::NoRandomness | ServiceError::Unreadable(_) | ServiceError::Store(_) => {
                tracing::error!(%error, "a request could not be answered");
                return Self::unavailable();
            }
        };
        Self::new(id, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.id.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers a path that is nobody's.
pub(super) async fn not_found() -> ApiError {
    ApiError::new(ErrorId::NotFound, "there is nothing at this path")
}

/// Answers a method that a path does not have.
pub(super) async fn not_allowed() -> ApiError {
    ApiError::new(ErrorId::MethodNotAllowed, "this path does not have this method")
}
