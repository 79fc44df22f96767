//! VOP1: moves, conversions, one-source float functions, bit counts.

use super::lanes::{active, f16s, f32s, f64s, put, put_f16, put_f32, put_f64, put16, raw, store};
use super::transcendental::{cos, exp2, log2, masked, rcp, rsq, sin};
use super::wave::Wave;
use super::{Done, Stop, float, half};
use crate::isa::decode::vop1::Vop1;
use crate::isa::inst::{Inst, reg};

#[inline]
fn int(w: &mut Wave, i: &Inst, f: impl Fn(u32) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let a = raw(w, i, 0);
    put(w, i, &a.map(f))
}

#[inline]
fn single(w: &mut Wave, i: &Inst, f: impl Fn(f32) -> f32) -> Done {
    let a = f32s(w, i, 0);
    put_f32(w, i, masked(w.exec(), &a, f))
}

#[inline]
fn double(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> f64) -> Done {
    let a = f64s(w, i, 0);
    put_f64(w, i, masked(w.exec(), &a, f))
}

#[inline]
fn half1(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> f64) -> Done {
    let a = f16s(w, i, 0);
    put_f16(w, i, masked(w.exec(), &a, |value| half::from_f64(f(value))))
}

/// Integer from a single-precision source.
#[inline]
fn from_single(w: &mut Wave, i: &Inst, f: impl Fn(f32) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let a = f32s(w, i, 0);
    put(w, i, &masked(w.exec(), &a, f))
}

/// Integer from a double-precision source.
#[inline]
fn from_double(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let a = f64s(w, i, 0);
    put(w, i, &masked(w.exec(), &a, f))
}

/// 16-bit result from a half-precision source.
#[inline]
fn from_half(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> u32) -> Done {
    super::lanes::no_clamp(i)?;
    let a = f16s(w, i, 0);
    put16(w, i, &masked(w.exec(), &a, f))
}

/// Single precision from an integer source.
#[inline]
fn to_single(w: &mut Wave, i: &Inst, f: impl Fn(u32) -> f32) -> Done {
    let a = raw(w, i, 0);
    put_f32(w, i, a.map(f))
}

/// Round to nearest even, of a half-way-aware source.
fn rndne(value: f64) -> f64 {
    value.round_ties_even()
}

/// First active lane, or lane 0 when there is none.
fn first_lane(w: &Wave) -> usize {
    if w.exec() == 0 { 0 } else { w.exec().trailing_zeros() as usize }
}

