//! Conversions, packed and mixed operations and whole divisions against LLVM's software floats.

use rustc_apfloat::ieee::{Double, Half, Single};
use rustc_apfloat::{Float, FloatConvert, Round};

use super::soft::{Lane, MODES, ROUNDS, bits, check, d, f, flushed, greater, h, is_nan, lesser, one, values};
use super::*;

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
            let neither = num.is_zero() && den.is_zero() || num.is_infinite() && den.is_infinite();
            bits(if den.is_nan() || num.is_nan() || neither {
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
