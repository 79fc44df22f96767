//! Reciprocals, roots, exponentials, logarithms, sines: the ISA document leaves their last bits open. Here against series in
//! quadruple precision (LLVM's software floats): within half a unit in the last place of the f32 or f16 result, and a
//! little for the host's f64 function; those of f64 within half a unit, but `v_rsq_f64`, which is rounded twice, within 1.5.

use rustc_apfloat::ieee::{Double, Quad};
use rustc_apfloat::{Float, FloatConvert, Round};

use super::*;
use crate::isa::exec::half;

fn quad(value: f64) -> Quad {
    Double::from_bits(u128::from(value.to_bits())).convert(&mut false).value
}

fn int(value: i64) -> Quad {
    Quad::from_i128(i128::from(value)).value
}

fn add(a: Quad, b: Quad) -> Quad {
    (a + b).value
}
fn mul(a: Quad, b: Quad) -> Quad {
    (a * b).value
}
fn div(a: Quad, b: Quad) -> Quad {
    (a / b).value
}

/// A power series' sum: terms until they no longer matter.
fn series(first: Quad, mut next: impl FnMut(Quad, i64) -> Quad) -> Quad {
    let (mut sum, mut term) = (first, first);
    for n in 1..80 {
        term = next(term, n);
        sum = add(sum, term);
    }
    sum
}

fn exp(x: Quad) -> Quad {
    series(int(1), |term, n| div(mul(term, x), int(n)))
}

/// By `2 atanh((x - 1) / (x + 1))`.
fn ln(x: Quad) -> Quad {
    let y = div(add(x, -int(1)), add(x, int(1)));
    let y2 = mul(y, y);
    let (mut sum, mut power) = (y, y);
    for n in 1..120 {
        power = mul(power, y2);
        sum = add(sum, div(power, int(2 * n + 1)));
    }
    mul(int(2), sum)
}

fn pi() -> Quad {
    // Machin.
    let atan = |k: i64| {
        let x = div(int(1), int(k));
        let (x2, mut sum, mut power) = (mul(x, x), x, x);
        for n in 1..60 {
            power = -mul(power, x2);
            sum = add(sum, div(power, int(2 * n + 1)));
        }
        sum
    };
    add(mul(int(16), atan(5)), -mul(int(4), atan(239)))
}

fn exp2(x: f64) -> Quad {
    let whole = x.floor();
    exp(mul(quad(x - whole), ln(int(2)))).scalbn(whole as i32)
}

fn log2(x: f64) -> Quad {
    let exponent = x.log2().round() as i32;
    add(int(i64::from(exponent)), div(ln(quad(x).scalbn(-exponent)), ln(int(2))))
}

fn sqrt(x: f64) -> Quad {
    // Newton, from the host's root.
    let mut root = quad(x.sqrt());
    for _ in 0..3 {
        root = add(root, div(quad(x), root)).scalbn(-1);
    }
    root
}

/// Sine of `turns` revolutions.
fn sine(turns: f64) -> Quad {
    let x = mul(mul(int(2), pi()), quad(turns - turns.round()));
    let x2 = mul(x, x);
    series(x, |term, n| -div(mul(term, x2), int(2 * n * (2 * n + 1))))
}

fn cosine(turns: f64) -> Quad {
    let x = mul(mul(int(2), pi()), quad(turns - turns.round()));
    let x2 = mul(x, x);
    series(int(1), |term, n| -div(mul(term, x2), int(2 * n * (2 * n - 1))))
}

/// Distance in units of the last place of `got`'s format, `fraction` bits with `least` as smallest exponent.
fn ulps(got: f64, want: Quad, fraction: i32, least: i32) -> f64 {
    if want.is_zero() && got == 0.0 {
        return 0.0;
    }
    let near: Double = want.convert_r(Round::NearestTiesToEven, &mut false).value;
    let near = f64::from_bits(near.to_bits() as u64);
    let unit = (near.abs().log2().floor() as i32).max(least) - fraction;
    let error: Double = add(quad(got), -want).scalbn(-unit).convert(&mut false).value;
    f64::from_bits(error.to_bits() as u64).abs()
}

