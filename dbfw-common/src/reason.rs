//! Decisions of the programs, and the reasons for them.

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $($(#[$vmeta:meta])* $variant:ident = $value:literal $label:literal,)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)+
        }

        impl $name {
            /// Every value, in the order of its numbers.
            pub const ALL: [Self; [$($value),+].len()] = [$(Self::$variant),+];

            /// The name used in the configuration, the command line and metric labels.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The value of a number read from a map; `None` if no value has it.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// Address family of the packet.
    Family:
    /// IPv4.
    V4 = 0 "ipv4",
    /// IPv6.
    V6 = 1 "ipv6",
}

numbered! {
    /// The treatment of packets from untrusted sources by a database.
    Mode:
    /// Nothing: its packets are neither judged nor counted.
    Off = 0 "off",
    /// Counts what would be dropped and drops nothing.
    Observe = 1 "observe",
    /// Drops it.
    Enforce = 2 "enforce",
}

numbered! {
    /// The decision on a packet.
    Verdict:
    /// Passed, and not counted: no protected port.
    Pass = 0 "pass",
    /// Passed because its source is trusted.
    Allow = 1 "allow",
    /// Passed in observe mode; enforce would have dropped it.
    Observe = 2 "observe",
    /// Dropped.
    Drop = 3 "drop",
}

numbered! {
    /// The reason for a verdict.
    Reason:
    /// Its source is trusted.
    Trusted = 0 "trusted",
    /// Its source is in no trusted source of the database.
    Untrusted = 1 "untrusted",
    /// The port cannot be read (a fragment or header chain hides it) and no database
    /// trusts the source.
    PortHidden = 2 "port_hidden",
    /// Bad version, header length or total length: the IP stack would drop it too.
    Malformed = 3 "malformed",
    /// More VLAN tags than [`crate::MAX_VLAN_TAGS`].
    VlanDepth = 4 "vlan_depth",
    /// Loopback source or destination on a wire, or one of this host's own addresses as the
    /// source of a packet to another.
    Martian = 5 "martian",
    /// A non-first fragment, where the configuration drops those.
    Fragment = 6 "fragment",
    /// Refused by the backstop: it reached the socket lookup by a way no hook saw.
    Backstop = 7 "backstop",
    /// Not for a protected port.
    OtherPort = 8 "other_port",
    /// Neither IP nor a protocol that carries ports.
    NotJudged = 9 "not_judged",
}

impl Reason {
    /// The reasons a packet can be dropped for, in the order of their counters.
    pub const DROPS: [Self; 7] = [
        Self::Untrusted,
        Self::PortHidden,
        Self::Malformed,
        Self::VlanDepth,
        Self::Martian,
        Self::Fragment,
        Self::Backstop,
    ];
}
