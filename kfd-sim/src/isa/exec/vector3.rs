//! VOP3-only opcodes: three sources, 64-bit arithmetic, lane access, packing.

use super::lanes::{
    bits, f16_bits, f16s, f32s, f64s, flush, put, put_f16, put_f32, put_f64, put_mask, put16, put64, raw,
    raw64, store,
};
use super::minmax::{self, Float};
use super::vector1::{norm_i16, norm_u16};
use super::wave::Wave;
use super::{Done, Stop, divide, float, half, media, saturate};
use crate::isa::decode::vop3::Vop3;
use crate::isa::inst::{Inst, Ty, reg};

#[inline]
fn int3(w: &mut Wave, i: &Inst, f: impl Fn(u32, u32, u32) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let (a, b, c) = (raw(w, i, 0), raw(w, i, 1), raw(w, i, 2));
    let mut out = [0; 64];
    for lane in 0..64 {
        out[lane] = f(a[lane], b[lane], c[lane]);
    }
    put(w, i, &out)
}

#[inline]
fn int2(w: &mut Wave, i: &Inst, f: impl Fn(u32, u32) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let (a, b) = (raw(w, i, 0), raw(w, i, 1));
    let mut out = [0; 64];
    for lane in 0..64 {
        out[lane] = f(a[lane], b[lane]);
    }
    put(w, i, &out)
}

#[inline]
fn short(w: &mut Wave, i: &Inst, f: impl Fn(u16, u16, u16) -> u16) -> Done {
    super::lanes::no_clamp(i)?;
    let third = if i.info.src.len() == 3 { raw(w, i, 2) } else { [0; 64] };
    let (a, b, c) = (raw(w, i, 0), raw(w, i, 1), third);
    put16(w, i, &std::array::from_fn(|n| u32::from(f(a[n] as u16, b[n] as u16, c[n] as u16))))
}

#[inline]
fn single(w: &mut Wave, i: &Inst, f: impl Fn(f32, f32, f32) -> f32) -> Done {
    let (a, b, c) = (f32s(w, i, 0), f32s(w, i, 1), f32s(w, i, 2));
    put_f32(w, i, std::array::from_fn(|n| f(a[n], b[n], c[n])))
}

#[inline]
fn double2(w: &mut Wave, i: &Inst, f: impl Fn(f64, f64) -> f64) -> Done {
    let (a, b) = (f64s(w, i, 0), f64s(w, i, 1));
    put_f64(w, i, std::array::from_fn(|n| f(a[n], b[n])))
}

#[inline]
fn half3(w: &mut Wave, i: &Inst, f: impl Fn(f64, f64, f64) -> u16) -> Done {
    let (a, b, c) = (f16s(w, i, 0), f16s(w, i, 1), f16s(w, i, 2));
    put_f16(w, i, std::array::from_fn(|n| f(a[n], b[n], c[n])))
}

fn med<T: Ord + Copy>(a: T, b: T, c: T) -> T {
    a.max(b).min(a.min(b).max(c))
}

fn sext24(value: u32) -> i32 {
    (value << 8) as i32 >> 8
}

fn bytes(value: u32) -> [u32; 4] {
    value.to_le_bytes().map(u32::from)
}

fn sad_u8(a: u32, b: u32) -> u32 {
    (0..4).map(|n| bytes(a)[n].abs_diff(bytes(b)[n])).sum()
}

fn extract_signed(value: u32, offset: u32, width: u32) -> u32 {
    let (offset, width) = (offset & 31, width & 31);
    if width == 0 {
        return 0;
    }
    let shifted = value as i32 >> offset;
    if offset + width >= 32 { shifted as u32 } else { (shifted << (32 - width) >> (32 - width)) as u32 }
}

/// `v_perm_b32`: bytes of `{high, low}` chosen by the bytes of `selector`.
fn permute(high: u32, low: u32, selector: u32) -> u32 {
    let data = u64::from(high) << 32 | u64::from(low);
    let sign = |bit: u32| if data >> bit & 1 != 0 { 255 } else { 0 };
    let pick = |sel: u32| match sel {
        0..=7 => (data >> (8 * sel)) as u32 & 255,
        8 => sign(15),
        9 => sign(31),
        10 => sign(47),
        11 => sign(63),
        12 => 0,
        _ => 255,
    };
    (0..4).fold(0, |out, n| out | pick(bytes(selector)[n]) << (8 * n))
}

/// Lane number of `v_readlane` and `v_writelane`.
fn lane_select(w: &Wave, i: &Inst) -> Result<usize, Stop> {
    if i.src[1] >= reg::VGPR {
        return Err(Stop::Unsupported("lane number in a VGPR"));
    }
    Ok(w.scalar(i.src[1], Ty::I32, 0) as usize & 63)
}

