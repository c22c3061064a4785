//! The expiry of a trusted source, in the spellings that people and programs use.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

use super::error::{ParseError, excerpt};

/// Words of other systems for a time that never comes.
const NEVER: [&str; 3] = ["never", "infinity", "forever"];

/// The year by which other systems mean "for ever": the last that RFC 3339 can write.
const FOREVER: i16 = 9999;

/// Digits of a second's fraction that a clock can tell apart.
const MAX_FRACTION: usize = 9;

/// The end of a trusted source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Not at all.
    Never,
    /// At this moment.
    At(Timestamp),
}

impl Expiry {
    /// The moment, if there is one.
    pub fn moment(self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
        }
    }

    /// The moment of a date and time at an offset from UTC. A moment of the year 9999 is how
    /// other systems write that something has no end, and the first moment of the year 1 is a
    /// time that a program in Go never set.
    ///
    /// # Errors
    /// The time is outside the range that can be stored.
    fn of(time: DateTime, offset: Offset) -> Result<Self, ParseError> {
        if time.year() >= FOREVER {
            return Ok(Self::Never);
        }
        let at =
            offset.to_timestamp(time).map_err(|_| Self::no_time(&format!("{time}{offset}")))?;
        let is_unset = offset == Offset::UTC && time == DateTime::constant(1, 1, 1, 0, 0, 0, 0);
        Ok(if is_unset { Self::Never } else { Self::At(at) })
    }

    /// The error for a text that is no time, or one that no calendar and clock have.
    fn no_time(text: &str) -> ParseError {
        ParseError::new(
            format!("{:?} is not an RFC 3339 time", excerpt(text)),
            r#"write a time with its offset, as in "2026-12-01T00:00:00Z", or "never""#,
        )
    }

    /// The error for a text that is a time without an offset from UTC.
    fn no_offset(text: &str, time: DateTime) -> ParseError {
        ParseError::new(
            format!("{:?} does not say of which offset from UTC it is", excerpt(text)),
            format!(
                "write \"{time}Z\" if that is UTC, \"{time}+01:00\" if it is one hour east of it"
            ),
        )
    }
}

impl std::str::FromStr for Expiry {
    type Err = ParseError;

    /// A time as RFC 3339 defines it, in any of its spellings, or a word for "never".
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if NEVER.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(Self::Never);
        }
        let no_time = || Self::no_time(text);
        if let Some(date) = date(text) {
            return Err(Self::no_offset(text, date.at(0, 0, 0, 0)));
        }
        let (time, rest) = date_time(text).ok_or_else(no_time)?;
        if rest.is_empty() {
            return Err(Self::no_offset(text, time));
        }
        Self::of(time, offset(rest).ok_or_else(no_time)?)
    }
}

/// `2026-12-01` and nothing else.
fn date(text: &str) -> Option<Date> {
    if shaped(text, "0000-00-00") { text.parse().ok() } else { None }
}

/// The date and time at the beginning, and the rest of the text. Whether the numbers are
/// possible is left to jiff, which also reads ISO 8601 forms that RFC 3339 does not have.
fn date_time(text: &str) -> Option<(DateTime, &str)> {
    let shape = "0000-00-00T00:00:00";
    let (start, rest) = text.split_at_checked(shape.len())?;
    if !shaped(start, shape) {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, rest) = fraction.split_at(digits);
            (Some(digits).filter(|digits| !digits.is_empty())?, rest)
        }
        None => ("0", rest),
    };
    let fraction = &fraction[..fraction.len().min(MAX_FRACTION)];
    let (date, time) = (&start[..10], &start[11..]);
    Some((format!("{date}T{time}.{fraction}").parse().ok()?, rest))
}

