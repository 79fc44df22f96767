//! What the other files leave: scalar opcodes, lane access, sums of differences, cube maps, classes, dot products of halves,
//! clamped integers, LDS permutes; and the list of what is checked where.

use super::*;
use crate::isa::decode::{sop1::Sop1, sop2::Sop2, vop3p::Vop3p};
use crate::isa::exec::half;
use crate::isa::inst::reg;

/// Source, EXEC and SCC before; destination, EXEC and SCC after.
fn sop1(name: &str, a: u64, old: u64, exec: u64, scc: bool) -> (u64, u64, bool) {
    checked(name);
    let row = Sop1::TABLE.iter().find(|row| row.2.name == name).expect(name);
    let mut w = wave();
    w.set_pair(2, a);
    w.set_pair(8, old);
    w.set_exec(exec);
    w.scc = scc;
    run(&mut w, &[0xbe80_0000 | 8 << 16 | u32::from(row.0) << 8 | 2]);
    (w.pair(8), w.exec(), w.scc)
}

#[test]
pub fn scalar_one_source() {
    let low = |x: u64| x & 0xffff_ffff;
    for (a, old) in inputs(150, 31).into_iter().zip(inputs(150, 32)) {
        for (exec, scc) in [(0xf0f0_1234_8000_0001, false), (u64::MAX, true)] {
            let high = old & !0xffff_ffff;
            let plain = |name: &str, value: u64| {
                assert_eq!(sop1(name, a, old, exec, scc), (value, exec, scc), "{name} {a:#x}");
            };
            let flag = |name: &str, value: u64, wide: bool| {
                let value = if wide { value } else { low(value) };
                let full = if wide { value } else { high | value };
                assert_eq!(sop1(name, a, old, exec, scc), (full, exec, value != 0), "{name} {a:#x}");
            };
            let save = |name: &str, mask: u64| {
                assert_eq!(sop1(name, a, old, exec, scc), (exec, mask, mask != 0), "{name} {a:#x}");
            };
            plain("s_mov_b32", high | low(a));
            plain("s_mov_b64", a);
            plain("s_cmov_b32", if scc { high | low(a) } else { old });
            plain("s_cmov_b64", if scc { a } else { old });
            plain("s_bitset0_b32", old & !(1 << (a % 32)));
            plain("s_bitset1_b32", old | 1 << (a % 32));
            plain("s_bitset0_b64", old & !(1 << (a % 64)));
            plain("s_bitset1_b64", old | 1 << (a % 64));
            flag("s_not_b32", !a, false);
            flag("s_not_b64", !a, true);
            let ones = |x: u64, n: u64| (0..n).map(|k| x >> k & 1).sum::<u64>();
            flag("s_bcnt0_i32_b32", 32 - ones(a, 32), false);
            flag("s_bcnt1_i32_b32", ones(a, 32), false);
            flag("s_bcnt0_i32_b64", 64 - ones(a, 64), false);
            flag("s_bcnt1_i32_b64", ones(a, 64), false);
            flag("s_abs_i32", i64::from(a as i32).unsigned_abs(), false);
            let quads =
                |x: u64, n: u64| (0..n).filter(|q| x >> (4 * q) & 15 != 0).map(|q| 1 << q).sum::<u64>();
            let whole = |x: u64, n: u64| {
                (0..n).filter(|q| x >> (4 * q) & 15 != 0).map(|q| 15 << (4 * q)).sum::<u64>()
            };
            flag("s_quadmask_b32", quads(a, 8), false);
            flag("s_quadmask_b64", quads(a, 16), true);
            flag("s_wqm_b32", whole(a, 8), false);
            flag("s_wqm_b64", whole(a, 16), true);
            let first =
                |x: u64, n: u64, want: u64| (0..n).find(|k| x >> k & 1 == want).map_or(0xffff_ffff, |k| k);
            let leading = |x: u64, n: u64| (0..n).find(|k| x >> (n - 1 - k) & 1 == 1).unwrap_or(0xffff_ffff);
            let sign = |x: u64, n: u64| {
                let top = x >> (n - 1) & 1;
                (1..n).find(|k| x >> (n - 1 - k) & 1 != top).unwrap_or(0xffff_ffff)
            };
            for (name, value) in [
                ("s_ff0_i32_b32", first(a, 32, 0)),
                ("s_ff0_i32_b64", first(a, 64, 0)),
                ("s_ff1_i32_b32", first(a, 32, 1)),
                ("s_ff1_i32_b64", first(a, 64, 1)),
                ("s_flbit_i32_b32", leading(a, 32)),
                ("s_flbit_i32_b64", leading(a, 64)),
                ("s_flbit_i32", sign(a, 32)),
                ("s_flbit_i32_i64", sign(a, 64)),
                ("s_sext_i32_i8", low(i64::from(a as i8) as u64)),
                ("s_sext_i32_i16", low(i64::from(a as i16) as u64)),
                ("s_brev_b32", (0..32).map(|k| (a >> k & 1) << (31 - k)).sum()),
            ] {
                plain(name, high | value);
            }
            plain("s_brev_b64", (0..64).map(|k| (a >> k & 1) << (63 - k)).sum());
            plain("s_bitreplicate_b64_b32", (0..32).map(|k| (a >> k & 1) * (3 << (2 * k))).sum());
            save("s_and_saveexec_b64", a & exec);
            save("s_or_saveexec_b64", a | exec);
            save("s_xor_saveexec_b64", a ^ exec);
            save("s_andn2_saveexec_b64", a & !exec);
            save("s_orn2_saveexec_b64", a | !exec);
            save("s_nand_saveexec_b64", !(a & exec));
            save("s_nor_saveexec_b64", !(a | exec));
            save("s_xnor_saveexec_b64", !(a ^ exec));
            save("s_andn1_saveexec_b64", !a & exec);
            save("s_orn1_saveexec_b64", !a | exec);
            for (name, mask) in [("s_andn1_wrexec_b64", !a & exec), ("s_andn2_wrexec_b64", a & !exec)] {
                assert_eq!(sop1(name, a, old, exec, scc), (mask, mask, mask != 0), "{name}");
            }
        }
    }
}

