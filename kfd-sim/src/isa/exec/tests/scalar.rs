//! Scalar arithmetic, branches and hardware registers.

use super::*;
use crate::isa::decode::{sop1::Sop1, sop2::Sop2, sopc::Sopc, sopk::Sopk};

/// Result and SCC of a SOP2 instruction on s[2:3], s[4:5].
fn sop2(name: &str, a: u64, b: u64, scc: bool) -> (u64, bool) {
    checked(name);
    let row = Sop2::TABLE.iter().find(|row| row.2.name == name).expect(name);
    let mut w = wave();
    w.set_pair(2, a);
    w.set_pair(4, b);
    w.scc = scc;
    run(&mut w, &[0x8000_0000 | u32::from(row.0) << 23 | 8 << 16 | 4 << 8 | 2]);
    (w.pair(8), w.scc)
}

fn check2(name: &str, want: impl Fn(u64, u64, bool) -> (u64, Option<bool>)) {
    checked(name);
    let row = Sop2::TABLE.iter().find(|row| row.2.name == name).expect(name);
    let narrow = |ty: Ty, x: u64| if ty.dwords() == 2 { x } else { x & 0xffff_ffff };
    for (a, b) in inputs(200, 1).into_iter().zip(inputs(200, 2)) {
        for scc in [false, true] {
            let (value, flag) = want(narrow(row.2.src[0], a), narrow(row.2.src[1], b), scc);
            let value = narrow(row.2.dst, value);
            let flag = flag.unwrap_or(scc);
            assert_eq!(sop2(name, a, b, scc), (value, flag), "{name} {a:#x} {b:#x}");
        }
    }
}

fn s(x: u64) -> i64 {
    i64::from(x as i32)
}

fn nonzero(x: u64) -> (u64, Option<bool>) {
    (x, Some(x != 0))
}

fn nonzero32(x: u64) -> (u64, Option<bool>) {
    nonzero(x & 0xffff_ffff)
}

#[test]
pub fn two_sources() {
    let overflow = |x: i64| Some(i32::try_from(x).is_err());
    check2("s_add_u32", |a, b, _| (a + b, Some(a + b > u64::from(u32::MAX))));
    check2("s_sub_u32", |a, b, _| (a.wrapping_sub(b), Some(a < b)));
    check2("s_add_i32", |a, b, _| (a + b, overflow(s(a) + s(b))));
    check2("s_sub_i32", |a, b, _| (a.wrapping_sub(b), overflow(s(a) - s(b))));
    check2("s_addc_u32", |a, b, c| (a + b + u64::from(c), Some(a + b + u64::from(c) > u64::from(u32::MAX))));
    check2("s_subb_u32", |a, b, c| (a.wrapping_sub(b + u64::from(c)), Some(a < b + u64::from(c))));
    check2("s_min_i32", |a, b, _| (s(a).min(s(b)) as u64, Some(s(a) < s(b))));
    check2("s_min_u32", |a, b, _| (a.min(b), Some(a < b)));
    check2("s_max_i32", |a, b, _| (s(a).max(s(b)) as u64, Some(s(a) > s(b))));
    check2("s_max_u32", |a, b, _| (a.max(b), Some(a > b)));
    check2("s_cselect_b32", |a, b, c| (if c { a } else { b }, None));
    check2("s_cselect_b64", |a, b, c| (if c { a } else { b }, None));
    check2("s_and_b64", |a, b, _| nonzero(a & b));
    check2("s_or_b32", |a, b, _| nonzero(a | b));
    check2("s_xor_b64", |a, b, _| nonzero(a ^ b));
    check2("s_andn2_b64", |a, b, _| nonzero(a & !b));
    check2("s_andn2_b32", |a, b, _| nonzero32(a & !b));
    check2("s_orn2_b32", |a, b, _| nonzero32(a | !b));
    check2("s_orn2_b64", |a, b, _| nonzero(a | !b));
    check2("s_nand_b32", |a, b, _| nonzero32(!(a & b)));
    check2("s_nor_b64", |a, b, _| nonzero(!(a | b)));
    check2("s_xnor_b32", |a, b, _| nonzero32(!(a ^ b)));
    check2("s_lshl_b32", |a, b, _| nonzero32(a << (b % 32)));
    check2("s_lshl_b64", |a, b, _| nonzero(a << (b % 64)));
    check2("s_lshr_b32", |a, b, _| nonzero(a >> (b % 32)));
    check2("s_lshr_b64", |a, b, _| nonzero(a >> (b % 64)));
    check2("s_ashr_i32", |a, b, _| nonzero32((s(a) >> (b % 32)) as u64));
    check2("s_ashr_i64", |a, b, _| nonzero(((a as i64) >> (b % 64)) as u64));
    check2("s_bfm_b32", |a, b, _| (((1 << (a % 32)) - 1) << (b % 32), None));
    check2("s_bfm_b64", |a, b, _| (((1u64 << (a % 64)) - 1) << (b % 64), None));
    check2("s_mul_i32", |a, b, _| (a.wrapping_mul(b), None));
    check2("s_mul_hi_u32", |a, b, _| (((u128::from(a) * u128::from(b)) >> 32) as u64, None));
    check2("s_mul_hi_i32", |a, b, _| (((i128::from(s(a)) * i128::from(s(b))) >> 32) as u64, None));
    check2("s_absdiff_i32", |a, b, _| nonzero32((s(a) - s(b)).unsigned_abs()));
    check2("s_lshl2_add_u32", |a, b, _| (4 * a + b, Some(4 * a + b > u64::from(u32::MAX))));
    check2("s_lshl4_add_u32", |a, b, _| (16 * a + b, Some(16 * a + b > u64::from(u32::MAX))));
    check2("s_pack_ll_b32_b16", |a, b, _| (a % 65536 + (b % 65536) * 65536, None));
    check2("s_pack_lh_b32_b16", |a, b, _| (a % 65536 + b / 65536 * 65536, None));
    check2("s_pack_hh_b32_b16", |a, b, _| (a / 65536 + b / 65536 * 65536, None));
}

