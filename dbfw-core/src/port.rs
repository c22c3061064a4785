//! A protected port: a protocol and a number, parsed and shown.

use std::{fmt, str::FromStr};

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

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", if self.udp { "udp" } else { "tcp" }, self.port)
    }
}

/// A text that is no protocol and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a port: write \"tcp/5432\" or \"udp/1234\"")]
pub struct PortError;

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let (protocol, number) = text.split_once('/').ok_or(PortError)?;
        let udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return Err(PortError),
        };
        // The standard parser would also take "+1".
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(port) if digits && port > 0 => Ok(Self { udp, port }),
            _ => Err(PortError),
        }
    }
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
    /// Whether a port is asked about.
    pub fn is_about(&self, port: Port) -> bool {
        self.port == port.port && self.udp.is_none_or(|udp| udp == port.udp)
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
            assert_eq!((query.is_about(tcp), query.is_about(udp)), (of_tcp, of_udp), "{text}");
            assert!(!query.is_about(Port { port: 5433, ..tcp }), "{text}");
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
        for text in
            ["", "5432", "tcp/", "tcp/0", "tcp/65536", "tcp/+1", "sctp/1", "TCP/1", "tcp/1 "]
        {
            assert_eq!(text.parse::<Port>(), Err(PortError), "{text}");
        }
    }
}
