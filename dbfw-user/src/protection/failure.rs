//! Failures that make a host not protected.

use std::fmt;

/// Something that should be in force and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The operator detached everything.
    Detached,
    /// Nothing at all is attached.
    NothingAttached,
    /// The attached programs are not the loaded ones, or cannot be looked at. The text names
    /// what it is about, as in the next three.
    Programs(String),
    /// The interfaces cannot be listed.
    InterfaceList(String),
    /// An interface cannot be attached to.
    Attach(String),
    /// The backstop is not attached.
    Backstop(String),
    /// The pins are gone and cannot be made again.
    Pins(String),
    /// An interface has no attachment that holds.
    Attachment {
        /// The interface, or the pin if that is gone.
        interface: String,
        /// Defect.
        reason: String,
    },
    /// The configuration covers no interface that is there.
    NoInterface {
        /// Patterns it names; none: `"auto"`.
        patterns: Vec<String>,
    },
    /// The maps hold no database.
    NoDatabase,
    /// The last change was not carried out.
    Change(String),
    /// The backstop takes addresses for this host's own that are its own no more, and lets them in.
    FormerAddresses {
        /// The addresses.
        addresses: Vec<String>,
        /// The interfaces by which whoever has one gets in.
        interfaces: Vec<String>,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detached => f.write_str(
                "detached by the operator: the ports are open; dbfw reload attaches again",
            ),
            Self::Pins(reason) => write!(
                f,
                "the pins are lost: the filter works, and ends when the agent does: {reason}"
            ),
            Self::NothingAttached => f.write_str("nothing is attached: the ports are open"),
            Self::Programs(text)
            | Self::InterfaceList(text)
            | Self::Attach(text)
            | Self::Backstop(text) => f.write_str(text),
            Self::Attachment { interface, reason } => write!(f, "{interface}: {reason}"),
            Self::NoInterface { patterns } if patterns.is_empty() => {
                f.write_str("no interface has hardware behind it: name them in agent.interfaces")
            }
            Self::NoInterface { patterns } => {
                write!(f, "no interface matches {}: see ip link", patterns.join(", "))
            }
            Self::NoDatabase => f.write_str("the maps hold no database: nothing is judged"),
            Self::Change(reason) => write!(f, "the last change is not in force: {reason}"),
            Self::FormerAddresses { addresses, interfaces } => write!(
                f,
                "{} was an address of this host when the agent ended, and the backstop takes it for \
                 one: whoever has it gets in by {}; systemctl start dbfw",
                addresses.join(", "),
                interfaces.join(", ")
            ),
        }
    }
}
