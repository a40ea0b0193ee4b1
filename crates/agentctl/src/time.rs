//! Points in time, for programs and for people.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A point in time in RFC 3339; `None` for "never".
pub(crate) fn stamp(unix_ns: i64) -> Option<String> {
    point(unix_ns).map(|point| point.to_string())
}

/// Time of day in the local zone, to the millisecond.
pub(crate) fn clock(unix_ns: i64) -> String {
    let Some(point) = point(unix_ns) else { return "-".to_owned() };
    point.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

/// How long ago, in at most two units; `-` for "never".
pub(crate) fn age(unix_ns: i64) -> String {
    let Some(point) = point(unix_ns) else { return "-".to_owned() };
    let ago = Timestamp::now().duration_since(point);
    // A clock that was set back makes the past the future: that is "now".
    span(ago.try_into().unwrap_or_default())
}

/// How long until then, in at most two units.
pub(crate) fn until(unix_ns: i64) -> String {
    let Some(point) = point(unix_ns) else { return "-".to_owned() };
    span(point.duration_since(Timestamp::now()).try_into().unwrap_or_default())
}

/// A span in at most two units: `3h12m`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / DAY, seconds % DAY / HOUR, seconds % HOUR / MINUTE);
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{minutes}m{}s", seconds % MINUTE),
        HOUR..DAY => format!("{hours}h{minutes}m"),
        DAY.. => format!("{days}d{hours}h"),
    }
}

fn point(unix_ns: i64) -> Option<Timestamp> {
    if unix_ns == 0 {
        return None;
    }
    Timestamp::from_nanosecond(i128::from(unix_ns)).ok()
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h0m"), (86_399, "23h59m"), (90_000, "1d1h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn zero_is_never() {
        assert_eq!(stamp(0), None);
        assert_eq!((age(0).as_str(), until(0).as_str(), clock(0).as_str()), ("-", "-", "-"));
        assert_eq!(stamp(1_000_000_000).as_deref(), Some("1970-01-01T00:00:01Z"));
        assert_eq!(age(i64::MAX), "0s");
    }
}
