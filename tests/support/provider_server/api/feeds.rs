//! Lists on the web.

use axum::http::{StatusCode, header};

use super::super::{
    account::{Account, Feed},
    answer::{Answer, Content},
    request::Request,
};

/// GET, conditional where the feed has validators.
pub(super) fn get(request: &Request, account: &Account, name: &str) -> Answer {
    let Some(feed) = account.feeds.get(name) else {
        return with_validators(Answer::empty(StatusCode::NOT_FOUND), &Feed::default());
    };
    let same =
        |asked: Option<&str>, known: &Option<String>| asked.is_some() && asked == known.as_deref();
    let is_known = match request.header(header::IF_NONE_MATCH) {
        // It decides alone where both are sent (RFC 9110, 13.1.3).
        Some(etag) => same(Some(etag), &feed.etag),
        None => same(request.header(header::IF_MODIFIED_SINCE), &feed.last_modified),
    };
    let answer = match is_known {
        true => Answer::empty(StatusCode::NOT_MODIFIED),
        false => Answer {
            status: StatusCode::OK,
            headers: Vec::new(),
            content: Content::Bytes {
                content_type: feed.content_type.clone(),
                bytes: feed.body.clone(),
            },
        },
    };
    with_validators(answer, feed)
}

fn with_validators(mut answer: Answer, feed: &Feed) -> Answer {
    for (name, value) in [(header::ETAG, &feed.etag), (header::LAST_MODIFIED, &feed.last_modified)]
    {
        if let Some(value) = value {
            answer = answer.header(name, value);
        }
    }
    answer
}
