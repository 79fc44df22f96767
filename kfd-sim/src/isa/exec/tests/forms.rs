//! The SDWA and DPP forms of every VOP1, VOP2 and VOPC opcode: the plain form on operands that are selected, moved and merged
//! here must give the same.

use super::*;
use crate::isa::decode::{vop1::Vop1, vop2::Vop2, vopc::Vopc};
use crate::isa::inst::{Form, reg};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % limit
    }
}

/// First word with source 0 as given, v4 as source 1, v8 as destination.
fn opcodes() -> Vec<(&'static str, u32)> {
    let mut all = Vec::new();
    all.extend(Vop1::TABLE.iter().map(|row| (row.2.name, 0x7e00_0000 | 8 << 17 | u32::from(row.0) << 9)));
    all.extend(Vop2::TABLE.iter().map(|row| (row.2.name, u32::from(row.0) << 25 | 8 << 17 | 4 << 9)));
    all.extend(Vopc::TABLE.iter().map(|row| (row.2.name, 0x7c00_0000 | u32::from(row.0) << 17 | 4 << 9)));
    all
}

/// A wave with noise in its registers; floats of every kind among it.
fn noise(r: &mut Random) -> Wave {
    let mut w = wave();
    for (at, lanes) in w.vgpr.iter_mut().enumerate() {
        let seed = u64::from(r.below(1 << 20)) + at as u64;
        let (ints, floats) = (inputs(64, seed), float_inputs(64, seed));
        for lane in 0..64 {
            lanes[lane] = if lane % 2 == 0 { ints[lane] as u32 } else { floats[lane].to_bits() };
        }
    }
    w.set_exec(u64::from(r.below(u32::MAX)) << 32 | u64::from(r.below(u32::MAX)));
    w.set_pair(reg::VCC, u64::from(r.below(u32::MAX)) << 20 ^ 0x5a5a);
    w
}

/// Part of a value: 0..=3 bytes, 4 and 5 words, 6 all.
fn part(value: u32, sel: u32, sign: bool) -> u32 {
    let (shift, width) = match sel {
        0..=3 => (8 * sel, 8),
        4 | 5 => (16 * (sel - 4), 16),
        _ => (0, 32),
    };
    let value = u64::from(value) >> shift & ((1 << width) - 1);
    if sign && value >> (width - 1) & 1 != 0 {
        (value as u32).wrapping_sub((1u64 << width) as u32)
    } else {
        value as u32
    }
}

/// The destination: the result's low bits in the part, the rest as `unused` says.
fn merged(old: u32, result: u32, sel: u32, unused: u32) -> u32 {
    let (shift, width) = match sel {
        0..=3 => (8 * sel, 8),
        4 | 5 => (16 * (sel - 4), 16),
        _ => return result,
    };
    let mask = (((1u64 << width) - 1) << shift) as u32;
    let placed = result << shift & mask;
    match unused {
        0 => placed,
        1 if placed >> (shift + width - 1) & 1 != 0 => {
            placed | u32::try_from((u64::from(u32::MAX) << (shift + width)) & 0xffff_ffff).unwrap()
        }
        1 => placed,
        _ => old & !mask | placed,
    }
}

fn same(name: &str, got: u32, want: u32) -> bool {
    let nan = |bits: u32| bits & 0x7f80_0000 == 0x7f80_0000 && bits & 0x7f_ffff != 0;
    got == want || name.contains("f32") && nan(got) && nan(want)
}

#[test]
fn sub_dwords_of_every_opcode() {
    let mut r = Random(0x1234_5678_9abc_def1);
    let mut forms = 0;
    for (name, plain) in opcodes() {
        let compare = name.starts_with("v_cmp");
        for _ in 0..12 {
            let (s0, s1, dst, unused) = (r.below(7), r.below(7), r.below(7), r.below(3));
            let sign = [r.below(2), r.below(2)];
            let one = decode(&[plain | 258, 0]).is_ok_and(|inst| inst.info.src.len() < 2);
            let second = if one { 0 } else { s1 << 24 | sign[1] << 27 };
            let result = if compare { 0 } else { dst << 8 | unused << 11 };
            let words = [plain | 249, 2 | result | s0 << 16 | sign[0] << 19 | second];
            let Ok(inst) = decode(&words) else { continue };
            if !matches!(inst.form, Form::Sdwa(_)) {
                continue;
            }
            let start = noise(&mut r);
            let mut plain_wave = noise(&mut r);
            plain_wave.sgpr = start.sgpr;
            plain_wave.vgpr = start.vgpr.clone();
            let mut w = noise(&mut r);
            w.sgpr = start.sgpr;
            w.vgpr = start.vgpr.clone();
            if execute(&mut w, &mut Lds::new(0), &AddressSpace::new(), &words).is_err() {
                continue;
            }
            for lane in 0..64 {
                plain_wave.vgpr[2][lane] = part(start.vgpr[2][lane], s0, sign[0] != 0);
                plain_wave.vgpr[4][lane] = part(start.vgpr[4][lane], s1, sign[1] != 0);
            }
            run(&mut plain_wave, &[plain | 258]);
            forms += 1;
            assert_eq!(w.sgpr, plain_wave.sgpr, "{inst}");
            for lane in (0..64).filter(|_| !compare && inst.info.dst != Ty::No && !inst.dst_is_scalar()) {
                let (old, result) = (start.vgpr[8][lane], plain_wave.vgpr[8][lane]);
                let active = start.exec() >> lane & 1 != 0;
                let want = if active { merged(old, result, dst, unused) } else { old };
                assert!(
                    same(name, w.vgpr[8][lane], want),
                    "{inst} lane {lane}: {:#x}, not {want:#x}",
                    w.vgpr[8][lane]
                );
            }
        }
    }
    assert!(forms > 1500, "only {forms} forms");
}

