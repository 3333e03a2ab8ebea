//! Durations and sizes as people write them: `'5 s'`, `'64 MB'`.

use std::fmt;
use std::ops::Deref;
use std::time::Duration as StdDuration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A length of time: a number and a unit, such as `'250 ms'`, `'5 s'`, `'1 minute'`, `'1.5 h'`.
///
/// Units: `ns`, `us`, `ms`, `s`, `min` (or `m`), `h`, `d`, and their names in singular and
/// plural. A number without a unit is refused, since every system reads it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub StdDuration);

/// A size in bytes: `'64 MB'`, `'512 kB'`, `'1 GB'`, `'100 bytes'`.
///
/// As in Flink the units are powers of 1,024: `kB`, `MB`, `GB`, `TB` and `KiB`, `MiB`, `GiB`,
/// `TiB` mean the same. A bare number counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Deref for Duration {
    type Target = StdDuration;

    fn deref(&self) -> &StdDuration {
        &self.0
    }
}

impl Duration {
    /// What a text that is not a duration should have been.
    pub const EXPECTED: &str = "a duration such as '250 ms', '5 s' or '1 minute'";

    /// Reads a duration; `None` where the text is none, or longer than 292 years.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let nanos: u64 = match unit.to_ascii_lowercase().as_str() {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            _ => return None,
        };
        let total = scaled(number, nanos)?;
        (i64::try_from(total).is_ok()).then(|| Self(StdDuration::from_nanos(total)))
    }
}

impl Size {
    /// What a text that is not a size should have been.
    pub const EXPECTED: &str = "a size such as '64 MB' or '512 kB'";

    /// Reads a size; `None` where the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" | "byte" | "bytes" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return None,
        };
        scaled(number, 1 << shift).map(Self)
    }
}

/// The number and the unit of a text such as `1.5 h`.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start()))
}

/// `number × unit` for a decimal number, exactly; `None` where it is no whole multiple of one.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 15 || (fraction.is_empty() && number.contains('.')) {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
        let base = 10_u128.pow(fraction.len() as u32);
        if part % base != 0 {
            return None;
        }
        total = total.checked_add(u64::try_from(part / base).ok()?)?;
    }
    Some(total)
}

struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: Self::EXPECTED,
            parse: Self::parse,
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text {
            expected: Self::EXPECTED,
            parse: Self::parse,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly() {
        let nanos = |text| Duration::parse(text).map(|d| d.as_nanos());
        assert_eq!(nanos("250 ms"), Some(250_000_000));
        assert_eq!(nanos("5s"), Some(5_000_000_000));
        assert_eq!(nanos(" 1 minute "), Some(60_000_000_000));
        assert_eq!(nanos("2 MIN"), Some(120_000_000_000));
        assert_eq!(nanos("1.5 h"), Some(5_400_000_000_000));
        assert_eq!(nanos("0 d"), Some(0));
        assert_eq!(nanos("292 years"), None);
        for wrong in [
            "5",
            "",
            "s",
            "-1 s",
            "1.2.3 s",
            "1. s",
            ".5 s",
            "0.5 ns",
            "9999999999 d",
        ] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let bytes = |text| Size::parse(text).map(|s| s.0);
        assert_eq!(bytes("64 MB"), Some(64 << 20));
        assert_eq!(bytes("1.5kb"), Some(1536));
        assert_eq!(bytes("2 GiB"), Some(2 << 30));
        assert_eq!(bytes("100"), Some(100));
        for wrong in ["", "MB", "-1 MB", "64 XB", "0.3 b", "99999999999 TB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
