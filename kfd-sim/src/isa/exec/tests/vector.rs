//! Vector arithmetic.

use super::*;
use crate::isa::inst::reg;

/// Runs a VOP3 form over three rounds of 64 lanes and compares the destination (as wide as it is) with `want`.
fn check(name: &str, want: impl Fn(u64, u64, u64) -> u64) {
    checked(name);
    let (_, src, dst) = vop3_code(name);
    let mask = |ty: Ty, value: u64| match ty {
        Ty::B64 | Ty::I64 | Ty::F64 => value,
        Ty::I16 | Ty::F16 => value & 0xffff,
        _ => value & 0xffff_ffff,
    };
    for round in 0..3 {
        let [a, b, c] = [11, 22, 33].map(|seed| inputs(64, seed + round));
        let mut w = wave();
        for lane in 0..64 {
            for (at, value) in [(2, a[lane]), (4, b[lane]), (6, c[lane])] {
                set(&mut w, at, lane, value);
            }
        }
        let before = w.vgpr[8];
        w.set_exec(u64::MAX ^ 0x10);
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let arg = |n: usize, value: u64| src.get(n).map_or(0, |ty| mask(*ty, value));
            let (a, b, c) = (arg(0, a[lane]), arg(1, b[lane]), arg(2, c[lane]));
            if lane == 4 {
                assert_eq!(w.vgpr[8][lane], before[lane], "{name} wrote an inactive lane");
                continue;
            }
            let got = mask(dst, get(&w, 8, lane));
            assert_eq!(got, mask(dst, want(a, b, c)), "{name} {a:#x} {b:#x} {c:#x}");
        }
    }
}

fn s(value: u64) -> i64 {
    i64::from(value as u32 as i32)
}

fn bit(value: u64, n: u64) -> u64 {
    value >> n & 1
}

#[test]
pub fn integer_arithmetic() {
    check("v_add_u32", |a, b, _| a + b);
    check("v_sub_u32", |a, b, _| a.wrapping_sub(b));
    check("v_subrev_u32", |a, b, _| b.wrapping_sub(a));
    check("v_mul_lo_u32", |a, b, _| a.wrapping_mul(b));
    check("v_mul_hi_u32", |a, b, _| ((u128::from(a) * u128::from(b)) >> 32) as u64);
    check("v_mul_hi_i32", |a, b, _| ((i128::from(s(a)) * i128::from(s(b))) >> 32) as u64);
    let low24 = |x: u64| x % (1 << 24);
    let signed24 = |x: u64| low24(x) as i64 - if bit(x, 23) == 1 { 1 << 24 } else { 0 };
    check("v_mul_u32_u24", |a, b, _| low24(a) * low24(b));
    check("v_mul_hi_u32_u24", |a, b, _| (low24(a) * low24(b)) >> 32);
    check("v_mul_i32_i24", |a, b, _| (signed24(a) * signed24(b)) as u64);
    check("v_mul_hi_i32_i24", |a, b, _| ((signed24(a) * signed24(b)) >> 32) as u64);
    check("v_mad_u32_u24", |a, b, c| low24(a) * low24(b) + c);
    check("v_mad_i32_i24", |a, b, c| (signed24(a) * signed24(b)).wrapping_add(s(c)) as u64);
    check("v_mad_u64_u32", |a, b, c| (a * b).wrapping_add(c));
    check("v_mad_i64_i32", |a, b, c| (s(a) * s(b)).wrapping_add(c as i64) as u64);
    check("v_add3_u32", |a, b, c| a + b + c);
    check("v_lshl_add_u32", |a, b, c| a * (1 << (b % 32)) + c);
    check("v_add_lshl_u32", |a, b, c| ((a + b) & 0xffff_ffff) << (c % 32));
    check("v_xad_u32", |a, b, c| (a ^ b) + c);
    check("v_add_i32", |a, b, _| a + b);
    check("v_sub_i32", |a, b, _| a.wrapping_sub(b));
    check("v_sad_u32", |a, b, c| a.max(b) - a.min(b) + c);
    check("v_sad_u16", |a, b, c| {
        c + (0..2)
            .map(|n| ((a >> (16 * n) & 0xffff) as i64 - (b >> (16 * n) & 0xffff) as i64).unsigned_abs())
            .sum::<u64>()
    });
    let sad = |a: u64, b: u64| {
        (0..4)
            .map(|n| ((a >> (8 * n) & 255) as i64 - (b >> (8 * n) & 255) as i64).unsigned_abs())
            .sum::<u64>()
    };
    check("v_sad_u8", |a, b, c| c + sad(a, b));
    check("v_sad_hi_u8", |a, b, c| c + (sad(a, b) << 16));
    check("v_mad_u32_u16", |a, b, c| a * b + c);
    check("v_mad_i32_i16", |a, b, c| (i64::from(a as i16) * i64::from(b as i16) + s(c)) as u64);
    check("v_add_u16", |a, b, _| a + b);
    check("v_sub_u16", |a, b, _| a.wrapping_sub(b));
    check("v_subrev_u16", |a, b, _| b.wrapping_sub(a));
    check("v_mul_lo_u16", |a, b, _| a * b);
    check("v_mad_u16", |a, b, c| a * b + c);
}

