//! Texts in messages: quoting, shortening, the nearest known word.

use strsim::osa_distance;

/// Longest value quoted in a message, in characters.
const QUOTED: usize = 80;

/// A value as written, quoted, escaped and cut to a length that fits a message.
pub fn quoted(value: &str) -> String {
    let (start, rest) = cut(value);
    format!("{start:?}{rest}")
}

/// A value without quotes, cut to a length that fits a message.
pub fn shortened(value: &str) -> String {
    let (start, rest) = cut(value);
    format!("{start}{rest}")
}

fn cut(value: &str) -> (&str, &str) {
    match value.char_indices().nth(QUOTED) {
        Some((end, _)) => (&value[..end], "..."),
        None => (value, ""),
    }
}

/// The candidate that `word` is most likely a slip of; `None` if none is near.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let longest = candidates.iter().map(|candidate| candidate.len()).max()?;
    // Nothing this long is near, and the distance costs the product of the lengths.
    if word.len() > 2 * longest {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .iter()
        .map(|candidate| (osa_distance(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether a text is a number without a sign; the standard parser would also take "+1".
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["interfaces", "state_dir", "run_dir", "mode"];
        assert_eq!(nearest("interface", &known), Some("interfaces"));
        assert_eq!(nearest("state-dir", &known), Some("state_dir"));
        assert_eq!(nearest("StateDir", &known), Some("state_dir"));
        assert_eq!(nearest("mdoe", &known), Some("mode"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
        assert_eq!(nearest("mode", &[]), None);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(quoted("a\"\n"), r#""a\"\n""#);
        assert_eq!(quoted(&"ü".repeat(81)), format!("{:?}...", "ü".repeat(80)));
    }
}
