//! Numbers, times and foreign text as people and scripts read them.

use jiff::Timestamp;

/// Texts of others: they may come from a provider, and must neither break a line nor steer the
/// terminal.
pub(in super::super) use dbfw_core::escaped as clean;

/// As [`clean`], but its lines stay lines, indented below the first.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n  ")
}

/// Number of columns of the text.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text, or its beginning and an ellipsis.
pub(super) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// Columns that ports or addresses may take in a table.
const ROOM_FOR_LIST: usize = 24;

/// The ports of a database, and the addresses that they are protected at: of each list as much as
/// there is room for in a table, and how many more there are.
pub(super) fn ports_at<S: AsRef<str>>(ports: &[S], addresses: &[String]) -> String {
    let ports = few(ports, ROOM_FOR_LIST);
    match addresses.is_empty() {
        true => ports,
        false => format!("{ports} at {}", few(addresses, ROOM_FOR_LIST)),
    }
}

/// The first items that fit into `room` columns, at least one, and how many more there are.
fn few<S: AsRef<str>>(items: &[S], room: usize) -> String {
    let mut text = String::new();
    for (at, item) in items.iter().map(AsRef::as_ref).enumerate() {
        if at > 0 && width(&text) + 1 + width(item) > room {
            return format!("{text} +{}", items.len() - at);
        }
        if at > 0 {
            text.push(',');
        }
        text.push_str(item);
    }
    text
}

/// The words of a text in lines of at most `room` columns; a longer word has its own.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Line breaks are spaces here; what steers the terminal is not.
    for word in text.split_whitespace().map(clean) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A line of fields for scripts.
pub(super) fn fields<const N: usize>(fields: [&str; N]) -> String {
    fields.map(clean).join("\t") + "\n"
}

/// A field that may be absent.
pub(super) fn maybe<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// A moment for scripts, to the second; empty if absent.
pub(super) fn moment(time: Option<Timestamp>) -> String {
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// A length of time in its two largest units.
pub(in super::super) fn lasting(seconds: u64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    match seconds {
        s if s < minute => format!("{s}s"),
        s if s < hour => format!("{}m{:02}s", s / minute, s % minute),
        s if s < day => format!("{}h{:02}m", s / hour, s % hour / minute),
        s if s < 10 * day => format!("{}d{:02}h", s / day, s % day / hour),
        s => format!("{}d", s / day),
    }
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.as_second().saturating_sub(earlier.as_second())).unwrap_or(0)
}

/// Time passed since then, with "ago"; a dash if it never was.
pub(super) fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or(DASH.to_owned(), |time| format!("{} ago", since(time, now)))
}

/// Time passed since then.
pub(super) fn since(time: Timestamp, now: Timestamp) -> String {
    lasting(seconds_between(time, now))
}

/// Time left until the end; a dash if there is no end.
pub(super) fn ending(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        None => DASH.to_owned(),
        Some(time) if time <= now => "expired".to_owned(),
        Some(time) => format!("in {}", lasting(seconds_between(now, time))),
    }
}

/// A field with nothing in it, for people.
pub(super) const DASH: &str = "-";

/// A count in at most six columns.
pub(super) fn count(n: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000_000_000_000, "E"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    if n < 10_000 {
        return n.to_string();
    }
    match UNITS.iter().find(|(unit, _)| n >= *unit) {
        // Whole tenths, rounded down: a count is never shown larger than it is.
        Some((unit, name)) => {
            let tenths = n / (unit / 10);
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        }
        None => n.to_string(),
    }
}

/// A rate as text, as in `12/s`; a dash if it was not measured.
pub(super) fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => DASH.to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}/s"),
        // Saturates: the field comes from a document.
        Some(rate) => count(rate as u64) + "/s",
    }
}

/// "1 prefix", "2 prefixes".
pub(super) fn number_of(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(clean("CI runner"), "CI runner");
        assert_eq!(clean("a\tb\n\x1b[2J\u{9b}1m"), "a\\tb\\n\\u{1b}[2J\\u{9b}1m");
        assert_eq!(clean("ok\u{202e}deppots\u{202c}"), "ok\\u{202e}deppots\\u{202c}");
        assert_eq!(
            clean("a\u{2028}b\u{2029}c\u{200b}d\u{feff}"),
            "a\\u{2028}b\\u{2029}c\\u{200b}d\\u{feff}"
        );
        assert_eq!(clean("Büro Zürich 東京 🚀"), "Büro Zürich 東京 🚀");
        assert_eq!(fields(["a\u{2028}b", "\u{2066}x"]), "a\\u{2028}b\t\\u{2066}x\n");
    }

    #[test]
    fn long_lists_of_ports_leave_room_for_the_addresses() {
        assert_eq!(ports_at(&["5432"], &[]), "5432");
        assert_eq!(
            ports_at(&["5432", "6432-6440"], &["local".to_owned()]),
            "5432,6432-6440 at local"
        );
        let ports: Vec<String> = (0..64).map(|n| format!("{0}-{0}9", 1000 + n)).collect();
        let addresses: Vec<String> =
            (0..256).map(|n| format!("2001:db8:1:2:3:4:5:{n:x}")).collect();
        let text = ports_at(&ports, &addresses);
        assert!(width(&text) < 2 * ROOM_FOR_LIST + 30, "{text}");
        assert_eq!(text, "1000-10009,1001-10019 +62 at 2001:db8:1:2:3:4:5:0 +255");
        // One item is shown whatever its width.
        assert_eq!(few(&["a".repeat(60)], 24), "a".repeat(60));
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut("orders", 6), "orders");
        assert_eq!(cut("order-entry", 6), "order…");
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("one\ntwo\u{1b}", 80), ["one two\\u{1b}"]);
        assert_eq!(wrap("incomprehensible", 7), ["incomprehensible"]);
    }

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3_599, "59m59s"),
            (3_600, "1h00m"),
            (90_000, "1d01h"),
            (10_000_000, "115d"),
        ] {
            assert_eq!(lasting(seconds), text);
        }
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        assert_eq!(ago(Some(late), early), "0s ago");
        assert_eq!(ending(Some(early), late), "expired");
    }

    #[test]
    fn counts() {
        for (n, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (999_999, "999.9k"),
            (1_000_000, "1.0M"),
            (999_999_999_999_999_999, "999.9P"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [
            (None, "-"),
            (Some(0.0), "0/s"),
            (Some(0.25), "0.2/s"),
            (Some(1204.7), "1204/s"),
            (Some(f64::NAN), "0/s"),
            (Some(-3.0), "0/s"),
        ] {
            assert_eq!(rate(n), text);
        }
    }
}
