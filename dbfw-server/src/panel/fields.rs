//! Fields that several forms have.

use dbfw_core::source::SourceType;
use jiff::Timestamp;
use maud::{Markup, html};

use super::{form::Form, time};
use crate::{
    api::ApiError,
    list::MAX_DESCRIPTION,
    service::{ETag, ServiceError},
};

/// Bytes of a reason that the field takes.
const MAX_REASON: usize = 256;

/// The end that somebody chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it is.
    Keep,
    /// None.
    Never,
    /// So long from now, as the APIs write it.
    For(String),
    /// At this moment, RFC 3339.
    At(String),
}

impl End {
    /// The end that a form has.
    ///
    /// # Errors
    /// A time is to be named and is not.
    pub(super) fn of(form: &Form) -> Result<Self, ApiError> {
        match form.get("for") {
            "keep" => Ok(Self::Keep),
            "" | "never" => Ok(Self::Never),
            "until" => match time::of_field(form.get("until")) {
                Some(at) => Ok(Self::At(at)),
                None => {
                    let fix = "name a date and a time, in UTC";
                    Err(ServiceError::field("until", "is no time", fix).into())
                }
            },
            lifetime => Ok(Self::For(lifetime.to_owned())),
        }
    }

    /// The same as the API has it: `for` and `expires_at`.
    pub(super) fn said(self) -> (Option<String>, Option<Option<String>>) {
        match self {
            Self::Keep => (None, None),
            Self::Never => (None, Some(None)),
            Self::For(lifetime) => (Some(lifetime), None),
            Self::At(at) => (None, Some(Some(at))),
        }
    }
}

/// A choice of how long: values and words, and the usual one.
pub(super) fn end(label: &str, form: &Form, choices: &[(&str, &str)], usual: &str) -> Markup {
    let chosen = match form.get("for") {
        "" => usual,
        chosen => chosen,
    };
    let soon = time::field(Timestamp::now());
    html! {
        div.field.end {
            label for="for" { (label) }
            select id="for" name="for" {
                @for (value, words) in choices {
                    option value=(value) selected[*value == chosen] { (words) }
                }
                option value="until" selected[chosen == "until"] { "until …" }
            }
            div.until {
                label for="until" { "Until (UTC)" }
                input id="until" name="until" type="datetime-local" min=(soon)
                    value=(form.get("until"));
            }
        }
    }
}

/// A field for a description.
pub(super) fn description(form: &Form) -> Markup {
    html! {
        div.field.wide {
            label for="description" { "Description" }
            input id="description" name="description" maxlength=(MAX_DESCRIPTION)
                value=(form.get("description"));
        }
    }
}

/// A field for a reason.
pub(super) fn reason(form: &Form) -> Markup {
    html! {
        div.field.wide {
            label for="reason" { "Reason, for the history" }
            input id="reason" name="reason" maxlength=(MAX_REASON) value=(form.get("reason"));
        }
    }
}

/// The version of the list that a form is about.
pub(super) fn tag(tag: &ETag) -> Markup {
    html! { input type="hidden" name="list" value=(tag); }
}

/// A type of source, in words.
pub(super) const fn words(kind: SourceType) -> &'static str {
    match kind {
        SourceType::IpAddr => "address, CIDR or range",
        SourceType::Droplet => "droplet, by id",
        SourceType::K8s => "Kubernetes cluster, by id",
        SourceType::Tag => "droplets with a tag",
        SourceType::App => "app, by id",
        SourceType::Vpc => "VPC network, by id",
        SourceType::Feed => "feed, by URL",
        SourceType::Dns => "host name",
    }
}