/// Executes a VOP3 opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Vop3) -> Done {
    use Vop3::*;
    if i.mods.clamp
        && let Some(done) = saturate::execute(w, i)
    {
        return done;
    }
    match op {
        FmaF32 => {
            let (a, b, c) = (f32s(w, i, 0), f32s(w, i, 1), f32s(w, i, 2));
            put_f32(w, i, float::fma32(&a, &b, &c))
        }
        FmaF64 => {
            let (a, b, c) = (f64s(w, i, 0), f64s(w, i, 1), f64s(w, i, 2));
            put_f64(w, i, float::fma64(&a, &b, &c))
        }
        // Not fused, and denormals are flushed whatever MODE says.
        MadF32 => single(w, i, |a, b, c| flush(flush(flush(a) * flush(b)) + flush(c))),
        MadLegacyF32 => single(w, i, |a, b, c| {
            let (a, b) = (flush(a), flush(b));
            let product = if a == 0.0 || b == 0.0 { 0.0 } else { flush(a * b) };
            flush(product + flush(c))
        }),
        MadI32I24 => int3(w, i, |a, b, c| (sext24(a).wrapping_mul(sext24(b)) as u32).wrapping_add(c)),
        MadU32U24 => int3(w, i, |a, b, c| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c)),
        BfeU32 => int3(w, i, |a, b, c| a >> (b & 31) & ((1 << (c & 31)) - 1)),
        BfeI32 => int3(w, i, extract_signed),
        BfiB32 => int3(w, i, |a, b, c| a & b | !a & c),
        LerpU8 => int3(w, i, |a, b, c| {
            (0..4).fold(0, |out, n| out | (bytes(a)[n] + bytes(b)[n] + (bytes(c)[n] & 1)) >> 1 << (8 * n))
        }),
        AlignbitB32 => int3(w, i, |a, b, c| ((u64::from(a) << 32 | u64::from(b)) >> (c & 31)) as u32),
        AlignbyteB32 => int3(w, i, |a, b, c| ((u64::from(a) << 32 | u64::from(b)) >> (8 * (c & 3))) as u32),
        Min3F32 => single(w, i, |a, b, c| minmax::min(minmax::min(a, b), c)),
        Max3F32 => single(w, i, |a, b, c| minmax::max(minmax::max(a, b), c)),
        Med3F32 => single(w, i, minmax::med3),
        Min3I32 => int3(w, i, |a, b, c| (a as i32).min(b as i32).min(c as i32) as u32),
        Max3I32 => int3(w, i, |a, b, c| (a as i32).max(b as i32).max(c as i32) as u32),
        Med3I32 => int3(w, i, |a, b, c| med(a as i32, b as i32, c as i32) as u32),
        Min3U32 => int3(w, i, |a, b, c| a.min(b).min(c)),
        Max3U32 => int3(w, i, |a, b, c| a.max(b).max(c)),
        Med3U32 => int3(w, i, med),
        SadU8 => int3(w, i, |a, b, c| sad_u8(a, b).wrapping_add(c)),
        SadHiU8 => int3(w, i, |a, b, c| (sad_u8(a, b) << 16).wrapping_add(c)),
        SadU16 => int3(w, i, |a, b, c| {
            (a & 0xffff).abs_diff(b & 0xffff).wrapping_add((a >> 16).abs_diff(b >> 16)).wrapping_add(c)
        }),
        SadU32 => int3(w, i, |a, b, c| a.abs_diff(b).wrapping_add(c)),
        MsadU8 => int3(w, i, |a, b, c| {
            let masked = (0..4).filter(|n| bytes(b)[*n] != 0);
            masked.map(|n| bytes(a)[n].abs_diff(bytes(b)[n])).sum::<u32>().wrapping_add(c)
        }),
        PermB32 => int3(w, i, permute),
        XadU32 => int3(w, i, |a, b, c| (a ^ b).wrapping_add(c)),
        LshlAddU32 => int3(w, i, |a, b, c| (a << (b & 31)).wrapping_add(c)),
        AddLshlU32 => int3(w, i, |a, b, c| a.wrapping_add(b) << (c & 31)),
        Add3U32 => int3(w, i, |a, b, c| a.wrapping_add(b).wrapping_add(c)),
        LshlOrB32 => int3(w, i, |a, b, c| a << (b & 31) | c),
        AndOrB32 => int3(w, i, |a, b, c| a & b | c),
        Or3B32 => int3(w, i, |a, b, c| a | b | c),
        MadU32U16 => int3(w, i, |a, b, c| ((a & 0xffff) * (b & 0xffff)).wrapping_add(c)),
        MadI32I16 => {
            int3(w, i, |a, b, c| (i32::from(a as i16) * i32::from(b as i16)).wrapping_add(c as i32) as u32)
        }
        DivScaleF32 | DivScaleF64 | DivFmasF32 | DivFmasF64 | DivFixupF32 | DivFixupF64 => division(w, i, op),
        DivFixupF16 | DivFixupLegacyF16 => half3(w, i, |q, d, n| {
            // The special cases do not depend on the width; tiny quotients have been rounded already.
            if n.is_nan() || d.is_nan() || n == 0.0 || d == 0.0 || n.is_infinite() || d.is_infinite() {
                half::from_f64(divide::fixup64(q, d, n))
            } else {
                half::from_f64(q.abs().copysign(n * d.signum()))
            }
        }),
        MadU64U32 => {
            let (a, b, c) = (raw(w, i, 0), raw(w, i, 1), raw64(w, i, 2));
            let sums: [(u64, bool); 64] =
                std::array::from_fn(|n| (u64::from(a[n]) * u64::from(b[n])).overflowing_add(c[n]));
            put64(w, i, &sums.map(|(sum, _)| sum))?;
            put_mask(w, i, bits(|n| sums[n].1));
            Ok(())
        }
        MadI64I32 => {
            let (a, b, c) = (raw(w, i, 0), raw(w, i, 1), raw64(w, i, 2));
            let sums: [i128; 64] = std::array::from_fn(|n| {
                i128::from(a[n] as i32) * i128::from(b[n] as i32) + i128::from(c[n] as i64)
            });
            put64(w, i, &sums.map(|sum| sum as u64))?;
            put_mask(w, i, bits(|n| sums[n] >> 64 & 1 != 0));
            Ok(())
        }
        AddF64 => double2(w, i, |a, b| a + b),
        MulF64 => double2(w, i, |a, b| a * b),
        MinF64 => double2(w, i, minmax::min),
        MaxF64 => double2(w, i, minmax::max),
        LdexpF64 => {
            let (a, b) = (f64s(w, i, 0), raw(w, i, 1));
            put_f64(w, i, std::array::from_fn(|n| float::ldexp64(a[n], b[n] as i32)))
        }
        LdexpF32 => {
            let (a, b) = (f32s(w, i, 0), raw(w, i, 1));
            put_f32(w, i, std::array::from_fn(|n| float::ldexp32(a[n], b[n] as i32)))
        }
        MulLoU32 => int2(w, i, u32::wrapping_mul),
        MulHiU32 => int2(w, i, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        MulHiI32 => int2(w, i, |a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32),
        BcntU32B32 => int2(w, i, |a, b| a.count_ones().wrapping_add(b)),
        BfmB32 => int2(w, i, |a, b| ((1 << (a & 31)) - 1) << (b & 31)),
        MbcntLoU32B32 | MbcntHiU32B32 => {
            let (a, b) = (raw(w, i, 0), raw(w, i, 1));
            let out = std::array::from_fn(|n| {
                let below = (1u64 << n) - 1;
                let below = if op == MbcntLoU32B32 { below as u32 } else { (below >> 32) as u32 };
                (a[n] & below).count_ones().wrapping_add(b[n])
            });
            put(w, i, &out)
        }
        LshlrevB64 | LshrrevB64 | AshrrevI64 => {
            let (a, b) = (raw(w, i, 0), raw64(w, i, 1));
            let out = std::array::from_fn(|n| match op {
                LshlrevB64 => b[n] << (a[n] & 63),
                LshrrevB64 => b[n] >> (a[n] & 63),
                _ => (b[n] as i64 >> (a[n] & 63)) as u64,
            });
            put64(w, i, &out)
        }
        ReadlaneB32 => {
            let lane = lane_select(w, i)?;
            w.sgpr[usize::from(i.dst & 127)] = raw(w, i, 0)[lane];
            Ok(())
        }
        WritelaneB32 => {
            if i.src[0] >= reg::VGPR {
                return Err(Stop::Unsupported("v_writelane_b32 of a VGPR"));
            }
            let lane = lane_select(w, i)?;
            let value = [w.scalar(i.src[0], Ty::I32, 0) as u32; 64];
            // Whatever EXEC says.
            store(w, i.dst, &value, 1 << lane);
            Ok(())
        }
        CvtPkrtzF16F32 => {
            let (a, b) = (f32s(w, i, 0), f32s(w, i, 1));
            let rtz = |value: f32| u32::from(half::from_f64_towards_zero(f64::from(value)));
            put(w, i, &std::array::from_fn(|n| rtz(a[n]) | rtz(b[n]) << 16))
        }
        CvtPknormI16F32 | CvtPknormU16F32 => {
            let (a, b) = (f32s(w, i, 0), f32s(w, i, 1));
            let norm = if op == CvtPknormI16F32 { norm_i16 } else { norm_u16 };
            let norm = |value: f32| u32::from(norm(f64::from(value)));
            put(w, i, &std::array::from_fn(|n| norm(a[n]) | norm(b[n]) << 16))
        }
        CvtPknormI16F16 | CvtPknormU16F16 => {
            let (a, b) = (f16s(w, i, 0), f16s(w, i, 1));
            let norm = if op == CvtPknormI16F16 { norm_i16 } else { norm_u16 };
            put(w, i, &std::array::from_fn(|n| u32::from(norm(a[n])) | u32::from(norm(b[n])) << 16))
        }
        CvtPkU16U32 => int2(w, i, |a, b| a.min(0xffff) | b.min(0xffff) << 16),
        CvtPkI16I32 => int2(w, i, |a, b| {
            let clamp = |value: u32| (value as i32).clamp(-32768, 32767) as u32 & 0xffff;
            clamp(a) | clamp(b) << 16
        }),
        AddI32 => int2(w, i, u32::wrapping_add),
        SubI32 => int2(w, i, u32::wrapping_sub),
        AddI16 => short(w, i, |a, b, _| a.wrapping_add(b)),
        SubI16 => short(w, i, |a, b, _| a.wrapping_sub(b)),
        PackB32F16 => {
            let (a, b) = (f16_bits(w, i, 0), f16_bits(w, i, 1));
            put(w, i, &std::array::from_fn(|n| u32::from(a[n]) | u32::from(b[n]) << 16))
        }
        MadU16 | MadLegacyU16 | MadI16 | MadLegacyI16 => {
            short(w, i, |a, b, c| a.wrapping_mul(b).wrapping_add(c))
        }
        Min3I16 => short(w, i, |a, b, c| (a as i16).min(b as i16).min(c as i16) as u16),
        Max3I16 => short(w, i, |a, b, c| (a as i16).max(b as i16).max(c as i16) as u16),
        Med3I16 => short(w, i, |a, b, c| med(a as i16, b as i16, c as i16) as u16),
        Min3U16 => short(w, i, |a, b, c| a.min(b).min(c)),
        Max3U16 => short(w, i, |a, b, c| a.max(b).max(c)),
        Med3U16 => short(w, i, med),
        Min3F16 => half3(w, i, |a, b, c| half::from_f64(minmax::min(minmax::min(a, b), c))),
        Max3F16 => half3(w, i, |a, b, c| half::from_f64(minmax::max(minmax::max(a, b), c))),
        Med3F16 => half3(w, i, |a, b, c| half::from_f64(minmax::med3(a, b, c))),
        MadF16 | MadLegacyF16 => {
            half3(w, i, |a, b, c| half::from_f64(half::to_f64(half::from_f64(a * b)) + c))
        }
        FmaF16 | FmaLegacyF16 => half3(w, i, half::fma),
        CubeidF32 | CubescF32 | CubetcF32 | CubemaF32 | CvtPkU8F32 | CvtPkaccumU8F32 | QsadPkU16U8
        | MqsadPkU16U8 | MqsadU32U8 | TrigPreopF64 => media::execute(w, i, op),
    }
}

