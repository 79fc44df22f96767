//! VOP3P: two 16-bit operations at once, dot products, FMA of mixed precision.
//!
//! `v_dot2_f32_f16` sums its products in f64 and rounds once; the ISA leaves its intermediate rounding open.

use super::lanes::{put, put_f32, raw};
use super::wave::Wave;
use super::{Done, Lanes, half, minmax};
use crate::isa::decode::vop3p::Vop3p;
use crate::isa::inst::{Inst, reg};

/// The half of source `n` that goes into the low (`high` false) or high result.
fn pick(i: &Inst, value: u32, n: usize, high: bool) -> u16 {
    let mask = if high { i.mods.op_sel_hi } else { i.mods.op_sel };
    if mask >> n & 1 != 0 { (value >> 16) as u16 } else { value as u16 }
}

/// As `pick`, negated as the float modifiers say.
fn pick_float(i: &Inst, value: u32, n: usize, high: bool) -> u16 {
    let negated = if high { i.mods.neg_hi } else { i.mods.neg };
    pick(i, value, n, high) ^ if negated >> n & 1 != 0 { 0x8000 } else { 0 }
}

fn sources(w: &Wave, i: &Inst) -> [Lanes; 3] {
    std::array::from_fn(|n| if n < i.info.src.len() { raw(w, i, n) } else { [0; 64] })
}

/// Applies a 16-bit operation to both halves.
fn halves(w: &mut Wave, i: &Inst, float: bool, f: impl Fn([u16; 3]) -> u16) -> Done {
    let from = sources(w, i);
    let out = std::array::from_fn(|lane| {
        let half = |high: bool| {
            u32::from(f(std::array::from_fn(|n| {
                let value = from[n][lane];
                if float { pick_float(i, value, n, high) } else { pick(i, value, n, high) }
            })))
        };
        half(false) | half(true) << 16
    });
    put(w, i, &out)
}

/// A float operation on the bits of both halves, with clamp and MODE's denormals.
pub fn float_bits(w: &mut Wave, i: &Inst, f: impl Fn([u16; 3]) -> u16) -> Done {
    let denormals = w.mode >> 6 & 3;
    let finish = Finish::new(w, i);
    halves(w, i, true, |from| {
        let from = from.map(|bits| flush(bits, denormals & 1 != 0));
        finish.apply(f(from))
    })
}

/// As [`float_bits`], on values.
fn floats(w: &mut Wave, i: &Inst, f: impl Fn(f64, f64, f64) -> u16) -> Done {
    float_bits(w, i, |from| {
        let [a, b, c] = from.map(half::to_f64);
        f(a, b, c)
    })
}