/// Result and SCC of what the other file leaves of SOP2.
#[test]
pub fn scalar_two_sources() {
    for (a, b) in inputs(300, 41).into_iter().zip(inputs(300, 42)) {
        for (_, op, info) in Sop2::TABLE {
            let (x, y) = (a as u32, b as u32);
            let wide = info.dst.dwords() == 2;
            let bits: u32 = if wide { 64 } else { 32 };
            let (offset, width) = (y % bits, (y >> 16 & 127).min(bits));
            let s = |v: u64| if wide { i128::from(v as i64) } else { i128::from(v as i32) };
            let u = |v: u64| if wide { u128::from(v) } else { u128::from(v as u32) };
            let field = |v: u128| -> u128 {
                if width == 0 { 0 } else { v >> offset & ((1 << width.min(bits - offset)) - 1) }
            };
            let signed_field = |v: i128| -> u128 {
                let w = width.min(bits - offset);
                let part = field(v as u128);
                if w > 0 && part >> (w - 1) & 1 == 1 { part.wrapping_sub(1 << w) } else { part }
            };
            let (value, flag): (u128, bool) = match info.name.trim_start_matches("s_") {
                "and_b32" | "and_b64" => (u(a) & u(b), true),
                "or_b32" | "or_b64" => (u(a) | u(b), true),
                "xor_b32" | "xor_b64" => (u(a) ^ u(b), true),
                "nand_b32" | "nand_b64" => (!(u(a) & u(b)), true),
                "nor_b32" | "nor_b64" => (!(u(a) | u(b)), true),
                "xnor_b32" | "xnor_b64" => (!(u(a) ^ u(b)), true),
                "bfe_u32" | "bfe_u64" => (field(u(a)), true),
                "bfe_i32" | "bfe_i64" => (signed_field(s(a)), true),
                "lshl1_add_u32" | "lshl3_add_u32" => {
                    let shift = if info.name.contains('1') { 1 } else { 3 };
                    let sum = (u128::from(x) << shift) + u128::from(y);
                    check_scalar(info.name, a, b, u64::from(sum as u32), sum >> 32 != 0);
                    continue;
                }
                _ => continue,
            };
            let _ = op;
            let mask = if wide { u64::MAX } else { 0xffff_ffff };
            let value = value as u64 & mask;
            check_scalar(info.name, a, b, value, if flag { value != 0 } else { false });
        }
    }
}

