//! Guards: limits that a provider's list may cross only when somebody confirms it.

use std::collections::BTreeSet;

use dbfw_common::Family;
use strum::{IntoStaticStr, VariantArray};

use crate::source::{Extent, Prefix, PrefixSet, PrefixUnion, is_private6};

/// Prefixes a [`Refusal`] names at most.
const MAX_NAMED: usize = 20;

/// Number of prefixes of the shortest length that a list may hold in all, by address. A pair of
/// /1s or every /8 is "everybody" too; 16 blocks of /8 are a sixteenth of IPv4.
const MAX_WIDEST: u128 = 16;

/// Prefixes that a change may lose whatever share of the list they are: in a short list the
/// replacement of one address is a large share.
const MAX_FEW: usize = 3;

/// The shortest prefixes that a list usually has, IPv4 and IPv6. 10.0.0.0/8 is a common private
/// network, and hardly anybody holds more; registries allocate IPv6 prefixes wider than /19 to
/// hardly anybody.
pub const USUAL_MIN_LEN: [u8; 2] = [8, 19];

/// A limit that a list may cross only when somebody confirms it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Guard {
    /// A list loses no more than a share of its prefixes at once.
    MaxShrink,
    /// A list does not become empty.
    OnEmpty,
    /// A list does not let in everybody.
    AllowAny,
}

impl Guard {
    /// Every guard.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The configuration key that sets it, which metrics use as its label.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// Whether an operator can confirm what it refuses. Only the configuration can let in
    /// everybody.
    pub const fn can_be_confirmed(self) -> bool {
        match self {
            Self::MaxShrink | Self::OnEmpty => true,
            Self::AllowAny => false,
        }
    }
}

/// A list that a guard refuses. As text, what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    guard: Guard,
    what: String,
    setting: String,
}

impl Refusal {
    /// A refusal of a list for `what`, with the setting that permits it: the end of a sentence,
    /// "raise max_shrink".
    pub fn new(guard: Guard, what: String, setting: String) -> Self {
        Self { guard, what, setting }
    }

    /// The guard.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// The setting that permits it: the end of a sentence, "raise max_shrink".
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The way to let the list through: to confirm the change by its id, or a setting.
    pub fn fix(&self, id: &str) -> String {
        let Self { guard, setting, .. } = self;
        match guard {
            Guard::MaxShrink => {
                format!("run `dbfw reload --confirm {id}` if the loss is meant, or {setting}")
            }
            Guard::OnEmpty => {
                format!("run `dbfw reload --confirm {id}` if that is meant, or {setting}")
            }
            Guard::AllowAny => format!("if it is meant, {setting}"),
        }
    }
}

/// Refuses a list that loses more than `max_shrink_percent` of the prefixes in force and more
/// than 3 of them, or all of them. A prefix is lost unless the new list holds each of its
/// addresses, in whatever pieces. Only a prefix that `can_be_lost` counts; the share is of those
/// that are `counted` as well: that were in force before it was refused first.
///
/// At 100 percent a list may lose any number but not become empty: whoever has set `on_empty`
/// to allow that does not ask about an empty list.
///
/// # Errors
/// The loss, and the way to let it through.
pub fn check_shrink(
    old: &PrefixUnion,
    can_be_lost: impl Fn(&Prefix) -> bool,
    counted: impl Fn(&Prefix) -> bool,
    new: &PrefixUnion,
    max_shrink_percent: u8,
) -> Result<(), Refusal> {
    let mut lost = old.lost_in(new);
    lost.retain(&can_be_lost);
    if new.is_empty() && !lost.is_empty() {
        let what = format!(
            "the new list is empty, and {} in force; on_empty keeps the list in force",
            count(lost.len(), "prefix is", "prefixes are"),
        );
        let setting = "set on_empty = \"close\"".to_owned();
        return Err(Refusal::new(Guard::OnEmpty, what, setting));
    }
    if lost.len() <= MAX_FEW {
        return Ok(());
    }
    let is_counted = |prefix: &&Prefix| can_be_lost(prefix) && counted(prefix);
    let counted = old.flatten().iter().filter(is_counted).count();
    // In u128 no product overflows.
    if lost.len() as u128 * 100 <= counted as u128 * u128::from(max_shrink_percent) {
        return Ok(());
    }
    let what = format!(
        "the new list loses {} of {} in force, more than max_shrink = \"{max_shrink_percent}%\" \
         allows: {}. The list in force stays",
        lost.len(),
        count(counted, "prefix", "prefixes"),
        named(&lost),
    );
    Err(Refusal::new(Guard::MaxShrink, what, "raise max_shrink".to_owned()))
}

