//! Vector operands: fetching sources with SDWA, DPP and float modifiers, writing results under the lane mask.

use super::half;
use super::wave::Wave;
use super::{Done, Lanes, Stop};
use crate::isa::inst::{Dpp, Form, Inst, Op, Ty, reg};

/// One 64-bit value for each lane.
pub type Wide = [u64; 64];

/// Where lane `lane` reads from under a DPP control, if anywhere.
fn dpp_source(ctrl: u16, lane: usize) -> Option<usize> {
    let (row, at) = (lane & !15, lane & 15);
    let shift = usize::from(ctrl & 15);
    match ctrl {
        0..=0xff => Some((lane & !3) + usize::from(ctrl >> (2 * (lane & 3)) & 3)),
        0x101..=0x10f => (at + shift < 16).then_some(lane + shift),
        0x111..=0x11f => (at >= shift).then(|| lane - shift),
        0x121..=0x12f => Some(row + ((at + 16 - shift) & 15)),
        0x130 => (lane < 63).then_some(lane + 1),
        0x134 => Some((lane + 1) & 63),
        0x138 => (lane > 0).then(|| lane - 1),
        0x13c => Some((lane + 63) & 63),
        0x140 => Some(row + 15 - at),
        0x141 => Some((lane & !7) + 7 - (lane & 7)),
        0x142 => (lane >= 16).then(|| row - 1),
        _ => (lane >= 32).then_some(31),
    }
}

/// Lanes that a DPP instruction writes: enabled rows and banks, with a source unless `bound_ctrl` supplies zero.
fn dpp_mask(dpp: &Dpp, exec: u64) -> u64 {
    (0..64).fold(0, |mask, lane| {
        let enabled = dpp.row_mask >> (lane / 16) & 1 != 0 && dpp.bank_mask >> (lane / 4 % 4) & 1 != 0;
        let sourced = dpp_source(dpp.ctrl, lane).is_some_and(|from| exec >> from & 1 != 0);
        mask | u64::from(enabled && (sourced || dpp.bound_ctrl)) << lane
    })
}

/// Lanes that an instruction writes.
#[inline]
pub fn active(w: &Wave, i: &Inst) -> u64 {
    match &i.form {
        Form::Dpp(dpp) => w.exec() & dpp_mask(dpp, w.exec()),
        _ => w.exec(),
    }
}

fn select(value: u32, sel: u8, sext: bool) -> u32 {
    match sel {
        0..=3 => {
            let byte = (value >> (8 * sel)) as u8;
            if sext { byte as i8 as u32 } else { u32::from(byte) }
        }
        4 | 5 => {
            let word = (value >> (16 * (sel - 4))) as u16;
            if sext { word as i16 as u32 } else { u32::from(word) }
        }
        _ => value,
    }
}

/// 32 bits of source `n`: SDWA and DPP applied, float modifiers not. 16-bit sources are in the low half.
#[inline]
pub fn raw(w: &Wave, i: &Inst, n: usize) -> Lanes {
    let code = i.src[n];
    let ty = i.info.src.get(n).copied().unwrap_or(Ty::I32);
    let mut lanes = if code >= reg::VGPR {
        w.vgpr[usize::from(code - reg::VGPR)]
    } else {
        [w.scalar(code, ty, i.literal) as u32; 64]
    };
    match &i.form {
        Form::E32 => {}
        Form::E64 if i.mods.op_sel >> n & 1 != 0 && matches!(ty, Ty::I16 | Ty::F16) => {
            lanes.iter_mut().for_each(|value| *value >>= 16);
        }
        Form::Sdwa(sdwa) if n < 2 => {
            let (sel, sext) = (sdwa.src_sel[n], sdwa.sext[n]);
            lanes.iter_mut().for_each(|value| *value = select(*value, sel, sext));
        }
        Form::Dpp(dpp) if n == 0 => {
            let exec = w.exec();
            let from = lanes;
            for (lane, value) in lanes.iter_mut().enumerate() {
                let source = dpp_source(dpp.ctrl, lane).filter(|from| exec >> from & 1 != 0);
                *value = source.map_or(0, |lane| from[lane]);
            }
        }
        _ => {}
    }
    lanes
}

/// 64 bits of source `n`.
#[inline]
pub fn raw64(w: &Wave, i: &Inst, n: usize) -> Wide {
    let code = i.src[n];
    if code >= reg::VGPR {
        let at = usize::from(code - reg::VGPR);
        let (low, high) = (&w.vgpr[at], &w.vgpr[at + 1]);
        std::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32)
    } else {
        [w.scalar(code, i.info.src[n], i.literal); 64]
    }
}

/// Denormal field of MODE for f32: bit 0 keeps denormal sources, bit 1 keeps denormal results.
fn denormals_f32(w: &Wave) -> u32 {
    w.mode >> 4 & 3
}