fn check_scalar(name: &str, a: u64, b: u64, value: u64, scc: bool) {
    checked(name);
    let row = Sop2::TABLE.iter().find(|row| row.2.name == name).expect(name);
    let mut w = wave();
    w.set_pair(2, a);
    w.set_pair(4, b);
    run(&mut w, &[0x8000_0000 | u32::from(row.0) << 23 | 8 << 16 | 4 << 8 | 2]);
    assert_eq!((w.pair(8), w.scc), (value, scc), "{name} {a:#x} {b:#x}");
}

#[test]
pub fn indexed_registers() {
    for name in ["s_set_gpr_idx_on", "s_set_gpr_idx_off", "s_set_gpr_idx_idx", "s_set_gpr_idx_mode"] {
        checked(name);
    }
    let mut w = wave();
    (0..32).for_each(|n| w.vgpr[n] = [n as u32; 64]);
    w.sgpr[2] = 5;
    // On for source 0 with index 5: v_mov_b32 v8, v2 reads v7.
    run(&mut w, &[0xbf11_0102]);
    run(&mut w, &[0x7e10_0302]);
    assert_eq!(w.vgpr[8][0], 7);
    // Destination instead, index 6.
    run(&mut w, &[0xbf9d_0008]);
    w.sgpr[2] = 6;
    run(&mut w, &[0xbe80_3202]);
    run(&mut w, &[0x7e10_0302]);
    assert_eq!((w.vgpr[14][0], w.vgpr[8][0]), (2, 7));
    run(&mut w, &[0xbf9c_0000]);
    run(&mut w, &[0x7e10_0303]);
    assert_eq!(w.vgpr[8][0], 3);
}

#[test]
pub fn lanes() {
    for name in [
        "v_readlane_b32",
        "v_writelane_b32",
        "v_readfirstlane_b32",
        "v_mbcnt_lo_u32_b32",
        "v_mbcnt_hi_u32_b32",
    ] {
        checked(name);
    }
    vector::lanes_read_write_and_count();
    for lane in [0u32, 1, 31, 32, 63] {
        let mut w = wave();
        w.vgpr[2] = std::array::from_fn(|lane| lane as u32 * 3 + 1);
        w.set_exec(1 << lane);
        w.sgpr[5] = lane | 64;
        run(&mut w, &[0xd289_0004, 258 | 5 << 9]);
        assert_eq!(w.sgpr[4], lane * 3 + 1);
        run(&mut w, &[0x7e0c_0502]);
        assert_eq!(w.sgpr[6], lane * 3 + 1);
    }
    checked("v_swap_b32");
    let mut w = wave();
    (w.vgpr[2], w.vgpr[8]) = ([1; 64], [2; 64]);
    w.set_exec(1);
    run(&mut w, &[0x7e10_a302]);
    assert_eq!((w.vgpr[2][..2].to_vec(), w.vgpr[8][..2].to_vec()), (vec![2, 1], vec![1, 2]));
    // V_CNDMASK_B32 by VCC and by another pair, with modifiers.
    checked("v_cndmask_b32");
    (w.vgpr[2], w.vgpr[4]) = ([0x3f80_0000; 64], [0xc000_0000; 64]);
    w.set_exec(u64::MAX);
    w.set_pair(106, 0b10);
    run(&mut w, &[0x0010_0902 - 0x100 + 0x100]);
    assert_eq!(w.vgpr[8][..2], [0x3f80_0000, 0xc000_0000]);
    w.set_pair(20, 0b01);
    run(&mut w, &[0xd100_0208, 258 | 260 << 9 | 20 << 18 | 1 << 29]);
    assert_eq!(w.vgpr[8][..2], [0x4000_0000, 0xbf80_0000]);
}

