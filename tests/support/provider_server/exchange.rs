//! One request to one answer: the log, the token, the limits, the faults, then the account.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderName, Request as HttpRequest, Response, StatusCode, header},
};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};

use super::{
    account::Account,
    answer::Answer,
    api,
    delivery::{Reset, deliver},
    fault::{Delivery, Faults},
    rate::Window,
    request::{Authorization, Request, Resource, Seen},
};

/// Bodies of requests; a hundred rules have 30 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// All that requests change, and tests look at.
#[derive(Debug)]
pub(super) struct State {
    pub(super) account: Account,
    pub(super) faults: Faults,
    pub(super) seen: Vec<Seen>,
    window: Window,
    /// How far the server's clock is before the machine's.
    ahead: SignedDuration,
}

/// The state, shared with the connections.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(account: Account) -> Self {
        Self(Mutex::new(State {
            account,
            faults: Faults::default(),
            seen: Vec::new(),
            window: Window::default(),
            ahead: SignedDuration::ZERO,
        }))
    }

    /// A test that panicked with the lock has failed already; the others may go on.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that came to `scheme`://`address`.
    pub(super) async fn exchange(
        &self,
        request: HttpRequest<Incoming>,
        scheme: &str,
        address: &str,
        reset: Reset,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), MAX_BODY).await.unwrap_or_default();
        let request = Request::new(parts, scheme, address, body.into());
        let (answer, delivery) = self.lock().decide(&request);
        deliver(answer, delivery, reset).await
    }
}

impl State {
    /// The server's clock.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// Moves the server's clock.
    pub(super) fn advance(&mut self, by: SignedDuration) {
        self.ahead += by;
        self.account.pass_time(self.now());
    }

    fn decide(&mut self, request: &Request) -> (Answer, Delivery) {
        let now = self.now();
        self.account.pass_time(now);
        let authorization = request.authorization(&self.account.token);
        let (mut answer, delivery) = match (request.resource, authorization) {
            (Resource::Feed, _) | (Resource::Vhost, Authorization::Right) => self.allowed(request),
            (Resource::Vhost, _) => (Answer::error_of_aptible(401), Delivery::Whole),
            (_, Authorization::Right) => self.within_limits(request, now),
            _ => (Answer::error(StatusCode::UNAUTHORIZED), Delivery::Whole),
        };
        let request_id = format!("dbf00000-0000-4000-8000-{:012x}", self.seen.len());
        answer = answer.header(HeaderName::from_static("x-request-id"), &request_id);
        self.seen.push(Seen {
            at: now,
            method: request.method.to_string(),
            path: request.path.clone(),
            query: request.raw_query.clone(),
            resource: request.resource,
            authorization,
            is_conditional: request.headers.contains_key(header::IF_NONE_MATCH)
                || request.headers.contains_key(header::IF_MODIFIED_SINCE),
            status: (delivery != Delivery::Never).then_some(answer.status.as_u16()),
        });
        (answer, delivery)
    }

    fn within_limits(&mut self, request: &Request, now: Timestamp) -> (Answer, Delivery) {
        let limits = self.account.limits;
        let (mut answer, delivery) = match self.window.take(limits, now) {
            Ok(()) => self.allowed(request),
            Err(wait) => {
                let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS);
                let answer = match wait {
                    Some(wait) => {
                        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                        answer.header(header::RETRY_AFTER, &seconds.to_string())
                    }
                    None => answer,
                };
                (answer, Delivery::Whole)
            }
        };
        let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let headers = self.window.headers(limits, refused, now);
        for (name, value) in headers {
            if answer.headers.iter().all(|(known, _)| *known != name) {
                answer.headers.push((name, value));
            }
        }
        (answer, delivery)
    }

    fn allowed(&mut self, request: &Request) -> (Answer, Delivery) {
        let found = self.faults.find(request);
        let delivery = found.as_ref().map_or(Delivery::Whole, |(_, fault)| fault.delivery());
        let instead = found.as_ref().and_then(|(_, fault)| fault.instead(request));
        let mut harmed = delivery != Delivery::Whole || instead.is_some();
        let answer = instead.unwrap_or_else(|| {
            let mut answer = api::answer(request, &mut self.account);
            if let Some((_, fault)) = &found {
                let page = |number| api::answer(&request.for_page(number), &mut self.account);
                harmed |= fault.spoil(request, &mut answer, page);
            }
            match self.account.etags {
                true => answer.validate(request.header(header::IF_NONE_MATCH)),
                false => answer,
            }
        });
        if let Some((id, _)) = found.filter(|_| harmed) {
            self.faults.hit(id);
        }
        (answer, delivery)
    }
}