fn division(w: &mut Wave, i: &Inst, op: Vop3) -> Done {
    use Vop3::*;
    let vcc = w.pair(reg::VCC);
    let scaled = |n: usize| vcc >> n & 1 != 0;
    if matches!(op, DivScaleF64 | DivFmasF64 | DivFixupF64) {
        let (a, b, c) = (f64s(w, i, 0), f64s(w, i, 1), f64s(w, i, 2));
        return match op {
            DivScaleF64 => {
                let out: [(f64, bool); 64] = std::array::from_fn(|n| divide::scale64(a[n], b[n], c[n]));
                put64(w, i, &out.map(|(value, _)| value.to_bits()))?;
                put_mask(w, i, bits(|n| out[n].1));
                Ok(())
            }
            DivFmasF64 => put_f64(w, i, std::array::from_fn(|n| divide::fmas64(a[n], b[n], c[n], scaled(n)))),
            _ => put_f64(w, i, std::array::from_fn(|n| divide::fixup64(a[n], b[n], c[n]))),
        };
    }
    let (a, b, c) = (f32s(w, i, 0), f32s(w, i, 1), f32s(w, i, 2));
    match op {
        DivScaleF32 => {
            let out: [(f32, bool); 64] = std::array::from_fn(|n| divide::scale32(a[n], b[n], c[n]));
            put(w, i, &out.map(|(value, _)| value.to_bits()))?;
            put_mask(w, i, bits(|n| out[n].1));
            Ok(())
        }
        DivFmasF32 => put_f32(w, i, std::array::from_fn(|n| divide::fmas32(a[n], b[n], c[n], scaled(n)))),
        _ => put_f32(w, i, std::array::from_fn(|n| divide::fixup32(a[n], b[n], c[n]).quiet())),
    }
}
