//! Lengths of time, as people write them.

use std::{ops::RangeInclusive, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::{read::Value, report::Report, text::quoted};

/// Reason why a text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("write it like 15s, 2h or 1d12h")]
    Form,
    /// Months or years.
    #[error("months and years differ in length; write days")]
    Calendar,
}

/// Parses "15s", "1h30m", "500ms", "90 minutes"; a day has 24 hours, a week seven days.
///
/// # Errors
///
/// The text is no length of time, or one that depends on the calendar.
pub fn parse_duration(text: &str) -> Result<SignedDuration, DurationError> {
    let span: Span = text.parse().map_err(|_| DurationError::Form)?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(DurationError::Calendar);
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError::Form)
}

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

impl Value<'_> {
    /// The length of time in `range` that it must be; `what` names it in the problem ("a
    /// possible age").
    pub fn duration(
        &self,
        range: RangeInclusive<Duration>,
        what: &str,
        report: &mut Report,
    ) -> Option<Duration> {
        let fix = format!("use \"{}\" to \"{}\"", shown(*range.start()), shown(*range.end()));
        let written = self.string(&fix, report)?;
        let (message, fix) = match parse_duration(written).map(Duration::try_from) {
            Ok(Ok(duration)) if range.contains(&duration) => return Some(duration),
            Ok(_) => (format!("{} is not {what}", quoted(written)), fix),
            Err(error) => {
                (format!("{} is not a length of time", quoted(written)), error.to_string())
            }
        };
        report.problem(&self.place(), message, fix);
        None
    }

    /// The interval between requests for the same that it must be, at most `longest`.
    pub fn interval(&self, longest: Duration, report: &mut Report) -> Option<Duration> {
        self.duration(Duration::from_millis(100)..=longest, "a possible interval", report)
    }

    /// The time for a request that it must be.
    pub fn timeout(&self, report: &mut Report) -> Option<Duration> {
        let range = Duration::from_millis(100)..=Duration::from_secs(300);
        self.duration(range, "a possible timeout", report)
    }

    /// The time for which "gone" has to stand before it is believed.
    pub fn gone_after(&self, report: &mut Report) -> Option<Duration> {
        self.duration(Duration::ZERO..=DAY, "a possible delay", report)
    }

    /// The oldest age of an answer that is not confirmed; `Some(None)` is "off".
    pub fn max_stale(&self, report: &mut Report) -> Option<Option<Duration>> {
        if self.get().as_str() == Some("off") {
            return Some(None);
        }
        let range = Duration::from_secs(1)..=365 * DAY;
        self.duration(range, "\"off\" or a possible age", report).map(Some)
    }
}

/// In the largest unit that needs no fraction; a day only where there are several.
pub fn shown(duration: Duration) -> String {
    const UNITS: [(u128, u128, &str); 4] = [
        (2 * 86_400_000, 86_400_000, "d"),
        (3_600_000, 3_600_000, "h"),
        (60_000, 60_000, "m"),
        (1000, 1000, "s"),
    ];
    let millis = duration.as_millis();
    let fitting =
        UNITS.iter().find(|(least, unit, _)| millis >= *least && millis.is_multiple_of(*unit));
    match fitting {
        Some((_, unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, millis) in [
            ("15s", 15_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("90 minutes", 5_400_000),
            ("1d12h", 129_600_000),
            ("2 weeks", 1_209_600_000),
            ("PT15M", 900_000),
            ("0s", 0),
            ("-1s", -1000),
        ] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time() {
        for text in ["", "2", "soon", "s", "1 hour and a half", "99999999999h"] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text}");
        }
        for text in ["1 month", "1y", "P1M"] {
            assert_eq!(parse_duration(text), Err(DurationError::Calendar), "{text}");
        }
    }

    #[test]
    fn shown_in_the_largest_unit() {
        for (millis, text) in [
            (0, "0s"),
            (100, "100ms"),
            (1500, "1500ms"),
            (15_000, "15s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (365 * 86_400_000, "365d"),
        ] {
            assert_eq!(shown(Duration::from_millis(millis)), text);
            let parsed = parse_duration(text).unwrap();
            assert_eq!(parsed, SignedDuration::from_millis(i64::try_from(millis).unwrap()));
        }
    }
}
