//! Branches, calls, immediates, hardware registers, messages, traps, and what changes nothing.

use super::*;
use crate::isa::inst::reg;

#[test]
pub fn scalar_control() {
    for name in ["s_getpc_b64", "s_setpc_b64", "s_swappc_b64", "s_call_b64"] {
        checked(name);
    }
    let mut w = wave();
    // s_call_b64 s[8:9], 16 words on
    run(&mut w, &[0xba88_0010 | 0x15 << 23 & 0x0f80_0000 | 0xb000_0000]);
    assert_eq!((w.pair(8), w.pc), (0x1000, 0x1000 + 64));
    run(&mut w, &[0xbe8a_1d08]);
    assert_eq!(w.pc, 0x1000);
    // s_movk, s_cmovk, s_addk, s_mulk on s4 = -3
    for (name, code, scc, value, flag) in [
        ("s_movk_i32", 0u32, false, -9i32, false),
        ("s_cmovk_i32", 1, true, -9, true),
        ("s_cmovk_i32", 1, false, -3, false),
        ("s_addk_i32", 14, false, -12, false),
        ("s_mulk_i32", 15, true, 27, true),
    ] {
        checked(name);
        let mut w = wave();
        (w.sgpr[4], w.scc) = (-3i32 as u32, scc);
        run(&mut w, &[0xb000_0000 | code << 23 | 4 << 16 | 0xfff7]);
        assert_eq!((w.sgpr[4] as i32, w.scc), (value, flag), "{name}");
    }
    let mut w = wave();
    w.sgpr[4] = i32::MAX as u32;
    run(&mut w, &[0xb704_0001]);
    assert_eq!((w.sgpr[4], w.scc), (0x8000_0000, true), "s_addk_i32 overflows");
    // s_setreg_b32, s_setreg_imm32_b32, s_getreg_b32 of MODE's rounding.
    for name in ["s_setreg_b32", "s_setreg_imm32_b32", "s_getreg_b32"] {
        checked(name);
    }
    let mut w = wave();
    w.sgpr[4] = 0xfffe;
    run(&mut w, &[0xb904_0000 | 1 << 11 | 2 << 6 | 1]);
    assert_eq!(w.mode, 0x3f8);
    run(&mut w, &[0xba00_0000 | 3 << 11 | 1, 5]);
    assert_eq!(w.mode, 0x3f5);
    run(&mut w, &[0xb885_0000 | 7 << 11 | 1]);
    assert_eq!(w.sgpr[5], 0xf5);
    // Bits and 64-bit comparisons.
    for (a, b) in inputs(200, 51).into_iter().zip(inputs(200, 52)) {
        for (name, code, want) in [
            ("s_bitcmp0_b32", 0x0c, a >> (b % 32) & 1 == 0),
            ("s_bitcmp1_b32", 0x0d, a >> (b % 32) & 1 == 1),
            ("s_bitcmp0_b64", 0x0e, a >> (b % 64) & 1 == 0),
            ("s_bitcmp1_b64", 0x0f, a >> (b % 64) & 1 == 1),
            ("s_cmp_eq_u64", 0x12, a == b),
            ("s_cmp_lg_u64", 0x13, a != b),
        ] {
            checked(name);
            let mut w = wave();
            w.set_pair(2, a);
            w.set_pair(4, b);
            run(&mut w, &[0xbf00_0000 | code << 16 | 4 << 8 | 2]);
            assert_eq!(w.scc, want, "{name} {a:#x} {b:#x}");
        }
    }
    // Branches: taken or not by SCC, VCC, EXEC.
    for (name, code, scc, vcc, exec, taken) in [
        ("s_branch", 2u32, false, 0u64, 1u64, true),
        ("s_cbranch_scc0", 4, false, 0, 1, true),
        ("s_cbranch_scc0", 4, true, 0, 1, false),
        ("s_cbranch_scc1", 5, true, 0, 1, true),
        ("s_cbranch_scc1", 5, false, 0, 1, false),
        ("s_cbranch_vccz", 6, false, 0, 1, true),
        ("s_cbranch_vccz", 6, false, 1 << 40, 1, false),
        ("s_cbranch_vccnz", 7, false, 1 << 40, 1, true),
        ("s_cbranch_vccnz", 7, false, 0, 1, false),
        ("s_cbranch_execz", 8, false, 0, 0, true),
        ("s_cbranch_execz", 8, false, 0, 1 << 63, false),
        ("s_cbranch_execnz", 9, false, 0, 1 << 63, true),
        ("s_cbranch_execnz", 9, false, 0, 0, false),
        ("s_cbranch_cdbgsys", 0x17, true, 0, 1, false),
        ("s_cbranch_cdbguser", 0x18, true, 0, 1, false),
        ("s_cbranch_cdbgsys_or_user", 0x19, true, 0, 1, false),
        ("s_cbranch_cdbgsys_and_user", 0x1a, true, 0, 1, false),
    ] {
        checked(name);
        let mut w = wave();
        w.scc = scc;
        w.set_pair(reg::VCC, vcc);
        w.set_exec(exec);
        run(&mut w, &[0xbf80_0000 | code << 16 | 0xfff0]);
        assert_eq!(w.pc, if taken { 0x1000 - 64 } else { 0x1000 }, "{name}");
    }
    // Relative moves: M0 = 3.
    for (name, code, from, to) in [
        ("s_movrels_b32", 0x2au32, 5u32, 8u32),
        ("s_movreld_b32", 0x2c, 2, 11),
        ("s_movrels_b64", 0x2b, 6, 8),
    ] {
        checked(name);
        let mut w = wave();
        (0..20).for_each(|n| w.sgpr[n] = 100 + n as u32);
        w.sgpr[124] = if name.ends_with("64") { 4 } else { 3 };
        run(&mut w, &[0xbe80_0000 | 8 << 16 | code << 8 | 2]);
        assert_eq!(w.sgpr[to as usize], 100 + from, "{name}");
    }
    checked("s_movreld_b64");
    let mut w = wave();
    (w.sgpr[2], w.sgpr[3], w.sgpr[124]) = (7, 9, 4);
    run(&mut w, &[0xbe88_2d02]);
    assert_eq!((w.sgpr[12], w.sgpr[13]), (7, 9));
}