#[test]
pub fn sums_of_differences_and_cubes() {
    let byte = |x: u64, n: u64| (x >> (8 * n) & 255) as i64;
    let sad = |a: u64, b: u64, masked: bool| -> u64 {
        (0..4).filter(|n| !masked || byte(b, *n) != 0).map(|n| (byte(a, n) - byte(b, n)).unsigned_abs()).sum()
    };
    for clamp in [false, true] {
        let [a, b, c] = [61, 62, 63].map(|seed| inputs(64, seed));
        let mut w = wave();
        let fill = |w: &mut Wave| {
            for lane in 0..64 {
                set(w, 2, lane, a[lane]);
                set(w, 4, lane, b[lane]);
                set(w, 6, lane, c[lane]);
            }
        };
        fill(&mut w);
        for name in ["v_msad_u8", "v_qsad_pk_u16_u8", "v_mqsad_pk_u16_u8"] {
            checked(name);
            let [low, high] = vop3_words(name);
            run(&mut w, &[low | u32::from(clamp) << 15, high]);
            for lane in 0..64 {
                let limit = |value: u64, most: u64| if clamp { value.min(most) } else { value & most };
                let (want, mask) = if name == "v_msad_u8" {
                    (limit(sad(a[lane], b[lane], true) + (c[lane] & 0xffff_ffff), 0xffff_ffff), 0xffff_ffff)
                } else {
                    let part = |n: u64| {
                        let sum = sad(a[lane] >> (8 * n), b[lane], name.contains('m'))
                            + (c[lane] >> (16 * n) & 0xffff);
                        limit(sum, 0xffff) << (16 * n)
                    };
                    ((0..4).map(part).sum(), u64::MAX)
                };
                assert_eq!(get(&w, 8, lane) & mask, want, "{name} clamp {clamp}");
            }
        }
        checked("v_mqsad_u32_u8");
        for n in 0..4 {
            w.vgpr[20 + n] = std::array::from_fn(|lane| c[(lane + n) % 64] as u32);
        }
        let [low, high] = vop3_words("v_mqsad_u32_u8");
        run(&mut w, &[low | u32::from(clamp) << 15, high & 0x3_ffff | 276 << 18]);
        for lane in 0..64 {
            for n in 0..4 {
                let sum = sad(a[lane] >> (8 * n), b[lane], true) + u64::from(c[(lane + n) % 64] as u32);
                let want = if clamp { sum.min(0xffff_ffff) } else { sum & 0xffff_ffff };
                assert_eq!(u64::from(w.vgpr[8 + n][lane]), want, "v_mqsad_u32_u8");
            }
        }
    }
    // Cube maps: the face is where the largest coordinate points; z before y before x.
    for name in ["v_cubeid_f32", "v_cubesc_f32", "v_cubetc_f32", "v_cubema_f32"] {
        checked(name);
        for (x, y, z, id, sc, tc, ma) in [
            (3.0f32, 1.0f32, 2.0f32, 0.0f32, -2.0f32, -1.0f32, 6.0f32),
            (-3.0, 1.0, 2.0, 1.0, 2.0, -1.0, -6.0),
            (1.0, 3.0, 2.0, 2.0, 1.0, 2.0, 6.0),
            (1.0, -3.0, 2.0, 3.0, 1.0, -2.0, -6.0),
            (1.0, 2.0, 3.0, 4.0, 1.0, -2.0, 6.0),
            (1.0, 2.0, -3.0, 5.0, -1.0, -2.0, -6.0),
            (2.0, 2.0, 2.0, 4.0, 2.0, -2.0, 4.0),
            (2.0, 2.0, 1.0, 2.0, 2.0, 1.0, 4.0),
        ] {
            let mut w = wave();
            (w.vgpr[2], w.vgpr[4], w.vgpr[6]) = ([x.to_bits(); 64], [y.to_bits(); 64], [z.to_bits(); 64]);
            run(&mut w, &vop3_words(name));
            let want = match &name[6..8] {
                "id" => id,
                "sc" => sc,
                "tc" => tc,
                _ => ma,
            };
            assert_eq!(f32::from_bits(w.vgpr[8][9]), want, "{name} of {x} {y} {z}");
        }
    }
}

