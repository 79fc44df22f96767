//! Functions whose last bits the ISA leaves open (documented as within 1 ulp, or less exact for sine and cosine).
//!
//! Here: the correctly rounded f64 result rounded to the destination, so a simulated result may differ from the
//! hardware's in the last place. Denormals: `v_exp_f32`, `v_log_f32`, `v_sin_f32` and `v_cos_f32` flush sources and
//! results; reciprocals and roots follow MODE.

use super::lanes::flush;

/// Applies a costly function to active lanes only; others get the source.
pub fn masked<T: Copy + Default, U: Copy>(mask: u64, source: &[U; 64], f: impl Fn(U) -> T) -> [T; 64] {
    let mut out = [T::default(); 64];
    let mut rest = mask;
    while rest != 0 {
        let lane = rest.trailing_zeros() as usize;
        out[lane] = f(source[lane]);
        rest &= rest - 1;
    }
    out
}

/// 2 to the power of the source.
pub fn exp2(value: f32) -> f32 {
    flush(f64::from(flush(value)).exp2() as f32)
}

/// Base-2 logarithm.
pub fn log2(value: f32) -> f32 {
    flush(f64::from(flush(value)).log2() as f32)
}

/// 1 divided by the source; also of f16.
pub fn rcp(value: f64) -> f64 {
    1.0 / value
}

/// 1 divided by the square root; also of f16.
pub fn rsq(value: f64) -> f64 {
    1.0 / value.sqrt()
}

/// Sine of `2 pi` times the source; a source beyond +-256 revolutions gives 0, as documented.
pub fn sin(value: f64) -> f64 {
    turn(value, 0.0, |angle| angle.sin())
}

/// Cosine of `2 pi` times the source; a source beyond +-256 revolutions gives 1.
pub fn cos(value: f64) -> f64 {
    turn(value, 1.0, |angle| angle.cos())
}

fn turn(value: f64, beyond: f64, f: impl Fn(f64) -> f64) -> f64 {
    if !value.is_finite() {
        return f64::NAN;
    }
    if value.abs() > 256.0 {
        return beyond;
    }
    // The revolutions' fraction is exact, and quarter turns give exact results.
    let fraction = value - value.round();
    let quarter = (fraction * 4.0).round();
    if quarter == fraction * 4.0 {
        return f(quarter * std::f64::consts::FRAC_PI_2).round();
    }
    f(fraction * std::f64::consts::TAU)
}
