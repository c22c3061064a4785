//! Lifetimes on the command line, as people write them.

use dbfw_core::toml::parse_duration;
use jiff::{SignedDuration, Timestamp};

/// A positive length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(SignedDuration);

impl Lifetime {
    /// End of a lifetime that begins at `now`; `None` beyond the year 9999.
    pub(super) fn after(self, now: Timestamp) -> Option<Timestamp> {
        now.checked_add(self.0).ok()
    }
}

/// Parses "2h", "90 minutes", "1d12h"; a day has 24 hours, a week seven days.
///
/// # Errors
///
/// The text is no length of time.
pub(super) fn lifetime(text: &str) -> Result<Lifetime, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    match duration.is_positive() {
        true => Ok(Lifetime(duration)),
        false => Err("it must be longer than zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, seconds) in [
            ("2h", 7200),
            ("90 minutes", 5400),
            ("1h30m", 5400),
            ("1d12h", 129_600),
            ("2 weeks", 1_209_600),
            ("PT15M", 900),
            ("1s", 1),
        ] {
            assert_eq!(lifetime(text), Ok(Lifetime(SignedDuration::from_secs(seconds))), "{text}");
        }
    }

    #[test]
    fn what_is_no_lifetime() {
        for text in ["", "2", "soon", "0s", "-2h", "2h ago", "1 month", "1 year", "99999999999h"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        let long = lifetime("5000000h").unwrap();
        assert_eq!(long.after(Timestamp::MAX), None);
        assert!(long.after(Timestamp::UNIX_EPOCH).is_some());
    }
}
