//! Protected ports: a protocol and a number, ranges of them, and the set of a database.

use std::{fmt, iter, str::FromStr};

/// A protected port. As text "tcp/5432".
///
/// ```
/// use dbfw_core::Port;
///
/// let port: Port = "udp/1234".parse().unwrap();
/// assert_eq!(port, Port { udp: true, port: 1234 });
/// assert_eq!(port.to_string(), "udp/1234");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// UDP rather than TCP.
    pub udp: bool,
    /// 1 to 65535.
    pub port: u16,
}

/// Ports of one protocol that follow each other. As text "tcp/6432-6440", or "tcp/5432" for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    udp: bool,
    first: u16,
    last: u16,
}

/// The ports of a database: a set, as the fewest ranges, TCP first.
///
/// ```
/// use dbfw_core::{Port, PortRange, Ports};
///
/// let ranges = ["6436-6440", "tcp/6432-6435", "udp/1234"].map(|text| text.parse::<PortRange>());
/// let ports: Ports = ranges.into_iter().map(Result::unwrap).collect();
/// assert_eq!(ports.to_string(), "tcp/6432-6440, udp/1234");
/// assert!(ports.contains(Port { udp: false, port: 6437 }));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports(Vec<PortRange>);

/// A text that is no port, and no range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// It does not look like one.
    #[error("not a port: write \"tcp/5432\" or \"udp/1234\"")]
    Form,
    /// It looks like one, but a number is 0, or larger than 65535.
    #[error("not a port: use 1 to 65535")]
    Number,
    /// A range ends before it begins.
    #[error("the range ends before it begins")]
    Reversed,
}

impl PortRange {
    /// The ports from `first` to `last`; `None`: there are none, or 0 is among them.
    pub fn new(udp: bool, first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { udp, first, last })
    }

    /// Its lowest port.
    pub fn first(&self) -> Port {
        Port { udp: self.udp, port: self.first }
    }

    /// Its ports without the protocol: "6432-6440", or "5432" for one.
    pub fn numbers(&self) -> String {
        match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        }
    }

    /// Its ports, from the lowest.
    pub fn iter(&self) -> impl Iterator<Item = Port> + use<> {
        let udp = self.udp;
        (self.first..=self.last).map(move |port| Port { udp, port })
    }

    /// Whether both have a port.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.udp == other.udp && self.first <= other.last && other.first <= self.last
    }

    fn contains(&self, port: Port) -> bool {
        self.overlaps(&port.into())
    }
}

impl Ports {
    /// Whether it has this port.
    pub fn contains(&self, port: Port) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }

    /// Whether both have a port.
    pub fn overlap(&self, other: &Self) -> bool {
        self.0.iter().any(|range| other.0.iter().any(|other| range.overlaps(other)))
    }

    /// Every port, TCP first, then by number.
    pub fn iter(&self) -> impl Iterator<Item = Port> {
        self.0.iter().flat_map(PortRange::iter)
    }

    /// The numbers of the TCP ports.
    pub fn tcp(&self) -> impl Iterator<Item = u16> {
        self.iter().filter(|port| !port.udp).map(|port| port.port)
    }

    /// The ranges to show, of which one stands for three ports or more.
    pub fn ranges(&self) -> impl Iterator<Item = PortRange> {
        self.0.iter().flat_map(|range| {
            let (both, whole) = match range.last - range.first {
                1 => ([Some(range.first), Some(range.last)], None),
                _ => ([None; 2], Some(*range)),
            };
            let udp = range.udp;
            let single = move |port| PortRange { udp, first: port, last: port };
            both.into_iter().flatten().map(single).chain(whole)
        })
    }

    /// Whether there is exactly one port.
    pub fn is_one(&self) -> bool {
        matches!(&*self.0, [range] if range.first == range.last)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of [`Self::ranges`] as text.
    pub fn texts(&self) -> Vec<String> {
        self.ranges().map(|range| range.to_string()).collect()
    }
}

impl From<Port> for PortRange {
    fn from(Port { udp, port }: Port) -> Self {
        Self { udp, first: port, last: port }
    }
}

impl FromIterator<PortRange> for Ports {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<PortRange> = Vec::new();
        for range in sorted {
            match joined.last_mut() {
                Some(before)
                    if before.udp == range.udp
                        && u32::from(range.first) <= u32::from(before.last) + 1 =>
                {
                    before.last = before.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }
}

impl FromIterator<Port> for Ports {
    fn from_iter<I: IntoIterator<Item = Port>>(ports: I) -> Self {
        ports.into_iter().map(PortRange::from).collect()
    }
}

impl From<Port> for Ports {
    fn from(port: Port) -> Self {
        iter::once(port).collect()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", protocol(self.udp), self.port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first().fmt(f)?;
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}

fn protocol(udp: bool) -> &'static str {
    if udp { "udp" } else { "tcp" }
}

impl FromStr for Port {
    type Err = PortError;

    /// A protocol and a number.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (udp, port) = split(text)?;
        Ok(Self { udp: udp.ok_or(PortError::Form)?, port: number(port)? })
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    /// A port or two with "-" between them; TCP without a protocol before.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (udp, ports) = split(text)?;
        let (first, last) = match ports.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if udp.is_none() => return Err(PortError::Form),
            None => (number(ports)?, number(ports)?),
        };
        Self::new(udp.unwrap_or(false), first, last).ok_or(PortError::Reversed)
    }
}

