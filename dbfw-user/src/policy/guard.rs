//! What a provider's list may not do without a human word.

use std::{collections::BTreeSet, fmt};

use crate::source::Prefix;

/// Prefixes a [`Refusal`] names at most.
const MAX_NAMED: usize = 20;

/// How many prefixes of the shortest length a list may hold all in all, by address. A pair of
/// /1s or every /8 is "everybody" too; 16 blocks of /8 are a sixteenth of IPv4.
const MAX_WIDEST: u128 = 16;

/// A rule no list may break unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub const ALL: [Self; 3] = [Self::MaxShrink, Self::OnEmpty, Self::AllowAny];

    /// The configuration key that sets it, which metrics use as its label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxShrink => "max_shrink",
            Self::OnEmpty => "on_empty",
            Self::AllowAny => "allow_any",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A list that a guard refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The guard.
    pub guard: Guard,
    /// The prefixes lost or too wide; the first of them if there are many.
    pub prefixes: Vec<Prefix>,
    /// How many there are.
    pub total: usize,
    /// What is wrong, and how to let it through.
    pub message: String,
}

/// Refuses a list that loses more than `max_shrink_percent` of the prefixes in force, or all
/// of them. A prefix is lost unless the new list holds each of its addresses, in whatever
/// pieces. The share is of `counted` prefixes: all of `old`, or those that were in force before
/// it was refused first.
///
/// At 100 percent a list may lose any number but not become empty: whoever has set `on_empty`
/// to allow that does not ask about an empty list.
pub fn check_shrink(
    old: &[Prefix],
    counted: usize,
    new: &[Prefix],
    max_shrink_percent: u8,
) -> Result<(), Refusal> {
    let old: BTreeSet<_> = old.iter().copied().collect();
    if new.is_empty() && !old.is_empty() {
        let message = format!(
            "the new list is empty, and {} in force; on_empty keeps the list in force. If nobody \
             is to be trusted, run `dbfw reload --confirm` or set on_empty = \"close\"",
            count(old.len(), "prefix is", "prefixes are"),
        );
        return Err(Refusal::new(Guard::OnEmpty, old.into_iter().collect(), message));
    }
    let old = Vec::from_iter(old);
    let lost = lost(&old, new);
    // In u128 no product overflows.
    if lost.len() as u128 * 100 <= counted as u128 * u128::from(max_shrink_percent) {
        return Ok(());
    }
    let message = format!(
        "the new list loses {} of {} in force, more than max_shrink = \"{max_shrink_percent}%\" \
         allows: {}. The list in force stays; if the loss is meant, run `dbfw reload --confirm` \
         or raise max_shrink",
        lost.len(),
        count(counted, "prefix", "prefixes"),
        named(&lost),
    );
    Err(Refusal::new(Guard::MaxShrink, lost, message))
}

/// The prefixes of `old` of which `new` does not hold each address, in whatever pieces.
pub fn lost(old: &[Prefix], new: &[Prefix]) -> Vec<Prefix> {
    let held = union(new);
    old.iter().filter(|prefix| !holds(&held, prefix)).copied().collect()
}

