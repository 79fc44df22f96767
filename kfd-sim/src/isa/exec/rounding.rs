//! Arithmetic in the other rounding directions: what the instructions do while MODE `[3:0]` is not 0.
//!
//! MODE `[1:0]` is for single precision, `[3:2]` for double and half. Sums, products, fused products, scaling, and
//! conversions follow it; conversions to integers, roots, reciprocals and the transcendental functions do not here.

use super::exact::{self, F16, F32, F64, Format, Round, Value};
use super::lanes::{f16_bits, f32s, f64s, flush, old_f16, put, put_f16, put_f32, put_f64, raw};
use super::wave::Wave;
use super::{Done, packed};
use crate::isa::decode::vop1::Vop1;
use crate::isa::decode::vop2::Vop2;
use crate::isa::decode::vop3::Vop3;
use crate::isa::decode::vop3p::Vop3p;
use crate::isa::inst::{Inst, Op, reg};

/// Rounding of MODE.
pub const ROUND: u32 = 0xf;

fn single(w: &Wave) -> Round {
    Round::of(w.mode)
}

/// Direction for f64 and f16.
pub fn other(w: &Wave) -> Round {
    Round::of(w.mode >> 2)
}

/// An operation on up to three values.
type Compute = fn(Value, Value, Value, Round) -> Value;

fn sum(a: Value, b: Value, _: Value, r: Round) -> Value {
    exact::add(a, b, r)
}

fn difference(a: Value, b: Value, _: Value, r: Round) -> Value {
    exact::add(a, exact::negate(b), r)
}

fn reverse_difference(a: Value, b: Value, _: Value, r: Round) -> Value {
    exact::add(b, exact::negate(a), r)
}

fn product(a: Value, b: Value, _: Value, _: Round) -> Value {
    exact::mul(a, b)
}

fn fused(a: Value, b: Value, c: Value, r: Round) -> Value {
    exact::add(exact::mul(a, b), c, r)
}

/// Rounds through a function on values.
fn round3(format: Format, r: Round, f: Compute, [a, b, c]: [u64; 3]) -> u64 {
    format.pack(f(format.unpack(a), format.unpack(b), format.unpack(c), r), r)
}

/// Single-precision sources in the order of `a * b + c`, whatever the opcode's form.
fn sources32(w: &Wave, i: &Inst) -> [[f32; 64]; 3] {
    let (a, b) = (f32s(w, i, 0), f32s(w, i, 1));
    let literal = [f32::from_bits(i.literal); 64];
    let old = || w.vgpr[usize::from(i.dst - reg::VGPR)].map(f32::from_bits);
    match i.op {
        Op::Vop2(Vop2::MadmkF32) => [a, literal, b],
        Op::Vop2(Vop2::MadakF32) => [a, b, literal],
        Op::Vop2(Vop2::MacF32) => [a, b, old()],
        Op::Vop2(Vop2::FmacF32) => {
            let keep = w.mode >> 4 & 1 != 0;
            [a, b, old().map(|value| if keep { value } else { flush(value) })]
        }
        _ if i.info.src.len() == 3 => [a, b, f32s(w, i, 2)],
        _ => [a, b, [0.0; 64]],
    }
}

fn sources16(w: &Wave, i: &Inst) -> [[u16; 64]; 3] {
    let (a, b) = (f16_bits(w, i, 0), f16_bits(w, i, 1));
    let literal = [i.literal as u16; 64];
    match i.op {
        Op::Vop2(Vop2::MadmkF16) => [a, literal, b],
        Op::Vop2(Vop2::MadakF16) => [a, b, literal],
        Op::Vop2(Vop2::MacF16) => [a, b, old_f16(w, i)],
        _ if i.info.src.len() == 3 => [a, b, f16_bits(w, i, 2)],
        _ => [a, b, [0; 64]],
    }
}

fn f32_op(w: &mut Wave, i: &Inst, f: Compute) -> Done {
    let (s, r) = (sources32(w, i), single(w));
    let out = std::array::from_fn(|n| {
        f32::from_bits(round3(F32, r, f, s.map(|lanes| u64::from(lanes[n].to_bits()))) as u32)
    });
    put_f32(w, i, out)
}

