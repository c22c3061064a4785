//! Messages on the page behind a form: in the address, as a word that stands for a text.

use maud::{Markup, html};

/// The outcome of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub(super) enum Done {
    Added,
    Edited,
    Removed,
    Reverted,
    Unchanged,
    DatabaseAdded,
    Revoked,
    LoggedOut,
}

impl Done {
    const fn text(self) -> &'static str {
        match self {
            Self::Added => "The trusted source was added.",
            Self::Edited => "The trusted source was changed.",
            Self::Removed => "The trusted source was removed.",
            Self::Reverted => "The list is as it was at that version.",
            Self::Unchanged => "The list was like that already: nothing was changed.",
            Self::DatabaseAdded => "The database was added. Nobody is trusted yet.",
            Self::Revoked => "The token was revoked: its next request is refused.",
            Self::LoggedOut => "You are logged out.",
        }
    }

    /// A path with this outcome.
    pub(super) fn at(self, path: &str) -> String {
        let word: &'static str = self.into();
        format!("{path}?done={word}")
    }
}

/// The message that the query of a page asks for.
pub(super) fn of_query(query: Option<&str>) -> Markup {
    let done = crate::api::query_value(query, "done").and_then(|word| word.parse::<Done>().ok());
    html! {
        @if let Some(done) = done {
            p.done role="status" { (done.text()) }
        }
    }
}

/// The reason why a form was not done, which is read first.
pub(super) fn problem(text: &str) -> Markup {
    html! {
        div.problem role="alert" tabindex="-1" id="problem" autofocus {
            p { strong { "Nothing was changed. " } (super::text::shown(text)) }
        }
    }
}
