//! Half precision: conversions with round to nearest even. Arithmetic is done in f64 and rounded once.

/// The value of half-precision bits.
pub fn to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), u64::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction as f64 / 16_777_216.0,
        31 if fraction == 0 => sign * f64::INFINITY,
        // Keep sign and payload; a signalling NaN stays one.
        31 => f64::from_bits(u64::from(bits >> 15) << 63 | 0x7ff << 52 | fraction << 42),
        _ => f64::from_bits(
            u64::from(bits >> 15) << 63 | ((exponent - 15 + 1023) as u64) << 52 | fraction << 42,
        ),
    }
}

/// The nearest half-precision value, ties to even.
pub fn from_f64(value: f64) -> u16 {
    round(value, |fraction, half, sticky| half && (sticky || fraction & 1 == 1))
}

/// The next half-precision value towards zero.
pub fn from_f64_towards_zero(value: f64) -> u16 {
    let bits = round(value, |_, _, _| false);
    // An overflow is the largest finite value when rounding towards zero.
    if value.is_finite() && bits & 0x7fff == 0x7c00 { bits - 1 } else { bits }
}

fn round(value: f64, up: impl Fn(u64, bool, bool) -> bool) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 63) << 15) as u16;
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1023;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 1024 {
        return sign | 0x7c00 | if fraction != 0 { 0x200 | (fraction >> 42) as u16 } else { 0 };
    }
    if exponent > 15 {
        return sign | 0x7c00;
    }
    // Bits below the last place of the result: 42 for normal results, more for subnormal ones.
    let shift = if exponent >= -14 { 42 } else { 42 + (-14 - exponent) };
    if shift > 54 {
        return sign;
    }
    let significand = fraction | 1 << 52;
    let kept = significand >> shift;
    let half = significand >> (shift - 1) & 1 == 1;
    let sticky = significand & ((1 << (shift - 1)) - 1) != 0;
    let kept = kept + u64::from(up(kept, half, sticky));
    // A carry out of the fraction lands in the exponent, which is right.
    let biased = if exponent >= -14 { ((exponent + 15) as u64) << 10 } else { 0 };
    let whole = if exponent >= -14 { biased + kept - (1 << 10) } else { kept };
    sign | whole as u16
}

/// `a * b + c` rounded once to half precision.
pub fn fma(a: f64, b: f64, c: f64) -> u16 {
    // The product of two halves is exact in f64. The sum is rounded to odd, so that rounding again is harmless.
    let product = a * b;
    let sum = product + c;
    if !sum.is_finite() {
        return from_f64(sum);
    }
    let virtual_c = sum - product;
    let error = (product - (sum - virtual_c)) + (c - virtual_c);
    let odd = if error != 0.0 && sum.to_bits() & 1 == 0 {
        let away = (error > 0.0) == (sum > 0.0);
        f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
    } else {
        sum
    };
    from_f64(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let value = to_f64(bits);
            if value.is_nan() {
                assert_eq!(from_f64(value), bits | 0x200);
            } else {
                assert_eq!(from_f64(value), bits, "{value}");
                assert_eq!(from_f64_towards_zero(value), bits);
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_overflow_to_infinity() {
        assert_eq!(from_f64(1.0 + 1.0 / 2048.0), 0x3c00);
        assert_eq!(from_f64(1.0 + 3.0 / 2048.0), 0x3c02);
        assert_eq!(from_f64(65519.9), 0x7bff);
        assert_eq!(from_f64(65520.0), 0x7c00);
        assert_eq!(from_f64_towards_zero(1e9), 0x7bff);
        assert_eq!(from_f64(1.0 / 33_554_432.0), 0);
        assert_eq!(from_f64(1.1 / 33_554_432.0), 1);
    }

    #[test]
    fn fma_rounds_once() {
        // 1 + 2^-11 is a tie; a product below f64's last place decides it.
        let tiny = to_f64(1);
        assert_eq!(fma(tiny, tiny, 1.0 + 1.0 / 2048.0), 0x3c01);
        assert_eq!(fma(tiny, -tiny, 1.0 + 1.0 / 2048.0), 0x3c00);
    }
}
