//! Texts of others, which are shown and never believed.

use dbfw_core::misleads;
use maud::{Markup, html};

/// A text as it is, with marks in the place of characters that are not seen, break a line, or turn
/// the direction of writing. It has no effect on the direction of the text around it.
pub(super) fn shown(text: &str) -> Markup {
    let is_odd = |c: char| c.is_control() || misleads(c);
    html! {
        bdi {
            @for part in parts(text, is_odd) {
                @match part {
                    Part::Plain(text) => (text),
                    Part::Odd(c) => span.odd title="a character that is not seen" {
                        (format!("U+{:04X}", u32::from(c)))
                    },
                }
            }
        }
    }
}

enum Part<'t> {
    Plain(&'t str),
    Odd(char),
}

fn parts(text: &str, is_odd: impl Fn(char) -> bool) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| is_odd(*c)) {
        if start < at {
            parts.extend(text.get(start..at).map(Part::Plain));
        }
        parts.push(Part::Odd(c));
        start = at + c.len_utf8();
    }
    parts.extend(text.get(start..).filter(|rest| !rest.is_empty()).map(Part::Plain));
    parts
}

/// A number and what it counts.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (16_777_216, "16,777,216")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn texts_are_escaped_and_odd_characters_are_seen() {
        let text = shown("<script>\u{202e}a\n\u{0}&\"").into_string();
        assert!(!text.contains("<script>") && !text.contains('\u{202e}'), "{text}");
        assert!(!text.contains('\n') && !text.contains('\u{0}'), "{text}");
        for mark in ["&lt;script&gt;", ">U+202E<", ">U+000A<", ">U+0000<", "&amp;&quot;"] {
            assert!(text.contains(mark), "{mark}: {text}");
        }
        assert_eq!(shown("the office, été").into_string(), "<bdi>the office, été</bdi>");
    }
}
