//! VOP2: two-source vector arithmetic.

use super::lanes::{self, bits, f16s, f32s, flush, put, put_f16, put_f32, put_mask, put16, raw};
use super::wave::Wave;
use super::{Done, Lanes, float, half, minmax, saturate};
use crate::isa::decode::vop2::Vop2;
use crate::isa::inst::{Inst, reg};

/// Integer result from two integer sources.
#[inline]
fn int(w: &mut Wave, i: &Inst, f: impl Fn(u32, u32) -> u32) -> Done {
    lanes::no_clamp(i)?;
    let (a, b) = (raw(w, i, 0), raw(w, i, 1));
    let mut out: Lanes = [0; 64];
    for lane in 0..64 {
        out[lane] = f(a[lane], b[lane]);
    }
    put(w, i, &out)
}

/// 16-bit integer result.
#[inline]
fn short(w: &mut Wave, i: &Inst, f: impl Fn(u16, u16) -> u16) -> Done {
    lanes::no_clamp(i)?;
    let (a, b) = (raw(w, i, 0), raw(w, i, 1));
    put16(w, i, &std::array::from_fn(|n| u32::from(f(a[n] as u16, b[n] as u16))))
}

/// Single-precision result from two single-precision sources.
#[inline]
fn single(w: &mut Wave, i: &Inst, f: impl Fn(f32, f32) -> f32) -> Done {
    let (a, b) = (f32s(w, i, 0), f32s(w, i, 1));
    let mut out = [0.0; 64];
    for lane in 0..64 {
        out[lane] = f(a[lane], b[lane]);
    }
    put_f32(w, i, out)
}

/// Half-precision result, computed in f64 (exact for sums and products) and rounded once.
#[inline]
fn half2(w: &mut Wave, i: &Inst, f: impl Fn(f64, f64) -> f64) -> Done {
    let (a, b) = (f16s(w, i, 0), f16s(w, i, 1));
    put_f16(w, i, std::array::from_fn(|n| half::from_f64(f(a[n], b[n]))))
}

/// Addition or subtraction with carry out (and in).
#[inline]
fn carry(w: &mut Wave, i: &Inst, with_in: bool, f: impl Fn(u32, u32, u32) -> (u32, bool)) -> Done {
    let (a, b) = (raw(w, i, 0), raw(w, i, 1));
    let mask = if with_in { lanes::carry_in(w, i) } else { 0 };
    let mut out: Lanes = [0; 64];
    let mut carries = [false; 64];
    for lane in 0..64 {
        (out[lane], carries[lane]) = f(a[lane], b[lane], (mask >> lane & 1) as u32);
    }
    put(w, i, &out)?;
    put_mask(w, i, bits(|lane| carries[lane]));
    Ok(())
}

fn add_carry(a: u32, b: u32, c: u32) -> (u32, bool) {
    let sum = u64::from(a) + u64::from(b) + u64::from(c);
    (sum as u32, sum >> 32 != 0)
}

fn sub_borrow(a: u32, b: u32, c: u32) -> (u32, bool) {
    (a.wrapping_sub(b).wrapping_sub(c), u64::from(b) + u64::from(c) > u64::from(a))
}

fn sext24(value: u32) -> i32 {
    (value << 8) as i32 >> 8
}

/// The multiply-add instructions whose addend is the destination, or whose constant is a literal.
fn accumulate(w: &mut Wave, i: &Inst, op: Vop2) -> Done {
    use Vop2::*;
    let literal = f32::from_bits(i.literal);
    if matches!(op, MacF16 | MadmkF16 | MadakF16) {
        let (a, b) = (f16s(w, i, 0), f16s(w, i, 1));
        let constant = half::to_f64(i.literal as u16);
        let old = lanes::old_f16(w, i);
        // Not fused: the product is rounded to half precision first.
        let mad = |a: f64, b: f64, c: f64| half::from_f64(half::to_f64(half::from_f64(a * b)) + c);
        let out = std::array::from_fn(|n| match op {
            MacF16 => mad(a[n], b[n], half::to_f64(old[n])),
            MadmkF16 => mad(a[n], constant, b[n]),
            _ => mad(a[n], b[n], constant),
        });
        return put_f16(w, i, out);
    }
    let (mut a, mut b) = (f32s(w, i, 0), f32s(w, i, 1));
    let mut c = match op {
        MadmkF32 => std::mem::replace(&mut b, [literal; 64]),
        MadakF32 => [literal; 64],
        _ => w.vgpr[usize::from(i.dst - reg::VGPR)].map(f32::from_bits),
    };
    if op == FmacF32 {
        if w.mode >> 4 & 1 == 0 {
            c = c.map(flush);
        }
        return put_f32(w, i, float::fma32(&a, &b, &c));
    }
    // v_mad and v_mac flush denormals whatever MODE says, and round the product.
    for lanes in [&mut a, &mut b, &mut c] {
        lanes.iter_mut().for_each(|value| *value = flush(*value));
    }
    put_f32(w, i, std::array::from_fn(|n| flush(flush(a[n] * b[n]) + c[n])))
}