#[test]
pub fn shifts_and_bits() {
    check("v_lshlrev_b32", |a, b, _| b << (a % 32));
    check("v_lshrrev_b32", |a, b, _| b >> (a % 32));
    check("v_ashrrev_i32", |a, b, _| (s(b) >> (a % 32)) as u64);
    check("v_lshlrev_b16", |a, b, _| b << (a % 16));
    check("v_lshrrev_b16", |a, b, _| b >> (a % 16));
    check("v_ashrrev_i16", |a, b, _| (i64::from(b as i16) >> (a % 16)) as u64);
    check("v_lshlrev_b64", |a, b, _| b << (a % 64));
    check("v_lshrrev_b64", |a, b, _| b >> (a % 64));
    check("v_ashrrev_i64", |a, b, _| ((b as i64) >> (a % 64)) as u64);
    check("v_and_b32", |a, b, _| a & b);
    check("v_or_b32", |a, b, _| a | b);
    check("v_xor_b32", |a, b, _| a ^ b);
    check("v_xnor_b32", |a, b, _| !(a ^ b));
    check("v_not_b32", |a, _, _| !a);
    check("v_and_or_b32", |a, b, c| a & b | c);
    check("v_or3_b32", |a, b, c| a | b | c);
    check("v_lshl_or_b32", |a, b, c| a << (b % 32) | c);
    check("v_bfi_b32", |a, b, c| {
        (0..32).map(|n| if bit(a, n) == 1 { bit(b, n) } else { bit(c, n) } << n).sum()
    });
    check("v_bfm_b32", |a, b, _| ((1 << (a % 32)) - 1) << (b % 32));
    check("v_bfe_u32", |a, b, c| a >> (b % 32) & ((1 << (c % 32)) - 1));
    check("v_bfe_i32", |a, b, c| {
        let width = c % 32;
        let field = (s(a) >> (b % 32)) as u64 & ((1 << width) - 1);
        if width > 0 && bit(field, width - 1) == 1 { field | u64::MAX << width } else { field }
    });
    check("v_alignbit_b32", |a, b, c| (a << 32 | b) >> (c % 32));
    check("v_alignbyte_b32", |a, b, c| (a << 32 | b) >> (8 * (c % 4)));
    check("v_bfrev_b32", |a, _, _| (0..32).map(|n| bit(a, n) << (31 - n)).sum());
    check("v_bcnt_u32_b32", |a, b, _| (0..32).map(|n| bit(a, n)).sum::<u64>() + b);
    check("v_ffbh_u32", |a, _, _| (0..32).find(|n| bit(a, 31 - n) == 1).unwrap_or(u64::MAX));
    check("v_ffbl_b32", |a, _, _| (0..32).find(|n| bit(a, *n) == 1).unwrap_or(u64::MAX));
    check("v_ffbh_i32", |a, _, _| (1..32).find(|n| bit(a, 31 - n) != bit(a, 31)).unwrap_or(u64::MAX));
    check("v_perm_b32", |a, b, c| {
        let data = a << 32 | b;
        let byte = |sel: u64| match sel {
            0..=7 => data >> (8 * sel) & 255,
            8..=11 => 255 * bit(data, [15, 31, 47, 63][sel as usize - 8]),
            12 => 0,
            _ => 255,
        };
        (0..4).map(|n| byte(c >> (8 * n) & 255) << (8 * n)).sum()
    });
    check("v_lerp_u8", |a, b, c| {
        (0..4)
            .map(|n| (((a >> (8 * n) & 255) + (b >> (8 * n) & 255) + (c >> (8 * n) & 1)) / 2) << (8 * n))
            .sum()
    });
    check("v_mov_b32", |a, _, _| a);
    check("v_sat_pk_u8_i16", |a, _, _| {
        let byte = |x: u64| i64::from(x as i16).clamp(0, 255) as u64;
        byte(a) | byte(a >> 16) << 8
    });
    check("v_cvt_pk_u16_u32", |a, b, _| a.min(65535) | b.min(65535) << 16);
    check("v_cvt_pk_i16_i32", |a, b, _| {
        (s(a).clamp(-32768, 32767) as u64 & 0xffff) | (s(b).clamp(-32768, 32767) as u64) << 16
    });
}

