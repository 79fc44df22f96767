//! Float arithmetic against LLVM's software floats (`rustc_apfloat`): every rounding direction and denormal mode of MODE,
//! over edge values and random ones.
//!
//! Denormals: sources and results of a type are flushed to zero of their sign where MODE says so, before and after the
//! operation. Every NaN equals every other: payloads and signs of NaNs are not simulated.

use rustc_apfloat::ieee::{Double, Half, Single};
use rustc_apfloat::{Float, FloatConvert, Round};

use super::*;

/// What an operation sees of a lane: sources (flushed as MODE says), the destination before, MODE's directions.
#[derive(Clone, Copy)]
struct Lane {
    s: [u64; 3],
    old: u64,
    r32: Round,
    r16: Round,
}

const ROUNDS: [Round; 4] =
    [Round::NearestTiesToEven, Round::TowardPositive, Round::TowardNegative, Round::TowardZero];

/// MODE's low byte: nearest and all denormals, the other directions (mixed as well), denormals of sources or results only.
const MODES: [u32; 9] = [0xf0, 0xf5, 0xfa, 0xff, 0xf9, 0x00, 0x50, 0xa0, 0x3b];

/// Bits of exponent and fraction.
fn layout(ty: Ty) -> Option<(u32, u32)> {
    match ty {
        Ty::F16 => Some((5, 10)),
        Ty::F32 => Some((8, 23)),
        Ty::F64 => Some((11, 52)),
        _ => None,
    }
}

fn is_nan(ty: Ty, bits: u64) -> bool {
    let Some((exponent, fraction)) = layout(ty) else { return false };
    let full = (1u64 << exponent) - 1;
    bits >> fraction & full == full && bits & ((1 << fraction) - 1) != 0
}

/// Flushed, if MODE's field for the type lacks the bit (1 sources, 2 results).
fn flushed(ty: Ty, bits: u64, mode: u32, which: u32) -> u64 {
    let Some((exponent, fraction)) = layout(ty) else { return bits };
    let field = if ty == Ty::F32 { mode >> 4 } else { mode >> 6 };
    if field & which == 0 && bits >> fraction & ((1 << exponent) - 1) == 0 {
        bits & 1 << (exponent + fraction)
    } else {
        bits
    }
}

/// Values of a type: edges, near edges, and noise.
fn values(ty: Ty, count: usize, seed: u64) -> Vec<u64> {
    let noise = inputs(count, seed);
    let Some((exponent, fraction)) = layout(ty) else { return noise };
    let bias = (1u64 << (exponent - 1)) - 1;
    let one = bias << fraction;
    let full = ((1u64 << exponent) - 1) << fraction;
    let edges = [
        0,
        1,
        (1 << fraction) - 1,
        1 << fraction,
        (1 << fraction) + 1,
        one,
        one + 1,
        one - 1,
        one + (1 << fraction),
        one | 1 << (fraction - 1),
        one - (1 << fraction),
        full - 1,
        full,
        full | 1 << (fraction - 1),
        full | 1,
        (bias + u64::from(fraction)) << fraction | 1,
        (bias + u64::from(fraction) + 1) << fraction | 1,
        (bias + 31) << fraction & full,
        (bias + 15) << fraction,
        ((bias + 14) << fraction) | ((1 << fraction) - 1),
    ];
    let sign = 1u64 << (exponent + fraction);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            let (kind, bits) = (next() >> 60, next());
            let magnitude = match kind {
                0..=6 => edges[(bits >> 8) as usize % edges.len()],
                // About 1, so that sums cancel and products stay.
                7..=11 => one.wrapping_add(bits >> (64 - fraction - 2)) & (sign - 1),
                _ => bits & (sign - 1),
            };
            magnitude | if bits & 1 << 63 != 0 { sign } else { 0 }
        })
        .collect()
}

