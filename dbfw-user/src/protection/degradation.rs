//! Conditions that make a host degraded.

use std::fmt;

use dbfw_core::toml::Problems;
use dbfw_datapath::{Interface, KernelVersion, hook::exceeded_mtu, interfaces::Unmatchable};
use jiff::Timestamp;

/// Something that the configuration asks for and that cannot be had now, or that somebody
/// else has a hand in, while everything that can be filtered is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// The configuration in force is the last good one, because the files are bad.
    LastGoodConfiguration {
        /// Problems of the files on disk.
        bad: Problems,
        /// Time when the one in force was accepted.
        since: Timestamp,
    },
    /// The last reload was refused; the configuration before it is in force.
    ReloadRefused {
        /// Time when that was accepted.
        since: Timestamp,
    },
    /// The configuration on disk was on trial and was not kept.
    TrialEnded {
        /// Time since when the one before it is in force again.
        since: Timestamp,
    },
    /// The configuration on trial was kept, and the files on disk are others by then.
    KeptOther {
        /// The problems of the files on disk, if they are bad.
        bad: Option<Problems>,
    },
    /// Somebody else's program stands before ours and decides first.
    ForeignBefore {
        /// The interface.
        interface: String,
    },
    /// Somebody else's socket lookup program can override the backstop.
    ForeignLookup {
        /// The ids of such programs.
        programs: Vec<u32>,
    },
    /// Native mode, which cannot carry the interface's MTU, was forced by `attach`.
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
        /// Its MTU.
        mtu: u32,
        /// The largest MTU that the driver carries in native mode.
        largest: u32,
    },
    /// An interface that is there and is named is of a kind that no program fits.
    Unfit {
        /// Its name.
        interface: String,
        /// Its index.
        index: u32,
    },
    /// An interface that is named exactly is not there.
    Absent {
        /// The name or alternative name, as written.
        name: String,
    },
    /// A name that can match nothing.
    Unmatchable {
        /// The name, as written.
        name: String,
        /// Reason.
        reason: Unmatchable,
    },
    /// More interfaces are exempt than the backstop can hold.
    TooManyExempt {
        /// Number of those that match.
        matching: usize,
        /// Those that are not exempt.
        left_out: Vec<String>,
    },
}

impl Degradation {
    /// The degradation of an interface that is filtered in native mode and whose MTU is larger
    /// than the driver carries there.
    pub fn of_native_mtu(interface: &Interface) -> Option<Self> {
        let largest = exceeded_mtu(interface, KernelVersion::running())?;
        Some(Self::MtuTooLarge {
            interface: interface.name.clone(),
            driver: interface.driver.clone()?,
            mtu: interface.mtu,
            largest,
        })
    }
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastGoodConfiguration { bad, since } => write!(
                f,
                "the configuration is bad, and the configuration in force since {since:.0} stays \
                 until the file is good: {}",
                first_of(bad)
            ),
            Self::ReloadRefused { since } => write!(
                f,
                "the last reload failed, and the configuration in force since {since:.0} stays: \
                 dbfw check says whether the file is bad"
            ),
            Self::TrialEnded { since } => write!(
                f,
                "the configuration on disk was on trial and was not kept, and the configuration \
                 before it is in force since {since:.0}: dbfw reload --trial 10m tries what is on \
                 disk again, dbfw reload puts it in force for good"
            ),
            Self::KeptOther { bad } => {
                f.write_str("the files on disk are not those that were on trial and kept: ")?;
                match bad {
                    None => f.write_str("the next start or reload takes those on disk")?,
                    Some(bad) => write!(
                        f,
                        "a reload refuses those on disk, and a start uses what was kept until they \
                         are good: {}",
                        first_of(bad)
                    )?,
                }
                f.write_str(". To keep what is in force put its files back")
            }
            Self::ForeignBefore { interface } => write!(
                f,
                "{interface}: another program is attached before ours and can let packets in: \
                 bpftool net show dev {interface}"
            ),
            Self::ForeignLookup { programs } => {
                let programs: Vec<_> = programs.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "socket lookup program {} is not dbfw's and can override the backstop (seen \
                     when the agent started): bpftool prog show id {}; once it is gone, restart \
                     the agent",
                    programs.join(", "),
                    programs.first().map_or("", String::as_str)
                )
            }
            Self::MtuTooLarge { interface, driver, mtu, largest } => write!(
                f,
                "{interface}: attach = \"native\" forces a mode in which {driver} carries an MTU of \
                 at most {largest}, and it is {mtu}: longer frames are lost; set attach = \"auto\", \
                 or ip link set dev {interface} mtu {largest}"
            ),
            Self::Unfit { interface, .. } => write!(
                f,
                "{interface}: no program fits this kind of link; leave it out of agent.interfaces"
            ),
            Self::Absent { name } => {
                write!(f, "{name}: no such interface; the agent filters it as soon as it appears")
            }
            Self::Unmatchable { name, reason } => write!(f, "{name}: {reason}; {}", reason.fix()),
            Self::TooManyExempt { matching, left_out } => write!(
                f,
                "{matching} interfaces match exempt_interfaces and {} can be exempt; these are not: \
                 {}",
                matching - left_out.len(),
                left_out.join(", ")
            ),
        }
    }
}

/// The first problem of files, and how many more there are.
pub(crate) fn first_of(bad: &Problems) -> String {
    let first = bad.0.first().map(ToString::to_string).unwrap_or_default();
    match bad.0.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more: dbfw check)", count - 1),
    }
}