/// Executes a VOP2 opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Vop2) -> Done {
    use Vop2::*;
    if i.mods.clamp
        && let Some(done) = saturate::execute(w, i)
    {
        return done;
    }
    match op {
        CndmaskB32 => {
            let mask = lanes::carry_in(w, i);
            let (mut a, mut b) = (raw(w, i, 0), raw(w, i, 1));
            for (n, lanes) in [&mut a, &mut b].into_iter().enumerate() {
                if i.mods.abs >> n & 1 != 0 {
                    lanes.iter_mut().for_each(|value| *value &= 0x7fff_ffff);
                }
                if i.mods.neg >> n & 1 != 0 {
                    lanes.iter_mut().for_each(|value| *value ^= 0x8000_0000);
                }
            }
            put(w, i, &std::array::from_fn(|n| if mask >> n & 1 != 0 { b[n] } else { a[n] }))
        }
        AddF32 => single(w, i, |a, b| a + b),
        SubF32 => single(w, i, |a, b| a - b),
        SubrevF32 => single(w, i, |a, b| b - a),
        MulF32 => single(w, i, |a, b| a * b),
        // Zero times anything is zero.
        MulLegacyF32 => single(w, i, |a, b| if a == 0.0 || b == 0.0 { 0.0 } else { a * b }),
        MinF32 => single(w, i, minmax::min),
        MaxF32 => single(w, i, minmax::max),
        MulI32I24 => int(w, i, |a, b| sext24(a).wrapping_mul(sext24(b)) as u32),
        MulHiI32I24 => int(w, i, |a, b| ((i64::from(sext24(a)) * i64::from(sext24(b))) >> 32) as u32),
        MulU32U24 => int(w, i, |a, b| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff)),
        MulHiU32U24 => int(w, i, |a, b| ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 32) as u32),
        MinI32 => int(w, i, |a, b| (a as i32).min(b as i32) as u32),
        MaxI32 => int(w, i, |a, b| (a as i32).max(b as i32) as u32),
        MinU32 => int(w, i, u32::min),
        MaxU32 => int(w, i, u32::max),
        LshrrevB32 => int(w, i, |a, b| b >> (a & 31)),
        AshrrevI32 => int(w, i, |a, b| (b as i32 >> (a & 31)) as u32),
        LshlrevB32 => int(w, i, |a, b| b << (a & 31)),
        AndB32 => int(w, i, |a, b| a & b),
        OrB32 => int(w, i, |a, b| a | b),
        XorB32 => int(w, i, |a, b| a ^ b),
        XnorB32 => int(w, i, |a, b| !(a ^ b)),
        AddU32 => int(w, i, u32::wrapping_add),
        SubU32 => int(w, i, u32::wrapping_sub),
        SubrevU32 => int(w, i, |a, b| b.wrapping_sub(a)),
        AddCoU32 => carry(w, i, false, add_carry),
        SubCoU32 => carry(w, i, false, sub_borrow),
        SubrevCoU32 => carry(w, i, false, |a, b, c| sub_borrow(b, a, c)),
        AddcCoU32 => carry(w, i, true, add_carry),
        SubbCoU32 => carry(w, i, true, sub_borrow),
        SubbrevCoU32 => carry(w, i, true, |a, b, c| sub_borrow(b, a, c)),
        MacF32 | MadmkF32 | MadakF32 | FmacF32 | MacF16 | MadmkF16 | MadakF16 => accumulate(w, i, op),
        AddF16 => half2(w, i, |a, b| a + b),
        SubF16 => half2(w, i, |a, b| a - b),
        SubrevF16 => half2(w, i, |a, b| b - a),
        MulF16 => half2(w, i, |a, b| a * b),
        MaxF16 => half2(w, i, minmax::max),
        MinF16 => half2(w, i, minmax::min),
        LdexpF16 => {
            let (a, b) = (f16s(w, i, 0), raw(w, i, 1));
            put_f16(
                w,
                i,
                std::array::from_fn(|n| half::from_f64(float::ldexp64(a[n], i32::from(b[n] as i16)))),
            )
        }
        AddU16 => short(w, i, u16::wrapping_add),
        SubU16 => short(w, i, u16::wrapping_sub),
        SubrevU16 => short(w, i, |a, b| b.wrapping_sub(a)),
        MulLoU16 => short(w, i, u16::wrapping_mul),
        LshlrevB16 => short(w, i, |a, b| b << (a & 15)),
        LshrrevB16 => short(w, i, |a, b| b >> (a & 15)),
        AshrrevI16 => short(w, i, |a, b| (b as i16 >> (a & 15)) as u16),
        MaxU16 => short(w, i, u16::max),
        MinU16 => short(w, i, u16::min),
        MaxI16 => short(w, i, |a, b| (a as i16).max(b as i16) as u16),
        MinI16 => short(w, i, |a, b| (a as i16).min(b as i16) as u16),
    }
}