/// Refuses a list that holds a prefix shorter than `min_len` (IPv4, IPv6), or in all pieces
/// together more addresses than 16 of those.
///
/// The whole of the unique local and link-local ranges of IPv6 passes where `min_len` is no
/// longer than usual, as 10.0.0.0/8 does in IPv4.
///
/// # Errors
/// The prefixes that are too wide, and the least setting that lets it through.
pub fn check_width(
    prefixes: &PrefixUnion,
    allow_any: bool,
    min_len: [u8; 2],
) -> Result<(), Refusal> {
    let with_private6 = counts_private6(min_len);
    let fits = |family: Family| {
        let most = prefixes.extent_at_most(family, with_private6);
        passes(&most, min_len[family as usize], family)
    };
    if allow_any || Family::ALL.into_iter().all(fits) {
        return Ok(());
    }
    // Those of several sets may overlap.
    let all = prefixes.flatten();
    let wide: Vec<Prefix> =
        all.iter().filter(|prefix| !is_narrow(prefix, min_len)).copied().collect();
    if !wide.is_empty() {
        let what = format!(
            "the new list holds {} wider than /{} (IPv6: /{}), which is not allowed: {}. The \
             list in force stays",
            count(wide.len(), "prefix", "prefixes"),
            min_len[0],
            min_len[1],
            named(&wide),
        );
        return Err(Refusal::new(Guard::AllowAny, what, least_setting(&all, min_len)));
    }
    for family in Family::ALL {
        let min = min_len[family as usize];
        if all.extent(family, with_private6).addresses > max_addresses(min, family) {
            let of_family = all.iter().filter(|prefix| prefix.family() == family).copied();
            let what = format!(
                "the new list holds more {} addresses than {MAX_WIDEST} blocks of /{min}, which is \
                 not allowed: {}. The list in force stays",
                name(family),
                named(&Vec::from_iter(of_family)),
            );
            return Err(Refusal::new(Guard::AllowAny, what, least_setting(&all, min_len)));
        }
    }
    Ok(())
}

/// Whether the prefix is narrow enough, whatever the others are.
pub fn is_narrow(prefix: &Prefix, min_len: [u8; 2]) -> bool {
    prefix.len() >= min_len[prefix.family() as usize] || passes_as_private(prefix, min_len)
}

/// Whether it is in a private range of IPv6, and nobody asked for longer prefixes than usual.
fn passes_as_private(prefix: &Prefix, min_len: [u8; 2]) -> bool {
    !counts_private6(min_len) && is_private6(prefix)
}

/// Whether prefixes in the private ranges of IPv6 are as wide as others: somebody asked for
/// longer ones than usual.
const fn counts_private6(min_len: [u8; 2]) -> bool {
    min_len[1] > USUAL_MIN_LEN[1]
}

/// Whether so many addresses pass with this shortest length.
fn passes(extent: &Extent, min_len: u8, family: Family) -> bool {
    extent.shortest >= min_len && extent.addresses <= max_addresses(min_len, family)
}

fn is_everybody(extent: &Extent, family: Family) -> bool {
    let all = 1_u128.checked_shl(bits(family)).unwrap_or(u128::MAX);
    extent.addresses >= all
}

/// The least setting that lets a list through: the longest `min_prefix`, or `allow_any` for
/// what is everybody.
fn least_setting(prefixes: &PrefixSet, min_len: [u8; 2]) -> String {
    let longest = |family: Family| {
        let usual_len = USUAL_MIN_LEN[family as usize];
        let [all, usual] =
            [true, false].map(|with_private6| prefixes.extent(family, with_private6));
        if is_everybody(&all, family) {
            return None;
        }
        let passes = |len: &u8| {
            let extent = if *len <= usual_len { &usual } else { &all };
            passes(extent, *len, family)
        };
        (1..=min_len[family as usize]).rev().find(passes)
    };
    let [Some(ipv4), Some(ipv6)] = Family::ALL.map(longest) else {
        return "set allow_any = true for the database".to_owned();
    };
    let keys: Vec<String> = [("ipv4", ipv4, 0), ("ipv6", ipv6, 1)]
        .into_iter()
        // A family that is left out has the usual length.
        .filter(|(_, len, family)| *len != USUAL_MIN_LEN[*family])
        .map(|(key, len, _)| format!("{key} = {len}"))
        .collect();
    match keys.as_slice() {
        [] => "leave min_prefix out for the database".to_owned(),
        keys => format!("set min_prefix = {{ {} }} for the database", keys.join(", ")),
    }
}

/// The part of `prefixes` that passes [`check_width`]: none shorter than `min_len`, and the
/// longest first until they hold as many addresses as a list may.
pub fn narrowest(prefixes: &[Prefix], min_len: [u8; 2]) -> BTreeSet<Prefix> {
    let mut sorted: Vec<Prefix> =
        prefixes.iter().filter(|prefix| is_narrow(prefix, min_len)).copied().collect();
    sorted.sort_unstable_by_key(|prefix| (std::cmp::Reverse(prefix.len()), *prefix));
    let mut room = Family::ALL.map(|family| max_addresses(min_len[family as usize], family));
    let mut fits = |prefix: &Prefix| {
        if passes_as_private(prefix, min_len) {
            return true;
        }
        let room = &mut room[prefix.family() as usize];
        let (first, last) = prefix.bounds();
        let rest = room.checked_sub((last - first).saturating_add(1));
        *room = rest.unwrap_or(0);
        rest.is_some()
    };
    sorted.into_iter().filter(|prefix| fits(prefix)).collect()
}

/// Addresses of a family that a list may hold in all.
fn max_addresses(min_len: u8, family: Family) -> u128 {
    // With a shortest length of 4 bits or fewer that is everybody.
    let beyond = bits(family) - u32::from(min_len);
    let limit = MAX_WIDEST.checked_shl(beyond).filter(|limit| *limit > 0);
    limit.unwrap_or(u128::MAX)
}

const fn bits(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn named(prefixes: &[Prefix]) -> String {
    let names: Vec<_> = prefixes.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    match prefixes.len().saturating_sub(MAX_NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