#[test]
pub fn bit_fields() {
    let control = |offset: u64, width: u64| offset | width << 16;
    assert_eq!(sop2("s_bfe_u32", 0xdead_beef, control(8, 12), false), (0xdbe, true));
    assert_eq!(sop2("s_bfe_i32", 0xdead_beef, control(8, 12), false), (0xffff_fdbe, true));
    assert_eq!(sop2("s_bfe_i32", 0xdead_beef, control(16, 0), true), (0, false));
    assert_eq!(sop2("s_bfe_i32", 0x8000_0000, control(31, 32), true), (0xffff_ffff, true));
    assert_eq!(sop2("s_bfe_u64", 0xdead_beef_0000_0000, control(36, 16), false), (0xdbee, true));
    assert_eq!(
        sop2("s_bfe_i64", 0xdead_beef_0000_0000, control(60, 4), false),
        (0xffff_ffff_ffff_fffd, true)
    );
}

#[test]
pub fn one_source() {
    let sop1 = |name: &str, a: u64| {
        checked(name);
        let row = Sop1::TABLE.iter().find(|row| row.2.name == name).expect(name);
        let mut w = wave();
        w.set_pair(2, a);
        w.set_exec(0xff00);
        w.scc = true;
        run(&mut w, &[0xbe80_0000 | 8 << 16 | u32::from(row.0) << 8 | 2]);
        (w.pair(8), w.scc, w.exec(), w.pc)
    };
    for a in inputs(100, 5) {
        let x = a & 0xffff_ffff;
        let bits = |value: u64, n: u64| (0..n).map(|k| value >> k & 1).collect::<Vec<_>>();
        let first = |value: u64, n: u64, want: u64| {
            bits(value, n).iter().position(|b| *b == want).map_or(0xffff_ffff, |p| p as u64)
        };
        let leading = |value: u64, n: u64| {
            bits(value, n).iter().rev().position(|b| *b == 1).map_or(0xffff_ffff, |p| p as u64)
        };
        assert_eq!(sop1("s_mov_b64", a).0, a);
        assert_eq!(sop1("s_mov_b32", a).0, x);
        assert_eq!(sop1("s_not_b32", a).0, !a & 0xffff_ffff);
        assert_eq!(sop1("s_brev_b32", a).0, bits(x, 32).iter().fold(0, |v, b| v << 1 | b));
        assert_eq!(sop1("s_brev_b64", a).0, bits(a, 64).iter().fold(0, |v, b| v << 1 | b));
        assert_eq!(sop1("s_bcnt1_i32_b64", a).0, bits(a, 64).iter().sum::<u64>());
        assert_eq!(sop1("s_bcnt0_i32_b32", a).0, 32 - bits(x, 32).iter().sum::<u64>());
        assert_eq!(sop1("s_ff1_i32_b32", a).0, first(x, 32, 1));
        assert_eq!(sop1("s_ff0_i32_b64", a).0, first(a, 64, 0));
        assert_eq!(sop1("s_flbit_i32_b32", a).0, leading(x, 32));
        assert_eq!(sop1("s_flbit_i32_b64", a).0, leading(a, 64));
        assert_eq!(sop1("s_sext_i32_i8", a).0, i64::from(a as i8) as u64 & 0xffff_ffff);
        assert_eq!(sop1("s_sext_i32_i16", a).0, i64::from(a as i16) as u64 & 0xffff_ffff);
        assert_eq!(sop1("s_abs_i32", a).0, s(x).unsigned_abs());
        assert_eq!(sop1("s_and_saveexec_b64", a), (0xff00, a & 0xff00 != 0, a & 0xff00, 0x1000));
        assert_eq!(sop1("s_andn1_saveexec_b64", a).2, !a & 0xff00);
        assert_eq!(sop1("s_andn2_wrexec_b64", a).2, a & !0xff00);
        assert_eq!(sop1("s_bitset1_b64", a).0, 1 << (a % 64));
        assert_eq!(
            sop1("s_bitreplicate_b64_b32", a).0,
            bits(x, 32).iter().rev().fold(0, |v, b| (v << 2) | (b * 3))
        );
    }
    assert_eq!(sop1("s_getpc_b64", 0).0, 0x1000);
    assert_eq!(sop1("s_setpc_b64", 0x5000).3, 0x5000);
    assert_eq!(sop1("s_swappc_b64", 0x5000), (0x1000, true, 0xff00, 0x5000));
    assert_eq!(sop1("s_wqm_b64", 0x0120_0001).0, 0x0ff0_000f);
    assert_eq!(sop1("s_quadmask_b64", 0x0120_0001).0, 0x61);
    assert_eq!(sop1("s_flbit_i32", 0xffff_ff00).0, 24);
}

