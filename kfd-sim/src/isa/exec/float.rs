//! Float building blocks: fused multiply-add, min and max with IEEE NaN rules, rounding, conversion, frexp, ldexp.
//!
//! Results are rounded to nearest even. What the ISA leaves open is in `transcendental.rs`.

/// Fused `a * b + c` in every lane.
pub fn fma32(a: &[f32; 64], b: &[f32; 64], c: &[f32; 64]) -> [f32; 64] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "fma,avx2")]
        fn fused(a: &[f32; 64], b: &[f32; 64], c: &[f32; 64]) -> [f32; 64] {
            std::array::from_fn(|n| a[n].mul_add(b[n], c[n]))
        }
        // SAFETY: the processor has just been asked for both features.
        return unsafe { fused(a, b, c) };
    }
    std::array::from_fn(|n| a[n].mul_add(b[n], c[n]))
}

/// Fused `a * b + c` in every lane.
pub fn fma64(a: &[f64; 64], b: &[f64; 64], c: &[f64; 64]) -> [f64; 64] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "fma,avx2")]
        fn fused(a: &[f64; 64], b: &[f64; 64], c: &[f64; 64]) -> [f64; 64] {
            std::array::from_fn(|n| a[n].mul_add(b[n], c[n]))
        }
        // SAFETY: the processor has just been asked for both features.
        return unsafe { fused(a, b, c) };
    }
    std::array::from_fn(|n| a[n].mul_add(b[n], c[n]))
}

/// Converts to an integer: truncated, saturated, NaN is 0.
pub fn to_i32(value: f64) -> u32 {
    value as i32 as u32
}

/// Converts to an unsigned integer: truncated, saturated, NaN is 0.
pub fn to_u32(value: f64) -> u32 {
    value as u32
}

/// Fraction, below 1: `x - floor(x)`, at most the largest value below 1.
pub fn fract32(value: f32) -> f32 {
    if value.is_infinite() {
        return f32::NAN;
    }
    let fraction = value - value.floor();
    if fraction >= 1.0 { f32::from_bits(0x3f7f_ffff) } else { fraction }
}

/// As [`fract32`].
pub fn fract64(value: f64) -> f64 {
    if value.is_infinite() {
        return f64::NAN;
    }
    let fraction = value - value.floor();
    if fraction >= 1.0 { f64::from_bits(0x3fef_ffff_ffff_ffff) } else { fraction }
}

/// Exponent such that the value is a fraction in [0.5, 1) times a power of two; 0 for zero, infinity and NaN.
pub fn frexp_exponent(value: f64) -> i32 {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32;
    if exponent == 0 {
        // Subnormal: 2^64 brings it among the normal values.
        return frexp_exponent(value * 18_446_744_073_709_551_616.0) - 64;
    }
    exponent - 1022
}

/// The fraction in [0.5, 1) that goes with [`frexp_exponent`]; zero, infinity and NaN as they are.
pub fn frexp_fraction(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let normal =
        if value.to_bits() >> 52 & 0x7ff == 0 { value * 18_446_744_073_709_551_616.0 } else { value };
    f64::from_bits(normal.to_bits() & !(0x7ff << 52) | 1022 << 52)
}

/// `value * 2^exponent`, rounded once.
pub fn ldexp64(value: f64, exponent: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << 52);
    let fraction = frexp_fraction(value);
    match frexp_exponent(value).saturating_add(exponent) {
        1025.. => value.signum() * f64::INFINITY,
        total @ -1021..=1024 => fraction * 2.0 * power(total - 1),
        // Subnormal: exact until the last multiplication.
        total @ -1080..=-1022 => fraction * power(total + 100) * power(-100),
        _ => value.signum() * 0.0,
    }
}

/// `value * 2^exponent`, rounded once.
pub fn ldexp32(value: f32, exponent: i32) -> f32 {
    // An f32 scaled by up to 2^400 either way is exact in f64.
    ldexp64(f64::from(value), exponent.clamp(-400, 400)) as f32
}