/// Values over the range of the function.
fn span(low: f64, high: f64, count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let part = (state >> 11) as f64 / (1u64 << 53) as f64;
            // Spread over magnitudes where the range is wide.
            if low > 0.0 { low * (high / low).powf(part) } else { low + (high - low) * part }
        })
        .collect()
}

struct Function {
    name: &'static str,
    low: f64,
    high: f64,
    exact: fn(f64) -> Quad,
    /// Most units in the last place.
    within: f64,
}

const fn function(name: &'static str, low: f64, high: f64, exact: fn(f64) -> Quad, within: f64) -> Function {
    Function { name, low, high, exact, within }
}

const RCP: fn(f64) -> Quad = |x| div(int(1), quad(x));
const RSQ: fn(f64) -> Quad = |x| div(int(1), sqrt(x));

#[test]
pub fn functions_with_open_rounding() {
    let half = 0.500_001;
    let table = [
        function("v_exp_f32", -120.0, 120.0, exp2, half),
        function("v_exp_legacy_f32", -10.0, 10.0, exp2, half),
        function("v_log_f32", 1e-30, 1e30, log2, half),
        function("v_log_legacy_f32", 0.3, 3.0, log2, half),
        function("v_rcp_f32", 1e-30, 1e30, RCP, half),
        function("v_rcp_iflag_f32", 1e-30, 1e30, RCP, half),
        function("v_rsq_f32", 1e-30, 1e30, RSQ, half),
        function("v_sqrt_f32", 1e-30, 1e30, sqrt, half),
        function("v_sin_f32", -250.0, 250.0, sine, half),
        function("v_cos_f32", -250.0, 250.0, cosine, half),
        function("v_exp_f16", -13.0, 15.0, exp2, half),
        function("v_log_f16", 1e-4, 6e4, log2, half),
        function("v_rcp_f16", 1e-4, 1.6e4, RCP, half),
        function("v_rsq_f16", 1e-4, 6e4, RSQ, half),
        function("v_sqrt_f16", 1e-4, 6e4, sqrt, half),
        function("v_sin_f16", -250.0, 250.0, sine, half),
        function("v_cos_f16", -250.0, 250.0, cosine, half),
        function("v_rcp_f64", 1e-150, 1e150, RCP, 0.500_001),
        function("v_rsq_f64", 1e-150, 1e150, RSQ, 1.5),
        function("v_sqrt_f64", 1e-150, 1e150, sqrt, 0.500_001),
    ];
    for Function { name, low, high, exact, within } in table {
        checked(name);
        let mut worst: f64 = 0.0;
        for seed in 0..3 {
            let mut w = wave();
            let values: Vec<f64> = span(low, high, 64, 77 + seed)
                .into_iter()
                .map(|x| match &name[name.len() - 3..] {
                    "f32" => f64::from(x as f32),
                    "f16" => half::to_f64(half::from_f64(x)),
                    _ => x,
                })
                .collect();
            for (lane, value) in values.iter().enumerate() {
                let bits = match &name[name.len() - 3..] {
                    "f32" => u64::from((*value as f32).to_bits()),
                    "f16" => u64::from(half::from_f64(*value)),
                    _ => value.to_bits(),
                };
                set(&mut w, 2, lane, bits);
            }
            run(&mut w, &vop3_words(name));
            for (lane, value) in values.iter().enumerate() {
                let (got, fraction, least) = match &name[name.len() - 3..] {
                    "f32" => (f64::from(f32::from_bits(w.vgpr[8][lane])), 23, -126),
                    "f16" => (half::to_f64(w.vgpr[8][lane] as u16), 10, -14),
                    _ => (f64::from_bits(get(&w, 8, lane)), 52, -1022),
                };
                let off = ulps(got, exact(*value), fraction, least);
                worst = worst.max(off);
                assert!(off <= within, "{name} of {}: {got}, off by {off} units", value);
            }
        }
        println!("{name}: at most {worst:.4} units in the last place");
    }
}