/// Words and whether the third register is read as the destination's old value.
fn words_of(name: &str) -> Vec<u32> {
    let literal = |code: u32| vec![code << 25 | 8 << 17 | 4 << 9 | 258, LITERAL];
    match name {
        "v_madmk_f32" => literal(0x17),
        "v_madak_f32" => literal(0x18),
        "v_madmk_f16" => literal(0x24),
        "v_madak_f16" => literal(0x25),
        _ => vop3_words(name).to_vec(),
    }
}

/// The literal of `v_madmk` and `v_madak`: 1.5 in both widths.
const LITERAL: u32 = 0x3fc0_3e00;

/// Runs an instruction in every mode and compares its result with `want`.
fn check(name: &str, want: impl Fn(Lane) -> u64) {
    check_with(name, 0, want);
}

/// As [`check`], with a second source of small integers when `small` is not 0.
fn check_with(name: &str, small: i64, want: impl Fn(Lane) -> u64) {
    checked(name);
    let (_, src, dst) = vop3_code(name);
    let words = words_of(name);
    for (round, mode) in MODES.into_iter().enumerate() {
        for part in 0..6 {
            let seed = 1 + part + 100 * round as u64;
            let mut sources: Vec<Vec<u64>> =
                (0..3).map(|n| values(src.get(n).copied().unwrap_or(dst), 64, seed * 7 + n as u64)).collect();
            if small != 0 {
                for value in &mut sources[1] {
                    *value = ((*value as i64) % small) as u64;
                }
            }
            // Some lanes cancel exactly.
            for lane in (0..64).step_by(9).filter(|_| src.len() > 1 && src[0] == src[1]) {
                sources[1][lane] = sources[0][lane] ^ layout(src[0]).map_or(0, |(e, f)| 1 << (e + f));
            }
            let old = values(dst, 64, seed * 7 + 5);
            let mut w = wave();
            w.mode = 0x300 | mode;
            for lane in 0..64 {
                for (n, at) in [(0, 2), (1, 4), (2, 6)] {
                    set(&mut w, at, lane, sources[n][lane]);
                }
                set(&mut w, 8, lane, old[lane]);
            }
            run(&mut w, &words);
            let keep = |ty: Ty, bits: u64| match ty.dwords() {
                2 => bits,
                _ if matches!(ty, Ty::I16 | Ty::F16) => bits & 0xffff,
                _ => bits & 0xffff_ffff,
            };
            for lane in 0..64 {
                let arg = |n: usize| {
                    let ty = src.get(n).copied().unwrap_or(Ty::I32);
                    flushed(ty, keep(ty, sources[n][lane]), mode, 1)
                };
                let given = Lane {
                    s: [arg(0), arg(1), arg(2)],
                    old: keep(dst, old[lane]),
                    r32: ROUNDS[(mode & 3) as usize],
                    r16: ROUNDS[(mode >> 2 & 3) as usize],
                };
                let expected = flushed(dst, keep(dst, want(given)), mode, 2);
                let got = keep(dst, get(&w, 8, lane));
                assert!(
                    got == expected || is_nan(dst, got) && is_nan(dst, expected),
                    "{name} mode {mode:#x} of {:x?}, old {:#x}: {got:#x}, not {expected:#x}",
                    given.s,
                    given.old
                );
            }
        }
    }
}

fn h(bits: u64) -> Half {
    Half::from_bits(u128::from(bits as u16))
}
fn f(bits: u64) -> Single {
    Single::from_bits(u128::from(bits as u32))
}
fn d(bits: u64) -> Double {
    Double::from_bits(u128::from(bits))
}
fn bits<T: Float>(value: T) -> u64 {
    value.to_bits() as u64
}

