//! Division helpers: `v_div_scale`, `v_div_fmas`, `v_div_fixup`.
//!
//! Together with a reciprocal and a few FMAs they make a correctly rounded quotient. Scale factors are those of which the
//! whole sequence is right: where AMD's older documents disagree with themselves, the later ones are followed (FMAS scales
//! by 2^+-64, or 2^+-128 for f64, by the size of the quotient).

use super::exact::{self, F32, F64, Format, Round};
use super::float::{ldexp32, ldexp64};

/// Biased exponent.
fn exponent32(value: f32) -> i32 {
    (value.to_bits() >> 23 & 255) as i32
}

fn exponent64(value: f64) -> i32 {
    (value.to_bits() >> 52 & 0x7ff) as i32
}

/// Scales `value` (the denominator or the numerator) for a division; the flag tells FMAS to scale back.
pub fn scale32(value: f32, denominator: f32, numerator: f32) -> (f32, bool) {
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits();
    if denominator == 0.0 || numerator == 0.0 {
        return (f32::NAN, false);
    }
    let tiny = |quotient: f64| quotient.abs() < f64::from(f32::MIN_POSITIVE);
    let quotient_tiny = tiny(f64::from(numerator) / f64::from(denominator));
    let reciprocal_tiny = denominator.is_finite() && tiny(1.0 / f64::from(denominator));
    if exponent32(numerator) - exponent32(denominator) >= 96 {
        (if same(value, denominator) { ldexp32(value, 64) } else { value }, true)
    } else if exponent32(denominator) == 0 {
        (ldexp32(value, 64), false)
    } else if reciprocal_tiny && quotient_tiny {
        (if same(value, denominator) { ldexp32(value, -64) } else { value }, true)
    } else if reciprocal_tiny {
        (ldexp32(value, -64), false)
    } else if quotient_tiny {
        (if same(value, numerator) { ldexp32(value, 64) } else { value }, true)
    } else if exponent32(numerator) <= 23 {
        (ldexp32(value, 64), false)
    } else {
        (value, false)
    }
}

/// As [`scale32`].
pub fn scale64(value: f64, denominator: f64, numerator: f64) -> (f64, bool) {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    if denominator == 0.0 || numerator == 0.0 {
        return (f64::NAN, false);
    }
    let tiny = |quotient: f64| quotient.abs() < f64::MIN_POSITIVE;
    let quotient_tiny = tiny(numerator / denominator);
    let reciprocal_tiny = denominator.is_finite() && tiny(1.0 / denominator);
    if exponent64(numerator) - exponent64(denominator) >= 768 {
        (if same(value, denominator) { ldexp64(value, 128) } else { value }, true)
    } else if exponent64(denominator) == 0 {
        (ldexp64(value, 128), false)
    } else if reciprocal_tiny && quotient_tiny {
        (if same(value, denominator) { ldexp64(value, -128) } else { value }, true)
    } else if reciprocal_tiny {
        (ldexp64(value, -128), false)
    } else if quotient_tiny {
        (if same(value, numerator) { ldexp64(value, 128) } else { value }, true)
    } else if exponent64(numerator) <= 53 {
        (ldexp64(value, 128), false)
    } else {
        (value, false)
    }
}

/// Fused multiply-add, scaled back and rounded once: the scaled result can be subnormal.
pub fn fmas32(a: f32, b: f32, c: f32, scaled: bool) -> f32 {
    if !scaled {
        return a.mul_add(b, c);
    }
    let power = if exponent32(c) > 127 { 64 } else { -64 };
    let bits = scaled_fma(F32, [a, b, c].map(|value| u64::from(value.to_bits())), power);
    f32::from_bits(bits as u32)
}

/// As [`fmas32`].
pub fn fmas64(a: f64, b: f64, c: f64, scaled: bool) -> f64 {
    if !scaled {
        return a.mul_add(b, c);
    }
    let power = if exponent64(c) > 1023 { 128 } else { -128 };
    f64::from_bits(scaled_fma(F64, [a, b, c].map(f64::to_bits), power))
}

/// `(a * b + c) * 2^power`, rounded once: the scaled result can be subnormal.
fn scaled_fma(format: Format, bits: [u64; 3], power: i32) -> u64 {
    let [a, b, c] = bits.map(|bits| format.unpack(bits));
    let sum = exact::add(exact::mul(a, b), c, Round::Nearest);
    format.pack(exact::scale(sum, power), Round::Nearest)
}

macro_rules! fixup {
    ($(#[$doc:meta])* $name:ident, $float:ty, $exponent:ident, $far:expr, $nan:expr) => {
        $(#[$doc])*
        pub fn $name(quotient: $float, denominator: $float, numerator: $float) -> $float {
            let negative = denominator.is_sign_negative() != numerator.is_sign_negative();
            let signed = |value: $float| if negative { -value } else { value };
            if numerator.is_nan() {
                super::minmax::Float::quiet(numerator)
            } else if denominator.is_nan() {
                super::minmax::Float::quiet(denominator)
            } else if (numerator == 0.0 && denominator == 0.0)
                || (numerator.is_infinite() && denominator.is_infinite())
            {
                <$float>::from_bits($nan)
            } else if denominator == 0.0 || numerator.is_infinite() {
                signed(<$float>::INFINITY)
            } else if denominator.is_infinite() || numerator == 0.0 {
                signed(0.0)
            } else if $exponent(numerator) - $exponent(denominator) < $far {
                signed(0.0)
            } else if quotient.is_nan() {
                // The iteration overflowed, so the quotient does.
                signed(<$float>::INFINITY)
            } else {
                signed(quotient.abs())
            }
        }
    };
}

fixup!(
    /// Special cases of a division, and the quotient's sign.
    fixup32, f32, exponent32, -150, 0xffc0_0000
);
fixup!(
    /// Special cases of a division, and the quotient's sign.
    fixup64, f64, exponent64, -1075, 0xfff8_0000_0000_0000
);

#[cfg(test)]
mod tests {
    use super::*;

    /// The sequence that LLVM emits for an f32 division.
    fn divide(n: f32, d: f32) -> f32 {
        let (ds, _) = scale32(d, d, n);
        let (ns, scaled) = scale32(n, d, n);
        let r = (1.0 / f64::from(ds)) as f32;
        let e = (-ds).mul_add(r, 1.0);
        let r = e.mul_add(r, r);
        let q = ns * r;
        let e = (-ds).mul_add(q, ns);
        let q = e.mul_add(r, q);
        let e = (-ds).mul_add(q, ns);
        fixup32(fmas32(e, r, q, scaled), d, n)
    }

    #[test]
    fn division_of_any_two_floats_is_correctly_rounded() {
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as u32
        };
        for round in 0..400_000 {
            let (mut n, mut d) = (f32::from_bits(next()), f32::from_bits(next()));
            if round % 5 == 0 {
                n = f32::from_bits(n.to_bits() & 0x807f_ffff);
            }
            if round % 7 == 0 {
                d = f32::from_bits(d.to_bits() & 0x807f_ffff);
            }
            let (got, want) = (divide(n, d), n / d);
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{n:e} / {d:e} = {got:e}, not {want:e}"
            );
        }
    }
}