#[test]
pub fn minima_and_maxima() {
    let middle = |mut v: [i64; 3]| {
        v.sort();
        v[1] as u64
    };
    let u = |x: u64| x as i64;
    check("v_min_i32", |a, b, _| s(a).min(s(b)) as u64);
    check("v_max_i32", |a, b, _| s(a).max(s(b)) as u64);
    check("v_min_u32", |a, b, _| a.min(b));
    check("v_max_u32", |a, b, _| a.max(b));
    check("v_min3_i32", |a, b, c| *[s(a), s(b), s(c)].iter().min().unwrap() as u64);
    check("v_max3_i32", |a, b, c| *[s(a), s(b), s(c)].iter().max().unwrap() as u64);
    check("v_med3_i32", |a, b, c| middle([s(a), s(b), s(c)]));
    check("v_min3_u32", |a, b, c| a.min(b).min(c));
    check("v_max3_u32", |a, b, c| a.max(b).max(c));
    check("v_med3_u32", |a, b, c| middle([u(a), u(b), u(c)]));
    let h = |x: u64| i64::from(x as i16);
    check("v_min_i16", |a, b, _| h(a).min(h(b)) as u64);
    check("v_max_i16", |a, b, _| h(a).max(h(b)) as u64);
    check("v_min_u16", |a, b, _| a.min(b));
    check("v_max_u16", |a, b, _| a.max(b));
    check("v_med3_i16", |a, b, c| middle([h(a), h(b), h(c)]));
    check("v_med3_u16", |a, b, c| middle([u(a), u(b), u(c)]));
}

/// As `check`, for f32 sources and an f32 or integer result; NaNs are equal.
fn check_f32(name: &str, want: impl Fn(f32, f32, f32) -> f32) {
    for round in 0..4 {
        let [a, b, c] = [5, 6, 7].map(|seed| float_inputs(64, seed + 10 * round));
        let mut w = wave();
        for lane in 0..64 {
            for (at, value) in [(2, a[lane]), (4, b[lane]), (6, c[lane])] {
                w.vgpr[at][lane] = value.to_bits();
            }
        }
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let (got, want) = (f32::from_bits(w.vgpr[8][lane]), want(a[lane], b[lane], c[lane]));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{name} {:e} {:e} {:e}: {got:e}, not {want:e}",
                a[lane],
                b[lane],
                c[lane]
            );
        }
    }
}