/// The operations that every width has.
fn arithmetic<T: Float>(suffix: &str, of: fn(u64) -> T, round: fn(&Lane) -> Round) {
    let check = |name: &str, want: &dyn Fn(T, T, T, Round) -> T| {
        let name = format!("v_{name}_{suffix}");
        check(&name, |l| bits(want(of(l.s[0]), of(l.s[1]), of(l.s[2]), round(&l))));
    };
    check("add", &|a, b, _, r| a.add_r(b, r).value);
    check("mul", &|a, b, _, r| a.mul_r(b, r).value);
    check("fma", &|a, b, c, r| a.mul_add_r(b, c, r).value);
    check("min", &|a, b, _, _| lesser(a, b));
    check("max", &|a, b, _, _| greater(a, b));
    check("trunc", &|a, _, _, _| a.round_to_integral(Round::TowardZero).value);
    check("ceil", &|a, _, _, _| a.round_to_integral(Round::TowardPositive).value);
    check("floor", &|a, _, _, _| a.round_to_integral(Round::TowardNegative).value);
    check("rndne", &|a, _, _, _| a.round_to_integral(Round::NearestTiesToEven).value);
    check("fract", &|a, _, _, _| {
        // Exact, or just below 1.
        let whole = a.round_to_integral(Round::TowardNegative).value;
        let below = one::<T>().next_down().value;
        let part = a.sub_r(whole, Round::NearestTiesToEven).value;
        match part.partial_cmp(&below) {
            _ if a.is_infinite() => T::NAN,
            Some(std::cmp::Ordering::Greater) => below,
            _ => part,
        }
    });
    check("frexp_mant", &|a, _, _, _| if a.is_finite_non_zero() { mantissa(a).0 } else { a });
}

fn one<T: Float>() -> T {
    T::from_u128(1).value
}

/// Fraction in [0.5, 1) and exponent, by halving and doubling.
fn mantissa<T: Float>(mut value: T) -> (T, i32) {
    let (one, mut exponent) = (one::<T>(), 0);
    let half = one.scalbn(-1);
    while value.abs() >= one {
        (value, exponent) = (value.scalbn(-1), exponent + 1);
    }
    while value.abs() < half {
        (value, exponent) = (value.scalbn(1), exponent - 1);
    }
    (value, exponent)
}

