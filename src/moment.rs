//! Moments as people write them: a position of the log, an RFC 3339 time, a time of today, some time ago. What is
//! none of these goes to the server as it is, which says what it takes.

use jiff::{Span, Timestamp, Zoned, civil};
use std::convert::Infallible;

/// Reads a moment in this machine's time zone; gives a position or an RFC 3339 time.
pub fn parse(text: &str) -> Result<String, Infallible> {
    Ok(read(text, &Zoned::now()).unwrap_or_else(|| text.to_string()))
}

fn read(text: &str, now: &Zoned) -> Option<String> {
    if text.parse::<u64>().is_ok() || text.parse::<Timestamp>().is_ok() {
        return None;
    }
    let zone = now.time_zone().clone();
    let of_today = || Some(now.date().to_datetime(text.parse::<civil::Time>().ok()?));
    let is_time = text.contains(':') && !text.contains('-');
    let local = if is_time { of_today() } else { text.parse::<civil::DateTime>().ok() };
    let moment = match local {
        Some(local) => local.to_zoned(zone).ok()?,
        None => now.checked_add(text.parse::<Span>().ok().filter(|span| span.is_negative())?).ok()?,
    };
    Some(moment.timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Zoned = "2026-11-20T15:00:00+02:00[+02:00]".parse().unwrap();
        let cases = [
            ("14:32", Some("2026-11-20T12:32:00Z")),
            ("14:32:05.5", Some("2026-11-20T12:32:05.5Z")),
            ("2026-11-19 14:32", Some("2026-11-19T12:32:00Z")),
            ("2026-11-19", Some("2026-11-18T22:00:00Z")),
            ("2h ago", Some("2026-11-20T11:00:00Z")),
            ("90 minutes ago", Some("2026-11-20T11:30:00Z")),
            ("37", None),
            ("2026-11-20T12:32:00Z", None),
            ("2026-11-20T12:32:00+02:00", None),
            ("2h", None),
            ("25:00", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, &now).as_deref(), expected, "{text}");
        }
    }
}
