//! Addresses, CIDRs and ranges as people write them, with a guess at what a bad one meant.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    error::excerpt,
    mistake::Mistake,
    prefix::{Prefix, PrefixError, exact_prefixes},
};

/// Bytes of the longest text that is looked at: the longest range has 79.
const MAX_TEXT: usize = 128;

/// Most CIDRs that a fix offers in place of a range.
const MAX_CIDRS: usize = 8;

/// The prefixes of an address, a CIDR or a range (`10.0.0.1-10.0.0.9`): sorted, no duplicates.
///
/// ```
/// use dbfw_core::source::parse_prefixes;
///
/// assert_eq!(parse_prefixes("10.0.0.0-10.0.0.4").unwrap().len(), 2);
/// let error = parse_prefixes("10.0.0.1:5432").unwrap_err();
/// assert_eq!(error.fix(), "write 10.0.0.1: a source may connect from any port");
/// ```
///
/// # Errors
/// The problem with the text, and what was probably meant.
pub fn parse_prefixes(text: &str) -> Result<Vec<Prefix>, PrefixError> {
    exact_prefixes(text).map_err(|error| {
        let Some((mistake, meant)) = meant(text) else { return error };
        let cidrs = match exact_prefixes(&meant) {
            Ok(cidrs) if meant.contains('-') && cidrs.len() <= MAX_CIDRS => cidrs,
            _ => Vec::new(),
        };
        PrefixError::Mistake { text: excerpt(text), mistake, meant, cidrs }
    })
}

/// The mistake in a text that is no address, CIDR or range, and what was probably meant, in the
/// form to write.
fn meant(text: &str) -> Option<(Mistake, String)> {
    let text = text.trim();
    if let Some((entry, _)) = text.split_once([';', '#']) {
        return corrected(entry).map(|entry| (Mistake::Comment, entry));
    }
    // Nobody meant an address by more than this, and each bracket is looked into.
    if text.len() > MAX_TEXT {
        return None;
    }
    let undecorated = text.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | ',' | ';'));
    if undecorated != text {
        return corrected(undecorated).map(|entry| (Mistake::Quotes, entry));
    }
    if text.contains(['\u{2013}', '\u{2014}', '\u{2012}', '\u{2212}']) {
        let plain = text.replace(['\u{2013}', '\u{2014}', '\u{2012}', '\u{2212}'], "-");
        return corrected(&plain).map(|entry| (Mistake::Dash, entry));
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

/// The text itself if it is right, else what was meant by it.
fn corrected(text: &str) -> Option<String> {
    let text = text.trim();
    match exact_prefixes(text) {
        Ok(_) => Some(text.to_owned()),
        Err(_) => meant(text).map(|(_, entry)| entry),
    }
}

/// `[a]`, `[a]:port`, `[a]/length`, `[a/length]`, `<a>`, `(a)`.
fn bracketed(text: &str) -> Option<(Mistake, String)> {
    let close = match text.chars().next()? {
        '[' => ']',
        '<' => '>',
        '(' => ')',
        _ => return None,
    };
    let (inner, rest) = text[1..].split_once(close)?;
    if let Some(port) = rest.strip_prefix(':') {
        return is_port(port).then(|| corrected(inner))?.map(|entry| (Mistake::Port, entry));
    }
    corrected(&format!("{inner}{rest}")).map(|entry| (Mistake::Brackets, entry))
}

/// `192.0.2.1:5432`. An IPv6 address needs brackets for that: without them the port would be a
/// group of it.
fn with_port(text: &str) -> Option<(Mistake, String)> {
    let (address, port) = text.split_once(':')?;
    address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?;
    Some((Mistake::Port, address.to_owned()))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn with_zone(text: &str) -> Option<(Mistake, String)> {
    let (address, rest) = text.split_once('%')?;
    let length = rest.split_once('/').map_or(String::new(), |(_, length)| format!("/{length}"));
    address.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6)?;
    corrected(&format!("{address}{length}")).map(|entry| (Mistake::Zone, entry))
}

fn with_netmask(text: &str) -> Option<(Mistake, String)> {
    let (address, mask) = text.split_once(['/', ' ', '\t'])?;
    let address: Ipv4Addr = address.parse().ok()?;
    let mask: Ipv4Addr = mask.trim().parse().ok()?;
    let prefix = Prefix::with_netmask(address, mask)?;
    // Two addresses in a line, or a mask of nothing.
    if prefix.len() == 0 {
        return None;
    }
    // The address inside its network: what was meant is not certain, and is the operator's to say.
    (prefix.addr() == address).then(|| (Mistake::Netmask, prefix.to_string()))
}

/// `10.0.*.*`, `10.0.*`, `10.0.%`.
fn with_wildcard(text: &str) -> Option<(Mistake, String)> {
    let mut fixed: Vec<&str> = text.split('.').collect();
    let is_wild = |part: &&str| matches!(*part, "*" | "%" | "x" | "X");
    let all = fixed.len();
    while fixed.last().is_some_and(is_wild) {
        fixed.pop();
    }
    if fixed.len() == all || fixed.is_empty() || all > 4 {
        return None;
    }
    let length = (fixed.len() * 8).to_string();
    leading(&fixed, &length).map(|entry| (Mistake::Wildcard, entry))
}

/// The network of the leading numbers of an IPv4 address.
fn leading(numbers: &[&str], length: &str) -> Option<String> {
    let mut numbers = numbers.to_vec();
    numbers.resize(4, "0");
    let written = format!("{}/{length}", numbers.join("."));
    exact_prefixes(&written).is_ok().then_some(written)
}

/// `10.0/16`, as routing tables and BSD tools write it.
fn shortened(text: &str) -> Option<(Mistake, String)> {
    let (numbers, length) = text.split_once('/')?;
    let numbers: Vec<&str> = numbers.trim_end_matches('.').split('.').collect();
    if numbers.len() >= 4 {
        return None;
    }
    leading(&numbers, length).map(|entry| (Mistake::Shortened, entry))
}

/// `192.0.2.1-9`: the second end has only what differs.
fn short_range(text: &str) -> Option<(Mistake, String)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    first.parse::<Ipv4Addr>().ok()?;
    if last.is_empty() || last.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.') {
        return None;
    }
    let kept = 4_usize.checked_sub(last.split('.').count()).filter(|kept| *kept > 0)?;
    let mut numbers: Vec<&str> = first.split('.').take(kept).collect();
    numbers.push(last);
    range(first, &numbers.join(".")).map(|entry| (Mistake::LastNumber, entry))
}

/// `192.0.2.0/25-192.0.2.128/25`: from the first address of one to the last of the other.
fn network_range(text: &str) -> Option<(Mistake, String)> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (Prefix, Prefix) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let entry = range(&first.addr().to_string(), &last.last_addr().to_string())?;
    Some((Mistake::Networks, entry))
}

/// A range as it is written.
fn range(first: &str, last: &str) -> Option<String> {
    let written = format!("{first}-{last}");
    exact_prefixes(&written).is_ok().then_some(written)
}

/// `192.0.2.010`.
fn zeros(text: &str) -> Option<(Mistake, String)> {
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
    exact_prefixes(&written).is_ok().then_some((Mistake::LeadingZeros, written))
}

#[cfg(test)]
mod tests;
