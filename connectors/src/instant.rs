//! Instants as text, in UTC: `2024-01-02 09:30:00.123` and its ISO-8601 relatives.

/// Nanoseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; `None` where there is
/// no such date. Years run from 0 to 9999.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(0..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day last; 719,468 days lie between 0000-03-01 and
    // 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (years + era * 400 + i64::from(month <= 2), month, day)
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// A number of exactly `width` digits.
    fn number(&mut self, width: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        Some(number)
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        days(year, month, self.number(2)?)
    }

    /// Up to nine digits after the point, as nanoseconds.
    fn fraction(&mut self) -> Option<i64> {
        let width = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&width) {
            return None;
        }
        Some(self.number(width)? * 10_i64.pow(9 - width as u32))
    }

    /// `Z`, `+01:00`, `+0100`, `+01` or nothing, in seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-") {
            None | Some(b'Z' | b'z') => return Some(0),
            Some(b'+') => 1,
            Some(_) => -1,
        };
        let hours = self.number(2)?;
        let colon = self.one_of(b":").is_some();
        let minutes = if colon || !self.0.is_empty() {
            self.number(2)?
        } else {
            0
        };
        (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

/// Days since 1970-01-01 of `2024-01-02`.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let mut digits = Digits(text);
    let days = digits.date()?;
    digits.0.is_empty().then_some(days)
}

/// Nanoseconds since the epoch of `2024-01-02 09:30:00[.123456789][Z|±hh:mm]`, with a blank or a
/// `T` between date and time; without a zone it is UTC. A leap second (`:60`), which comes before
/// a full hour of UTC, is the start of that hour, its fraction dropped: so order is kept. `None` where the text is no such instant or lies outside 1677 to 2262.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let mut digits = Digits(text);
    let day = digits.date()?;
    digits.one_of(b" Tt")?;
    let hour = digits.number(2)?;
    digits.one_of(b":")?;
    let minute = digits.number(2)?;
    let mut second = 0;
    let mut nanos = 0;
    if digits.one_of(b":").is_some() {
        second = digits.number(2)?;
        if digits.one_of(b".,").is_some() {
            nanos = digits.fraction()?;
        }
    }
    let offset = digits.offset()?;
    if hour > 23 || minute > 59 || second > 60 || !digits.0.is_empty() {
        return None;
    }
    let seconds = day * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    if second == 60 {
        nanos = 0;
        if seconds.rem_euclid(3_600) != 0 {
            return None;
        }
    }
    // The lowest instants are negative seconds with a positive fraction: widen before adding.
    i64::try_from(i128::from(seconds) * i128::from(SECOND) + i128::from(nanos)).ok()
}

fn push_digits(out: &mut Vec<u8>, number: i64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (number / 10_i64.pow(place) % 10) as u8);
    }
}

/// Writes the date of a day since 1970-01-01.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = date(days);
    if (0..=9999).contains(&year) {
        push_digits(out, year, 4);
    } else {
        out.extend_from_slice(format!("{year:+05}").as_bytes());
    }
    out.push(b'-');
    push_digits(out, month, 2);
    out.push(b'-');
    push_digits(out, day, 2);
}

/// Writes `2024-01-02 09:30:00.123` with `between` as the separator and as many digits of the
/// second as are not zero.
pub(crate) fn write(out: &mut Vec<u8>, nanos: i64, between: u8) {
    write_date(out, nanos.div_euclid(DAY));
    let of_day = nanos.rem_euclid(DAY);
    let seconds = of_day / SECOND;
    out.push(between);
    push_digits(out, seconds / 3_600, 2);
    out.push(b':');
    push_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_digits(out, seconds % 60, 2);
    let mut fraction = of_day % SECOND;
    if fraction != 0 {
        let mut width = 9;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        push_digits(out, fraction, width);
    }
}

