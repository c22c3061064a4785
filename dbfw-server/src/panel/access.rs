//! Effects of a change on the address that the browser comes from.

use std::net::IpAddr;

use dbfw_core::source::{PrefixUnion, SourceKey};
use maud::{Markup, html};

use super::text::shown;
use crate::list::Rule;

/// Whether a source names an address itself.
pub(super) fn names(key: &SourceKey, address: IpAddr) -> bool {
    let prefixes = key.prefixes();
    prefixes.is_some_and(|set| set.iter().any(|prefix| prefix.contains(address)))
}

/// Whether one of the sources has to be looked up, so that nobody here knows what it stands for.
fn is_open(rules: &[&Rule]) -> bool {
    rules.iter().any(|rule| rule.key.prefixes().is_none())
}

/// The effect of sources going on whoever looks, and on their own addresses.
pub(super) fn of_removal(before: &[Rule], after: &[&Rule], address: IpAddr) -> Markup {
    let gone: Vec<&Rule> =
        before.iter().filter(|old| !after.iter().any(|new| new.key == old.key)).collect();
    if gone.is_empty() {
        return html! {};
    }
    let was = gone.iter().any(|rule| names(&rule.key, address));
    let stays = after.iter().find(|rule| names(&rule.key, address));
    let lost = gone.iter().filter_map(|rule| rule.key.prefixes()).collect::<PrefixUnion>();
    let kept = after.iter().filter_map(|rule| rule.key.prefixes()).collect::<PrefixUnion>();
    let is_covered = !is_open(&gone) && lost.lost_in(&kept).is_empty();
    html! {
        @if was && stays.is_none() {
            p.warning {
                strong { "This cuts your own address. " }
                "Nothing else in the list names " (address) ", which your browser comes from."
                @if is_open(after) {
                    " One of the sources that are looked up may still stand for it."
                }
            }
        } @else if let Some(rule) = stays.filter(|_| was) {
            p.note {
                "Your own address, " (address) ", stays trusted: "
                (shown(&rule.key.to_string())) " names it too."
            }
        } @else if is_open(&gone) && stays.is_none() {
            p.warning {
                "Whether this cuts your own address, " (address) ", is not known here: what is "
                "removed has to be looked up."
            }
        } @else {
            p.note { "It does not concern your own address, " (address) "." }
        }
        @if is_covered {
            p.note { "All of its addresses stay trusted: other sources in the list name them too." }
        }
    }
}
