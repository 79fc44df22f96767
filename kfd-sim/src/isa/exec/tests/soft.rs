//! Float arithmetic against LLVM's software floats (`rustc_apfloat`): every rounding direction and denormal mode of MODE,
//! over edge values and random ones.
//!
//! Denormals: sources and results of a type are flushed to zero of their sign where MODE says so, before and after the
//! operation. Every NaN equals every other: payloads and signs of NaNs are not simulated.

use rustc_apfloat::ieee::{Double, Half, Single};
use rustc_apfloat::{Float, Round};

use super::*;

/// What an operation sees of a lane: sources (flushed as MODE says), the destination before, MODE's directions.
#[derive(Clone, Copy)]
pub struct Lane {
    pub s: [u64; 3],
    pub old: u64,
    pub r32: Round,
    pub r16: Round,
}

pub const ROUNDS: [Round; 4] =
    [Round::NearestTiesToEven, Round::TowardPositive, Round::TowardNegative, Round::TowardZero];

/// MODE's low byte: nearest and all denormals, the other directions (mixed as well), denormals of sources or results only.
pub const MODES: [u32; 9] = [0xf0, 0xf5, 0xfa, 0xff, 0xf9, 0x00, 0x50, 0xa0, 0x3b];

/// Bits of exponent and fraction.
fn layout(ty: Ty) -> Option<(u32, u32)> {
    match ty {
        Ty::F16 => Some((5, 10)),
        Ty::F32 => Some((8, 23)),
        Ty::F64 => Some((11, 52)),
        _ => None,
    }
}

pub fn is_nan(ty: Ty, bits: u64) -> bool {
    let Some((exponent, fraction)) = layout(ty) else { return false };
    let full = (1u64 << exponent) - 1;
    bits >> fraction & full == full && bits & ((1 << fraction) - 1) != 0
}

/// Flushed, if MODE's field for the type lacks the bit (1 sources, 2 results).
pub fn flushed(ty: Ty, bits: u64, mode: u32, which: u32) -> u64 {
    let Some((exponent, fraction)) = layout(ty) else { return bits };
    let field = if ty == Ty::F32 { mode >> 4 } else { mode >> 6 };
    if field & which == 0 && bits >> fraction & ((1 << exponent) - 1) == 0 {
        bits & 1 << (exponent + fraction)
    } else {
        bits
    }
}

/// Values of a type: edges, near edges, and noise.
pub fn values(ty: Ty, count: usize, seed: u64) -> Vec<u64> {
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
pub fn check(name: &str, want: impl Fn(Lane) -> u64) {
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

pub fn h(bits: u64) -> Half {
    Half::from_bits(u128::from(bits as u16))
}
pub fn f(bits: u64) -> Single {
    Single::from_bits(u128::from(bits as u32))
}
pub fn d(bits: u64) -> Double {
    Double::from_bits(u128::from(bits))
}
pub fn bits<T: Float>(value: T) -> u64 {
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

pub fn one<T: Float>() -> T {
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

pub fn lesser<T: Float>(a: T, b: T) -> T {
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

pub fn greater<T: Float>(a: T, b: T) -> T {
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