fn lesser<T: Float>(a: T, b: T) -> T {
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else if a.is_zero() && b.is_zero() {
        if a.is_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

fn greater<T: Float>(a: T, b: T) -> T {
    -lesser(-a, -b)
}

/// The middle one as the ISA document has it: the greater of the two that are left when one that equals the greatest is taken
/// away, where zeros of both signs are equal. The least of three if one is NaN.
fn middle<T: Float>(a: T, b: T, c: T) -> T {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return lesser(lesser(a, b), c);
    }
    let most = greater(greater(a, b), c);
    if most == a {
        greater(b, c)
    } else if most == b {
        greater(a, c)
    } else {
        greater(a, b)
    }
}

fn flush(value: Single) -> Single {
    if value.is_denormal() { Single::ZERO.copy_sign(value) } else { value }
}

/// Not fused, denormals flushed throughout.
fn mad(a: u64, b: u64, c: u64, r: Round) -> u64 {
    let [a, b, c] = [a, b, c].map(|bits| flush(f(bits)));
    bits(flush(flush(a.mul_r(b, r).value).add_r(c, r).value))
}

fn mad16(a: u64, b: u64, c: u64, r: Round) -> u64 {
    bits(h(a).mul_r(h(b), r).value.add_r(h(c), r).value)
}

#[test]
pub fn sums_products_and_roundings() {
    arithmetic("f16", h, |l| l.r16);
    arithmetic("f32", f, |l| l.r32);
    arithmetic("f64", d, |l| l.r16);
    check("v_sub_f32", |l| bits(f(l.s[0]).sub_r(f(l.s[1]), l.r32).value));
    check("v_subrev_f32", |l| bits(f(l.s[1]).sub_r(f(l.s[0]), l.r32).value));
    check("v_sub_f16", |l| bits(h(l.s[0]).sub_r(h(l.s[1]), l.r16).value));
    check("v_subrev_f16", |l| bits(h(l.s[1]).sub_r(h(l.s[0]), l.r16).value));
    for (suffix, round) in [("f32", false), ("f16", true)] {
        let three =
            |name: &str, single: fn(Single, Single, Single) -> Single, half: fn(Half, Half, Half) -> Half| {
                check(&format!("v_{name}_{suffix}"), |l| {
                    let [a, b, c] = l.s;
                    if round { bits(half(h(a), h(b), h(c))) } else { bits(single(f(a), f(b), f(c))) }
                });
            };
        three("min3", |a, b, c| lesser(lesser(a, b), c), |a, b, c| lesser(lesser(a, b), c));
        three("max3", |a, b, c| greater(greater(a, b), c), |a, b, c| greater(greater(a, b), c));
        three("med3", middle, middle);
    }
    check("v_mul_legacy_f32", |l| {
        let (a, b) = (f(l.s[0]), f(l.s[1]));
        if a.is_zero() || b.is_zero() { 0 } else { bits(a.mul_r(b, l.r32).value) }
    });
}

#[test]
pub fn multiply_add() {
    let k32 = u64::from(LITERAL);
    let k16 = u64::from(LITERAL & 0xffff);
    check("v_mad_f32", |l| mad(l.s[0], l.s[1], l.s[2], l.r32));
    check("v_mac_f32", |l| mad(l.s[0], l.s[1], l.old, l.r32));
    check("v_madmk_f32", |l| mad(l.s[0], k32, l.s[1], l.r32));
    check("v_madak_f32", |l| mad(l.s[0], l.s[1], k32, l.r32));
    check("v_mad_legacy_f32", |l| {
        let [a, b, c] = l.s.map(|bits| flush(f(bits)));
        let zero = a.is_zero() || b.is_zero();
        let product = if zero { Single::ZERO } else { flush(a.mul_r(b, l.r32).value) };
        bits(flush(product.add_r(c, l.r32).value))
    });
    check("v_mad_f16", |l| mad16(l.s[0], l.s[1], l.s[2], l.r16));
    check("v_mad_legacy_f16", |l| mad16(l.s[0], l.s[1], l.s[2], l.r16));
    check("v_madmk_f16", |l| mad16(l.s[0], k16, l.s[1], l.r16));
    check("v_madak_f16", |l| mad16(l.s[0], l.s[1], k16, l.r16));
    check("v_fma_legacy_f16", |l| bits(h(l.s[0]).mul_add_r(h(l.s[1]), h(l.s[2]), l.r16).value));
}

/// The accumulating forms also read the destination, flushed as MODE says.
#[test]
pub fn accumulation() {
    for name in ["v_fmac_f32", "v_mac_f16"] {
        checked(name);
        for mode in MODES {
            let mut w = wave();
            w.mode = 0x300 | mode;
            let half = name.ends_with("16");
            let ty = if half { Ty::F16 } else { Ty::F32 };
            let [a, b, c] = [1, 2, 3].map(|seed| values(ty, 64, seed + u64::from(mode)));
            for lane in 0..64 {
                (w.vgpr[2][lane], w.vgpr[4][lane], w.vgpr[8][lane]) =
                    (a[lane] as u32, b[lane] as u32, c[lane] as u32);
            }
            run(&mut w, &vop3_words(name));
            for lane in 0..64 {
                let [a, b, c] = [a[lane], b[lane], c[lane]].map(|bits| flushed(ty, bits, mode, 1));
                let want = if half {
                    mad16(a, b, c, ROUNDS[(mode >> 2 & 3) as usize])
                } else {
                    bits(f(a).mul_add_r(f(b), f(c), ROUNDS[(mode & 3) as usize]).value)
                };
                let want = flushed(ty, want, mode, 2);
                let got = u64::from(w.vgpr[8][lane]);
                assert!(
                    got == want || is_nan(ty, got) && is_nan(ty, want),
                    "{name} mode {mode:#x} {a:#x} {b:#x} {c:#x}: {got:#x}, not {want:#x}"
                );
            }
        }
    }
}

#[test]
pub fn scaling() {
    check_with("v_ldexp_f32", 300, |l| bits(f(l.s[0]).scalbn_r(l.s[1] as i32, l.r32)));
    check("v_ldexp_f32", |l| bits(f(l.s[0]).scalbn_r((l.s[1] as i32).clamp(-9999, 9999), l.r32)));
    check_with("v_ldexp_f64", 2200, |l| bits(d(l.s[0]).scalbn_r(l.s[1] as i32, l.r16)));
    check("v_ldexp_f64", |l| bits(d(l.s[0]).scalbn_r((l.s[1] as i32).clamp(-9999, 9999), l.r16)));
    check_with("v_ldexp_f16", 50, |l| bits(h(l.s[0]).scalbn_r(i32::from(l.s[1] as i16), l.r16)));
    check("v_ldexp_f16", |l| bits(h(l.s[0]).scalbn_r(i32::from(l.s[1] as i16).clamp(-999, 999), l.r16)));
    fn exponent<T: Float>(value: T) -> i64 {
        if value.is_finite_non_zero() { i64::from(mantissa(value).1) } else { 0 }
    }
    check("v_frexp_exp_i32_f32", |l| exponent(f(l.s[0])) as u64);
    check("v_frexp_exp_i32_f64", |l| exponent(d(l.s[0])) as u64);
    check("v_frexp_exp_i16_f16", |l| exponent(h(l.s[0])) as u64);
}

/// To the nearest integer that fits, truncated; NaN is 0.
fn to_signed<T: Float>(value: T, width: usize, round: Round) -> u64 {
    if value.is_nan() { 0 } else { value.to_i128_r(width, round, &mut false).value as u64 }
}

fn to_unsigned<T: Float>(value: T, width: usize) -> u64 {
    if value.is_nan() { 0 } else { value.to_u128_r(width, Round::TowardZero, &mut false).value as u64 }
}

#[test]
pub fn conversions() {
    check("v_cvt_f32_f64", |l| {
        let single: Single = d(l.s[0]).convert_r(l.r32, &mut false).value;
        bits(single)
    });
    check("v_cvt_f64_f32", |l| {
        let double: Double = f(l.s[0]).convert_r(l.r16, &mut false).value;
        bits(double)
    });
    check("v_cvt_f16_f32", |l| {
        let half: Half = f(l.s[0]).convert_r(l.r16, &mut false).value;
        bits(half)
    });
    check("v_cvt_f32_f16", |l| {
        let single: Single = h(l.s[0]).convert_r(l.r32, &mut false).value;
        bits(single)
    });
    check("v_cvt_pkrtz_f16_f32", |l| {
        let half = |bits: u64| -> Half { f(bits).convert_r(Round::TowardZero, &mut false).value };
        let (a, b) = (bits(half(l.s[0])), bits(half(l.s[1])));
        a | b << 16
    });
    check("v_cvt_i32_f32", |l| to_signed(f(l.s[0]), 32, Round::TowardZero));
    check("v_cvt_flr_i32_f32", |l| to_signed(f(l.s[0]), 32, Round::TowardNegative));
    check("v_cvt_rpi_i32_f32", |l| {
        // floor(x + 0.5), exactly.
        let wide: Double = f(l.s[0]).convert_r(l.r16, &mut false).value;
        let half = one::<Double>().scalbn(-1);
        to_signed(wide.add_r(half, Round::TowardNegative).value, 32, Round::TowardNegative)
    });
    check("v_cvt_u32_f32", |l| to_unsigned(f(l.s[0]), 32));
    check("v_cvt_i32_f64", |l| to_signed(d(l.s[0]), 32, Round::TowardZero));
    check("v_cvt_u32_f64", |l| to_unsigned(d(l.s[0]), 32));
    check("v_cvt_i16_f16", |l| to_signed(h(l.s[0]), 16, Round::TowardZero));
    check("v_cvt_u16_f16", |l| to_unsigned(h(l.s[0]), 16));
    let signed = |bits: u64| i128::from(bits as u32 as i32);
    check("v_cvt_f32_i32", |l| bits(Single::from_i128_r(signed(l.s[0]), l.r32).value));
    check("v_cvt_f32_u32", |l| bits(Single::from_u128_r(u128::from(l.s[0]), l.r32).value));
    check("v_cvt_f64_i32", |l| bits(Double::from_i128_r(signed(l.s[0]), l.r16).value));
    check("v_cvt_f64_u32", |l| bits(Double::from_u128_r(u128::from(l.s[0]), l.r16).value));
    check("v_cvt_f16_i16", |l| bits(Half::from_i128_r(i128::from(l.s[0] as i16), l.r16).value));
    check("v_cvt_f16_u16", |l| bits(Half::from_u128_r(u128::from(l.s[0] as u16), l.r16).value));
    for n in 0..4 {
        check(&format!("v_cvt_f32_ubyte{n}"), |l| {
            bits(Single::from_u128_r(u128::from(l.s[0] >> (8 * n) & 255), l.r32).value)
        });
    }
    check("v_cvt_off_f32_i4", |l| {
        let value = (l.s[0] as i64) << 60 >> 60;
        bits(Single::from_i128_r(i128::from(value), l.r32).value.scalbn(-4))
    });
    // Normalised integers: the nearest to 32767 or 65535 times the value.
    fn norm<T: Float + FloatConvert<Double>>(value: T, signed: bool) -> u64 {
        let wide: Double = value.convert_r(Round::NearestTiesToEven, &mut false).value;
        let (low, scale) = if signed { (-one::<Double>(), 32767) } else { (Double::ZERO, 65535) };
        let limited = if wide.is_nan() { Double::ZERO } else { lesser(greater(wide, low), one()) };
        let scaled = limited.mul_r(Double::from_u128(scale).value, Round::NearestTiesToEven).value;
        to_signed(scaled, 32, Round::NearestTiesToEven) & 0xffff
    }
    check("v_cvt_norm_i16_f16", |l| norm(h(l.s[0]), true));
    check("v_cvt_norm_u16_f16", |l| norm(h(l.s[0]), false));
    check("v_cvt_pknorm_i16_f32", |l| norm(f(l.s[0]), true) | norm(f(l.s[1]), true) << 16);
    check("v_cvt_pknorm_u16_f32", |l| norm(f(l.s[0]), false) | norm(f(l.s[1]), false) << 16);
    check("v_cvt_pknorm_i16_f16", |l| norm(h(l.s[0]), true) | norm(h(l.s[1]), true) << 16);
    check("v_cvt_pknorm_u16_f16", |l| norm(h(l.s[0]), false) | norm(h(l.s[1]), false) << 16);
    check("v_pack_b32_f16", |l| l.s[0] | l.s[1] << 16);
    let byte = |l: Lane, rest: u64| {
        let shift = 8 * (l.s[1] & 3);
        rest & !(255 << shift) | to_unsigned(f(l.s[0]), 8) << shift
    };
    check("v_cvt_pk_u8_f32", |l| byte(l, l.s[2]));
    check("v_cvt_pkaccum_u8_f32", |l| byte(l, l.old));
}

/// Packed and mixed operations: all combinations of halves are tested elsewhere, here the arithmetic in every mode.
#[test]
pub fn packed_and_mixed() {
    type Op = fn(Half, Half, Half, Round) -> Half;
    let ops: [(&str, Op); 5] = [
        ("v_pk_add_f16", |a, b, _, r| a.add_r(b, r).value),
        ("v_pk_mul_f16", |a, b, _, r| a.mul_r(b, r).value),
        ("v_pk_fma_f16", |a, b, c, r| a.mul_add_r(b, c, r).value),
        ("v_pk_min_f16", |a, b, _, _| lesser(a, b)),
        ("v_pk_max_f16", |a, b, _, _| greater(a, b)),
    ];
    for mode in MODES {
        let r = ROUNDS[(mode >> 2 & 3) as usize];
        let mut w = wave();
        w.mode = 0x300 | mode;
        let source = |seed: u64| -> Vec<u64> {
            let (low, high) = (values(Ty::F16, 64, seed), values(Ty::F16, 64, seed + 50));
            low.iter().zip(&high).map(|(low, high)| low & 0xffff | (high & 0xffff) << 16).collect()
        };
        let [a, b, c] = [1, 2, 3].map(|seed| source(seed + u64::from(mode)));
        let single = values(Ty::F32, 64, 9 + u64::from(mode));
        let fill = |w: &mut Wave, c: &[u64]| {
            for lane in 0..64 {
                (w.vgpr[2][lane], w.vgpr[4][lane], w.vgpr[6][lane]) =
                    (a[lane] as u32, b[lane] as u32, c[lane] as u32);
            }
        };
        for (name, op) in ops {
            checked(name);
            fill(&mut w, &c);
            run(&mut w, &wide::packed_words(name).0);
            for lane in 0..64 {
                for shift in [0, 16] {
                    let [a, b, c] = [a[lane], b[lane], c[lane]]
                        .map(|v| h(flushed(Ty::F16, v >> shift & 0xffff, mode, 1)));
                    let want = flushed(Ty::F16, bits(op(a, b, c, r)), mode, 2);
                    let got = u64::from(w.vgpr[8][lane] >> shift & 0xffff);
                    assert!(
                        got == want || is_nan(Ty::F16, got) && is_nan(Ty::F16, want),
                        "{name} mode {mode:#x} {a} {b} {c}: {got:#x}, not {want:#x}"
                    );
                }
            }
        }
        // v2's high half as f16, v4's low half as f16, v6 as f32.
        fill(&mut w, &single);
        for name in ["v_fma_mix_f32", "v_fma_mixlo_f16", "v_fma_mixhi_f16"] {
            checked(name);
            w.vgpr[8] = [0x1111_2222; 64];
            let [low, high] = wide::packed_words(name).0;
            run(&mut w, &[low & !0x4000 | 1 << 11, high]);
            for lane in 0..64 {
                let widen = |v: u64| -> Single {
                    h(flushed(Ty::F16, v & 0xffff, mode, 1)).convert_r(r, &mut false).value
                };
                let (x, y) = (widen(a[lane] >> 16), widen(b[lane]));
                let z = f(flushed(Ty::F32, single[lane] & 0xffff_ffff, mode, 1));
                let got = u64::from(w.vgpr[8][lane]);
                let (ty, got, want) = if name == "v_fma_mix_f32" {
                    let r = ROUNDS[(mode & 3) as usize];
                    (Ty::F32, got, bits(x.mul_add_r(y, z, r).value))
                } else {
                    let shift = if name.contains("hi") { 16 } else { 0 };
                    let kept = got >> (16 - shift) & 0xffff;
                    assert_eq!(kept, if shift == 0 { 0x1111 } else { 0x2222 }, "{name} keeps the other half");
                    (Ty::F16, got >> shift & 0xffff, mixed(x, y, z, r))
                };
                let want = flushed(ty, want, mode, 2);
                assert!(
                    got == want || is_nan(ty, got) && is_nan(ty, want),
                    "{name} mode {mode:#x} {x} {y} {z}: {got:#x}, not {want:#x}"
                );
            }
        }
    }
}

/// `x * y + z` rounded once to half precision: rounded to odd in quadruple precision first.
fn mixed(x: Single, y: Single, z: Single, r: Round) -> u64 {
    use rustc_apfloat::Status;
    use rustc_apfloat::ieee::Quad;
    let [x, y, z] = [x, y, z].map(|v| -> Quad { v.convert_r(r, &mut false).value });
    // The sign of an exact zero depends on the direction.
    let direct = x.mul_add_r(y, z, r);
    if direct.value.is_zero() || !direct.value.is_finite() {
        let half: Half = direct.value.convert_r(r, &mut false).value;
        return bits(half);
    }
    let cut = x.mul_add_r(y, z, Round::TowardZero);
    let odd = if cut.status.contains(Status::INEXACT) {
        Quad::from_bits(cut.value.to_bits() | 1)
    } else {
        cut.value
    };
    let half: Half = odd.convert_r(r, &mut false).value;
    bits(half)
}

/// A division as compilers write it, through the instructions, for every kind of operands.
#[test]
pub fn whole_divisions() {
    for double in [false, true] {
        let (ty, suffix) = if double { (Ty::F64, "f64") } else { (Ty::F32, "f32") };
        for part in ["scale", "fmas", "fixup"] {
            checked(&format!("v_div_{part}_{suffix}"));
        }
        for seed in 0..60 {
            let (n, dd) = (values(ty, 64, 1000 + seed), values(ty, 64, 2000 + seed));
            let mut w = wave();
            for lane in 0..64 {
                set(&mut w, 10, lane, n[lane]);
                set(&mut w, 12, lane, dd[lane]);
            }
            let (code, vcc) = (|name: &str| vop3_code(&format!("v_{name}_{suffix}")).0, 106);
            let mut op = |name: &str, dst: u32, s: [u32; 3], neg: u32, sdst: u32| {
                let sources = (256 + s[0]) | (256 + s[1]) << 9 | (256 + s[2]) << 18;
                let third = if ["rcp", "mul"].contains(&name) { 0x3_ffff } else { u32::MAX };
                let third = if name == "rcp" { 0x1ff } else { third };
                run(&mut w, &[0xd000_0000 | code(name) << 16 | sdst << 8 | dst, sources & third | neg << 29]);
            };
            // v14 = scaled denominator, v16 = scaled numerator (and VCC), v18 = reciprocal, ...
            op("div_scale", 14, [12, 12, 10], 0, 4);
            op("div_scale", 16, [10, 12, 10], 0, vcc);
            op("rcp", 18, [14, 0, 0], 0, 0);
            one_constant(&mut w, double);
            let mut op = |name: &str, dst: u32, s: [u32; 3], neg: u32| {
                let sources = (256 + s[0]) | (256 + s[1]) << 9 | (256 + s[2]) << 18;
                let sources = if name == "mul" { sources & 0x3_ffff } else { sources };
                run(&mut w, &[0xd000_0000 | code(name) << 16 | dst, sources | neg << 29]);
            };
            for _ in 0..2 {
                op("fma", 20, [14, 18, 30], 1);
                op("fma", 18, [20, 18, 18], 0);
            }
            op("mul", 22, [16, 18, 0], 0);
            op("fma", 20, [14, 22, 16], 1);
            if !double {
                op("fma", 22, [20, 18, 22], 0);
                op("fma", 20, [14, 22, 16], 1);
            }
            op("div_fmas", 24, [20, 18, 22], 0);
            op("div_fixup", 8, [24, 12, 10], 0);
            for lane in 0..64 {
                let got = get(&w, 8, lane) & if double { u64::MAX } else { 0xffff_ffff };
                let want = if double {
                    bits(d(n[lane]).div_r(d(dd[lane]), Round::NearestTiesToEven).value)
                } else {
                    bits(f(n[lane]).div_r(f(dd[lane]), Round::NearestTiesToEven).value)
                };
                assert!(
                    got == want || is_nan(ty, got) && is_nan(ty, want),
                    "{suffix}: {:#x} / {:#x} = {got:#x}, not {want:#x}",
                    n[lane],
                    dd[lane]
                );
            }
        }
    }
}

/// 1 in v30 (and v31).
fn one_constant(w: &mut Wave, double: bool) {
    let bits = if double { 1f64.to_bits() } else { u64::from(1f32.to_bits()) };
    (0..64).for_each(|lane| set(w, 30, lane, bits));
}

/// Half-precision divisions are done in single precision and only mended by the instruction.
#[test]
pub fn half_division_fixup() {
    for name in ["v_div_fixup_f16", "v_div_fixup_legacy_f16"] {
        check(name, |l| {
            let [q, den, num] = l.s.map(h);
            let negative = den.is_negative() != num.is_negative();
            let signed = |value: Half| if negative { -value.abs() } else { value.abs() };
            bits(if den.is_nan() || num.is_nan() {
                Half::NAN
            } else if num.is_zero() && den.is_zero() || num.is_infinite() && den.is_infinite() {
                Half::NAN
            } else if den.is_zero() || num.is_infinite() {
                signed(Half::INFINITY)
            } else if den.is_infinite() || num.is_zero() {
                signed(Half::ZERO)
            } else {
                signed(q)
            })
        });
    }
}