fn integer(value: f32, low: f64, high: f64) -> f32 {
    // The saturated integer's bits, found by clamping in f64 rather than by a cast of the source.
    let value = if value.is_nan() { 0.0 } else { f64::from(value).trunc().clamp(low, high) };
    f32::from_bits(value as i64 as u32)
}

#[test]
pub fn float_arithmetic() {
    check_f32("v_add_f32", |a, b, _| (f64::from(a) + f64::from(b)) as f32);
    check_f32("v_sub_f32", |a, b, _| (f64::from(a) - f64::from(b)) as f32);
    check_f32("v_subrev_f32", |a, b, _| (f64::from(b) - f64::from(a)) as f32);
    check_f32("v_mul_f32", |a, b, _| (f64::from(a) * f64::from(b)) as f32);
    check_f32("v_fma_f32", f32::mul_add);
    check_f32("v_min_f32", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_lt() => a,
        _ => b,
    });
    check_f32("v_max_f32", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a.total_cmp(&b).is_gt() => a,
        _ => b,
    });
    check_f32("v_floor_f32", |a, _, _| f64::from(a).floor() as f32);
    check_f32("v_ceil_f32", |a, _, _| f64::from(a).ceil() as f32);
    check_f32("v_trunc_f32", |a, _, _| f64::from(a).trunc() as f32);
    check_f32("v_rndne_f32", |a, _, _| f64::from(a).round_ties_even() as f32);
    check_f32("v_sqrt_f32", |a, _, _| f64::from(a).sqrt() as f32);
    check_f32("v_rcp_f32", |a, _, _| (1.0 / f64::from(a)) as f32);
    check_f32("v_cvt_i32_f32", |a, _, _| integer(a, -2147483648.0, 2147483647.0));
    check_f32("v_cvt_u32_f32", |a, _, _| integer(a, 0.0, 4294967295.0));
    check_f32("v_cvt_flr_i32_f32", |a, _, _| integer(a.floor(), -2147483648.0, 2147483647.0));
    check_f32("v_cvt_f32_i32", |a, _, _| f64::from(a.to_bits() as i32) as f32);
    check_f32("v_cvt_f32_u32", |a, _, _| f64::from(a.to_bits()) as f32);
    check_f32("v_cvt_f32_ubyte2", |a, _, _| f32::from(a.to_bits().to_be_bytes()[1]));
    check_f32("v_ldexp_f32", |a, b, _| {
        // Repeated exact doubling and halving in f64.
        let mut x = f64::from(a);
        for _ in 0..(b.to_bits() as i32).unsigned_abs().min(700) {
            x = if (b.to_bits() as i32) < 0 { x / 2.0 } else { x * 2.0 };
        }
        x as f32
    });
    check_f32("v_frexp_mant_f32", |a, _, _| {
        let mut x = f64::from(a);
        while x.is_finite() && x != 0.0 && x.abs() >= 1.0 {
            x /= 2.0;
        }
        while x.is_finite() && x != 0.0 && x.abs() < 0.5 {
            x *= 2.0;
        }
        x as f32
    });
    check_f32("v_frexp_exp_i32_f32", |a, _, _| {
        let (mut x, mut n) = (f64::from(a), 0i32);
        while x.is_finite() && x.abs() >= 1.0 {
            (x, n) = (x / 2.0, n + 1);
        }
        while x.is_finite() && x != 0.0 && x.abs() < 0.5 {
            (x, n) = (x * 2.0, n - 1);
        }
        f32::from_bits(n as u32)
    });
}

