//! What the server can do wrong, and to which requests.

mod spoil;
mod text;

use std::time::Duration;

use axum::http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    answer::{Answer, Content},
    rate::RATELIMIT_RESET,
    request::{Request, Resource},
};

/// Something wrong with an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// An error of DigitalOcean's with this status.
    Status(u16),
    /// 429, with or without `retry-after`.
    RateLimited(Option<Duration>),
    /// No answer, ever.
    Hang,
    /// The right answer, a byte a second.
    Drip,
    /// Half of the right answer, then a TCP reset.
    ResetMidBody,
    /// Half of the right answer, then the end of the connection.
    CloseMidBody,
    /// 200 and half of the right JSON, with the length of that half.
    TruncatedJson,
    /// 200 and a page of HTML.
    Html200,
    /// Page `page` is empty (or 404), though `meta.total` counts what should be on it. Where
    /// everything fits on the page before, half of it moves to the missing one.
    MissingPage {
        /// Which page.
        page: u64,
        /// Whether it is an empty list; else it is 404.
        empty: bool,
    },
    /// Every page names a next one; after the last, the first comes again.
    EndlessNext,
    /// So many bytes of a list that never ends.
    HugeBody(u64),
    /// Everything in the list twice.
    Duplicates,
    /// After the last page another one: the droplets of the first, with other addresses
    /// (198.51.100.0/24 and 2001:db8:dead::/64).
    Contradictory,
    /// 302 to the same path below another URL.
    RedirectTo(String),
    /// The right answer, but the next page is below another URL.
    NextTo(String),
    /// A field that matters has another JSON type.
    WrongType,
    /// Every list is null.
    NullLists,
    /// The list is complete, well-formed and empty; of a single resource, every list in it.
    EmptyList,
    /// Every number has forty digits.
    GiantNumbers,
    /// A JSON pointer's place holds something else.
    Set(String, Value),
}

/// Seconds until the reset that a 429 without `retry-after` names.
const RESET: i64 = 2;

impl Fault {
    /// One of every kind. `elsewhere` is the URL of another server.
    pub fn samples(elsewhere: &str) -> Vec<Self> {
        let mut all: Vec<Self> = [401, 403, 404, 500, 502, 503].map(Self::Status).into();
        all.extend([
            Self::RateLimited(None),
            Self::RateLimited(Some(Duration::from_secs(2))),
            Self::Hang,
            Self::Drip,
            Self::ResetMidBody,
            Self::CloseMidBody,
            Self::TruncatedJson,
            Self::Html200,
            Self::MissingPage { page: 2, empty: false },
            Self::MissingPage { page: 2, empty: true },
            Self::EndlessNext,
            Self::HugeBody(1 << 30),
            Self::Duplicates,
            Self::Contradictory,
            Self::RedirectTo(elsewhere.to_owned()),
            Self::NextTo(elsewhere.to_owned()),
            Self::WrongType,
            Self::NullLists,
            Self::EmptyList,
            Self::GiantNumbers,
        ]);
        all
    }

    /// Whether it can happen to answers about `resource`.
    pub fn applies_to(&self, resource: Resource) -> bool {
        match self {
            Self::MissingPage { .. } | Self::EndlessNext | Self::NextTo(_) => resource.is_paged(),
            Self::Duplicates => {
                resource.is_paged() || matches!(resource, Resource::Firewall | Resource::Vhost)
            }
            Self::Contradictory => matches!(
                resource,
                Resource::Droplets | Resource::TaggedDroplets | Resource::GpuDroplets
            ),
            // A feed is no JSON; rules and a VPC hold no numbers, and a VPC no lists.
            Self::GiantNumbers => {
                !matches!(resource, Resource::Firewall | Resource::Vpc | Resource::Feed)
            }
            Self::NullLists | Self::EmptyList => {
                !matches!(resource, Resource::Vpc | Resource::Feed)
            }
            Self::WrongType | Self::Set(..) => resource != Resource::Feed,
            _ => true,
        }
    }

