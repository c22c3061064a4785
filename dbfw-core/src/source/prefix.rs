//! [`Prefix`]: a block of addresses in canonical form, and ranges as prefixes.

use std::{
    fmt, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use dbfw_common::Family;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network, ipv4_mask_to_prefix};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{error::excerpt, mistake::Mistake};

/// Bits before the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A block of addresses in canonical form: host bits are zero, and what was written as
/// IPv4-mapped IPv6 is IPv4. So equal blocks are equal values.
///
/// Ordered by family, address and length: a prefix comes directly before those inside it.
/// As text always with its length, `10.0.0.1/32`.
///
/// ```
/// use dbfw_core::source::Prefix;
///
/// let network: Prefix = "10.0.0.0/8".parse().unwrap();
/// assert!(network.covers(&"10.1.0.0/16".parse().unwrap()));
/// assert_eq!("::ffff:10.0.0.1".parse::<Prefix>().unwrap().to_string(), "10.0.0.1/32");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNetwork);

impl Prefix {
    /// Every IPv4 address.
    pub const ANY4: Self = Self::v4(Ipv4Addr::UNSPECIFIED, 0);
    /// Every IPv6 address.
    pub const ANY6: Self = Self::v6(Ipv6Addr::UNSPECIFIED, 0);

    /// The prefix of the first `len` bits of `addr`; a length beyond the family's counts as
    /// the family's. Of an IPv4-mapped address the first 96 bits say no more than "IPv4", so
    /// `::ffff:a.b.c.d` with `len` 96 + n is `a.b.c.d/n`. Text that names all of IPv4 this
    /// way is refused by [`FromStr`].
    pub fn new(addr: IpAddr, len: u8) -> Self {
        let (addr, len) = match (addr.to_canonical(), len.checked_sub(MAPPED_BITS)) {
            (v4 @ IpAddr::V4(_), Some(len)) if addr.is_ipv6() => (v4, len),
            _ => (addr, len),
        };
        let len = len.min(bits(addr));
        match addr {
            IpAddr::V4(addr) => Self::v4(net4(addr, len).network(), len),
            IpAddr::V6(addr) => Self::v6(net6(addr, len).network(), len),
        }
    }

    /// The prefix of an IPv4 address and a netmask; `None` if the mask has gaps.
    pub(super) fn with_netmask(addr: Ipv4Addr, mask: Ipv4Addr) -> Option<Self> {
        Some(Self::new(addr.into(), ipv4_mask_to_prefix(mask).ok()?))
    }

    /// An IPv4 prefix; its host bits are zero.
    pub(crate) const fn v4(addr: Ipv4Addr, len: u8) -> Self {
        Self(IpNetwork::V4(net4(addr, len)))
    }

    /// An IPv6 prefix that a constant names; its host bits are zero.
    pub(crate) const fn v6(addr: Ipv6Addr, len: u8) -> Self {
        Self(IpNetwork::V6(net6(addr, len)))
    }

    /// The prefix of this one address.
    pub fn host(addr: IpAddr) -> Self {
        Self::new(addr, u8::MAX)
    }

    /// Its first address.
    pub fn addr(&self) -> IpAddr {
        self.0.ip()
    }

    /// Its last address.
    pub fn last_addr(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Number of leading bits that it fixes.
    #[expect(clippy::len_without_is_empty, reason = "a prefix always holds an address")]
    pub fn len(&self) -> u8 {
        self.0.prefix()
    }

    /// Whether it is IPv4.
    pub fn is_v4(&self) -> bool {
        self.0.is_ipv4()
    }

    /// Its address family.
    pub fn family(&self) -> Family {
        if self.is_v4() { Family::V4 } else { Family::V6 }
    }

    /// Whether it is a single address.
    pub fn is_host(&self) -> bool {
        self.len() == bits(self.addr())
    }

    /// Whether `addr` is one of its addresses. As on the wire, an IPv4-mapped address is
    /// IPv6; `IpAddr::to_canonical` makes IPv4 of it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(addr)
    }

    /// Whether every address of `other` is one of its own.
    pub fn covers(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.contains(other.addr())
    }

