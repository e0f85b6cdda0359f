//! HTTP dates, read in all three formats: RFC 9110 §5.6.7.
//!
//! Strict in form, because an invalid `Expires` means "already expired" and guessing would mean "fresh";
//! lenient in two things that cannot change which moment is meant: letter case, and a weekday
//! that does not fit the date. Knows nothing of the fields the dates stand in.

use crate::clock::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The moment that `value` names, or `None` if it is no HTTP date.
///
/// `near` is any moment close to the present: RFC 850 dates have two-digit years, and which century is
/// meant depends on it. Moments before the Unix epoch become the epoch itself.
pub fn parse(value: &[u8], near: Timestamp) -> Option<Timestamp> {
    let text = value.trim_ascii();
    imf_fixdate(text).or_else(|| rfc850_date(text, near)).or_else(|| asctime_date(text))
}

/// The moment that the (first) field `name` states; `None` if there is no such field or it holds no date.
pub fn field(headers: &HeaderMap, name: HeaderName, near: Timestamp) -> Option<Timestamp> {
    parse(headers.get(name)?.as_bytes(), near)
}

/// The moment in the one format that may be sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn to_value(moment: Timestamp) -> HeaderValue {
    let text = httpdate::fmt_http_date(moment.to_system_time());
    // The text is ASCII by construction; the epoch stands in for what cannot happen.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Timestamp> {
    if text.len() != 29 || !SHORT_WEEKDAYS.iter().any(|day| text[..3].eq_ignore_ascii_case(day)) {
        return None;
    }
    let separated = &text[3..5] == b", " && text[7] == b' ' && text[11] == b' ' && text[16] == b' ';
    if !separated || !text[25..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    moment(number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?, &text[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(text: &[u8], near: Timestamp) -> Option<Timestamp> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let (weekday, date) = (&text[..comma], &text[comma + 1..]);
    if date.len() != 23 || !LONG_WEEKDAYS.iter().any(|day| weekday.eq_ignore_ascii_case(day)) {
        return None;
    }
    let separated = date[0] == b' ' && date[3] == b'-' && date[7] == b'-' && date[10] == b' ';
    if !separated || !date[19..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    // "MUST interpret a timestamp that appears to be more than 50 years in the future as representing
    // the most recent year in the past that had the same last two digits" (RFC 9110 §5.6.7): the
    // latest such year that is not more than 50 years ahead.
    let last_year = year_of(near) + 50;
    let year = last_year - (last_year - number(&date[8..10])?).rem_euclid(100);
    moment(year, month(&date[4..7])?, number(&date[1..3])?, &date[11..19])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(text: &[u8]) -> Option<Timestamp> {
    if text.len() != 24 || !SHORT_WEEKDAYS.iter().any(|day| text[..3].eq_ignore_ascii_case(day)) {
        return None;
    }
    let separated = text[3] == b' ' && text[7] == b' ' && text[10] == b' ' && text[19] == b' ';
    if !separated {
        return None;
    }
    let day = if text[8] == b' ' { &text[9..10] } else { &text[8..10] };
    moment(number(&text[20..24])?, month(&text[4..7])?, number(day)?, &text[11..19])
}

const SHORT_WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const LONG_WEEKDAYS: [&[u8]; 7] =
    [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

fn month(name: &[u8]) -> Option<i64> {
    let index = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month))?;
    i64::try_from(index + 1).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn moment(year: i64, month: i64, day: i64, clock: &[u8]) -> Option<Timestamp> {
    if clock[2] != b':' || clock[5] != b':' || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let (hour, minute, second) = (number(&clock[..2])?, number(&clock[3..5])?, number(&clock[6..])?);
    // 60 is a leap second
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_from_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that a leap day comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

fn year_of(moment: Timestamp) -> i64 {
    let days =
        i64::try_from(moment.as_secs() / 86_400).unwrap_or(i64::MAX).min(days_from_epoch(9999, 12, 31));
    let estimate = 1970 + days * 400 / 146_097;
    // The estimate is never more than a year off.
    let year = if days_from_epoch(estimate + 1, 1, 1) <= days { estimate + 1 } else { estimate };
    if days_from_epoch(year, 1, 1) > days { year - 1 } else { year }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUNDAY: u64 = 784_111_777;
    const IN_2026: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(parse(text.as_bytes(), IN_2026), seconds.map(Timestamp::from_secs), "{text}");
    }

    #[test]
    fn all_three_formats_name_the_same_moment() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(SUNDAY));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(SUNDAY));
        check("Sun Nov  6 08:49:37 1994", Some(SUNDAY));
        check("Sun Nov 06 08:49:37 1994", Some(SUNDAY));
    }

    #[test]
    fn case_and_a_wrong_weekday_are_forgiven() {
        check("SUN, 06 nov 1994 08:49:37 gMT", Some(SUNDAY));
        check("Thu, 06 Nov 1994 08:49:37 GMT", Some(SUNDAY));
        check("Thu Nov  6 08:49:37 1994", Some(SUNDAY));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, 31 Apr 2050 02:01:18 GMT",
            "Tue, 29 Feb 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn two_digit_years_lie_at_most_fifty_years_ahead() {
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Saturday, 01-Jan-00 00:00:00 GMT", Some(946_684_800));
        // 2076 is fifty years ahead, 2077 would be more
        check("Wednesday, 01-Jan-76 00:00:00 GMT", Some(3_345_062_400));
        check("Saturday, 01-Jan-77 00:00:00 GMT", Some(220_924_800));
    }

    #[test]
    fn dates_before_the_epoch_are_the_epoch() {
        check("Sat, 01 Jan 1955 00:00:00 GMT", Some(0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0u64..253_402_300_799) {
            let moment = Timestamp::from_secs(seconds);
            prop_assert_eq!(parse(to_value(moment).as_bytes(), IN_2026), Some(moment));
        }

        #[test]
        fn the_year_is_that_of_the_date(seconds in 0u64..253_402_300_799) {
            let written = to_value(Timestamp::from_secs(seconds));
            prop_assert_eq!(Some(year_of(Timestamp::from_secs(seconds))), number(&written.as_bytes()[12..16]));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = parse(&bytes, IN_2026);
        }
    }
}
