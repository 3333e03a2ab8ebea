//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many in so long, a second; `1,234/s`.
pub(crate) fn rate(number: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 {
        number as f64 / seconds
    } else {
        0.0
    };
    format!("{}/s", count(rate.round() as u64))
}

/// `850 ms`, `12.3 s`, `4:05 min`, `2:03:10 h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!(
            "{}:{:02}:{:02} h",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
    }
}

/// Nanoseconds of a latency: `85 µs`, `1.25 ms`.
pub(crate) fn latency(nanoseconds: Option<i64>) -> String {
    let Some(nanoseconds) = nanoseconds else {
        return "-".to_owned();
    };
    let microseconds = nanoseconds as f64 / 1e3;
    match microseconds {
        ..1e3 => format!("{microseconds:.0} µs"),
        ..1e6 => format!("{:.2} ms", microseconds / 1e3),
        _ => format!("{:.2} s", microseconds / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1_000].map(count), ["0", "999", "1,000"]);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(3_000, Duration::from_secs(2)), "1,500/s");
        assert_eq!(rate(3_000, Duration::ZERO), "0/s");
        assert_eq!(duration(Duration::from_millis(850)), "850 ms");
        assert_eq!(duration(Duration::from_secs(245)), "4:05 min");
        assert_eq!(duration(Duration::from_secs(7_390)), "2:03:10 h");
        assert_eq!(latency(Some(85_000)), "85 µs");
        assert_eq!(latency(Some(1_250_000)), "1.25 ms");
        assert_eq!(latency(None), "-");
    }
}
