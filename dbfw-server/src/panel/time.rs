//! Times, for people.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use maud::{Markup, html};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Days after which a time is a date.
const DISTANT: i64 = 60;

/// A moment by its distance from now, with the exact time behind it.
pub(super) fn when(at: Timestamp) -> Markup {
    html! {
        time datetime=(at) title=(exact(at)) { (distance(at, Timestamp::now())) }
    }
}

/// A moment in UTC.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let length = seconds.abs();
    if length < MINUTE {
        return if seconds > 0 { "in a minute" } else { "just now" }.to_owned();
    }
    // To the nearest: a day from now is no 23 hours as soon as a second is over.
    let [minutes, hours, days] = [MINUTE, HOUR, DAY].map(|unit| (length + unit / 2) / unit);
    let number = match (minutes, hours, days) {
        (..60, _, _) => format!("{minutes} min"),
        (_, ..24, _) => format!("{hours} h"),
        (_, _, ..=DISTANT) => format!("{days} d"),
        _ => return at.strftime("%Y-%m-%d").to_string(),
    };
    if seconds > 0 { format!("in {number}") } else { format!("{number} ago") }
}

/// The value of a field for date and time, which has no offset, in UTC.
pub(super) fn field(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M").to_string()
}

/// The RFC 3339 time of such a value; `None` if it is none.
pub(super) fn of_field(text: &str) -> Option<String> {
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_short() {
        let now: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-12-01T00:00:00Z", "just now"),
            ("2026-11-30T23:55:00Z", "5 min ago"),
            ("2026-11-30T21:59:59Z", "2 h ago"),
            ("2026-11-28T00:00:00Z", "3 d ago"),
            ("2026-12-01T00:41:10Z", "in 41 min"),
            ("2026-12-01T00:59:40Z", "in 1 h"),
            ("2026-12-01T23:59:59Z", "in 1 d"),
            ("2026-12-01T00:00:10Z", "in a minute"),
            ("2027-12-01T00:00:10Z", "2027-12-01"),
        ] {
            assert_eq!(distance(at.parse().unwrap(), now), text);
        }
    }

    #[test]
    fn a_field_is_a_time_in_utc() {
        assert_eq!(of_field("2026-12-01T08:30").as_deref(), Some("2026-12-01T08:30:00Z"));
        assert_eq!(of_field("tomorrow"), None);
        let at: Timestamp = "2026-12-01T08:30:00Z".parse().unwrap();
        assert_eq!(of_field(&field(at)), Some(at.to_string()));
    }
}
