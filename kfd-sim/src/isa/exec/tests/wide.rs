//! Double and half precision, packed maths, dot products, mixed FMA.

use super::*;
use crate::isa::exec::half;

fn doubles(seed: u64) -> Vec<f64> {
    const EDGES: [f64; 12] =
        [0.0, -0.0, 1.0, -1.5, 2.5, 0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 5e-324, f64::MAX, 1e10];
    inputs(64, seed)
        .into_iter()
        .enumerate()
        .map(|(n, bits)| {
            if n % 2 == 0 {
                EDGES[bits as usize % 12]
            } else {
                f64::from_bits(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            }
        })
        .collect()
}

fn check64(name: &str, want: impl Fn(f64, f64, f64) -> f64) {
    for round in 0..4 {
        let [a, b, c] = [1, 2, 3].map(|seed| doubles(seed * 31 + round));
        let mut w = wave();
        for lane in 0..64 {
            for (at, value) in [(2, a[lane]), (4, b[lane]), (6, c[lane])] {
                set(&mut w, at, lane, value.to_bits());
            }
        }
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let (got, want) = (f64::from_bits(get(&w, 8, lane)), want(a[lane], b[lane], c[lane]));
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "{name} {:e} {:e} {:e}: {got:e}, not {want:e}", a[lane], b[lane], c[lane]);
        }
    }
}

#[test]
pub fn double_precision() {
    check64("v_add_f64", |a, b, _| a + b);
    check64("v_mul_f64", |a, b, _| a * b);
    check64("v_fma_f64", f64::mul_add);
    check64("v_min_f64", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_lt() => a,
        _ => b,
    });
    check64("v_max_f64", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_gt() => a,
        _ => b,
    });
    check64("v_floor_f64", |a, _, _| a.floor());
    check64("v_ceil_f64", |a, _, _| a.ceil());
    check64("v_trunc_f64", |a, _, _| a.trunc());
    check64("v_rndne_f64", |a, _, _| a.round_ties_even());
    check64("v_sqrt_f64", |a, _, _| a.sqrt());
    check64("v_rcp_f64", |a, _, _| 1.0 / a);
    check64("v_fract_f64", |a, _, _| {
        if !a.is_finite() { f64::NAN } else { (a - a.floor()).min(1.0 - f64::EPSILON / 2.0) }
    });
    check64("v_ldexp_f64", |a, b, _| {
        let mut x = a;
        let n = b.to_bits() as i32;
        // Exact halving down to the subnormal range would round at each step: only compare where it does not.
        if n < 0 {
            x = if x == 0.0 || !x.is_finite() { x } else { ldexp_reference(x, n) }
        } else {
            for _ in 0..n.min(2200) {
                x *= 2.0;
            }
        }
        x
    });
}

/// `x * 2^n` for negative `n`, rounded once to nearest even, in integers.
fn ldexp_reference(x: f64, n: i32) -> f64 {
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    let (mut significand, unit) =
        if exponent == 0 { (fraction, -1074i64) } else { (fraction | 1 << 52, exponent - 1075) };
    let mut shift = 0u32;
    let unit = unit + i64::from(n);
    if unit < -1074 {
        shift = (-1074 - unit).min(100) as u32;
    }
    let result_unit = unit.max(-1074);
    if shift > 0 {
        let wide = u128::from(significand) << 64 >> shift.min(120);
        let (whole, rest) = ((wide >> 64) as u64, wide as u64);
        let half = 1u64 << 63;
        significand = whole + u64::from(rest > half || rest == half && whole & 1 == 1);
    }
    let magnitude = if result_unit == -1074 {
        f64::from_bits(significand)
    } else {
        significand as f64
            * 2f64.powi((result_unit / 2) as i32)
            * 2f64.powi((result_unit - result_unit / 2) as i32)
    };
    magnitude.copysign(x)
}

