//! Numbers as JSON writes them, kept exact until a column's type is known.

/// A number: `± mantissa × 10^exponent`, as far as 19 digits hold it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// As written.
    pub(super) text: &'a [u8],
    negative: bool,
    /// The digits without the point; meaningless where `long`.
    mantissa: u64,
    exponent: i32,
    /// Whether there are more digits than the mantissa holds.
    long: bool,
}

/// Powers of ten that an `f64` holds exactly.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Reads the number that the bytes begin with; the error is where a digit is missing.
#[inline]
pub(super) fn scan(bytes: &[u8]) -> Result<Number<'_>, usize> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut mantissa = 0_u64;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        mantissa = mantissa
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    let mut digits = at - start;
    if digits == 0 {
        return Err(at);
    }
    if digits > 1 && bytes[start] == b'0' {
        return Err(start + 1);
    }
    let mut exponent = 0;
    if bytes.get(at) == Some(&b'.') {
        let point = at + 1;
        at = point;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            mantissa = mantissa
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        if at == point {
            return Err(at);
        }
        digits += at - point;
        exponent = -i32::try_from(at - point).unwrap_or(i32::MAX);
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        let below = bytes.get(at) == Some(&b'-');
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let first = at;
        let mut power = 0_i32;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            power = power
                .saturating_mul(10)
                .saturating_add(i32::from(digit - b'0'));
            at += 1;
        }
        if at == first {
            return Err(at);
        }
        exponent = exponent.saturating_add(if below { -power } else { power });
    }
    Ok(Number {
        text: &bytes[..at],
        negative,
        mantissa,
        exponent,
        long: digits > 19,
    })
}

impl Number<'_> {
    /// The nearest float; `None` beyond the range of `f64`.
    #[inline]
    pub(super) fn float(&self) -> Option<f64> {
        // Both operands are exact, so one rounding gives the nearest value.
        if !self.long && self.mantissa < 1 << 53 && (-22..=22).contains(&self.exponent) {
            let power = EXACT[self.exponent.unsigned_abs() as usize];
            let whole = self.mantissa as f64;
            let float = if self.exponent < 0 {
                whole / power
            } else {
                whole * power
            };
            return Some(if self.negative { -float } else { float });
        }
        let float = std::str::from_utf8(self.text).ok()?.parse::<f64>().ok()?;
        float.is_finite().then_some(float)
    }

    /// The nearest `f32`, rounded once from the decimal digits.
    pub(super) fn float32(&self) -> Option<f32> {
        let float = std::str::from_utf8(self.text).ok()?.parse::<f32>().ok()?;
        float.is_finite().then_some(float)
    }

    /// The number if it is whole: `3`, `3.0`, `3e2`. The error says why not.
    #[inline]
    pub(super) fn whole(&self) -> Result<i128, &'static str> {
        if self.exponent == 0 && !self.long {
            let whole = i128::from(self.mantissa);
            return Ok(if self.negative { -whole } else { whole });
        }
        match self.scaled(0)? {
            (whole, true) => Ok(whole),
            (_, false) => Err("is not a whole number"),
        }
    }

    /// The number times `10^scale`, half away from zero, and whether nothing was rounded.
    pub(super) fn scaled(&self, scale: i32) -> Result<(i128, bool), &'static str> {
        const RANGE: &str = "is out of range";
        let mut whole = 0_i128;
        if self.long {
            let end = self.text.iter().position(|b| matches!(b, b'e' | b'E'));
            for digit in &self.text[..end.unwrap_or(self.text.len())] {
                if digit.is_ascii_digit() {
                    let shifted = whole.checked_mul(10).ok_or(RANGE)?;
                    whole = shifted.checked_add(i128::from(digit - b'0')).ok_or(RANGE)?;
                }
            }
        } else {
            whole = i128::from(self.mantissa);
        }
        let mut exact = true;
        let shift = self.exponent.saturating_add(scale);
        if whole != 0 && shift >= 0 {
            let power = 10_i128.checked_pow(shift.unsigned_abs()).ok_or(RANGE)?;
            whole = whole.checked_mul(power).ok_or(RANGE)?;
        } else if whole != 0 {
            // Beyond 38 places nothing is left of an i128.
            let power = 10_i128.checked_pow(shift.unsigned_abs());
            let (quotient, rest) = power.map_or((0, whole), |p| (whole / p, whole % p));
            exact = rest == 0;
            whole = quotient + i128::from(power.is_some_and(|p| rest >= p - rest));
        }
        Ok((if self.negative { -whole } else { whole }, exact))
    }
}
