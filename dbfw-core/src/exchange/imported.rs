//! [`Imported`]: what rules of others become in a list.

use std::{collections::BTreeSet, fmt::Write as _};

use strum::Display;

use crate::{misleads, source::Prefix, toml::shortened};

/// A rule of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It admits these, and `note` says what else it asks for, and where it is.
    Taken {
        /// The addresses.
        prefixes: Vec<Prefix>,
        /// For people.
        note: String,
    },
    /// A list cannot say what it says.
    Left {
        /// The rule, or a part of it.
        what: String,
        /// The reason.
        why: Left,
    },
}

/// The reason why a rule is left out of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum Left {
    /// It refuses.
    #[strum(
        serialize = "it refuses, and a list only admits: take these addresses out of the others"
    )]
    Refuses,
    /// It is for unix sockets.
    #[strum(serialize = "it is for unix sockets")]
    Local,
    /// It has the server's own addresses.
    #[strum(serialize = "it means addresses of the server's host, which are not written here")]
    Own,
    /// It has a host name.
    #[strum(serialize = "it has a host name: write dns:NAME if it is to be asked for")]
    Name,
    /// It has a zone, or addresses that no prefix names.
    #[strum(serialize = "its addresses are no network")]
    NoNetwork,
    /// It is IPv4-mapped.
    #[strum(serialize = "no client has an IPv4-mapped address")]
    Mapped,
    /// It is loopback.
    #[strum(serialize = "loopback is never judged")]
    Loopback,
    /// It is for other ports.
    #[strum(serialize = "it is for other ports")]
    OtherPorts,
    /// It names no source.
    #[strum(serialize = "it names no source address")]
    NoSource,
    /// It is a form that is not read.
    #[strum(serialize = "this form is not read")]
    Form,
    /// It ends by itself.
    #[strum(serialize = "it ends by itself: add it with dbfw trust add --for")]
    Temporary,
}

impl Imported {
    /// A rule that admits the addresses of a text, if they are some that a list can have.
    pub(super) fn of_text(text: &str, note: impl Into<String>) -> Self {
        match crate::source::parse_prefixes(text) {
            Ok(prefixes) => Self::of(prefixes, note),
            Err(_) => Self::Left { what: format!("{text}, {}", note.into()), why: Left::Form },
        }
    }

    pub(super) fn of(prefixes: Vec<Prefix>, note: impl Into<String>) -> Self {
        let is_loopback = |prefix: &Prefix| prefix.addr().is_loopback() && prefix.len() >= 8;
        if prefixes.iter().all(is_loopback) {
            let texts: Vec<String> = prefixes.iter().map(Prefix::to_string).collect();
            let what = format!("{}, {}", texts.join(", "), note.into());
            return Self::Left { what, why: Left::Loopback };
        }
        Self::Taken { prefixes, note: note.into() }
    }
}

/// The list as a file: each prefix once, and a comment for each rule that is left out.
pub fn list(imported: &[Imported]) -> String {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for one in imported {
        match one {
            Imported::Taken { prefixes, note } => {
                for prefix in prefixes.iter().filter(|prefix| seen.insert(**prefix)) {
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{prefix} # {}", one_line(note));
                }
            }
            Imported::Left { what, why } => {
                let _ = writeln!(text, "# not taken: {}: {why}", one_line(what));
            }
        }
    }
    text
}

/// A text without characters that end a line or hide something, cut to a length.
pub(super) fn one_line(text: &str) -> String {
    let clean = |c: char| match c {
        c if c.is_control() || misleads(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    shortened(text).chars().map(clean).collect()
}