/// `Z`, `+01:00` or `-00:00`.
fn offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let number = |at: usize, most: i32| text[at..at + 2].parse::<i32>().ok().filter(|n| *n <= most);
    if !shaped(text, "+00:00") {
        return None;
    }
    let seconds = number(1, 23)? * 3600 + number(4, 59)? * 60;
    Offset::from_seconds(if text.starts_with('-') { -seconds } else { seconds }).ok()
}

/// Whether a text has digits, and one of the characters that may be there, where the shape has.
fn shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            b'+' => matches!(byte, b'+' | b'-'),
            _ => byte == shape,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expiry(text: &str) -> Expiry {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_spelling_of_rfc_3339() {
        for (text, at) in [
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-01t00:00:00z", "2026-12-01T00:00:00Z"),
            ("2026-12-01 00:00:00+01:00", "2026-11-30T23:00:00Z"),
            ("2026-12-01T00:00:00-00:00", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00+00:00", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00.5Z", "2026-12-01T00:00:00.5Z"),
            ("2026-12-01T00:00:00.123456789-11:30", "2026-12-01T11:30:00.123456789Z"),
            ("2026-12-01T00:00:00.1234567890123456789Z", "2026-12-01T00:00:00.123456789Z"),
            ("2026-12-01T23:59:59+23:59", "2026-12-01T00:00:59Z"),
            ("2026-12-01T00:00:00-23:59", "2026-12-01T23:59:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59Z"),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.87Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00+23:59", "-000001-12-31T00:01:00Z"),
            ("0001-01-01T00:00:01Z", "0001-01-01T00:00:01Z"),
            ("9998-12-31T23:59:59.999999999Z", "9998-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(expiry(text), Expiry::At(at.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn for_ever_as_others_write_it() {
        for text in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31 23:59:59.999999999+00:00",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59-23:59",
            "9999-12-31T00:00:00+14:00",
            "9999-12-30T22:00:01Z",
            "9999-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00.000+00:00",
            "never",
            "Never",
            "infinity",
            "forever",
        ] {
            assert_eq!(expiry(text), Expiry::Never, "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            " ",
            "2026-12-01T00:00Z",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00+0100",
            "2026-12-01T00:00:00+01",
            "2026-12-01T00:00:00+24:00",
            "2026-12-01T00:00:00+01:60",
            "20261201T000000Z",
            "2026-12-01T00:00:00Z[UTC]",
            "+002026-12-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2026-12-01T00:00:0\u{fc}Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:00:61Z",
            "2026-02-30T00:00:00Z",
            "9999-13-31T23:59:59Z",
            "9999-02-29T00:00:00Z",
            "2026-12-01T00:00:00Zx",
            " 2026-12-01T00:00:00Z",
            "tomorrow",
            "-infinity",
            "1796083200",
        ] {
            let error = text.parse::<Expiry>().unwrap_err();
            assert_eq!(error, Expiry::no_time(text), "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_written_with_one() {
        for (text, utc) in [
            ("2026-12-01", "2026-12-01T00:00:00Z"),
            ("2026-12-01T10:30:00", "2026-12-01T10:30:00Z"),
            ("2026-12-01 10:30:00.25", "2026-12-01T10:30:00.25Z"),
        ] {
            let error = text.parse::<Expiry>().unwrap_err();
            assert!(error.to_string().contains("offset from UTC"), "{error}");
            let fix = error.fix();
            let written: Vec<&str> = fix.split('"').skip(1).step_by(2).collect();
            assert_eq!(written[0], utc);
            assert!(written.iter().all(|text| text.parse::<Expiry>().is_ok()), "{fix}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[0-9tTzZ:. +-]{0,30}|\\PC{0,24}") {
            let _ = text.parse::<Expiry>();
        }

        #[test]
        fn what_jiff_writes_is_read(seconds in -62_000_000_000_i64..253_000_000_000, nanos in 0..1_000_000_000) {
            let at = Timestamp::new(seconds, nanos).unwrap();
            prop_assert_eq!(at.to_string().parse::<Expiry>(), Ok(Expiry::At(at)));
        }
    }
}
