//! Names of pins, and what they say about the object that is pinned.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::hook::HookMode;

/// Characters of an interface's name that its pin has in another form: bpffs takes no dots.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Pin of the backstop's link.
pub(crate) const BACKSTOP_PIN: &str = "link_backstop";
/// Pins of the interfaces' links begin with it; the mode and the interface's name follow.
pub(crate) const LINK_PINS: &str = "link_";

/// Name of a program's pin.
pub(crate) fn program_pin(program: &str) -> String {
    format!("prog_{program}")
}

/// Name of the pin of an interface's link.
pub(crate) fn link_pin(mode: HookMode, interface: &str) -> String {
    format!("{LINK_PINS}{}_{}", mode.as_str(), utf8_percent_encode(interface, ENCODED))
}

/// The mode of a link, by its pin; `None`: it is no interface's.
pub(crate) fn mode_of(pin: &str) -> Option<HookMode> {
    HookMode::ALL.iter().copied().find(|mode| pin.starts_with(&link_pin(*mode, "")))
}

/// The interface that a link is attached to, by its pin, or "backstop".
pub(crate) fn attached_to(pin: &str) -> String {
    let interface = HookMode::ALL.iter().find_map(|mode| pin.strip_prefix(&link_pin(*mode, "")));
    match interface {
        Some(interface) => percent_decode_str(interface).decode_utf8_lossy().into_owned(),
        None => pin.strip_prefix(LINK_PINS).unwrap_or(pin).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_bpffs() {
        for (name, pin) in [
            ("eth0", "link_native_eth0"),
            ("eth0.100", "link_native_eth0%2E100"),
            ("wg%", "link_native_wg%25"),
        ] {
            assert_eq!(link_pin(HookMode::Native, name), pin);
        }
        for name in ["eth0", "eth0.100", "wg%", "%zz", "br-1_2", "größe"] {
            assert_eq!(attached_to(&link_pin(HookMode::Native, name)), name);
        }
        assert_eq!(attached_to("link_native_a%zz%2"), "a%zz%2");
    }

    #[test]
    fn pins_tell_what_is_attached() {
        assert_eq!(attached_to(BACKSTOP_PIN), "backstop");
        assert_eq!(mode_of(BACKSTOP_PIN), None);
        for &mode in HookMode::ALL {
            for interface in ["eth0", "eth0.100", "br-0_1"] {
                let pin = link_pin(mode, interface);
                assert_eq!((attached_to(&pin).as_str(), mode_of(&pin)), (interface, Some(mode)));
            }
        }
        assert_eq!(attached_to("link_of_another_time"), "of_another_time");
    }
}
