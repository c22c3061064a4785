//! Characters that make a text look like another one, and texts without them.

/// Whether a character is not seen, breaks a line, or turns the direction of writing: Unicode's
/// format characters and its two separators of lines. Control characters are told apart by
/// [`char::is_control`].
pub const fn misleads(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text for a terminal: control characters, and those that mislead, are escaped.
pub fn escaped(text: &str) -> String {
    let is_escaped = |c: char| c.is_control() || misleads(c);
    if !text.chars().any(is_escaped) {
        return text.to_owned();
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if is_escaped(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_breaks_or_hides_misleads_and_nothing_else() {
        for range in [
            '\u{202a}'..='\u{202e}',
            '\u{2066}'..='\u{2069}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{2029}',
        ] {
            for c in range {
                assert!(misleads(c), "{c:?}");
            }
        }
        for c in ['\u{61c}', '\u{feff}', '\u{2060}', '\u{e0041}'] {
            assert!(misleads(c), "{c:?}");
        }
        for c in "a ä \u{300} 東 🚀 \u{2027} \u{202f} \u{a0} … —".chars() {
            assert!(!misleads(c), "{c:?}");
        }
    }
}
