//! Addresses with something around them, and what was meant by them. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::{Prefix, prefix::strict};

/// Bytes of the longest text that is looked at: the longest range has 79.
const MAX_TEXT: usize = 128;

/// A mistake that makes a text nearly an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slip {
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

impl Slip {
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
            Self::Brackets
            | Self::Quotes
            | Self::Netmask
            | Self::Wildcard
            | Self::Shortened
            | Self::LastNumber
            | Self::Networks
            | Self::Dash => "",
        }
    }
}

/// The mistake in a text that is no address, CIDR or range, and what was probably meant, in the
/// form to write.
pub(super) fn meant(text: &str) -> Option<(Slip, String)> {
    let text = text.trim();
    if let Some((entry, _)) = text.split_once([';', '#']) {
        return settled(entry).map(|entry| (Slip::Comment, entry));
    }
    // Nobody meant an address by more than this, and each bracket is looked into.
    if text.len() > MAX_TEXT {
        return None;
    }
    let undecorated = text.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | ',' | ';'));
    if undecorated != text {
        return settled(undecorated).map(|entry| (Slip::Quotes, entry));
    }
    if text.contains(['\u{2013}', '\u{2014}', '\u{2012}', '\u{2212}']) {
        let plain = text.replace(['\u{2013}', '\u{2014}', '\u{2012}', '\u{2212}'], "-");
        return settled(&plain).map(|entry| (Slip::Dash, entry));
    }
    let found = bracketed(text)
        .or_else(|| with_port(text))
        .or_else(|| with_zone(text))
        .or_else(|| with_netmask(text))
        .or_else(|| with_wildcard(text))
        .or_else(|| short_range(text))
        .or_else(|| network_range(text))
        .or_else(|| shortened(text))
        .or_else(|| zeros(text))?;
    (found.1 != text).then_some(found)
}

/// The text, or what was meant by it.
fn settled(text: &str) -> Option<String> {
    let text = text.trim();
    match strict(text) {
        Ok(_) => Some(text.to_owned()),
        Err(_) => meant(text).map(|(_, entry)| entry),
    }
}

/// `[a]`, `[a]:port`, `[a]/length`, `[a/length]`, `<a>`, `(a)`.
fn bracketed(text: &str) -> Option<(Slip, String)> {
    let close = match text.chars().next()? {
        '[' => ']',
        '<' => '>',
        '(' => ')',
        _ => return None,
    };
    let (inner, rest) = text[1..].split_once(close)?;
    if let Some(port) = rest.strip_prefix(':') {
        return is_port(port).then(|| settled(inner))?.map(|entry| (Slip::Port, entry));
    }
    settled(&format!("{inner}{rest}")).map(|entry| (Slip::Brackets, entry))
}

/// `192.0.2.1:5432`. An IPv6 address needs brackets for that: without them the port would be a
/// group of it.
fn with_port(text: &str) -> Option<(Slip, String)> {
    let (address, port) = text.split_once(':')?;
    address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?;
    Some((Slip::Port, address.to_owned()))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn with_zone(text: &str) -> Option<(Slip, String)> {
    let (address, rest) = text.split_once('%')?;
    let length = rest.split_once('/').map_or(String::new(), |(_, length)| format!("/{length}"));
    address.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)?;
    settled(&format!("{address}{length}")).map(|entry| (Slip::Zone, entry))
}

fn with_netmask(text: &str) -> Option<(Slip, String)> {
    let (address, mask) = text.split_once(['/', ' ', '\t'])?;
    let address: Ipv4Addr = address.parse().ok()?;
    let mask: Ipv4Addr = mask.trim().parse().ok()?;
    let prefix = Prefix::with_netmask(address, mask)?;
    // Two addresses in a line, or a mask of nothing.
    if prefix.len() == 0 {
        return None;
    }
    // The address inside its network: what was meant is not certain, and is the operator's to say.
    (prefix.addr() == address).then(|| (Slip::Netmask, prefix.to_string()))
}

/// `10.0.*.*`, `10.0.*`, `10.0.%`.
fn with_wildcard(text: &str) -> Option<(Slip, String)> {
    let mut fixed: Vec<&str> = text.split('.').collect();
    let is_wild = |part: &&str| matches!(*part, "*" | "%" | "x" | "X");
    let all = fixed.len();
    while fixed.last().is_some_and(is_wild) {
        fixed.pop();
    }
    if fixed.len() == all || fixed.is_empty() || all > 4 {
        return None;
    }
    filled(&fixed).map(|entry| (Slip::Wildcard, entry))
}

/// The network of the leading numbers of an IPv4 address.
fn filled(numbers: &[&str]) -> Option<String> {
    let length = numbers.len() * 8;
    let mut numbers = numbers.to_vec();
    numbers.resize(4, "0");
    let written = format!("{}/{length}", numbers.join("."));
    strict(&written).is_ok().then_some(written)
}

/// `10.0/16`, as routing tables and BSD tools write it.
fn shortened(text: &str) -> Option<(Slip, String)> {
    let (numbers, length) = text.split_once('/')?;
    let mut numbers: Vec<&str> = numbers.trim_end_matches('.').split('.').collect();
    if numbers.len() >= 4 {
        return None;
    }
    numbers.resize(4, "0");
    let written = format!("{}/{length}", numbers.join("."));
    strict(&written).is_ok().then_some((Slip::Shortened, written))
}

/// `192.0.2.1-9`: the second end has only what differs.
fn short_range(text: &str) -> Option<(Slip, String)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    first.parse::<Ipv4Addr>().ok()?;
    if last.is_empty() || last.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.') {
        return None;
    }
    let kept = 4_usize.checked_sub(last.split('.').count()).filter(|kept| *kept > 0)?;
    let mut numbers: Vec<&str> = first.split('.').take(kept).collect();
    numbers.push(last);
    range(first, &numbers.join(".")).map(|entry| (Slip::LastNumber, entry))
}

/// `192.0.2.0/25-192.0.2.128/25`: from the first address of one to the last of the other.
fn network_range(text: &str) -> Option<(Slip, String)> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (Prefix, Prefix) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let entry = range(&first.addr().to_string(), &last.last_addr().to_string())?;
    Some((Slip::Networks, entry))
}

/// A range as it is written.
fn range(first: &str, last: &str) -> Option<String> {
    let written = format!("{first}-{last}");
    strict(&written).is_ok().then_some(written)
}

/// `192.0.2.010`.
fn zeros(text: &str) -> Option<(Slip, String)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, format!("/{length}")),
        None => (text, String::new()),
    };
    let decimal = |number: &str| {
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| match number.trim_start_matches('0') {
            "" => "0".to_owned(),
            rest => rest.to_owned(),
        })
    };
    let numbers: Vec<String> = address.split('.').map(decimal).collect::<Option<_>>()?;
    let written = format!("{}{length}", numbers.join("."));
    strict(&written).is_ok().then_some((Slip::LeadingZeros, written))
}

#[cfg(test)]
mod tests;
