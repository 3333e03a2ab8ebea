//! Durations as they are written: `5 s`, `250 ms`, `1 minute 30 seconds`, `INTERVAL '2' SECOND`.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{Expr, Interval, Value};

/// Names of a unit and its nanoseconds.
const UNITS: [(&[&str], u64); 7] = [
    (&["ns", "nanosecond", "nanoseconds"], 1),
    (&["us", "µs", "microsecond", "microseconds"], 1_000),
    (&["ms", "millisecond", "milliseconds"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
    (&["h", "hour", "hours"], 3_600_000_000_000),
    (&["d", "day", "days"], 86_400_000_000_000),
];

/// A number with a unit, or several; `None` where the text is anything else, or above 292 years.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let behind = rest[number..].trim_start();
        let unit = behind
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(behind.len());
        let name = behind[..unit].to_lowercase();
        let (_, factor) = UNITS
            .iter()
            .find(|(names, _)| names.contains(&name.as_str()))?;
        total = total.checked_add(scaled(&rest[..number], *factor)?)?;
        rest = behind[unit..].trim_start();
    }
    i64::try_from(total)
        .ok()
        .map(|_| Duration::from_nanos(total))
}

/// `number * factor`, exactly: what is left of a nanosecond is refused.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let unit = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
    (part % unit == 0).then_some(())?;
    whole.checked_add(u64::try_from(part / unit).ok()?)
}

/// The duration of an `INTERVAL '…' [UNIT]` of fixed length.
pub(crate) fn interval(expression: &Expr) -> Option<Duration> {
    let Expr::Interval(Interval {
        value,
        leading_field,
        last_field: None,
        ..
    }) = expression
    else {
        return None;
    };
    let Expr::Value(value) = value.as_ref() else {
        return None;
    };
    let (Value::SingleQuotedString(number) | Value::Number(number, _)) = &value.value else {
        return None;
    };
    match leading_field {
        Some(field) => parse(&format!("{number} {field}")),
        None => parse(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, nanos) in [
            ("5 s", 5_000_000_000),
            ("250ms", 250_000_000),
            (" 1 MINUTE ", 60_000_000_000),
            ("1 minute 30 seconds", 90_000_000_000),
            ("0.5 s", 500_000_000),
            ("1 day", 86_400_000_000_000),
            ("7 µs", 7_000),
            ("0 s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let long = "9".repeat(40) + " s";
        let wrong = [
            "", "5", "s", "5 x", "-5 s", "1 month", "0.5 ns", "5 s,", "1.2.3 s", ". s",
        ];
        for text in wrong.iter().copied().chain([long.as_str(), "400000 days"]) {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