    /// First and last address as numbers.
    pub fn bounds(&self) -> (u128, u128) {
        match self.0 {
            IpNetwork::V4(net) => (net.ip().to_bits().into(), net.broadcast().to_bits().into()),
            IpNetwork::V6(net) => (net.ip().to_bits(), net.broadcast().to_bits()),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// An address (`10.0.0.1`) or a CIDR (`10.0.0.0/24`) without host bits, nothing around it.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let addr = parse_address(address)?;
        let Some(length) = length else { return Ok(Self::host(addr)) };
        let max = bits(addr);
        let len = parse_length(length)
            .filter(|len| *len <= max)
            .ok_or_else(|| PrefixError::Length { text: excerpt(text), max })?;
        if is_mapped(addr) && len <= MAPPED_BITS {
            return Err(PrefixError::Mapped { text: excerpt(text) });
        }
        let prefix = Self::new(addr, len);
        if prefix.addr() != addr.to_canonical() {
            return Err(PrefixError::HostBits { text: excerpt(text), network: prefix, addr });
        }
        Ok(prefix)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The fewest prefixes that together are exactly the addresses from `first` to `last`.
///
/// # Errors
/// The ends are of two families or the wrong way round, or only an IPv4-mapped form would name
/// a part of the range.
fn range_prefixes(first: IpAddr, last: IpAddr) -> Result<Vec<Prefix>, PrefixError> {
    let (start, end) = (first.to_canonical(), last.to_canonical());
    if start.is_ipv4() != end.is_ipv4() {
        return Err(PrefixError::MixedFamilies { first, last });
    }
    if end < start {
        return Err(PrefixError::Backwards { first, last });
    }
    // IPv4 in its IPv4-mapped form, of which `Prefix::new` makes IPv4 again.
    let blocks: Vec<(Ipv6Addr, u8)> = blocks(as_ipv6(start), as_ipv6(end)).collect();
    // Else a piece of an IPv6 range would become all of IPv4.
    if start.is_ipv6() && blocks.iter().any(|(addr, _)| is_mapped(IpAddr::V6(*addr))) {
        return Err(PrefixError::Mapped { text: format!("{first}-{last}") });
    }
    Ok(blocks.into_iter().map(|(addr, len)| Prefix::new(IpAddr::V6(addr), len)).collect())
}

/// The fewest blocks that together are the addresses from `first` to `last`, in order: the first
/// address and the length of each.
fn blocks(first: Ipv6Addr, last: Ipv6Addr) -> impl Iterator<Item = (Ipv6Addr, u8)> {
    let last = last.to_bits();
    let mut next = Some(first.to_bits());
    iter::from_fn(move || {
        let start = next?;
        // A block starts at a multiple of its size, and has to fit into the rest of the range.
        let fits = (last - start).checked_add(1).map_or(u128::BITS, u128::ilog2);
        let host_bits = start.trailing_zeros().min(fits);
        let end = start | u128::MAX.checked_shr(u128::BITS - host_bits).unwrap_or(0);
        next = end.checked_add(1).filter(|next| *next <= last);
        Some((Ipv6Addr::from_bits(start), (u128::BITS - host_bits) as u8))
    })
}

fn as_ipv6(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The reason why a text is not a prefix or a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address.
    #[error("{text:?} is not an IPv4 or IPv6 address")]
    Address {
        /// The text as written.
        text: String,
    },
    /// An address with something that does not belong to it.
    #[error("{text:?} {}", mistake.as_str())]
    Mistake {
        /// The text as written.
        text: String,
        /// The mistake.
        mistake: Mistake,
        /// The address, CIDR or range that was meant, in the form to write.
        meant: String,
        /// The CIDRs of a range, if they are few: another way to write it.
        cidrs: Vec<Prefix>,
    },
    /// No length, or one the family does not have.
    #[error("{text:?}: the length after '/' is not a number from 0 to {max}")]
    Length {
        /// The text as written.
        text: String,
        /// The family's longest.
        max: u8,
    },
    /// The address is inside the prefix, not at its start.
    #[error("{text} has host bits set")]
    HostBits {
        /// The text as written.
        text: String,
        /// The prefix it is in.
        network: Prefix,
        /// The address alone.
        addr: IpAddr,
    },
    /// All of IPv4, written as IPv4-mapped IPv6.
    #[error("{text} holds all of IPv4 in IPv4-mapped form (::ffff:0:0/96)")]
    Mapped {
        /// The text as written.
        text: String,
    },
    /// The ends of a range are of two families.
    #[error("{first}-{last} has ends of two families")]
    MixedFamilies {
        /// The first address of the range.
        first: IpAddr,
        /// The last address of the range.
        last: IpAddr,
    },
    /// A range ends before it starts.
    #[error("{first}-{last} ends before it starts")]
    Backwards {
        /// The first address of the range.
        first: IpAddr,
        /// The last address of the range.
        last: IpAddr,
    },
}

impl PrefixError {
    /// The text to write instead, if that is certain.
    pub(super) fn meant(&self) -> Option<String> {
        match self {
            Self::Mistake { meant, .. } => Some(meant.clone()),
            Self::HostBits { network, .. } => Some(network.to_string()),
            Self::Backwards { first, last } => Some(format!("{last}-{first}")),
            Self::Address { .. }
            | Self::Length { .. }
            | Self::Mapped { .. }
            | Self::MixedFamilies { .. } => None,
        }
    }

    /// The advice: what to write instead.
    pub fn fix(&self) -> String {
        match self {
            Self::Address { .. } => "write an address, a CIDR or a range".to_owned(),
            Self::Mistake { mistake, meant, cidrs, .. } if cidrs.is_empty() => {
                format!("write {meant}{}", mistake.because())
            }
            Self::Mistake { mistake, meant, cidrs, .. } => {
                let cidrs: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
                format!("write {meant} (or {}){}", cidrs.join(", "), mistake.because())
            }
            Self::Length { max, .. } => {
                format!("write a length from 0 to {max}, or none for the one address")
            }
            Self::HostBits { network, addr, .. } => {
                format!("write {network}, or {addr} for the one address")
            }
            Self::Mapped { .. } => "write 0.0.0.0/0 if every IPv4 address is meant".to_owned(),
            Self::MixedFamilies { .. } => {
                "write a range of IPv4 addresses or one of IPv6 addresses".to_owned()
            }
            Self::Backwards { first, last } => format!("write {last}-{first}"),
        }
    }

    /// The message and the fix in one text, for where nothing shows them apart.
    pub fn with_fix(&self) -> String {
        format!("{self}; {}", self.fix())
    }
}

/// The prefixes of an address, a CIDR or a range (`10.0.0.1-10.0.0.9`), without a guess at what
/// anything else means.
pub(super) fn exact_prefixes(text: &str) -> Result<Vec<Prefix>, PrefixError> {
    match text.split_once('-') {
        Some((first, last)) => {
            range_prefixes(parse_address(first.trim_end())?, parse_address(last.trim_start())?)
        }
        None => Ok(vec![text.parse()?]),
    }
}

/// An address and nothing else.
fn parse_address(text: &str) -> Result<IpAddr, PrefixError> {
    text.parse().map_err(|_| PrefixError::Address { text: excerpt(text) })
}

/// Decimal digits alone: the standard parser would also take "+24" and "024".
fn parse_length(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A network of at most 32 bits, as every caller makes sure.
const fn net4(addr: Ipv4Addr, len: u8) -> Ipv4Network {
    Ipv4Network::new_checked(addr, len).expect("an IPv4 prefix has at most 32 bits")
}

/// A network of at most 128 bits, as every caller makes sure.
const fn net6(addr: Ipv6Addr, len: u8) -> Ipv6Network {
    Ipv6Network::new_checked(addr, len).expect("an IPv6 prefix has at most 128 bits")
}

fn bits(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn is_mapped(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Prefix>().unwrap_err().with_fix()
    }

    #[test]
    fn one_form_for_one_block() {
        for (text, canonical) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::", "2001:db8::/128"),
            ("2001:db8:0:0::/64", "2001:db8::/64"),
            ("::/0", "::/0"),
            ("::/80", "::/80"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:a00:0/104", "10.0.0.0/8"),
            ("::ffff:0.0.0.0/97", "0.0.0.0/1"),
        ] {
            assert_eq!(prefix(text).to_string(), canonical, "{text}");
        }
        assert_eq!(prefix("0.0.0.0/0"), Prefix::ANY4);
        assert_eq!(prefix("::/0"), Prefix::ANY6);
    }

    #[test]
    fn refused_with_the_fix() {
        assert_eq!(
            error("10.0.0.5/24"),
            "10.0.0.5/24 has host bits set; write 10.0.0.0/24, or 10.0.0.5 for the one address"
        );
        assert_eq!(
            error("2001:db8::5/64"),
            "2001:db8::5/64 has host bits set; write 2001:db8::/64, or 2001:db8::5 for the one \
             address"
        );
        assert!(error("::ffff:10.0.0.5/120").contains("write 10.0.0.0/24, or"));
        assert!(error("1.2.3.4/0").contains("write 0.0.0.0/0"));
        for text in ["::ffff:0:0/96", "::ffff:10.0.0.1/96", "::ffff:0:0/80", "::ffff:1.2.3.4/0"] {
            assert!(error(text).contains("all of IPv4"), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8/8"] {
            assert!(error(text).contains("from 0 to 32"), "{text}");
        }
        for text in ["::/129", "::/-1", "::/64 ", "::/255.0.0.0", "::/999"] {
            assert!(error(text).contains("from 0 to 128"), "{text}");
        }
        for text in ["", "/8", " 10.0.0.1", "10.0.0", "010.0.0.1", "fe80::1%eth0", "10.0.0.1:80"] {
            assert!(error(text).contains("is not an IPv4 or IPv6 address"), "{text}");
        }
        let long = "x".repeat(1 << 20);
        assert!(error(&long).len() < 200);
        assert_eq!(
            error("a\nb"),
            "\"a\\nb\" is not an IPv4 or IPv6 address; write an address, a CIDR or a range"
        );
    }

    #[test]
    fn serde_as_text() {
        let json = serde_json::to_string(&prefix("10.0.0.0/8")).unwrap();
        assert_eq!(json, "\"10.0.0.0/8\"");
        assert_eq!(serde_json::from_str::<Prefix>(&json).unwrap(), prefix("10.0.0.0/8"));
        let error = serde_json::from_str::<Prefix>("\"10.0.0.1/8\"").unwrap_err().to_string();
        assert!(error.contains("host bits"), "{error}");
        assert!(serde_json::from_str::<Prefix>("8").is_err());
    }

    #[test]
    fn ranges() {
        let range = |first: &str, last: &str| {
            range_prefixes(first.parse().unwrap(), last.parse().unwrap()).map(|prefixes| {
                prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(
            range("10.0.0.1", "10.0.0.9").unwrap(),
            "10.0.0.1/32 10.0.0.2/31 10.0.0.4/30 10.0.0.8/31"
        );
        assert_eq!(range("0.0.0.0", "255.255.255.255").unwrap(), "0.0.0.0/0");
        assert_eq!(range("255.255.255.255", "255.255.255.255").unwrap(), "255.255.255.255/32");
        assert_eq!(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").unwrap(), "::/0");
        assert_eq!(range("::ffff:10.0.0.0", "10.0.0.3").unwrap(), "10.0.0.0/30");
        assert_eq!(
            range("10.0.0.9", "10.0.0.1").unwrap_err().with_fix(),
            "10.0.0.9-10.0.0.1 ends before it starts; write 10.0.0.1-10.0.0.9"
        );
        assert!(matches!(range("10.0.0.1", "::1"), Err(PrefixError::MixedFamilies { .. })));
        assert!(matches!(range("::", "::ffff:ffff:ffff"), Err(PrefixError::MixedFamilies { .. })));
        assert!(matches!(range("::fffe:ffff:ffff", "::1:0:0:0"), Err(PrefixError::Mapped { .. })));
    }

    /// The number of prefixes by the textbook: climb from both ends, level by level.
    fn fewest(mut first: u128, mut last: u128, bits: u32) -> usize {
        let mut count = 0;
        for _ in 0..bits {
            if first > last {
                return count;
            }
            if first & 1 == 1 {
                count += 1;
                first += 1;
            }
            if last & 1 == 0 {
                count += 1;
                if last == 0 {
                    return count;
                }
                last -= 1;
            }
            first >>= 1;
            last >>= 1;
        }
        count + usize::from(first <= last)
    }

    fn check_range(first: IpAddr, last: IpAddr, bounds: (u128, u128), bits: u32) {
        let prefixes = range_prefixes(first, last).unwrap();
        assert_eq!(prefixes.len(), fewest(bounds.0, bounds.1, bits));
        assert_eq!(prefixes.first().unwrap().bounds().0, bounds.0);
        assert_eq!(prefixes.last().unwrap().bounds().1, bounds.1);
        for pair in prefixes.windows(2) {
            assert_eq!(pair[0].bounds().1 + 1, pair[1].bounds().0);
        }
    }

    /// The model: the same prefix as a crate of another author has it.
    fn model(addr: IpAddr, len: u8) -> IpNet {
        IpNet::new_assert(addr, len).trunc()
    }

    fn text_of(nets: impl Iterator<Item = impl ToString>) -> Vec<String> {
        nets.map(|net| net.to_string()).collect()
    }

    proptest! {
        #[test]
        fn as_ipnet_has_it(raw: u128, other: u128, common in 0u32..=128, lens: [u8; 2], v4: bool) {
            // The other address shares leading bits, else no prefix would hold both.
            let other = raw ^ other.checked_shr(common).unwrap_or(0);
            let [a, b] = [raw, other].map(|raw| match v4 {
                true => IpAddr::V4(((raw >> 96) as u32).into()),
                false => IpAddr::V6(raw.into()),
            });
            let [len_a, len_b] = lens.map(|len| len % (bits(a) + 1));
            prop_assume!(!is_mapped(a) && !is_mapped(b));
            let ([net, inside], [expected, model_inside]) = (
                [Prefix::new(a, len_a), Prefix::new(b, len_b)],
                [model(a, len_a), model(b, len_b)],
            );
            prop_assert_eq!(net.to_string(), expected.to_string());
            prop_assert_eq!((net.addr(), net.last_addr()), (expected.network(), expected.broadcast()));
            prop_assert_eq!(net.is_host(), len_a == expected.max_prefix_len());
            prop_assert_eq!(net.contains(b), expected.contains(&b));
            prop_assert_eq!(net.covers(&inside), expected.contains(&model_inside));
            prop_assert_eq!(net.cmp(&inside), expected.cmp(&model_inside));
        }

        #[test]
        fn ranges_as_ipnet_has_them(a: u128, b: u128, shift in 0u32..128) {
            // Ends that share leading bits, the family's edges among them.
            let (a, b) = (a >> shift, u128::MAX - (b >> shift));
            let (first, last) = (a.min(b), a.max(b));
            let [first4, last4] = [first, last].map(|raw| Ipv4Addr::from_bits((raw >> 96) as u32));
            prop_assert_eq!(
                text_of(range_prefixes(first4.into(), last4.into()).unwrap().iter()),
                text_of(Ipv4Subnets::new(first4, last4, 0))
            );
            let [first, last] = [first, last].map(Ipv6Addr::from_bits);
            let subnets: Vec<_> = Ipv6Subnets::new(first, last, 0).collect();
            prop_assume!(!subnets.iter().any(|net| is_mapped(net.addr().into())));
            prop_assert_eq!(
                text_of(range_prefixes(first.into(), last.into()).unwrap().iter()),
                text_of(subnets.iter())
            );
        }

        #[test]
        fn text_round_trip(raw: u128, v4: bool, len in 0u8..=128) {
            let addr = if v4 { IpAddr::V4((raw as u32).into()) } else { IpAddr::V6(raw.into()) };
            let prefix = Prefix::new(addr, len);
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
            prop_assert!(prefix.contains(addr));
            prop_assert_eq!(prefix.is_v4(), v4);
            prop_assert_eq!(prefix.len(), if v4 { len.min(32) } else { len });
            let bare = Prefix::host(addr);
            prop_assert!(bare.is_host() && prefix.covers(&bare));
            prop_assert_eq!(addr.to_string().parse::<Prefix>(), Ok(bare));
        }

        #[test]
        fn mapped_is_ipv4(raw: u32, len in 0u8..=32) {
            let mapped = IpAddr::V6(Ipv4Addr::from_bits(raw).to_ipv6_mapped());
            let prefix = Prefix::new(mapped, 96 + len);
            prop_assert_eq!(prefix, Prefix::new(IpAddr::V4(raw.into()), len));
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
        }

        #[test]
        fn any_text_parses_or_fails(text in "[0-9a-f:./%+ -]{0,24}|\\PC{0,24}") {
            if let Ok(prefix) = text.parse::<Prefix>() {
                prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
            }
        }

        #[test]
        fn order_puts_a_prefix_before_those_inside(a: u32, b: u32, la in 0u8..=32, lb in 0u8..=32) {
            let [a, b] = [(a, la), (b, lb)].map(|(a, len)| Prefix::new(IpAddr::V4(a.into()), len));
            prop_assert!(!a.covers(&b) || a <= b);
            prop_assert!(Prefix::ANY4 <= a && a < Prefix::ANY6);
        }

        #[test]
        fn range_is_exact_and_minimal(a: u32, b: u32, shift in 0u32..32) {
            // Shifted, so that ends share leading bits and lie at the family's edges.
            let (a, b) = (a >> shift, u32::MAX - (b >> shift));
            let (first, last) = (a.min(b), a.max(b));
            check_range(
                IpAddr::V4(first.into()), IpAddr::V4(last.into()), (first.into(), last.into()), 32,
            );
        }

        #[test]
        fn range6_is_exact_and_minimal(a: u128, b: u128, shift in 1u32..127) {
            // Outside the mapped range.
            let top = 1 << 127;
            let (first, last) = (a >> shift | top, u128::MAX - (b >> shift));
            let (first, last) = (first.min(last), first.max(last));
            check_range(IpAddr::V6(first.into()), IpAddr::V6(last.into()), (first, last), 128);
        }
    }
}