/// Whether a text names UDP, if it names a protocol, and what follows.
fn split(text: &str) -> Result<(Option<bool>, &str), PortError> {
    match text.split_once('/') {
        Some(("tcp", rest)) => Ok((Some(false), rest)),
        Some(("udp", rest)) => Ok((Some(true), rest)),
        Some(_) => Err(PortError::Form),
        None => Ok((None, text)),
    }
}

fn number(text: &str) -> Result<u16, PortError> {
    // The standard parser would also take "+1".
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortError::Form);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or(PortError::Number)
}

/// A port that is asked about: of one protocol, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortQuery {
    /// UDP or TCP; `None`: both.
    pub udp: Option<bool>,
    /// 1 to 65535.
    pub port: u16,
}

impl PortQuery {
    /// Whether one of the ports is asked about.
    pub fn is_about(&self, ports: &PortRange) -> bool {
        (ports.first..=ports.last).contains(&self.port)
            && self.udp.is_none_or(|udp| udp == ports.udp)
    }
}

/// A text that is no port to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a port from 1 to 65535: write 5432, \"tcp/5432\" or \"udp/1234\"")]
pub struct PortQueryError;

impl FromStr for PortQuery {
    type Err = PortQueryError;

    fn from_str(text: &str) -> Result<Self, PortQueryError> {
        let one: Port = match text.contains('/') {
            true => text.parse(),
            false => format!("tcp/{text}").parse(),
        }
        .map_err(|_| PortQueryError)?;
        Ok(Self { udp: text.contains('/').then_some(one.udp), port: one.port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_protocol_is_of_both() {
        let (tcp, udp) = (Port { udp: false, port: 5432 }, Port { udp: true, port: 5432 });
        for (text, of_tcp, of_udp) in
            [("5432", true, true), ("tcp/5432", true, false), ("udp/5432", false, true)]
        {
            let query: PortQuery = text.parse().unwrap();
            assert_eq!(
                (query.is_about(&tcp.into()), query.is_about(&udp.into())),
                (of_tcp, of_udp),
                "{text}"
            );
            assert!(!query.is_about(&Port { port: 5433, ..tcp }.into()), "{text}");
        }
        for text in ["", "0", "65536", "-1", "+1", "tcp", "tcp/", "/1", "sctp/1", "5432/tcp", "1/2"]
        {
            assert_eq!(text.parse::<PortQuery>(), Err(PortQueryError), "{text}");
        }
    }

    #[test]
    fn only_a_protocol_and_a_port_is_one() {
        for text in ["tcp/1", "udp/65535"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("", PortError::Form),
            ("5432", PortError::Form),
            ("tcp/", PortError::Form),
            ("tcp/0", PortError::Number),
            ("tcp/65536", PortError::Number),
            ("tcp/+1", PortError::Form),
            ("sctp/1", PortError::Form),
            ("TCP/1", PortError::Form),
            ("tcp/1 ", PortError::Form),
            ("tcp/1-2", PortError::Form),
        ] {
            assert_eq!(text.parse::<Port>(), Err(error), "{text}");
        }
    }

    #[test]
    fn ranges_have_an_end_behind_their_beginning() {
        for (text, shown) in [
            ("6432-6440", "tcp/6432-6440"),
            ("tcp/1-65535", "tcp/1-65535"),
            ("udp/5-5", "udp/5"),
            ("udp/5", "udp/5"),
        ] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), shown);
        }
        for (text, error) in [
            ("5432", PortError::Form),
            ("-", PortError::Form),
            ("1-", PortError::Form),
            ("-2", PortError::Form),
            ("1-2-3", PortError::Form),
            ("1 - 2", PortError::Form),
            ("tcp/1-tcp/2", PortError::Form),
            ("0-2", PortError::Number),
            ("1-65536", PortError::Number),
            ("9-8", PortError::Reversed),
        ] {
            assert_eq!(text.parse::<PortRange>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_set_is_the_same_however_it_is_written() {
        let set = |texts: &[&str]| {
            texts.iter().map(|text| text.parse::<PortRange>().unwrap()).collect::<Ports>()
        };
        assert_eq!(set(&["tcp/3", "1-2", "2-4"]), set(&["1-4"]));
        assert_eq!(set(&["tcp/2", "tcp/1"]).texts(), ["tcp/1", "tcp/2"]);
        assert_eq!(set(&["1-3", "udp/4", "5-9"]).to_string(), "tcp/1-3, tcp/5-9, udp/4");
        assert_eq!(set(&["65534-65535", "udp/1"]).iter().count(), 3);
        assert!(set(&["1-3"]).overlap(&set(&["3-4"])) && !set(&["1-3"]).overlap(&set(&["4-5"])));
        assert!(!set(&["1-3"]).overlap(&set(&["udp/1-3"])));
        assert!(set(&["tcp/7"]).is_one() && !set(&["7-8"]).is_one() && set(&[]).is_empty());
    }
}