#[test]
pub fn classes_of_every_width() {
    for (suffix, exponent, fraction) in [("f16", 5u32, 10u32), ("f32", 8, 23), ("f64", 11, 52)] {
        let full = ((1u64 << exponent) - 1) << fraction;
        let (quiet, sign) = (1u64 << (fraction - 1), 1u64 << (exponent + fraction));
        let kinds: [(u64, u32); 10] = [
            (full | 1, 0),
            (full | quiet, 1),
            (sign | full, 2),
            (sign | 1 << fraction, 3),
            (sign | (quiet - 1), 4),
            (sign, 5),
            (0, 6),
            (1, 7),
            (full - 1, 8),
            (full, 9),
        ];
        for kind in ["cmp", "cmpx"] {
            let name = format!("v_{kind}_class_{suffix}");
            checked(&name);
            for (bits, class) in kinds {
                let mut w = wave();
                for lane in 0..64 {
                    set(&mut w, 2, lane, bits);
                    w.vgpr[4][lane] = 1u32.checked_shl(lane as u32).unwrap_or(0) | 1 << 12;
                }
                w.set_exec(!(1 << 3));
                run(&mut w, &vop3_words(&name));
                let want = 1 << class & !(1 << 3);
                assert_eq!(w.pair(reg::VCC), want, "{name} {bits:#x}");
                assert_eq!(w.exec(), if kind == "cmpx" { want } else { !(1 << 3) }, "{name}");
            }
        }
    }
}