/// Refuses a list that holds a prefix shorter than `min_len` (IPv4, IPv6), or in all pieces
/// together more addresses than 16 of those.
pub fn check_width(prefixes: &[Prefix], allow_any: bool, min_len: [u8; 2]) -> Result<(), Refusal> {
    if allow_any {
        return Ok(());
    }
    let wide: BTreeSet<_> = prefixes
        .iter()
        .filter(|prefix| prefix.len() < min_len[prefix.family() as usize])
        .copied()
        .collect();
    if !wide.is_empty() {
        let wide: Vec<_> = wide.into_iter().collect();
        let message = format!(
            "the new list holds {} wider than /{} (IPv6: /{}), which no list may unasked: {}. The \
             list in force stays; if it is meant, set allow_any = true for the database",
            count(wide.len(), "prefix", "prefixes"),
            min_len[0],
            min_len[1],
            named(&wide),
        );
        return Err(Refusal::new(Guard::AllowAny, wide, message));
    }
    for (v4, name, min_len, bits) in
        [(true, "IPv4", min_len[0], 32), (false, "IPv6", min_len[1], 128)]
    {
        let family: BTreeSet<_> =
            prefixes.iter().filter(|prefix| prefix.is_v4() == v4).copied().collect();
        let family = Vec::from_iter(family);
        let limit = most(min_len, bits);
        // All of IPv6 is one address more than the type holds, so the sum saturates.
        let addresses = union(&family).iter().map(Span::addresses).fold(0, u128::saturating_add);
        if addresses > limit {
            let message = format!(
                "the new list holds more {name} addresses than {MAX_WIDEST} blocks of /{min_len}, \
                 which no list may unasked: {}. The list in force stays; if it is meant, set \
                 allow_any = true for the database",
                named(&family),
            );
            return Err(Refusal::new(Guard::AllowAny, family, message));
        }
    }
    Ok(())
}

/// What of `prefixes` may stay where [`check_width`] refuses all of them together: none shorter
/// than `min_len`, and the longest first until their addresses are as many as may be.
pub fn narrowest(prefixes: &[Prefix], min_len: [u8; 2]) -> BTreeSet<Prefix> {
    let permitted = |prefix: &&Prefix| prefix.len() >= min_len[prefix.family() as usize];
    let mut sorted: Vec<Prefix> = prefixes.iter().filter(permitted).copied().collect();
    sorted.sort_unstable_by_key(|prefix| (std::cmp::Reverse(prefix.len()), *prefix));
    let mut room = [most(min_len[0], 32), most(min_len[1], 128)];
    let mut fits = |prefix: &Prefix| {
        let room = &mut room[prefix.family() as usize];
        let rest = room.checked_sub(Span::of(prefix).addresses());
        *room = rest.unwrap_or(0);
        rest.is_some()
    };
    sorted.into_iter().filter(|prefix| fits(prefix)).collect()
}

/// Addresses of a family of so many bits that no list may exceed unasked.
fn most(min_len: u8, bits: u32) -> u128 {
    // With a shortest length of 4 bits or fewer that is everybody.
    let limit = MAX_WIDEST.checked_shl(bits - u32::from(min_len)).filter(|limit| *limit > 0);
    limit.unwrap_or(u128::MAX)
}

impl Refusal {
    fn new(guard: Guard, mut prefixes: Vec<Prefix>, message: String) -> Self {
        let total = prefixes.len();
        prefixes.truncate(MAX_NAMED);
        Self { guard, prefixes, total, message }
    }
}

/// Addresses of one family from first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    v4: bool,
    first: u128,
    last: u128,
}

impl Span {
    fn of(prefix: &Prefix) -> Self {
        let (first, last) = prefix.bounds();
        Self { v4: prefix.is_v4(), first, last }
    }

    fn addresses(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }
}

/// The addresses of all prefixes, sorted; no two spans touch.
fn union(prefixes: &[Prefix]) -> Vec<Span> {
    let mut sorted: Vec<_> = prefixes.iter().map(Span::of).collect();
    sorted.sort_unstable_by_key(|span| (span.v4, span.first));
    let mut union: Vec<Span> = Vec::new();
    for span in sorted {
        match union.last_mut() {
            Some(last) if last.v4 == span.v4 && span.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(span.last);
            }
            _ => union.push(span),
        }
    }
    union
}

/// Whether the union holds every address of the prefix.
fn holds(union: &[Span], prefix: &Prefix) -> bool {
    let span = Span::of(prefix);
    let after = union.partition_point(|held| (held.v4, held.first) <= (span.v4, span.first));
    union[..after].last().is_some_and(|held| held.v4 == span.v4 && span.last <= held.last)
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