fn flush(bits: u16, keep: bool) -> u16 {
    if !keep && bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

/// What is done to a half-precision result: denormals as MODE says, clamp.
struct Finish {
    keep: bool,
    dx10: bool,
    clamp: bool,
}

impl Finish {
    fn new(w: &Wave, i: &Inst) -> Finish {
        Finish { keep: w.mode >> 7 & 1 != 0, dx10: w.mode >> 8 & 1 != 0, clamp: i.mods.clamp }
    }

    fn apply(&self, bits: u16) -> u16 {
        let bits = flush(bits, self.keep);
        let value = half::to_f64(bits);
        match self.clamp {
            false => bits,
            true if value.is_nan() => {
                if self.dx10 {
                    0
                } else {
                    bits
                }
            }
            true => half::from_f64(if value > 0.0 { value.min(1.0) } else { 0.0 }),
        }
    }
}

/// The destination with one half replaced by results.
pub fn merge_half(w: &Wave, i: &Inst, out: &[u16; 64], high: bool) -> Lanes {
    let finish = Finish::new(w, i);
    let old = &w.vgpr[usize::from(i.dst - reg::VGPR)];
    std::array::from_fn(|n| {
        let bits = u32::from(finish.apply(out[n]));
        if high { old[n] & 0xffff | bits << 16 } else { old[n] & 0xffff_0000 | bits }
    })
}

fn signed(w: &mut Wave, i: &Inst, f: impl Fn(i32, i32, i32) -> i32) -> Done {
    let clamp = i.mods.clamp;
    halves(w, i, false, |from| {
        let [a, b, c] = from.map(|bits| i32::from(bits as i16));
        let value = f(a, b, c);
        if clamp { value.clamp(-32768, 32767) as u16 } else { value as u16 }
    })
}

fn unsigned(w: &mut Wave, i: &Inst, f: impl Fn(i64, i64, i64) -> i64) -> Done {
    let clamp = i.mods.clamp;
    halves(w, i, false, |from| {
        let [a, b, c] = from.map(i64::from);
        let value = f(a, b, c);
        if clamp { value.clamp(0, 65535) as u16 } else { value as u16 }
    })
}

/// Source `n` of `v_fma_mix*` as f64 (exact): an f32, or one half as f16.
pub fn mixed(w: &Wave, i: &Inst, n: usize) -> [f64; 64] {
    let keep = [w.mode >> 4 & 1 != 0, w.mode >> 6 & 1 != 0];
    raw(w, i, n).map(|bits| {
        let value = if i.mods.op_sel_hi >> n & 1 == 0 {
            let value = f32::from_bits(bits);
            f64::from(if keep[0] { value } else { super::lanes::flush(value) })
        } else {
            let bits = if i.mods.op_sel >> n & 1 != 0 { (bits >> 16) as u16 } else { bits as u16 };
            half::to_f64(flush(bits, keep[1]))
        };
        let value = if i.mods.neg_hi >> n & 1 != 0 { value.abs() } else { value };
        if i.mods.neg >> n & 1 != 0 { -value } else { value }
    })
}

/// A dot product of integer parts `width` bits wide, signed or not, plus a 32-bit addend.
fn dot(w: &mut Wave, i: &Inst, width: u32, is_signed: bool) -> Done {
    let [a, b, c] = sources(w, i);
    let part = |value: u32, n: u32| {
        let bits = value >> (n * width) & ((1 << width) - 1);
        if is_signed { i64::from((bits << (32 - width)) as i32 >> (32 - width)) } else { i64::from(bits) }
    };
    let out = std::array::from_fn(|lane| {
        let products = (0..32 / width).map(|n| {
            if width == 16 {
                let high = n == 1;
                let x = u32::from(pick(i, a[lane], 0, high));
                let y = u32::from(pick(i, b[lane], 1, high));
                part(x, 0) * part(y, 0)
            } else {
                part(a[lane], n) * part(b[lane], n)
            }
        });
        let products: i64 = products.sum();
        if is_signed {
            let sum = products + i64::from(c[lane] as i32);
            if i.mods.clamp { sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as u32 } else { sum as u32 }
        } else {
            let sum = products + i64::from(c[lane]);
            if i.mods.clamp { sum.min(i64::from(u32::MAX)) as u32 } else { sum as u32 }
        }
    });
    put(w, i, &out)
}

/// Executes a VOP3P opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Vop3p) -> Done {
    use Vop3p::*;
    match op {
        PkMadI16 => signed(w, i, |a, b, c| a * b + c),
        PkMadU16 => unsigned(w, i, |a, b, c| a * b + c),
        PkMulLoU16 => unsigned(w, i, |a, b, _| a * b),
        PkAddI16 => signed(w, i, |a, b, _| a + b),
        PkSubI16 => signed(w, i, |a, b, _| a - b),
        PkAddU16 => unsigned(w, i, |a, b, _| a + b),
        PkSubU16 => unsigned(w, i, |a, b, _| a - b),
        PkLshlrevB16 => halves(w, i, false, |[a, b, _]| b << (a & 15)),
        PkLshrrevB16 => halves(w, i, false, |[a, b, _]| b >> (a & 15)),
        PkAshrrevI16 => halves(w, i, false, |[a, b, _]| (b as i16 >> (a & 15)) as u16),
        PkMaxI16 => signed(w, i, |a, b, _| a.max(b)),
        PkMinI16 => signed(w, i, |a, b, _| a.min(b)),
        PkMaxU16 => unsigned(w, i, |a, b, _| a.max(b)),
        PkMinU16 => unsigned(w, i, |a, b, _| a.min(b)),
        PkFmaF16 => floats(w, i, half::fma),
        PkAddF16 => floats(w, i, |a, b, _| half::from_f64(a + b)),
        PkMulF16 => floats(w, i, |a, b, _| half::from_f64(a * b)),
        PkMinF16 => floats(w, i, |a, b, _| half::from_f64(minmax::min(a, b))),
        PkMaxF16 => floats(w, i, |a, b, _| half::from_f64(minmax::max(a, b))),
        FmaMixF32 => {
            let (a, b, c) = (mixed(w, i, 0), mixed(w, i, 1), mixed(w, i, 2));
            // Sources are f32 values, so this is the fused f32 operation.
            let single = |lanes: [f64; 64]| lanes.map(|value| value as f32);
            put_f32(w, i, super::float::fma32(&single(a), &single(b), &single(c)))
        }
        FmaMixloF16 | FmaMixhiF16 => {
            let (a, b, c) = (mixed(w, i, 0), mixed(w, i, 1), mixed(w, i, 2));
            let out = std::array::from_fn(|n| half::fma(a[n], b[n], c[n]));
            let merged = merge_half(w, i, &out, op == FmaMixhiF16);
            put(w, i, &merged)
        }
        Dot2F32F16 => {
            let [a, b, c] = sources(w, i);
            let negative = i.mods.neg >> 2 & 1 != 0;
            put_f32(
                w,
                i,
                std::array::from_fn(|lane| {
                    let product = |high: bool| {
                        half::to_f64(pick_float(i, a[lane], 0, high))
                            * half::to_f64(pick_float(i, b[lane], 1, high))
                    };
                    let addend = f64::from(f32::from_bits(c[lane]));
                    (product(false) + product(true) + if negative { -addend } else { addend }) as f32
                }),
            )
        }
        Dot2I32I16 => dot(w, i, 16, true),
        Dot2U32U16 => dot(w, i, 16, false),
        Dot4I32I8 => dot(w, i, 8, true),
        Dot4U32U8 => dot(w, i, 8, false),
        Dot8I32I4 => dot(w, i, 4, true),
        Dot8U32U4 => dot(w, i, 4, false),
    }
}