/// Clamped integers: the exact result, limited.
#[test]
pub fn saturation() {
    type Exact = fn(i128, i128, i128) -> i128;
    // Name, bits and sign of the sources, bits and sign of the result.
    type Row = (&'static str, (u32, bool), (u32, bool), Exact);
    let table: [Row; 17] = [
        ("v_add_u32", (32, false), (32, false), |a, b, _| a + b),
        ("v_sub_u32", (32, false), (32, false), |a, b, _| a - b),
        ("v_subrev_u32", (32, false), (32, false), |a, b, _| b - a),
        ("v_add_u16", (16, false), (16, false), |a, b, _| a + b),
        ("v_sub_u16", (16, false), (16, false), |a, b, _| a - b),
        ("v_subrev_u16", (16, false), (16, false), |a, b, _| b - a),
        ("v_add_i32", (32, true), (32, true), |a, b, _| a + b),
        ("v_sub_i32", (32, true), (32, true), |a, b, _| a - b),
        ("v_add_i16", (16, true), (16, true), |a, b, _| a + b),
        ("v_sub_i16", (16, true), (16, true), |a, b, _| a - b),
        ("v_mul_u32_u24", (24, false), (32, false), |a, b, _| a * b),
        ("v_mul_i32_i24", (24, true), (32, true), |a, b, _| a * b),
        ("v_mad_u16", (16, false), (16, false), |a, b, c| a * b + c),
        ("v_mad_i16", (16, true), (16, true), |a, b, c| a * b + c),
        ("v_mad_legacy_u16", (16, false), (16, false), |a, b, c| a * b + c),
        ("v_mad_legacy_i16", (16, true), (16, true), |a, b, c| a * b + c),
        ("v_sad_u32", (32, false), (32, false), |a, b, c| (a - b).abs() + c),
    ];
    let read = |value: u64, (bits, signed): (u32, bool)| -> i128 {
        let value = i128::from(value) & ((1 << bits) - 1);
        if signed && value >> (bits - 1) != 0 { value - (1 << bits) } else { value }
    };
    for (name, src, dst, exact) in table {
        for clamp in [false, true] {
            checked(name);
            let [a, b, c] = [71, 72, 73].map(|seed| inputs(64, seed));
            let mut w = wave();
            for lane in 0..64 {
                set(&mut w, 2, lane, a[lane]);
                set(&mut w, 4, lane, b[lane]);
                set(&mut w, 6, lane, c[lane]);
            }
            let [low, high] = vop3_words(name);
            run(&mut w, &[low | u32::from(clamp) << 15, high]);
            for lane in 0..64 {
                let value = exact(read(a[lane], src), read(b[lane], src), read(c[lane], src));
                let (least, most) = if dst.1 {
                    (-(1i128 << (dst.0 - 1)), (1i128 << (dst.0 - 1)) - 1)
                } else {
                    (0, (1i128 << dst.0) - 1)
                };
                let value = if clamp { value.clamp(least, most) } else { value };
                let mask = (1u64 << dst.0) - 1;
                assert_eq!(
                    get(&w, 8, lane) & mask,
                    value as u64 & mask,
                    "{name} clamp {clamp} {:#x} {:#x}",
                    a[lane],
                    b[lane]
                );
            }
        }
    }
    // Three-way minima and maxima of 16 bits, which the other file leaves.
    for (name, signed, pick) in [
        ("v_min3_i16", true, 0usize),
        ("v_max3_i16", true, 2),
        ("v_min3_u16", false, 0),
        ("v_max3_u16", false, 2),
        ("v_med3_i16", true, 1),
        ("v_med3_u16", false, 1),
    ] {
        checked(name);
        let [a, b, c] = [81, 82, 83].map(|seed| inputs(64, seed));
        let mut w = wave();
        for lane in 0..64 {
            (w.vgpr[2][lane], w.vgpr[4][lane], w.vgpr[6][lane]) =
                (a[lane] as u32, b[lane] as u32, c[lane] as u32);
        }
        run(&mut w, &vop3_words(name));
        for lane in 0..64 {
            let mut sorted = [a[lane], b[lane], c[lane]].map(|x| read(x, (16, signed)));
            sorted.sort_unstable();
            assert_eq!(w.vgpr[8][lane] & 0xffff, sorted[pick] as u32 & 0xffff, "{name}");
        }
    }
}

#[test]
pub fn dot_products_of_halves() {
    checked("v_dot2_f32_f16");
    let row = Vop3p::TABLE.iter().find(|row| row.2.name == "v_dot2_f32_f16").unwrap();
    let mut w = wave();
    // Small integers and fractions: every order of rounding gives the same.
    for lane in 0..64 {
        let x = lane as f64;
        let pair = |a: f64, b: f64| u32::from(half::from_f64(a)) | u32::from(half::from_f64(b)) << 16;
        w.vgpr[2][lane] = pair(x - 30.0, x / 4.0);
        w.vgpr[4][lane] = pair(0.5, 3.0 - x);
        w.vgpr[6][lane] = (1.25f32 * lane as f32).to_bits();
    }
    run(&mut w, &[0xd380_4008 | u32::from(row.0) << 16, 258 | 260 << 9 | 262 << 18 | 3 << 27]);
    for lane in 0..64 {
        let x = lane as f32;
        let want = (x - 30.0) * 0.5 + x / 4.0 * (3.0 - x) + 1.25 * x;
        assert_eq!(f32::from_bits(w.vgpr[8][lane]), want, "lane {lane}");
    }
}

#[test]
pub fn lds_across_lanes() {
    for name in ["ds_swizzle_b32", "ds_permute_b32", "ds_bpermute_b32"] {
        checked(name);
    }
    memory::permutes();
    let ds = |name: &str| {
        let row = decode::ds::Ds::TABLE.iter().find(|row| row.2.name == name).expect(name);
        0xd800_0000 | u32::from(row.0) << 17
    };
    let none = AddressSpace::new();
    for (name, sign) in [("ds_append", 1i64), ("ds_consume", -1)] {
        checked(name);
        let (mut w, mut lds) = (wave(), Lds::new(64));
        w.set_exec(0b1011_0000);
        w.sgpr[124] = 16;
        lds.store(20, 4, 100).unwrap();
        execute(&mut w, &mut lds, &none, &[ds(name) | 4, 8 << 24]).unwrap();
        assert_eq!((w.vgpr[8][4], w.vgpr[8][0]), (100, 0), "{name}");
        assert_eq!(lds.load(20, 4).unwrap() as i64, 100 + 3 * sign, "{name}");
    }
    for name in ["ds_write_addtid_b32", "ds_read_addtid_b32"] {
        checked(name);
    }
    let (mut w, mut lds) = (wave(), Lds::new(512));
    w.vgpr[4] = std::array::from_fn(|lane| lane as u32 * 7);
    w.sgpr[124] = 32;
    execute(&mut w, &mut lds, &none, &[ds("ds_write_addtid_b32") | 8, 4 << 8]).unwrap();
    assert_eq!(lds.load(40 + 4 * 9, 4).unwrap(), 63);
    execute(&mut w, &mut lds, &none, &[ds("ds_read_addtid_b32") | 8, 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8], w.vgpr[4]);
}