fn f16_op(w: &mut Wave, i: &Inst, f: Compute) -> Done {
    let (s, r) = (sources16(w, i), other(w));
    put_f16(w, i, std::array::from_fn(|n| round3(F16, r, f, s.map(|lanes| u64::from(lanes[n]))) as u16))
}

fn f64_op(w: &mut Wave, i: &Inst, f: Compute) -> Done {
    let third = if i.info.src.len() == 3 { f64s(w, i, 2) } else { [0.0; 64] };
    let (s, r) = ([f64s(w, i, 0), f64s(w, i, 1), third], other(w));
    put_f64(
        w,
        i,
        std::array::from_fn(|n| f64::from_bits(round3(F64, r, f, s.map(|lanes| lanes[n].to_bits())))),
    )
}

/// Products that are rounded before the sum. `legacy`: zero times anything is zero. f32 flushes denormals throughout.
fn mad32(w: &mut Wave, i: &Inst, legacy: bool) -> Done {
    let (s, r) = (sources32(w, i).map(|lanes| lanes.map(flush)), single(w));
    let bits = |value: f32| u64::from(value.to_bits());
    let out = std::array::from_fn(|n| {
        let [a, b, c] = [s[0][n], s[1][n], s[2][n]];
        let product = if legacy && (a == 0.0 || b == 0.0) {
            0.0
        } else {
            flush(f32::from_bits(round3(F32, r, product, [bits(a), bits(b), 0]) as u32))
        };
        flush(f32::from_bits(round3(F32, r, sum, [bits(product), bits(c), 0]) as u32))
    });
    put_f32(w, i, out)
}

fn mad16(w: &mut Wave, i: &Inst) -> Done {
    let (s, r) = (sources16(w, i), other(w));
    let out = std::array::from_fn(|n| {
        let [a, b, c] = s.map(|lanes| u64::from(lanes[n]));
        round3(F16, r, sum, [round3(F16, r, product, [a, b, 0]), c, 0]) as u16
    });
    put_f16(w, i, out)
}