#[test]
pub fn transcendental_functions_are_within_one_ulp() {
    for (name, f) in [
        ("v_exp_f32", f64::exp2 as fn(f64) -> f64),
        ("v_log_f32", f64::log2),
        ("v_rsq_f32", |x| 1.0 / x.sqrt()),
    ] {
        let mut w = wave();
        for lane in 0..64 {
            w.vgpr[2][lane] = (0.37f32 * (lane as f32 + 0.1)).to_bits();
        }
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let want = f(f64::from(0.37f32 * (lane as f32 + 0.1)));
            let got = f64::from(f32::from_bits(w.vgpr[8][lane]));
            assert!((got - want).abs() <= want.abs() * 1.2e-7, "{name} {got} {want}");
        }
    }
}

#[test]
pub fn denormals_follow_mode() {
    let tiny = 0x0000_1234;
    for (mode, source, result) in [(0x300, 0, 0), (0x310, tiny, 0), (0x320, 0, 0), (0x330, tiny, tiny)] {
        let mut w = wave();
        w.mode = mode;
        w.vgpr[2] = [tiny; 64];
        w.vgpr[4] = [0x3f80_0000; 64];
        run(&mut w, &vop3_words("v_mul_f32"));
        assert_eq!(w.vgpr[8][0], result, "mode {mode:#x}");
        // A compare only looks at sources: is it greater than zero?
        w.vgpr[4] = [0; 64];
        run(&mut w, &vop3_words("v_cmp_gt_f32"));
        assert_eq!(w.pair(reg::VCC) & 1, u64::from(source != 0), "mode {mode:#x}");
    }
}

#[test]
pub fn carries_and_borrows() {
    for name in [
        "v_add_co_u32",
        "v_sub_co_u32",
        "v_subrev_co_u32",
        "v_addc_co_u32",
        "v_subb_co_u32",
        "v_subbrev_co_u32",
    ] {
        checked(name);
        let (a, b) = (inputs(64, 3), inputs(64, 4));
        let mut w = wave();
        for lane in 0..64 {
            set(&mut w, 2, lane, a[lane]);
            set(&mut w, 4, lane, b[lane]);
        }
        let carries = 0xf0f0_5555_1234_8001;
        w.set_pair(reg::VCC, carries);
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let (a, b) = (i64::from(a[lane] as u32), i64::from(b[lane] as u32));
            let c =
                if name.contains("addc") || name.contains("subb") { (carries >> lane & 1) as i64 } else { 0 };
            let full = if name.contains("add") {
                a + b + c
            } else if name.contains("rev") {
                b - a - c
            } else {
                a - b - c
            };
            assert_eq!(w.vgpr[8][lane], full as u32, "{name}");
            assert_eq!(w.pair(reg::VCC) >> lane & 1 != 0, !(0..1 << 32).contains(&full), "{name}");
        }
    }
}