#[test]
pub fn conversions_between_widths() {
    for x in doubles(77).into_iter().chain(doubles(78)) {
        let mut w = wave();
        set(&mut w, 2, 0, x.to_bits());
        let mut convert = |name: &str| {
            run(&mut w, &vop3_words(name));
            w.vgpr[8][0]
        };
        let narrow = f32::from_bits(convert("v_cvt_f32_f64"));
        assert!(narrow.to_bits() == (x as f32).to_bits() || x.is_nan() && narrow.is_nan());
        let clamp =
            |low: f64, high: f64| if x.is_nan() { 0 } else { x.trunc().clamp(low, high) as i64 as u32 };
        assert_eq!(convert("v_cvt_i32_f64"), clamp(-2147483648.0, 2147483647.0), "{x}");
        assert_eq!(convert("v_cvt_u32_f64"), clamp(0.0, 4294967295.0), "{x}");
    }
    for bits in inputs(64, 99) {
        let mut w = wave();
        w.vgpr[2][0] = bits as u32;
        let mut convert = |name: &str| {
            run(&mut w, &vop3_words(name));
            get(&w, 8, 0)
        };
        assert_eq!(f64::from_bits(convert("v_cvt_f64_i32")), bits as i32 as f64);
        assert_eq!(f64::from_bits(convert("v_cvt_f64_u32")), bits as u32 as f64);
        let (short, signed) = (f64::from(bits as u16), f64::from(bits as i16));
        assert_eq!(convert("v_cvt_f16_u16") as u16, half::from_f64(short));
        assert_eq!(convert("v_cvt_f16_i16") as u16, half::from_f64(signed));
        let f = f32::from_bits(bits as u32);
        if !f.is_nan() {
            assert_eq!(convert("v_cvt_f16_f32") as u16, half::from_f64(f64::from(f)));
        }
        let h = half::to_f64(bits as u16);
        if !h.is_nan() {
            assert_eq!(f64::from(f32::from_bits(convert("v_cvt_f32_f16") as u32)), h);
            assert_eq!(convert("v_cvt_u16_f16") as u16, h.trunc().clamp(0.0, 65535.0) as u16);
            assert_eq!(convert("v_cvt_i16_f16") as i16, h.trunc().clamp(-32768.0, 32767.0) as i16);
        }
    }
}

/// Words of a VOP3P instruction on v2, v4, v6 into v8, both halves in order.
pub fn packed_words(name: &str) -> ([u32; 2], usize) {
    let row = decode::vop3p::Vop3p::TABLE.iter().find(|row| row.2.name == name).expect(name);
    let count = row.2.src.len();
    let sources =
        [2u32, 4, 6][..count].iter().enumerate().fold(0, |word, (n, v)| word | (256 + v) << (9 * n));
    ([0xd380_4000 | u32::from(row.0) << 16 | 8, sources | 3 << 27], count)
}

fn check_packed(name: &str, want: impl Fn(u16, u16, u16) -> u16) {
    checked(name);
    let [a, b, c] = [3, 5, 7].map(|seed| inputs(64, seed));
    let mut w = wave();
    for lane in 0..64 {
        (w.vgpr[2][lane], w.vgpr[4][lane], w.vgpr[6][lane]) =
            (a[lane] as u32, b[lane] as u32, c[lane] as u32);
    }
    let ([low, high], _) = packed_words(name);
    run(&mut w, &[low, high]);
    for lane in 0..64 {
        let part = |shift: u32| {
            want((a[lane] >> shift) as u16, (b[lane] >> shift) as u16, (c[lane] >> shift) as u16)
        };
        let want = u32::from(part(0)) | u32::from(part(16)) << 16;
        assert_eq!(w.vgpr[8][lane], want, "{name} {:#x} {:#x} {:#x}", a[lane], b[lane], c[lane]);
    }
    // Low result from the high halves, high result from the low ones.
    run(&mut w, &[low & !0x4000 | 7 << 11 & ((1 << (11 + packed_words(name).1)) - 1), high & !(3 << 27)]);
    let part = |shift: u32| want((a[9] >> shift) as u16, (b[9] >> shift) as u16, (c[9] >> shift) as u16);
    assert_eq!(w.vgpr[8][9], u32::from(part(16)) | u32::from(part(0)) << 16, "{name} swapped");
}

#[test]
pub fn packed_integers() {
    check_packed("v_pk_add_u16", u16_op(|a, b| a + b));
    check_packed("v_pk_sub_u16", |a, b, _| a.wrapping_sub(b));
    check_packed("v_pk_add_i16", u16_op(|a, b| a + b));
    check_packed("v_pk_sub_i16", |a, b, _| a.wrapping_sub(b));
    check_packed("v_pk_mul_lo_u16", u16_op(|a, b| a * b));
    check_packed("v_pk_mad_u16", |a, b, c| (u64::from(a) * u64::from(b) + u64::from(c)) as u16);
    check_packed("v_pk_mad_i16", |a, b, c| (u64::from(a) * u64::from(b) + u64::from(c)) as u16);
    check_packed("v_pk_min_i16", |a, b, _| if (a as i16) < b as i16 { a } else { b });
    check_packed("v_pk_max_i16", |a, b, _| if (a as i16) > b as i16 { a } else { b });
    check_packed("v_pk_min_u16", |a, b, _| if a < b { a } else { b });
    check_packed("v_pk_max_u16", |a, b, _| if a > b { a } else { b });
    check_packed("v_pk_lshlrev_b16", |a, b, _| b << (a % 16));
    check_packed("v_pk_lshrrev_b16", |a, b, _| b >> (a % 16));
    check_packed("v_pk_ashrrev_i16", |a, b, _| (i32::from(b as i16) >> (a % 16)) as u16);
}