/// The same for instants beyond the range of 64-bit nanoseconds.
pub(crate) fn write_far(out: &mut Vec<u8>, nanos: i128, between: u8) {
    let day = nanos.div_euclid(i128::from(DAY));
    write_date(out, i64::try_from(day).unwrap_or(i64::MAX >> 16));
    // The time of day is that of the first day.
    let mut first = vec![];
    write(
        &mut first,
        nanos.rem_euclid(i128::from(DAY)) as i64,
        between,
    );
    out.extend_from_slice(first.get("1970-01-01".len()..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(nanos: i64) -> String {
        let mut out = vec![];
        write(&mut out, nanos, b' ');
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn instants_are_read() {
        let base = 1_704_101_400 * SECOND;
        for (written, nanos) in [
            ("2024-01-01 09:30:00", 0),
            ("2024-01-01T09:30:00Z", 0),
            ("2024-01-01T09:30", 0),
            ("2024-01-01T10:30:00+01:00", 0),
            ("2024-01-01T04:00:00-0530", 0),
            ("2024-01-01T11:30:00+02", 0),
            ("2024-01-01 09:30:00.123", 123_000_000),
            ("2024-01-01 09:30:00.123456789", 123_456_789),
            ("2024-01-01 08:59:60.5", -30 * 60 * SECOND),
            ("2024-01-01 14:29:60+05:30", -30 * 60 * SECOND),
        ] {
            assert_eq!(parse(written.as_bytes()), Some(base + nanos), "{written}");
        }
        assert_eq!(parse(b"1677-09-21 00:12:43.145224192"), Some(i64::MIN));
        assert_eq!(parse(b"2262-04-11 23:47:16.854775807"), Some(i64::MAX));
    }

    /// The real ones, in UTC and where clocks show another hour: each begins the next year or half.
    #[test]
    fn leap_seconds_are_the_first_instant_after_them() {
        for (leap, after) in [
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60.999999999Z", "2017-01-01T00:00:00Z"),
            ("2017-01-01T08:59:60+09:00", "2017-01-01T00:00:00Z"),
            ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00Z"),
            ("2016-12-31T18:59:60-05:00", "2017-01-01T00:00:00Z"),
            ("2015-06-30T23:59:60Z", "2015-07-01T00:00:00Z"),
            ("1968-12-31T23:59:60Z", "1969-01-01T00:00:00Z"),
        ] {
            let parsed = parse(leap.as_bytes());
            assert!(parsed.is_some(), "{leap}");
            assert_eq!(parsed, parse(after.as_bytes()), "{leap}");
        }
        // There is none within an hour of UTC, whatever the local clock shows.
        for wrong in [
            "2016-12-31T23:58:60Z",
            "2016-12-31T23:59:60+05:30",
            "2016-12-31T23:59:61Z",
            "2262-04-11T23:59:60Z",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    /// Where summer time begins a local hour is missing, where it ends one comes twice: with their
    /// offsets the instants go on without a gap and without a step back.
    #[test]
    fn local_times_across_a_change_of_the_clocks_are_instants_in_order() {
        for (texts, step) in [
            (
                [
                    "2024-03-31T01:59:59+01:00",
                    "2024-03-31T03:00:00+02:00",
                    "2024-03-31T03:00:01+02:00",
                ],
                SECOND,
            ),
            (
                [
                    "2024-10-27T02:30:00+02:00",
                    "2024-10-27T02:30:00+01:00",
                    "2024-10-27T03:30:00+01:00",
                ],
                3_600 * SECOND,
            ),
            (
                [
                    "2024-11-03T01:30:00-04:00",
                    "2024-11-03T01:30:00-05:00",
                    "2024-11-03T02:30:00-05:00",
                ],
                3_600 * SECOND,
            ),
        ] {
            let [first, second, third] = texts.map(|text| parse(text.as_bytes()).expect(text));
            assert_eq!([second - first, third - second], [step; 2], "{texts:?}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for wrong in [
            "",
            "2024",
            "2024-02-30 00:00:00",
            "2023-02-29 00:00:00",
            "2024-13-01 00:00:00",
            "2024-01-01",
            "2024-01-01 24:00:00",
            "2024-01-01 09:60:00",
            "2024-01-01 09:30:61",
            "2024-01-01 09:30:60",
            "2024-01-01 09:30:00.",
            "2024-01-01 09:30:00.1234567890",
            "2024-01-01 09:30:00 UTC",
            "2024-01-01 09:30:00+99:00",
            "3000-01-01 00:00:00",
            "2024-1-1 09:30:00",
            "2024-01-01  09:30:00",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_date(b"2024-02-29"), Some(19_782));
        assert_eq!(parse_date(b"2024-02-29 "), None);
    }

    #[test]
    fn fractions_are_written_without_trailing_zeros() {
        assert_eq!(text(0), "1970-01-01 00:00:00");
        assert_eq!(text(120_000_000), "1970-01-01 00:00:00.12");
        assert_eq!(text(-1), "1969-12-31 23:59:59.999999999");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in any::<i64>()) {
            prop_assert_eq!(parse(text(nanos).as_bytes()), Some(nanos));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes);
            let _ = parse_date(&bytes);
        }
    }
}