#[test]
pub fn every_compare() {
    use crate::isa::decode::vopc::Vopc;
    for (_, _, info) in Vopc::TABLE.iter().filter(|row| !row.2.name.contains("class")) {
        checked(info.name);
        let parts: Vec<&str> = info.name.split('_').collect();
        let (condition, ty) = (parts[2], parts[3]);
        let [a, b] = [8, 9].map(|seed| {
            let mut values = inputs(64, seed);
            for (n, float) in float_inputs(64, seed).into_iter().enumerate().step_by(3) {
                values[n] = match ty {
                    "f32" => u64::from(float.to_bits()),
                    "f64" => f64::from(float).to_bits(),
                    "f16" => u64::from(crate::isa::exec::half::from_f64(f64::from(float))),
                    _ => values[n],
                };
            }
            values
        });
        let mut w = wave();
        for lane in 0..64 {
            set(&mut w, 2, lane, a[lane]);
            set(&mut w, 4, lane, if lane % 7 == 0 { a[lane] } else { b[lane] });
        }
        w.set_exec(0xffff_ffff_ffff_fff0);
        run(&mut w, &vop3_words(info.name));
        for lane in 0..64 {
            let (x, y) = (a[lane], if lane % 7 == 0 { a[lane] } else { b[lane] });
            let order = match ty {
                "f32" => f32::from_bits(x as u32).partial_cmp(&f32::from_bits(y as u32)),
                "f64" => f64::from_bits(x).partial_cmp(&f64::from_bits(y)),
                "f16" => {
                    use rustc_apfloat::{Float, ieee::Half};
                    Half::from_bits(u128::from(x as u16)).partial_cmp(&Half::from_bits(u128::from(y as u16)))
                }
                "i16" => Some((x as i16).cmp(&(y as i16))),
                "u16" => Some((x as u16).cmp(&(y as u16))),
                "i32" => Some((x as i32).cmp(&(y as i32))),
                "u32" => Some((x as u32).cmp(&(y as u32))),
                "i64" => Some((x as i64).cmp(&(y as i64))),
                _ => Some(x.cmp(&y)),
            };
            let (less, equal, greater) = (
                order == Some(std::cmp::Ordering::Less),
                order == Some(std::cmp::Ordering::Equal),
                order == Some(std::cmp::Ordering::Greater),
            );
            let want = match condition {
                "f" => false,
                "lt" => less,
                "eq" => equal,
                "le" => less || equal,
                "gt" => greater,
                "lg" => less || greater,
                "ge" => greater || equal,
                "o" => order.is_some(),
                "u" => order.is_none(),
                "nge" => less || order.is_none(),
                "nlg" => equal || order.is_none(),
                "ngt" => less || equal || order.is_none(),
                "nle" => greater || order.is_none(),
                "neq" | "ne" => !equal,
                "nlt" => greater || equal || order.is_none(),
                _ => true,
            } && lane >= 4;
            assert_eq!(w.pair(reg::VCC) >> lane & 1 != 0, want, "{} {x:#x} {y:#x}", info.name);
        }
        let exec = if parts[1] == "cmpx" { w.pair(reg::VCC) } else { 0xffff_ffff_ffff_fff0 };
        assert_eq!(w.exec(), exec, "{}", info.name);
    }
}

#[test]
pub fn float_classes() {
    let kinds: [(u32, u32); 10] = [
        (0x7f80_0001, 0),
        (0x7fc0_0000, 1),
        (0xff80_0000, 2),
        (0xbf80_0000, 3),
        (0x8000_0001, 4),
        (0x8000_0000, 5),
        (0, 6),
        (1, 7),
        (0x3f80_0000, 8),
        (0x7f80_0000, 9),
    ];
    for (bits, class) in kinds {
        let mut w = wave();
        w.vgpr[2] = [bits; 64];
        w.vgpr[4] = std::array::from_fn(|lane| 1u32.checked_shl(lane as u32).unwrap_or(0));
        run(&mut w, &vop3_words("v_cmp_class_f32"));
        assert_eq!(w.pair(reg::VCC), 1 << class, "{bits:#x}");
    }
}

#[test]
pub fn lanes_read_write_and_count() {
    let mut w = wave();
    w.vgpr[2] = std::array::from_fn(|lane| lane as u32 * 10);
    w.sgpr[5] = 9;
    // v_readlane_b32 s4, v2, s5; v_writelane_b32 v2, s4, 3; v_readfirstlane_b32 s6, v2
    run(&mut w, &[0xd289_0004, 258 | 5 << 9]);
    assert_eq!(w.sgpr[4], 90);
    w.set_exec(1 << 40);
    run(&mut w, &[0xd28a_0002, 4 | 131 << 9]);
    assert_eq!(w.vgpr[2][3], 90);
    run(&mut w, &[0x7e0c_0502]);
    assert_eq!(w.sgpr[6], 400);
    // mbcnt of all lanes counts the lanes below.
    w.set_exec(u64::MAX);
    run(&mut w, &[0xd28c_0008, 193 | 128 << 9]);
    run(&mut w, &[0xd28d_0008, 193 | 264 << 9]);
    assert_eq!(w.vgpr[8], std::array::from_fn(|lane| lane as u32));
}