#[test]
pub fn compares_immediates_and_branches() {
    let (a, b) = (0xffff_fff0u32, 3u32);
    for (_, op, info) in
        Sopc::TABLE.iter().filter(|row| row.2.name.starts_with("s_cmp_") && !row.2.name.ends_with("64"))
    {
        let parts: Vec<&str> = info.name.split('_').collect();
        for (a, b) in [(a, b), (b, a), (a, a), (0, b)] {
            let order = if parts[3] == "i32" { (a as i32).cmp(&(b as i32)) } else { a.cmp(&b) };
            let want = match parts[2] {
                "eq" => order.is_eq(),
                "lg" => order.is_ne(),
                "gt" => order.is_gt(),
                "ge" => order.is_ge(),
                "lt" => order.is_lt(),
                _ => order.is_le(),
            };
            let mut w = wave();
            (w.sgpr[2], w.sgpr[4]) = (a, b);
            run(&mut w, &[0xbf00_0000 | (*op as u32) << 16 | 4 << 8 | 2]);
            assert_eq!(w.scc, want, "{} {a} {b}", info.name);
            checked(info.name);
            let name = info.name.replace("cmp", "cmpk");
            let Some(row) = Sopk::TABLE.iter().find(|row| row.2.name == name) else { continue };
            if b < 0x8000 {
                run(&mut w, &[0xb000_0000 | u32::from(row.0) << 23 | 2 << 16 | b]);
                assert_eq!(w.scc, want, "{name}");
                checked(&name);
            }
        }
    }
    let mut w = wave();
    run(&mut w, &[0xbf82_fffe]);
    assert_eq!(w.pc, 0x1000 - 8);
    run(&mut w, &[0xbf84_0004]);
    assert_eq!(w.pc, 0x1000 - 8 + 16);
    run(&mut w, &[0xbf89_0001]);
    assert_eq!(w.pc, 0x1000 - 8 + 20);
    w.set_exec(0);
    run(&mut w, &[0xbf88_0001]);
    assert_eq!(w.pc, 0x1000 - 8 + 24);
}

#[test]
pub fn hardware_registers() {
    let mut w = wave();
    w.hw_id = 0xabcd_1234;
    // s_getreg_b32 s4, hwreg(HW_ID, 8, 4) and hwreg(SH_MEM_BASES)
    run(&mut w, &[0xb884_0000 | 3 << 11 | 8 << 6 | 4]);
    assert_eq!(w.sgpr[4], 2);
    run(&mut w, &[0xb884_0000 | 31 << 11 | 15]);
    assert_eq!(w.sgpr[4], w.mem_bases);
    // s_setreg_imm32_b32 hwreg(MODE, 4, 2), 0: flush single-precision denormals.
    run(&mut w, &[0xba00_0000 | 1 << 11 | 4 << 6 | 1, 0]);
    assert_eq!(w.mode, 0x3c0);
    // s_setreg_imm32_b32 hwreg(MODE, 0, 2), 3: single precision rounds towards zero.
    run(&mut w, &[0xba00_0000 | 1 << 11 | 1, 3]);
    assert_eq!(w.mode, 0x3c3);
    // src_shared_base as 64 bits.
    run(&mut w, &[0xbe88_01eb]);
    assert_eq!(w.pair(8), 1 << 48);
}