#[test]
pub fn program_flow() {
    let flow =
        |w: &mut Wave, words: &[u32]| execute(w, &mut Lds::new(0), &AddressSpace::new(), words).map(|_| ());
    let mut w = wave();
    for (name, word, state) in [
        ("s_endpgm", 0xbf81_0000u32, State::Ended),
        ("s_endpgm_saved", 0xbf9b_0000, State::Ended),
        ("s_barrier", 0xbf8a_0000, State::Barrier),
    ] {
        checked(name);
        w.state = State::Running;
        flow(&mut w, &[word]).unwrap();
        assert_eq!(w.state, state, "{name}");
    }
    // What changes nothing that a program sees.
    w.state = State::Running;
    let before = (w.pc, w.scc, w.sgpr, w.vgpr.clone());
    for (name, code) in [
        ("s_nop", 0u32),
        ("s_wakeup", 3),
        ("s_waitcnt", 0x0c),
        ("s_sleep", 0x0e),
        ("s_setprio", 0x0f),
        ("s_sethalt", 0x0d),
        ("s_icache_inv", 0x13),
        ("s_incperflevel", 0x14),
        ("s_decperflevel", 0x15),
        ("s_ttracedata", 0x16),
    ] {
        checked(name);
        flow(&mut w, &[0xbf80_0000 | code << 16]).unwrap_or_else(|stop| panic!("{name}: {stop:?}"));
        assert_eq!((w.pc, w.scc, w.sgpr, &w.vgpr), (before.0, before.1, before.2, &before.3), "{name}");
    }
    for (name, words) in [
        ("v_nop", [0x7e00_0000u32, 0]),
        ("s_dcache_inv", [0xc080_0000, 0]),
        ("s_dcache_wb", [0xc084_0000, 0]),
        ("s_dcache_inv_vol", [0xc088_0000, 0]),
        ("s_dcache_wb_vol", [0xc08c_0000, 0]),
        ("s_atc_probe", [0xc09a_0002, 0]),
        ("s_atc_probe_buffer", [0xc09e_0002, 0]),
        ("ds_nop", [0xd828_0000, 0]),
        ("wbinvl1", [0xe0f8_0000, 0]),
        ("wbinvl1_vol", [0xe0fc_0000, 0]),
    ] {
        checked(name);
        flow(&mut w, &words).unwrap_or_else(|stop| panic!("{name}: {stop:?}"));
        assert_eq!((w.pc, w.scc, w.sgpr, &w.vgpr), (before.0, before.1, before.2, &before.3), "{name}");
    }
    for name in ["s_memtime", "s_memrealtime"] {
        checked(name);
        let code = if name == "s_memtime" { 0x24 } else { 0x25 };
        flow(&mut w, &[0xc000_0000 | code << 18 | 20 << 6, 0]).unwrap();
        assert_eq!(w.pair(20), 77, "{name}");
    }
    // Traps: 3 is for a debugger, which there is none of.
    checked("s_trap");
    assert_eq!(flow(&mut w, &[0xbf92_0002]), Err(Stop::Trap(2)));
    assert_eq!(flow(&mut w, &[0xbf92_0003]), Ok(()));
    checked("v_clrexcp");
    w.trap_status = 0xfff;
    flow(&mut w, &[0x7e00_6a00]).unwrap();
    assert_eq!(w.trap_status, 0xe00);
    // An interrupt carries the event's number; other messages are refused.
    checked("s_sendmsg");
    let mut interrupts = Vec::new();
    let (mut lds, mut stats, space) = (Lds::new(0), ExecStats::default(), AddressSpace::new());
    let mut send = |w: &mut Wave, word: u32| {
        let mut env = Env {
            port: Port::new(&space, None),
            lds: &mut lds,
            stats: &mut stats,
            clock: &|| 0,
            apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 0 },
            interrupts: &mut interrupts,
        };
        step_decoded(w, &[word], &mut env)
    };
    w.sgpr[124] = 0x42;
    send(&mut w, 0xbf90_0001).unwrap();
    assert!(matches!(send(&mut w, 0xbf90_0004), Err(Stop::Unsupported(_))));
    assert_eq!(interrupts, [0x42]);
}