/// Executes an instruction that rounds; none: its result does not depend on the direction.
#[cold]
pub fn execute(w: &mut Wave, i: &Inst) -> Option<Done> {
    let r32 = single(w);
    let r16 = other(w);
    let float = |bits: u64| f32::from_bits(bits as u32);
    Some(match i.op {
        Op::Vop1(op) => match op {
            Vop1::CvtF32F64 => {
                let a = f64s(w, i, 0);
                put_f32(w, i, a.map(|a| float(F32.pack(F64.unpack(a.to_bits()), r32))))
            }
            Vop1::CvtF32I32 => {
                let a = raw(w, i, 0);
                put_f32(w, i, a.map(|a| float(F32.pack(exact::integer(i64::from(a as i32)), r32))))
            }
            Vop1::CvtF32U32 => {
                let a = raw(w, i, 0);
                put_f32(w, i, a.map(|a| float(F32.pack(exact::integer(i64::from(a)), r32))))
            }
            Vop1::CvtF16F32 => {
                let a = f32s(w, i, 0);
                put_f16(w, i, a.map(|a| F16.pack(F32.unpack(u64::from(a.to_bits())), r16) as u16))
            }
            Vop1::CvtF16U16 => {
                let a = raw(w, i, 0);
                put_f16(w, i, a.map(|a| F16.pack(exact::integer(i64::from(a as u16)), r16) as u16))
            }
            Vop1::CvtF16I16 => {
                let a = raw(w, i, 0);
                put_f16(w, i, a.map(|a| F16.pack(exact::integer(i64::from(a as i16)), r16) as u16))
            }
            _ => return None,
        },
        Op::Vop2(op) => match op {
            Vop2::AddF32 => f32_op(w, i, sum),
            Vop2::SubF32 => f32_op(w, i, difference),
            Vop2::SubrevF32 => f32_op(w, i, reverse_difference),
            Vop2::MulF32 => f32_op(w, i, product),
            Vop2::MulLegacyF32 => f32_op(w, i, legacy_product),
            Vop2::MacF32 | Vop2::MadmkF32 | Vop2::MadakF32 => mad32(w, i, false),
            Vop2::FmacF32 => f32_op(w, i, fused),
            Vop2::AddF16 => f16_op(w, i, sum),
            Vop2::SubF16 => f16_op(w, i, difference),
            Vop2::SubrevF16 => f16_op(w, i, reverse_difference),
            Vop2::MulF16 => f16_op(w, i, product),
            Vop2::MacF16 | Vop2::MadmkF16 | Vop2::MadakF16 => mad16(w, i),
            Vop2::LdexpF16 => {
                let (a, b) = (f16_bits(w, i, 0), raw(w, i, 1));
                let scaled = |n: usize| exact::scale(F16.unpack(u64::from(a[n])), i32::from(b[n] as i16));
                put_f16(w, i, std::array::from_fn(|n| F16.pack(scaled(n), r16) as u16))
            }
            _ => return None,
        },
        Op::Vop3(op) => match op {
            Vop3::FmaF32 => f32_op(w, i, fused),
            Vop3::FmaF64 => f64_op(w, i, fused),
            Vop3::AddF64 => f64_op(w, i, sum),
            Vop3::MulF64 => f64_op(w, i, product),
            Vop3::MadF32 => mad32(w, i, false),
            Vop3::MadLegacyF32 => mad32(w, i, true),
            Vop3::MadF16 | Vop3::MadLegacyF16 => mad16(w, i),
            Vop3::FmaF16 | Vop3::FmaLegacyF16 => f16_op(w, i, fused),
            Vop3::LdexpF32 => {
                let (a, b) = (f32s(w, i, 0), raw(w, i, 1));
                let scaled = |n: usize| exact::scale(F32.unpack(u64::from(a[n].to_bits())), b[n] as i32);
                put_f32(w, i, std::array::from_fn(|n| float(F32.pack(scaled(n), r32))))
            }
            Vop3::LdexpF64 => {
                let (a, b) = (f64s(w, i, 0), raw(w, i, 1));
                let scaled = |n: usize| exact::scale(F64.unpack(a[n].to_bits()), b[n] as i32);
                put_f64(w, i, std::array::from_fn(|n| f64::from_bits(F64.pack(scaled(n), r16))))
            }
            _ => return None,
        },
        Op::Vop3p(op) => match op {
            Vop3p::PkAddF16 => packed_op(w, i, sum),
            Vop3p::PkMulF16 => packed_op(w, i, product),
            Vop3p::PkFmaF16 => packed_op(w, i, fused),
            Vop3p::FmaMixF32 => {
                let s = [packed::mixed(w, i, 0), packed::mixed(w, i, 1), packed::mixed(w, i, 2)];
                put_f32(w, i, std::array::from_fn(|n| float(F32.pack(mix(&s, n, r32), r32))))
            }
            Vop3p::FmaMixloF16 | Vop3p::FmaMixhiF16 => {
                let s = [packed::mixed(w, i, 0), packed::mixed(w, i, 1), packed::mixed(w, i, 2)];
                let out = std::array::from_fn(|n| F16.pack(mix(&s, n, r16), r16) as u16);
                let merged = packed::merge_half(w, i, &out, op == Vop3p::FmaMixhiF16);
                put(w, i, &merged)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Zero times anything is zero.
fn legacy_product(a: Value, b: Value, _: Value, _: Round) -> Value {
    let zero = |value| matches!(value, Value::Finite { significand: 0, .. });
    if zero(a) || zero(b) { exact::integer(0) } else { exact::mul(a, b) }
}

/// `a * b + c` of mixed sources, which f64 holds exactly.
fn mix(s: &[[f64; 64]; 3], n: usize, r: Round) -> Value {
    let value = |at: usize| F64.unpack(s[at][n].to_bits());
    fused(value(0), value(1), value(2), r)
}

fn packed_op(w: &mut Wave, i: &Inst, f: Compute) -> Done {
    let r = other(w);
    packed::float_bits(w, i, |from| round3(F16, r, f, from.map(u64::from)) as u16)
}
