//! [`Address`]: the addresses that a line is for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr as _,
};

use super::{
    problem::{Fault, shown},
    token::{Field, Token},
};
use crate::source::Prefix;

/// The addresses that a line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `all`: every address of both families.
    All,
    /// `samehost`: the server's own addresses.
    SameHost,
    /// `samenet`: the networks of the server's own addresses.
    SameNet,
    /// A host name, or with a dot before it a domain. May be empty.
    Name(Vec<u8>),
    /// An IPv6 address with a zone, as written.
    Zoned(Vec<u8>),
    /// A network. The mask may have gaps; bits that it does not fix do not count.
    Net(Net),
}

/// An address with a mask of the same family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: u128,
    mask: u128,
    is_v4: bool,
}

/// The part of a prefix that a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    None,
    All,
    /// The addresses of a prefix inside it.
    Inner(u8),
    /// Addresses that no few prefixes name.
    Scattered,
}

impl Net {
    fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        let is_v4 = address.is_ipv4();
        (is_v4 == mask.is_ipv4()).then(|| Self { address: bits(address), mask: bits(mask), is_v4 })
    }

    pub(super) fn with_length(address: IpAddr, length: u8) -> Self {
        let width = width(address.is_ipv4());
        let all = u128::MAX >> (u128::BITS - width);
        let mask = all & !all.checked_shr(length.into()).unwrap_or(0);
        Self { address: bits(address), mask, is_v4: address.is_ipv4() }
    }

    /// The length, if the mask has no gaps.
    pub fn length(&self) -> Option<u8> {
        let width = width(self.is_v4);
        let length = (self.mask << (u128::BITS - width)).leading_ones();
        (self.mask.count_ones() == length).then_some(length as u8)
    }

    /// The address as written.
    pub fn address(&self) -> IpAddr {
        if self.is_v4 {
            Ipv4Addr::from_bits(self.address as u32).into()
        } else {
            Ipv6Addr::from_bits(self.address).into()
        }
    }

    /// The part of a prefix that it has. An IPv4-mapped network is IPv6, as for the server.
    pub(super) fn overlap(&self, prefix: &Prefix) -> Overlap {
        if prefix.is_v4() != self.is_v4 {
            return Overlap::None;
        }
        let (first, last) = prefix.bounds();
        let fixed = !(first ^ last);
        if (self.address ^ first) & self.mask & fixed != 0 {
            Overlap::None
        } else if self.mask & !fixed == 0 {
            Overlap::All
        } else {
            self.length().map_or(Overlap::Scattered, Overlap::Inner)
        }
    }
}

impl Address {
    /// Reads the address of a line, and its mask if that is a field of its own.
    pub(super) fn read<'f>(
        token: &Token,
        next: impl FnOnce() -> Option<&'f Field>,
    ) -> Result<Self, Fault> {
        for (keyword, address) in
            [("all", Self::All), ("samehost", Self::SameHost), ("samenet", Self::SameNet)]
        {
            if token.is(keyword) {
                return Ok(address);
            }
        }
        let slash = token.text.iter().position(|byte| *byte == b'/');
        let (host, length) = match slash {
            Some(at) => (&token.text[..at], Some(&token.text[at + 1..])),
            None => (&*token.text, None),
        };
        let Some(numeric) = Numeric::of(host) else {
            return match length {
                Some(_) => Err(Fault::NameWithLength { text: token.shown() }),
                None => Ok(Self::Name(host.to_vec())),
            };
        };
        let is_v4 = matches!(numeric, Numeric::Address(IpAddr::V4(_)));
        if let Some(length) = length {
            let length = decimal(length, width(is_v4));
            let length = length.ok_or_else(|| Fault::Length { text: token.shown() })?;
            return Ok(match numeric {
                Numeric::Address(address) => Self::Net(Net::with_length(address, length)),
                Numeric::Zoned => Self::Zoned(token.text.clone()),
            });
        }
        let mask = next().ok_or(Fault::Missing { field: "netmask" })?;
        let [mask] = &**mask else { return Err(Fault::Several { field: "netmask" }) };
        let netmask = || Fault::Netmask { text: mask.shown() };
        let read = Numeric::of(&mask.text).ok_or_else(netmask)?;
        match (numeric, read) {
            (Numeric::Address(address), Numeric::Address(mask)) => {
                Net::new(address, mask).map(Self::Net).ok_or(Fault::Families)
            }
            (Numeric::Address(IpAddr::V4(_)), Numeric::Zoned) => Err(Fault::Families),
            (Numeric::Zoned, Numeric::Address(IpAddr::V4(_))) => Err(Fault::Families),
            _ => Ok(Self::Zoned(token.text.clone())),
        }
    }

    /// The form in a file, escaped and shortened.
    pub fn shown(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::SameHost => "samehost".to_owned(),
            Self::SameNet => "samenet".to_owned(),
            Self::Name(text) | Self::Zoned(text) => shown(text),
            Self::Net(net) => match net.length() {
                Some(length) => format!("{}/{length}", net.address()),
                None if net.is_v4 => {
                    format!("{} {}", net.address(), Ipv4Addr::from_bits(net.mask as u32))
                }
                None => format!("{} {}", net.address(), Ipv6Addr::from_bits(net.mask)),
            },
        }
    }
}

/// The numeric address that a text is to the C library.
enum Numeric {
    Address(IpAddr),
    /// IPv6 with a zone, which an interface has to have.
    Zoned,
}

impl Numeric {
    fn of(text: &[u8]) -> Option<Self> {
        if let Some(address) = inet_aton(text) {
            return Some(Self::Address(address.into()));
        }
        let text = str::from_utf8(text).ok()?;
        if let Ok(address) = Ipv6Addr::from_str(text) {
            return Some(Self::Address(address.into()));
        }
        let (address, _) = text.split_once('%')?;
        Ipv6Addr::from_str(address).is_ok().then_some(Self::Zoned)
    }
}

fn width(is_v4: bool) -> u32 {
    if is_v4 { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An IPv4 address as inet_aton(3) takes it: one to four numbers in decimal, octal or
/// hexadecimal, of which the last fills the rest.
fn inet_aton(text: &[u8]) -> Option<Ipv4Addr> {
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b'.').take(5).collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut address = 0;
    for part in first {
        address = address << 8 | u32::from(u8::try_from(number(part)?).ok()?);
    }
    let rest_bits = 8 * (4 - first.len() as u32);
    let last = number(last)?;
    if u64::from(last) >> rest_bits != 0 {
        return None;
    }
    let address = address.checked_shl(rest_bits).unwrap_or(0) | last;
    Some(Ipv4Addr::from_bits(address))
}

/// A number as C writes it.
fn number(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(text).ok()?;
    if !text.bytes().next()?.is_ascii_digit() {
        return None;
    }
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // The parser takes a sign, which C's does not take here.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

/// A decimal number up to a bound as strtol(3) takes it: white space and a sign may precede it.
fn decimal(text: &[u8], max: u32) -> Option<u8> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let (is_negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u32, |value, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    let fits = value <= max && (value == 0 || !is_negative);
    fits.then_some(value as u8)
}
