//! Common mistakes in addresses.

/// A mistake that makes a text nearly an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// `192.0.2.1 ; the office`, inside a value.
    Comment,
    /// `192.0.2.1:5432`, `[2001:db8::1]:5432`.
    Port,
    /// `[2001:db8::1]`, `<192.0.2.1>`.
    Brackets,
    /// `"192.0.2.1",`, as in the source text of a program.
    Quotes,
    /// `fe80::1%eth0`.
    Zone,
    /// `192.0.2.0/255.255.255.0`, `192.0.2.0 255.255.255.0`.
    Netmask,
    /// `192.0.2.*`, `192.0.2.%`.
    Wildcard,
    /// `10.0/16`.
    Shortened,
    /// `192.0.2.1-9`.
    LastNumber,
    /// `192.0.2.0/25-192.0.2.128/25`.
    Networks,
    /// `192.0.2.1–192.0.2.9`, with a dash of typography.
    Dash,
    /// `192.0.2.010`.
    LeadingZeros,
}

impl Mistake {
    /// The mistake as a predicate: "has a port".
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "has a comment in it",
            Self::Port => "has a port",
            Self::Brackets => "is in brackets",
            Self::Quotes => "has quotes or commas around it",
            Self::Zone => "names an interface",
            Self::Netmask => "has a netmask in place of a length",
            Self::Wildcard => "has a wildcard",
            Self::Shortened => "leaves out numbers of the address",
            Self::LastNumber => "ends with a part of an address",
            Self::Networks => "is a range from network to network",
            Self::Dash => "has a dash that is not '-'",
            Self::LeadingZeros => "has leading zeros, which may mean octal numbers",
        }
    }

    /// The rest of the advice, behind the text to write.
    pub(super) const fn because(self) -> &'static str {
        match self {
            Self::Comment => " alone, and the comment outside the value",
            Self::Port => ": a source may connect from any port",
            Self::Zone => ": a source is trusted on every interface",
            Self::LeadingZeros => " if the numbers are decimal",
            _ => "",
        }
    }
}
