//! Faults as words, for the control protocol and the names of tests.

use std::{fmt, str::FromStr, time::Duration};

use super::Fault;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status:{status}"),
            Self::RateLimited(None) => write!(f, "rate-limited"),
            Self::RateLimited(Some(wait)) => write!(f, "rate-limited:{}", wait.as_secs()),
            Self::Hang => write!(f, "hang"),
            Self::Drip => write!(f, "drip"),
            Self::ResetMidBody => write!(f, "reset-mid-body"),
            Self::CloseMidBody => write!(f, "close-mid-body"),
            Self::TruncatedJson => write!(f, "truncated-json"),
            Self::Html200 => write!(f, "html"),
            Self::MissingPage { page, empty: false } => write!(f, "missing-page:{page}"),
            Self::MissingPage { page, empty: true } => write!(f, "empty-page:{page}"),
            Self::EndlessNext => write!(f, "endless-next"),
            Self::HugeBody(bytes) => write!(f, "huge-body:{bytes}"),
            Self::Duplicates => write!(f, "duplicates"),
            Self::Contradictory => write!(f, "contradictory"),
            Self::RedirectTo(url) => write!(f, "redirect:{url}"),
            Self::NextTo(url) => write!(f, "next-to:{url}"),
            Self::WrongType => write!(f, "wrong-type"),
            Self::NullLists => write!(f, "null-lists"),
            Self::EmptyList => write!(f, "empty-list"),
            Self::GiantNumbers => write!(f, "giant-numbers"),
            Self::Set(pointer, value) => write!(f, "set:{pointer}={value}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let number = |what: &str| match rest.map(str::parse::<u64>) {
            Some(Ok(number)) => Ok(number),
            _ => Err(format!("{name} needs {what} after a colon: {name}:2")),
        };
        let words = |what: &str| {
            rest.map(str::to_owned).ok_or_else(|| format!("{name} needs {what} after a colon"))
        };
        Ok(match (name, rest) {
            ("status", _) => {
                let status = number("a status")?;
                let status = u16::try_from(status).ok().filter(|code| (100..1000).contains(code));
                Self::Status(status.ok_or("a status is a number from 100 to 999")?)
            }
            ("rate-limited", None) => Self::RateLimited(None),
            ("rate-limited", _) => Self::RateLimited(Some(Duration::from_secs(number("seconds")?))),
            ("missing-page", _) => Self::MissingPage { page: number("a page")?, empty: false },
            ("empty-page", _) => Self::MissingPage { page: number("a page")?, empty: true },
            ("huge-body", _) => Self::HugeBody(number("a number of bytes")?),
            ("redirect", _) => Self::RedirectTo(words("a URL")?),
            ("next-to", _) => Self::NextTo(words("a URL")?),
            ("set", _) => {
                let words = words("POINTER=JSON")?;
                let (pointer, value) = words.split_once('=').ok_or("set needs POINTER=JSON")?;
                let value = serde_json::from_str(value)
                    .map_err(|error| format!("{value} is not JSON: {error}"))?;
                Self::Set(pointer.to_owned(), value)
            }
            (_, None) => Self::plain(name).ok_or_else(|| format!("there is no fault {name}"))?,
            _ => return Err(format!("there is no fault {name} that takes a value")),
        })
    }
}

impl Fault {
    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "hang" => Self::Hang,
            "drip" => Self::Drip,
            "reset-mid-body" => Self::ResetMidBody,
            "close-mid-body" => Self::CloseMidBody,
            "truncated-json" => Self::TruncatedJson,
            "html" => Self::Html200,
            "endless-next" => Self::EndlessNext,
            "duplicates" => Self::Duplicates,
            "contradictory" => Self::Contradictory,
            "wrong-type" => Self::WrongType,
            "null-lists" => Self::NullLists,
            "empty-list" => Self::EmptyList,
            "giant-numbers" => Self::GiantNumbers,
            _ => return None,
        })
    }
}