#[test]
pub fn edges_of_functions() {
    let of = |name: &str, x: f32| {
        let mut w = wave();
        w.vgpr[2] = [x.to_bits(); 64];
        run(&mut w, &vop3_words(name));
        f32::from_bits(w.vgpr[8][3])
    };
    for name in ["v_rcp_f32", "v_rsq_f32", "v_sqrt_f32", "v_exp_f32", "v_log_f32", "v_sin_f32", "v_cos_f32"] {
        assert!(of(name, f32::NAN).is_nan(), "{name}");
    }
    assert_eq!(of("v_rcp_f32", -0.0), f32::NEG_INFINITY);
    assert_eq!(of("v_rcp_f32", f32::INFINITY), 0.0);
    assert_eq!(of("v_rsq_f32", 0.0), f32::INFINITY);
    assert!(
        of("v_rsq_f32", -1.0).is_nan() && of("v_sqrt_f32", -1.0).is_nan() && of("v_log_f32", -1.0).is_nan()
    );
    assert_eq!(of("v_sqrt_f32", -0.0).to_bits(), 0x8000_0000);
    assert_eq!((of("v_exp_f32", f32::NEG_INFINITY), of("v_exp_f32", 128.0)), (0.0, f32::INFINITY));
    assert_eq!((of("v_log_f32", 0.0), of("v_log_f32", f32::INFINITY)), (f32::NEG_INFINITY, f32::INFINITY));
    // Denormals are flushed by exponentials and logarithms whatever MODE says.
    assert_eq!((of("v_exp_f32", -127.0), of("v_log_f32", f32::from_bits(1))), (0.0, f32::NEG_INFINITY));
    assert!(of("v_sin_f32", f32::INFINITY).is_nan());
    assert_eq!((of("v_sin_f32", 0.25), of("v_cos_f32", 0.5), of("v_sin_f32", 300.25)), (1.0, -1.0, 0.0));
}

/// The pieces of 2/pi multiply a large value to its quadrant: compared with the sine of the value by the host.
#[test]
pub fn pieces_of_two_over_pi() {
    checked("v_trig_preop_f64");
    let piece = |x: f64, segment: u32| {
        let mut w = wave();
        set(&mut w, 2, 0, x.to_bits());
        w.vgpr[4][0] = segment;
        run(&mut w, &vop3_words("v_trig_preop_f64"));
        f64::from_bits(get(&w, 8, 0))
    };
    for x in [1.0, 0.75, 1e5, 1e15, 1.2345e22, 7.7e100, 3.3e250] {
        // x * (p0 + p1 + p2) modulo 4 is the quadrant and its fraction. Scaled apart for very large values.
        let scale = if x >= f64::from_bits(1968 << 52) { -128 } else { 0 };
        let mut sum = int(0);
        for segment in 0..3 {
            let product = mul(quad(x), quad(piece(x, segment)).scalbn(scale));
            // Whole multiples of 4 do not matter.
            let fours = product.scalbn(-2).round_to_integral(Round::TowardZero).value.scalbn(2);
            sum = add(sum, add(product, -fours));
        }
        let turns: Double = sum.scalbn(-2).convert(&mut false).value;
        let got = (f64::from_bits(turns.to_bits() as u64) * std::f64::consts::TAU).sin();
        assert!((got - x.sin()).abs() < 1e-12, "{x}: {got}, not {}", x.sin());
    }
    // Every piece joins the one before it.
    for segment in 0..20 {
        let (this, next) = (piece(1.0, segment), piece(1.0, segment + 1));
        assert!(next < this || this == 0.0, "piece {segment}");
    }
}