#[test]
pub fn sub_dword_selections() {
    let mut w = wave();
    w.vgpr[2] = [0x8899_aabb; 64];
    w.vgpr[4] = [0x1122_3344; 64];
    w.vgpr[8] = [0x5566_7788; 64];
    // v_add_u32_sdwa v8, v2, v4: word 1 of the result, rest preserved; sources: sext(byte 3), byte 1.
    let word = |sel: u32, unused: u32, s0: u32, s1: u32, sext: u32| {
        2 | sel << 8 | unused << 11 | s0 << 16 | sext << 19 | s1 << 24
    };
    let add = 0x3400_0000 << 1 | 8 << 17 | 4 << 9 | 249;
    run(&mut w, &[add, word(5, 2, 3, 1, 1)]);
    assert_eq!(w.vgpr[8][0], 0xffbb_7788);
    // Padded with zeros, sign-extended upwards.
    run(&mut w, &[add, word(1, 0, 0, 0, 0)]);
    assert_eq!(w.vgpr[8][0], 0x0000_ff00);
    run(&mut w, &[add, word(0, 1, 0, 0, 0)]);
    assert_eq!(w.vgpr[8][0], 0xffff_ffff);
}

#[test]
pub fn data_parallel_moves() {
    let lane_of = |ctrl: u32, rows: u32, bound: u32| {
        let mut w = wave();
        w.vgpr[2] = std::array::from_fn(|lane| lane as u32);
        w.vgpr[8] = [99; 64];
        run(&mut w, &[0x7e00_0200 | 8 << 17 | 250, 2 | ctrl << 8 | bound << 19 | 15 << 24 | rows << 28]);
        w.vgpr[8]
    };
    assert_eq!(lane_of(0x1b, 15, 0)[..5], [3, 2, 1, 0, 7]);
    assert_eq!(lane_of(0x111, 15, 0)[14..18], [13, 14, 99, 16]);
    assert_eq!(lane_of(0x111, 15, 1)[16], 0);
    assert_eq!(lane_of(0x101, 15, 0)[14..17], [15, 99, 17]);
    assert_eq!(lane_of(0x121, 15, 0)[15..18], [14, 31, 16]);
    assert_eq!(lane_of(0x140, 15, 0)[0], 15);
    assert_eq!(lane_of(0x141, 15, 0)[8], 15);
    assert_eq!(lane_of(0x142, 0xa, 0)[15..33], [[99].as_slice(), &[15; 16], &[99]].concat()[..]);
    assert_eq!(lane_of(0x143, 0xc, 0)[31..33], [99, 31]);
    assert_eq!(lane_of(0x138, 15, 0)[..2], [99, 0]);
    assert_eq!(lane_of(0x13c, 15, 0)[0], 63);
}

#[test]
pub fn modifiers_of_floats() {
    let value = |words: [u32; 2], x: f32| {
        let mut w = wave();
        w.mode = 0x3c0;
        w.vgpr[2] = [x.to_bits(); 64];
        w.vgpr[4] = [1f32.to_bits(); 64];
        run(&mut w, &words);
        f32::from_bits(w.vgpr[8][0])
    };
    let [low, high] = vop3_words("v_mul_f32");
    assert_eq!(value([low, high | 1 << 29], 3.0), -3.0);
    assert_eq!(value([low | 1 << 8, high], -3.0), 3.0);
    assert_eq!(value([low | 1 << 8, high | 1 << 29], -3.0), -3.0);
    assert_eq!(value([low | 1 << 15, high], 3.0), 1.0);
    assert_eq!(value([low | 1 << 15, high], f32::NAN), 0.0);
    assert_eq!(value([low, high | 3 << 27], 3.0), 1.5);
}