/// Executes a VOP1 opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Vop1) -> Done {
    use Vop1::*;
    match op {
        Nop => Ok(()),
        Clrexcp => {
            w.trap_status &= !0x1ff;
            Ok(())
        }
        MovB32 => {
            super::lanes::no_clamp(i)?;
            let a = raw(w, i, 0);
            put(w, i, &a)
        }
        ReadfirstlaneB32 => {
            let a = raw(w, i, 0);
            w.sgpr[usize::from(i.dst & 127)] = a[first_lane(w)];
            Ok(())
        }
        SwapB32 => {
            let (a, b) = (raw(w, i, 0), w.vgpr[usize::from(i.dst - reg::VGPR)]);
            let mask = active(w, i);
            store(w, i.dst, &a, mask);
            store(w, i.src[0], &b, mask);
            Ok(())
        }
        CvtF32I32 => to_single(w, i, |a| a as i32 as f32),
        CvtF32U32 => to_single(w, i, |a| a as f32),
        CvtF32Ubyte0 | CvtF32Ubyte1 | CvtF32Ubyte2 | CvtF32Ubyte3 => {
            let shift = 8 * (op as u32 - CvtF32Ubyte0 as u32);
            to_single(w, i, |a| (a >> shift & 255) as f32)
        }
        CvtOffF32I4 => to_single(w, i, |a| ((a << 28) as i32 >> 28) as f32 / 16.0),
        CvtF64I32 => {
            let a = raw(w, i, 0);
            put_f64(w, i, a.map(|a| f64::from(a as i32)))
        }
        CvtF64U32 => {
            let a = raw(w, i, 0);
            put_f64(w, i, a.map(f64::from))
        }
        CvtU32F32 => from_single(w, i, |a| float::to_u32(f64::from(a))),
        CvtI32F32 => from_single(w, i, |a| float::to_i32(f64::from(a))),
        CvtRpiI32F32 => from_single(w, i, |a| float::to_i32((f64::from(a) + 0.5).floor())),
        CvtFlrI32F32 => from_single(w, i, |a| float::to_i32(f64::from(a).floor())),
        CvtI32F64 => from_double(w, i, float::to_i32),
        CvtU32F64 => from_double(w, i, float::to_u32),
        CvtF32F64 => {
            let a = f64s(w, i, 0);
            put_f32(w, i, a.map(|a| a as f32))
        }
        CvtF64F32 => {
            let a = f32s(w, i, 0);
            put_f64(w, i, a.map(f64::from))
        }
        CvtF16F32 => {
            let a = f32s(w, i, 0);
            put_f16(w, i, a.map(|a| half::from_f64(f64::from(a))))
        }
        CvtF32F16 => {
            let a = f16s(w, i, 0);
            put_f32(w, i, a.map(|a| a as f32))
        }
        TruncF64 => double(w, i, f64::trunc),
        CeilF64 => double(w, i, f64::ceil),
        RndneF64 => double(w, i, rndne),
        FloorF64 => double(w, i, f64::floor),
        FractF64 => double(w, i, float::fract64),
        RcpF64 => double(w, i, rcp),
        RsqF64 => double(w, i, rsq),
        SqrtF64 => double(w, i, f64::sqrt),
        FrexpMantF64 => double(w, i, float::frexp_fraction),
        FrexpExpI32F64 => from_double(w, i, |a| float::frexp_exponent(a) as u32),
        FractF32 => single(w, i, float::fract32),
        TruncF32 => single(w, i, f32::trunc),
        CeilF32 => single(w, i, f32::ceil),
        RndneF32 => single(w, i, f32::round_ties_even),
        FloorF32 => single(w, i, f32::floor),
        ExpF32 | ExpLegacyF32 => single(w, i, exp2),
        LogF32 | LogLegacyF32 => single(w, i, log2),
        RcpF32 | RcpIflagF32 => single(w, i, |a| 1.0 / a),
        RsqF32 => single(w, i, |a| rsq(f64::from(a)) as f32),
        SqrtF32 => single(w, i, f32::sqrt),
        SinF32 => single(w, i, |a| sin(f64::from(super::lanes::flush(a))) as f32),
        CosF32 => single(w, i, |a| cos(f64::from(super::lanes::flush(a))) as f32),
        FrexpMantF32 => single(w, i, |a| float::frexp_fraction(f64::from(a)) as f32),
        FrexpExpI32F32 => from_single(w, i, |a| float::frexp_exponent(f64::from(a)) as u32),
        NotB32 => int(w, i, |a| !a),
        BfrevB32 => int(w, i, u32::reverse_bits),
        FfbhU32 => int(w, i, |a| if a == 0 { u32::MAX } else { a.leading_zeros() }),
        FfblB32 => int(w, i, |a| if a == 0 { u32::MAX } else { a.trailing_zeros() }),
        FfbhI32 => int(w, i, |a| {
            let differing = (a ^ (a as i32 >> 31) as u32).leading_zeros();
            if differing == 32 { u32::MAX } else { differing }
        }),
        CvtF16U16 => {
            let a = raw(w, i, 0);
            put_f16(w, i, a.map(|a| half::from_f64(f64::from(a as u16))))
        }
        CvtF16I16 => {
            let a = raw(w, i, 0);
            put_f16(w, i, a.map(|a| half::from_f64(f64::from(a as i16))))
        }
        CvtU16F16 => from_half(w, i, |a| u32::from(a as u16)),
        CvtI16F16 => from_half(w, i, |a| u32::from(a as i16 as u16)),
        CvtNormI16F16 => from_half(w, i, |a| u32::from(norm_i16(a))),
        CvtNormU16F16 => from_half(w, i, |a| u32::from(norm_u16(a))),
        RcpF16 => half1(w, i, rcp),
        SqrtF16 => half1(w, i, f64::sqrt),
        RsqF16 => half1(w, i, rsq),
        LogF16 => half1(w, i, f64::log2),
        ExpF16 => half1(w, i, f64::exp2),
        FrexpMantF16 => half1(w, i, float::frexp_fraction),
        FrexpExpI16F16 => from_half(w, i, |a| float::frexp_exponent(a) as u32),
        FloorF16 => half1(w, i, f64::floor),
        CeilF16 => half1(w, i, f64::ceil),
        TruncF16 => half1(w, i, f64::trunc),
        RndneF16 => half1(w, i, rndne),
        FractF16 => half1(w, i, |a| {
            let fraction = a - a.floor();
            // Below 1 in half precision.
            if fraction > 0.9995 { 0.99951171875 } else { fraction }
        }),
        SinF16 => half1(w, i, sin),
        CosF16 => half1(w, i, cos),
        SatPkU8I16 => int(w, i, |a| {
            let byte = |half: u32| (half as u16 as i16).clamp(0, 255) as u32;
            byte(a) | byte(a >> 16) << 8
        }),
        ScreenPartition4seB32 => Err(Stop::Unsupported("graphics instruction")),
    }
}

/// Signed normalised 16 bits: [-1, 1] to [-32767, 32767], rounded to nearest even.
pub fn norm_i16(value: f64) -> u16 {
    let value = if value.is_nan() { 0.0 } else { value.clamp(-1.0, 1.0) };
    (value * 32767.0).round_ties_even() as i16 as u16
}

/// Unsigned normalised 16 bits: [0, 1] to [0, 65535].
pub fn norm_u16(value: f64) -> u16 {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    (value * 65535.0).round_ties_even() as u16
}
