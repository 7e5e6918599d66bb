//! How far the time of a signed request is from now.
//!
//! ZStack's clients write `Sat, 21 Nov 2026 17:54:12 CST`: local time, and the zone as whatever abbreviation the machine
//! has. Several zones share one, so the nearest of them counts; of a text that nobody knows any zone on earth, which lets a
//! request be good for about a day instead of minutes.

use switchback_events::Micros;

/// Minutes east of Greenwich of abbreviations: all that are in use.
const ZONES: &[(&str, &[i64])] = &[
    ("GMT", &[0]),
    ("UTC", &[0]),
    ("UT", &[0]),
    ("Z", &[0]),
    ("WET", &[0]),
    ("WEST", &[60]),
    ("BST", &[60]),
    ("IST", &[330, 60, 120]),
    ("CET", &[60]),
    ("MET", &[60]),
    ("CEST", &[120]),
    ("MEST", &[120]),
    ("SAST", &[120]),
    ("EET", &[120]),
    ("EEST", &[180]),
    ("MSK", &[180]),
    ("PKT", &[300]),
    ("MMT", &[390]),
    ("ICT", &[420]),
    ("WIB", &[420]),
    ("PRC", &[480]),
    ("CST", &[480, -360, -300]),
    ("HKT", &[480]),
    ("SGT", &[480]),
    ("MYT", &[480]),
    ("PST", &[-480, 480]),
    ("PDT", &[-420]),
    ("AWST", &[480]),
    ("JST", &[540]),
    ("KST", &[540]),
    ("ACST", &[570]),
    ("AEST", &[600]),
    ("AEDT", &[660]),
    ("NZST", &[720]),
    ("NZDT", &[780]),
    ("HST", &[-600]),
    ("AKST", &[-540]),
    ("AKDT", &[-480]),
    ("MST", &[-420]),
    ("MDT", &[-360]),
    ("CDT", &[-300, -240]),
    ("EST", &[-300]),
    ("EDT", &[-240]),
    ("AST", &[-240]),
    ("ADT", &[-180]),
    ("NST", &[-210]),
];

const MINUTE: Micros = 60_000_000;

/// How far `date` is from `now`; nothing where it is no date.
pub(super) fn distance(date: &str, now: Micros) -> Option<Micros> {
    let date = date.split_once(", ").map_or(date, |(_, date)| date);
    let mut words = date.split(' ').filter(|word| !word.is_empty());
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (zone, end) = (words.next().unwrap_or("GMT"), words.next());
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + MONTHS.iter().position(|known| *known == month)? as i8;
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let local =
        jiff::civil::DateTime::new(year.parse().ok()?, month, day.parse().ok()?, hour, minute, second, 0).ok()?;
    if end.is_some() {
        return None;
    }
    let local = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    let from = |minutes: i64| (local - minutes * MINUTE - now).abs();
    if let Some(minutes) = numeric(zone) {
        return Some(from(minutes));
    }
    match ZONES.iter().find(|(name, _)| *name == zone) {
        Some((_, all)) => all.iter().map(|minutes| from(*minutes)).min(),
        None => (-12 * 4..=14 * 4).map(|quarter| from(quarter * 15)).min(),
    }
}

/// `+08`, `-0330`, `+05:30`.
fn numeric(zone: &str) -> Option<i64> {
    let (sign, digits) =
        zone.strip_prefix('+').map(|rest| (1, rest)).or(zone.strip_prefix('-').map(|rest| (-1, rest)))?;
    let digits = digits.replace(':', "");
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let minutes = if digits.len() == 2 { number * 60 } else { number / 100 * 60 + number % 100 };
    (minutes <= 14 * 60).then_some(sign * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_far_away_as_the_nearest_zone_says() {
        let now = "2026-11-21T09:54:12Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let hour = 60 * MINUTE;
        for (date, far) in [
            ("Sat, 21 Nov 2026 09:54:12 GMT", 0),
            ("Sat, 21 Nov 2026 09:54:42 UTC", 30_000_000),
            ("Sat, 21 Nov 2026 17:54:12 PRC", 0),
            ("Sat, 21 Nov 2026 17:54:12 CST", 0),
            ("Sat, 21 Nov 2026 03:54:12 CST", 0),
            ("Sat, 21 Nov 2026 09:54:12 CST", 5 * hour),
            ("Sat, 21 Nov 2026 16:24:12 MMT", 0),
            ("Sat, 21 Nov 2026 06:54:12 -03", 0),
            ("Sat, 21 Nov 2026 15:24:12 +0530", 0),
            ("21 Nov 2026 10:54:12 +01:00", 0),
            ("Sat, 21 Nov 2026 09:54:12", 0),
            ("Sat, 21 Nov 2026 09:44:12 GMT", 10 * MINUTE),
            // Any zone on earth.
            ("Sat, 21 Nov 2026 18:54:12 XYZ", 0),
            ("Sat, 21 Nov 2026 18:59:12 XYZ", 5 * MINUTE),
            ("Sun, 22 Nov 2026 00:54:12 XYZ", hour),
            ("Fri, 20 Nov 2026 20:54:12 +99", hour),
        ] {
            assert_eq!(distance(date, now), Some(far), "{date}");
        }
        for bad in [
            "",
            "now",
            "2026-11-21T09:54:12Z",
            "Sat, 32 Nov 2026 09:54:12 GMT",
            "Sat, 21 Nox 2026 09:54:12 GMT",
            "Sat, 21 Nov 2026 09:54 GMT",
            "Sat, 21 Nov 2026 09:54:12 GMT again",
            "Sat, 21 Nov 99999 09:54:12 GMT",
        ] {
            assert_eq!(distance(bad, now), None, "{bad}");
        }
    }
}