fn u16_op(f: impl Fn(u64, u64) -> u64) -> impl Fn(u16, u16, u16) -> u16 {
    move |a, b, _| f(u64::from(a), u64::from(b)) as u16
}

#[test]
pub fn half_precision_arithmetic() {
    // All pairs of some halves, in both the scalar and the packed form.
    let values: [u16; 8] = [0, 0x3c00, 0xbe00, 0x0001, 0x83ff, 0x7bff, 0x3555, 0x4900];
    type Form = (&'static str, &'static str, fn(f64, f64) -> f64);
    let forms: [Form; 2] =
        [("v_add_f16", "v_pk_add_f16", |a, b| a + b), ("v_mul_f16", "v_pk_mul_f16", |a, b| a * b)];
    for (single, packed, f) in forms {
        let mut w = wave();
        for lane in 0..64 {
            w.vgpr[2][lane] = u32::from(values[lane % 8]) | 0x4000_0000;
            w.vgpr[4][lane] = u32::from(values[lane / 8]) | 0x4200_0000;
        }
        run(&mut w, &vop3_words(single));
        let alone = w.vgpr[8];
        run(&mut w, &packed_words(packed).0);
        for lane in 0..64 {
            let want = half::from_f64(f(half::to_f64(values[lane % 8]), half::to_f64(values[lane / 8])));
            assert_eq!(alone[lane], u32::from(want), "{single}: the upper half is zero");
            let upper = half::from_f64(f(2.0, 3.0));
            assert_eq!(w.vgpr[8][lane], u32::from(want) | u32::from(upper) << 16, "{packed}");
        }
    }
    // v_fma_f16 keeps the other half: op_sel 8 writes the high one.
    let mut w = wave();
    (w.vgpr[2], w.vgpr[4], w.vgpr[6], w.vgpr[8]) =
        ([0x4000; 64], [0x4200; 64], [0x3c00; 64], [0x1234_5678; 64]);
    let [low, high] = vop3_words("v_fma_f16");
    run(&mut w, &[low, high]);
    assert_eq!(w.vgpr[8][0], 0x1234_4700);
    run(&mut w, &[low | 8 << 11, high]);
    assert_eq!(w.vgpr[8][0], 0x4700_4700);
}

#[test]
pub fn dot_products_and_mixed_fma() {
    let dots: [(&str, u32, bool); 6] = [
        ("v_dot2_i32_i16", 16, true),
        ("v_dot2_u32_u16", 16, false),
        ("v_dot4_i32_i8", 8, true),
        ("v_dot4_u32_u8", 8, false),
        ("v_dot8_i32_i4", 4, true),
        ("v_dot8_u32_u4", 4, false),
    ];
    for (name, width, signed) in dots {
        checked(name);
        let [a, b, c] = [21, 22, 23].map(|seed| inputs(64, seed));
        let mut w = wave();
        for lane in 0..64 {
            (w.vgpr[2][lane], w.vgpr[4][lane], w.vgpr[6][lane]) =
                (a[lane] as u32, b[lane] as u32, c[lane] as u32);
        }
        run(&mut w, &packed_words(name).0);
        for lane in 0..64 {
            let part = |x: u64, n: u32| {
                let x = (x >> (n * width) & ((1 << width) - 1)) as i64;
                if signed && x >> (width - 1) != 0 { x - (1 << width) } else { x }
            };
            let sum: i64 = (0..32 / width).map(|n| part(a[lane], n) * part(b[lane], n)).sum();
            assert_eq!(w.vgpr[8][lane], (sum + c[lane] as u32 as i64) as u32, "{name}");
        }
    }
    let mut w = wave();
    w.vgpr[2] = [0x4200_3e00; 64]; // halves 1.5 and 3
    w.vgpr[4] = [0x4000_4400; 64]; // halves 4 and 2
    w.vgpr[6] = [0.25f32.to_bits(); 64];
    run(&mut w, &packed_words("v_dot2_f32_f16").0);
    assert_eq!(f32::from_bits(w.vgpr[8][0]), 1.5 * 4.0 + 3.0 * 2.0 + 0.25);
    // v_fma_mix_f32 v8, v2.hi (f16), -v4.lo (f16), v6 (f32)
    let ([low, high], _) = packed_words("v_fma_mix_f32");
    run(&mut w, &[low & !0x4000 | 1 << 11, high | 1 << 30]);
    assert_eq!(f32::from_bits(w.vgpr[8][0]), 3.0 * -4.0 + 0.25);
    w.vgpr[8] = [0xaaaa_bbbb; 64];
    let ([low, high], _) = packed_words("v_fma_mixhi_f16");
    run(&mut w, &[low & !0x4000, high]);
    assert_eq!(w.vgpr[8][0], u32::from(half::from_f64(1.5 * 4.0 + 0.25)) << 16 | 0xbbbb);
}