fn denormals_f16_f64(w: &Wave) -> u32 {
    w.mode >> 6 & 3
}

/// Flushes a denormal to zero of its sign.
#[inline]
pub fn flush(value: f32) -> f32 {
    if value.to_bits() & 0x7f80_0000 == 0 { f32::from_bits(value.to_bits() & 0x8000_0000) } else { value }
}

#[inline]
fn flush64(value: f64) -> f64 {
    if value.to_bits() & 0x7ff0_0000_0000_0000 == 0 {
        f64::from_bits(value.to_bits() & 1 << 63)
    } else {
        value
    }
}

/// Single-precision source `n` with its modifiers, denormals as MODE says.
#[inline]
pub fn f32s(w: &Wave, i: &Inst, n: usize) -> [f32; 64] {
    let mut lanes = raw(w, i, n);
    if i.mods.abs >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value &= 0x7fff_ffff);
    }
    if i.mods.neg >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value ^= 0x8000_0000);
    }
    let mut lanes = lanes.map(f32::from_bits);
    if denormals_f32(w) & 1 == 0 {
        lanes.iter_mut().for_each(|value| *value = flush(*value));
    }
    lanes
}

/// Double-precision source `n` with its modifiers.
#[inline]
pub fn f64s(w: &Wave, i: &Inst, n: usize) -> [f64; 64] {
    let mut lanes = raw64(w, i, n);
    if i.mods.abs >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value &= !(1 << 63));
    }
    if i.mods.neg >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value ^= 1 << 63);
    }
    let mut lanes = lanes.map(f64::from_bits);
    if denormals_f16_f64(w) & 1 == 0 {
        lanes.iter_mut().for_each(|value| *value = flush64(*value));
    }
    lanes
}

/// Half-precision bits of source `n` with its modifiers.
#[inline]
pub fn f16_bits(w: &Wave, i: &Inst, n: usize) -> [u16; 64] {
    let mut lanes = raw(w, i, n).map(|value| value as u16);
    if i.mods.abs >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value &= 0x7fff);
    }
    if i.mods.neg >> n & 1 != 0 {
        lanes.iter_mut().for_each(|value| *value ^= 0x8000);
    }
    if denormals_f16_f64(w) & 1 == 0 {
        lanes.iter_mut().filter(|value| **value & 0x7c00 == 0).for_each(|value| *value &= 0x8000);
    }
    lanes
}

/// The destination before the instruction, as a half-precision source.
pub fn old_f16(w: &Wave, i: &Inst) -> [u16; 64] {
    let keep = denormals_f16_f64(w) & 1 != 0;
    w.vgpr[usize::from(i.dst - reg::VGPR)].map(|value| {
        let bits = value as u16;
        if keep || bits & 0x7c00 != 0 { bits } else { bits & 0x8000 }
    })
}

/// Half-precision source `n` with its modifiers, as f64.
#[inline]
pub fn f16s(w: &Wave, i: &Inst, n: usize) -> [f64; 64] {
    f16_bits(w, i, n).map(half::to_f64)
}

/// Writes a VGPR in the lanes of `mask`.
#[inline]
pub fn store(w: &mut Wave, code: u16, out: &Lanes, mask: u64) {
    let dst = &mut w.vgpr[usize::from(code - reg::VGPR)];
    if mask == u64::MAX {
        *dst = *out;
    } else {
        for lane in 0..64 {
            let keep = ((mask >> lane & 1) as u32).wrapping_sub(1);
            dst[lane] = dst[lane] & keep | out[lane] & !keep;
        }
    }
}

/// Writes a 32-bit result, or the part of the register that SDWA selects.
#[inline]
pub fn put(w: &mut Wave, i: &Inst, out: &Lanes) -> Done {
    let mask = active(w, i);
    if let Form::Sdwa(sdwa) = &i.form
        && sdwa.dst_sel != 6
    {
        let old = w.vgpr[usize::from(i.dst - reg::VGPR)];
        let (shift, width) = match sdwa.dst_sel {
            0..=3 => (8 * u32::from(sdwa.dst_sel), 8),
            sel => (16 * u32::from(sel - 4), 16),
        };
        let field = (u32::MAX >> (32 - width)) << shift;
        let merged = std::array::from_fn(|lane| {
            let part = out[lane] << shift & field;
            match sdwa.dst_unused {
                0 => part,
                // The bits above get the sign; the bits below are zero.
                1 => (((part << (32 - width - shift)) as i32 >> (32 - width)) as u32) << shift,
                _ => old[lane] & !field | part,
            }
        });
        store(w, i.dst, &merged, mask);
    } else {
        store(w, i.dst, out, mask);
    }
    Ok(())
}