/// Where a lane reads from, if it reads at all.
fn source(ctrl: u32, lane: u32) -> Option<u32> {
    let (row, at) = (lane / 16 * 16, lane % 16);
    let n = ctrl % 16;
    match ctrl {
        0..=0xff => Some(lane / 4 * 4 + (ctrl >> (2 * (lane % 4)) & 3)),
        0x101..=0x10f => (at + n <= 15).then_some(lane + n),
        0x111..=0x11f => (at >= n).then(|| lane - n),
        0x121..=0x12f => Some(row + (at + 16 - n) % 16),
        0x130 => (lane != 63).then_some(lane + 1),
        0x134 => Some((lane + 1) % 64),
        0x138 => (lane != 0).then(|| lane - 1),
        0x13c => Some((lane + 63) % 64),
        0x140 => Some(row + 15 - at),
        0x141 => Some(lane / 8 * 8 + 7 - lane % 8),
        0x142 => (row != 0).then(|| row - 1),
        _ => (lane >= 32).then_some(31),
    }
}

#[test]
fn lanes_of_every_opcode() {
    let mut r = Random(0x0fed_cba9_8765_4321);
    let controls = [0x1b, 0xb1, 0xe4, 0x101, 0x108, 0x111, 0x112, 0x11f, 0x121, 0x12a];
    let waves = [0x130, 0x134, 0x138, 0x13c, 0x140, 0x141, 0x142, 0x143];
    let mut forms = 0;
    for (name, plain) in opcodes() {
        for n in 0..10 {
            let ctrl = if n % 2 == 0 { controls[r.below(10) as usize] } else { waves[r.below(8) as usize] };
            let (rows, banks, bound) = (15 ^ r.below(4), 15 ^ r.below(3), r.below(2));
            let words = [plain | 250, 2 | ctrl << 8 | bound << 19 | banks << 24 | rows << 28];
            let Ok(inst) = decode(&words) else { continue };
            if !matches!(inst.form, Form::Dpp(_)) || inst.dst_is_scalar() || name == "v_swap_b32" {
                continue;
            }
            let start = noise(&mut r);
            let (mut w, mut plain_wave) = (noise(&mut r), noise(&mut r));
            for wave in [&mut w, &mut plain_wave] {
                wave.sgpr = start.sgpr;
                wave.vgpr = start.vgpr.clone();
            }
            if execute(&mut w, &mut Lds::new(0), &AddressSpace::new(), &words).is_err() {
                continue;
            }
            // Lanes that write, and what they read.
            let exec = start.exec();
            let mut writes = 0u64;
            for lane in 0..64u32 {
                let from = source(ctrl, lane).filter(|from| exec >> from & 1 != 0);
                plain_wave.vgpr[2][lane as usize] = from.map_or(0, |from| start.vgpr[2][from as usize]);
                let enabled = rows >> (lane / 16) & 1 != 0 && banks >> (lane / 4 % 4) & 1 != 0;
                if exec >> lane & 1 != 0 && enabled && (from.is_some() || bound != 0) {
                    writes |= 1 << lane;
                }
            }
            plain_wave.set_exec(writes);
            run(&mut plain_wave, &[plain | 258]);
            forms += 1;
            for lane in (0..64).filter(|_| inst.info.dst != Ty::No) {
                let (got, want) = (w.vgpr[8][lane], plain_wave.vgpr[8][lane]);
                assert!(same(name, got, want), "{inst} lane {lane}: {got:#x}, not {want:#x}");
            }
            assert_eq!(w.pair(reg::VCC), plain_wave.pair(reg::VCC), "{inst}");
        }
    }
    assert!(forms > 800, "only {forms} forms");
}