    /// The answer that is given without asking the account.
    pub(super) fn instead(&self, request: &Request) -> Option<Answer> {
        let status = |status| StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
        match self {
            Self::Status(code) => Some(Answer::error(status(*code))),
            Self::RateLimited(retry_after) => {
                let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS);
                Some(match retry_after {
                    Some(wait) => answer.header(header::RETRY_AFTER, &wait.as_secs().to_string()),
                    // Others used up the hour; the oldest of their requests is almost an hour old.
                    None => {
                        let reset = Timestamp::now().as_second() + RESET;
                        answer.header(RATELIMIT_RESET, &reset.to_string())
                    }
                })
            }
            Self::Hang | Self::HugeBody(_) => Some(Answer::empty(StatusCode::OK)),
            Self::Html200 => Some(Answer {
                content: Content::Bytes {
                    content_type: "text/html; charset=utf-8".to_owned(),
                    bytes: b"<!doctype html>\n<title>Maintenance</title>\n<p>Be right back.\n"
                        .to_vec(),
                },
                ..Answer::empty(StatusCode::OK)
            }),
            Self::RedirectTo(url) => {
                let to = format!("{url}{}?{}", request.path, request.raw_query);
                Some(Answer::empty(StatusCode::FOUND).header(header::LOCATION, &to))
            }
            _ => None,
        }
    }

    /// How the answer gets to the client.
    pub(super) fn delivery(&self) -> Delivery {
        match self {
            Self::Hang => Delivery::Never,
            Self::Drip => Delivery::Drip,
            Self::ResetMidBody => Delivery::Broken { reset: true },
            Self::CloseMidBody => Delivery::Broken { reset: false },
            Self::TruncatedJson => Delivery::Half,
            Self::HugeBody(bytes) => Delivery::Huge(*bytes),
            _ => Delivery::Whole,
        }
    }
}

/// How an answer's bytes go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Never,
    Drip,
    /// Half the bytes and their length.
    Half,
    /// Half the bytes, and the length of all.
    Broken {
        reset: bool,
    },
    Huge(u64),
}

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct On {
    method: Option<String>,
    path: Option<String>,
    query: Option<(String, String)>,
    resource: Option<Resource>,
    times: Option<usize>,
}

impl On {
    /// All of them.
    pub fn any() -> Self {
        Self::default()
    }

    /// Those about a resource.
    pub fn resource(resource: Resource) -> Self {
        Self::any().about(resource)
    }

    /// Those whose path begins with this.
    pub fn path(prefix: &str) -> Self {
        Self::any().below(prefix)
    }

    /// And about this.
    pub fn about(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// And whose path begins with this.
    pub fn below(mut self, prefix: &str) -> Self {
        self.path = Some(prefix.to_owned());
        self
    }

    /// And whose query has this parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query = Some((name.to_owned(), value.to_owned()));
        self
    }

    /// And with this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only the next `times` that it happens to; otherwise until it is cleared.
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn matches(&self, request: &Request) -> bool {
        self.method.as_deref().is_none_or(|method| request.method == method)
            && self.path.as_deref().is_none_or(|path| request.path.starts_with(path))
            && self.resource.is_none_or(|resource| request.resource == resource)
            && self
                .query
                .as_ref()
                .is_none_or(|(name, value)| request.parameter(name) == Some(value.as_str()))
    }
}

/// An injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

/// The faults that were injected, in order; the first that fits a request has it.
#[derive(Debug, Default)]
pub(super) struct Faults {
    all: Vec<Injected>,
}

#[derive(Debug)]
struct Injected {
    on: On,
    fault: Fault,
    hits: usize,
    cleared: bool,
}

impl Faults {
    pub(super) fn inject(&mut self, on: On, fault: Fault) -> FaultId {
        self.all.push(Injected { on, fault, hits: 0, cleared: false });
        FaultId(self.all.len() - 1)
    }

    pub(super) fn clear(&mut self, FaultId(id): FaultId) {
        if let Some(injected) = self.all.get_mut(id) {
            injected.cleared = true;
        }
    }

    pub(super) fn clear_all(&mut self) {
        self.all.iter_mut().for_each(|injected| injected.cleared = true);
    }

    pub(super) fn hits(&self, FaultId(id): FaultId) -> usize {
        self.all.get(id).map_or(0, |injected| injected.hits)
    }

    /// The fault for a request.
    pub(super) fn find(&self, request: &Request) -> Option<(FaultId, Fault)> {
        let found = self.all.iter().position(|injected| {
            !injected.cleared
                && injected.on.times.is_none_or(|times| injected.hits < times)
                && injected.on.matches(request)
                && injected.fault.applies_to(request.resource)
        })?;
        Some((FaultId(found), self.all[found].fault.clone()))
    }

    /// Counts that a fault did harm.
    pub(super) fn hit(&mut self, FaultId(id): FaultId) {
        if let Some(injected) = self.all.get_mut(id) {
            injected.hits += 1;
        }
    }
}