/// Writes a 64-bit result.
#[inline]
pub fn put64(w: &mut Wave, i: &Inst, out: &Wide) -> Done {
    let mask = active(w, i);
    store(w, i.dst, &out.map(|value| value as u32), mask);
    store(w, i.dst + 1, &out.map(|value| (value >> 32) as u32), mask);
    Ok(())
}

/// Writes a 16-bit result: into one half when the opcode takes `op_sel`, else with a zero upper half.
#[inline]
pub fn put16(w: &mut Wave, i: &Inst, out: &Lanes) -> Done {
    if i.form == Form::E64 && crate::isa::decode::vop3::takes_op_sel(i) {
        let old = w.vgpr[usize::from(i.dst - reg::VGPR)];
        let high = i.mods.op_sel & 8 != 0;
        let merged = std::array::from_fn(|lane| {
            if high {
                old[lane] & 0xffff | out[lane] << 16
            } else {
                old[lane] & 0xffff_0000 | out[lane] & 0xffff
            }
        });
        return put(w, i, &merged);
    }
    put(w, i, &out.map(|value| value & 0xffff))
}

/// Clamps to [0, 1]; NaN becomes 0 when MODE.DX10_CLAMP is set.
fn clamp01(value: f64, dx10: bool) -> f64 {
    if value.is_nan() {
        return if dx10 { 0.0 } else { value };
    }
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// Factor of an output modifier.
fn factor(omod: u8) -> f64 {
    [1.0, 2.0, 4.0, 0.5][usize::from(omod & 3)]
}

/// Writes a single-precision result: denormals as MODE says, output modifier, clamp.
#[inline]
pub fn put_f32(w: &mut Wave, i: &Inst, mut out: [f32; 64]) -> Done {
    if denormals_f32(w) & 2 == 0 {
        // Output modifiers work only when denormal results are flushed.
        if i.mods.omod != 0 {
            let factor = factor(i.mods.omod) as f32;
            out.iter_mut().for_each(|value| *value *= factor);
        }
        out.iter_mut().for_each(|value| *value = flush(*value));
    }
    if i.mods.clamp {
        let dx10 = w.mode >> 8 & 1 != 0;
        out.iter_mut().for_each(|value| *value = clamp01(f64::from(*value), dx10) as f32);
    }
    put(w, i, &out.map(f32::to_bits))
}

/// Writes a double-precision result.
#[inline]
pub fn put_f64(w: &mut Wave, i: &Inst, mut out: [f64; 64]) -> Done {
    if denormals_f16_f64(w) & 2 == 0 {
        if i.mods.omod != 0 {
            let factor = factor(i.mods.omod);
            out.iter_mut().for_each(|value| *value *= factor);
        }
        out.iter_mut().for_each(|value| *value = flush64(*value));
    }
    if i.mods.clamp {
        let dx10 = w.mode >> 8 & 1 != 0;
        out.iter_mut().for_each(|value| *value = clamp01(*value, dx10));
    }
    put64(w, i, &out.map(f64::to_bits))
}

/// Writes half-precision bits.
pub fn put_f16(w: &mut Wave, i: &Inst, mut out: [u16; 64]) -> Done {
    let flushing = denormals_f16_f64(w) & 2 == 0;
    if flushing && i.mods.omod != 0 {
        let factor = factor(i.mods.omod);
        out.iter_mut().for_each(|value| *value = half::from_f64(half::to_f64(*value) * factor));
    }
    if flushing {
        out.iter_mut().filter(|value| **value & 0x7c00 == 0).for_each(|value| *value &= 0x8000);
    }
    if i.mods.clamp {
        let dx10 = w.mode >> 8 & 1 != 0;
        out.iter_mut().for_each(|value| *value = half::from_f64(clamp01(half::to_f64(*value), dx10)));
    }
    put16(w, i, &out.map(u32::from))
}

/// The lane mask that a carry or select instruction reads.
pub fn carry_in(w: &Wave, i: &Inst) -> u64 {
    w.pair(if i.form == Form::E64 { i.src[2] } else { reg::VCC })
}

/// Writes the lane mask of a carry or compare: active lanes as computed, others 0.
pub fn put_mask(w: &mut Wave, i: &Inst, mask: u64) {
    let mask = mask & active(w, i);
    w.set_pair(i.sdst, mask);
}

/// One bit for each lane.
#[inline]
pub fn bits(test: impl Fn(usize) -> bool) -> u64 {
    (0..64).fold(0, |mask, lane| mask | u64::from(test(lane)) << lane)
}

/// Refuses a modifier that the instruction's semantics here do not have.
pub fn no_clamp(i: &Inst) -> Done {
    let integer_clamp = i.mods.clamp && !i.info.dst.is_float() && !matches!(i.op, Op::Vop3p(_));
    if integer_clamp { Err(Stop::Unsupported("integer clamp")) } else { Ok(()) }
}
