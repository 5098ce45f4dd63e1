//! Moments as people write them: RFC 3339, a date, or relative to now (`2h`, `3d ago`).

use super::failure::Failure;
use jiff::{Span, Timestamp, civil, tz::TimeZone};

/// Reads `text` as a moment, in milliseconds since 1970. One without a zone is of this machine's, a date its first moment.
///
/// # Errors
/// A usage failure that shows the forms that are understood.
pub fn parse(text: &str, now: Timestamp) -> Result<u64, Failure> {
    let moment = absolute(text).or_else(|| relative(text, now)).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no moment in time"))
            .hint("write 2026-11-21T10:00:00Z, 2026-11-21 10:00 (of this machine's zone), 2026-11-21, or how long ago: 90s, 2h, 3d ago")
    })?;
    u64::try_from(moment.as_millisecond()).map_err(|_| Failure::usage(format!("`{text}` is before 1970")))
}

fn absolute(text: &str) -> Option<Timestamp> {
    let here = |time: civil::DateTime| time.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    // Without a zone it is the time of this machine, a date its first moment.
    text.parse().ok().or_else(|| here(text.parse().ok()?)).or_else(|| {
        let day: civil::Date = text.parse().ok()?;
        here(day.at(0, 0, 0, 0))
    })
}

fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let seconds = seconds(text.trim().trim_end_matches("ago"))?;
    now.checked_sub(Span::new().try_seconds(seconds).ok()?).ok()
}

/// So many seconds, as people write them.
fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
    let count: i64 = text[..digits].parse().ok()?;
    let seconds = match text[digits..].trim() {
        "s" | "sec" | "seconds" => 1,
        "m" | "min" | "minutes" => 60,
        "h" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    count.checked_mul(seconds)
}

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// Reads `text` as a span of time, in milliseconds; none for ever.
///
/// # Errors
/// A usage failure that shows the forms that are understood.
pub fn span(text: &str) -> Result<Option<u64>, Failure> {
    if matches!(text.trim(), "forever" | "for ever" | "never") {
        return Ok(None);
    }
    let ms = seconds(text).and_then(|seconds| u64::try_from(seconds).ok()?.checked_mul(1000));
    ms.map(Some).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no span of time")).hint("write 90d, 12h, 30m, or forever")
    })
}

/// Milliseconds since 1970 as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(ms: u64) -> String {
    let moment =
        i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
    format!("{moment:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let ms = |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap();
        for (text, means) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05Z"),
            ("2h", "2026-11-21T08:00:00Z"),
            ("3d ago", "2026-11-18T10:00:00Z"),
            ("90s", "2026-11-21T09:58:30Z"),
            ("1 week ago", "2026-11-14T10:00:00Z"),
        ] {
            assert_eq!(parse(text, now), Ok(ms(means)), "{text}");
        }
        // Of this machine's zone, wherever that is.
        let day = parse("2026-03-05", now).unwrap();
        assert_eq!(parse("2026-03-05 10:30", now), Ok(day + (10 * 60 + 30) * 60_000));
        assert_eq!(parse("2026-03-05T10:30:00", now), Ok(day + (10 * 60 + 30) * 60_000));
        for bad in ["", "yesterday", "h", "2x", "99999999999999d", "2026-13-01"] {
            assert_eq!(parse(bad, now).unwrap_err().exit, super::super::failure::Exit::Usage, "{bad}");
        }
        assert_eq!(
            (span("90d"), span("forever"), span("0s")),
            (Ok(Some(90 * DAY_MS)), Ok(None), Ok(Some(0)))
        );
        assert!(span("-1d").is_err() && span("soon").is_err());
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}
