//! Texts that hosts send, as they are kept: short, and without what would deceive a reader.

/// A text of at most so many characters; those that a reader would not see, or see elsewhere, are
/// replaced.
pub(super) fn clean(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() || dbfw_core::misleads(c) { '\u{fffd}' } else { c };
    text.chars().take(most).map(shown).collect()
}

/// Whether a text is a port as hosts name it: `tcp/5432`.
pub(super) fn is_port(text: &str) -> bool {
    let port = text.split_once('/').filter(|(protocol, _)| matches!(*protocol, "tcp" | "udp"));
    port.is_some_and(|(_, number)| number.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_hosts_are_short_and_plain() {
        assert_eq!(clean("a\nb\u{202e}c", 9), "a\u{fffd}b\u{fffd}c");
        assert_eq!(clean("ünïcode", 3), "ünï");
        assert!(is_port("tcp/5432") && is_port("udp/0"));
        for bad in ["", "tcp", "tcp/", "tcp/65536", "sctp/1", "tcp/1/2", "<script>"] {
            assert!(!is_port(bad), "{bad}");
        }
    }
}
