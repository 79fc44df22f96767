//! VOPC: comparisons of every lane into a lane mask, and `v_cmpx`, which narrows EXEC as well.
//!
//! Opcode numbers are regular: the low 4 bits (float) or 3 bits (integer) are the condition, the bits above the type.

use super::Done;
use super::lanes::{active, bits, f16s, f32s, f64s, put_mask, raw, raw64};
use super::wave::Wave;
use crate::isa::decode::vopc::Vopc;
use crate::isa::inst::{Inst, Ty, reg};

/// A condition on floats, numbered as in the opcode. The second half is the negation of the first.
// Written as the opcodes are named: NaN makes every comparison false and its negation true.
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::nonminimal_bool)]
#[allow(clippy::double_comparisons)]
fn float(condition: u16, a: f64, b: f64) -> bool {
    let ordered = !a.is_nan() && !b.is_nan();
    match condition & 15 {
        0 => false,
        1 => a < b,
        2 => a == b,
        3 => a <= b,
        4 => a > b,
        5 => a < b || a > b,
        6 => a >= b,
        7 => ordered,
        8 => !ordered,
        9 => !(a >= b),
        10 => !(a < b || a > b),
        11 => !(a > b),
        12 => !(a <= b),
        13 => a != b,
        14 => !(a < b),
        _ => true,
    }
}

/// A condition on integers, numbered as in the opcode.
#[inline]
fn integer<T: Copy + Ord>(condition: u16, test: impl Fn(usize) -> (T, T)) -> u64 {
    match condition & 7 {
        0 => 0,
        1 => bits(|n| test(n).0 < test(n).1),
        2 => bits(|n| test(n).0 == test(n).1),
        3 => bits(|n| test(n).0 <= test(n).1),
        4 => bits(|n| test(n).0 > test(n).1),
        5 => bits(|n| test(n).0 != test(n).1),
        6 => bits(|n| test(n).0 >= test(n).1),
        _ => u64::MAX,
    }
}

/// Class of a float as the bit of `v_cmp_class`'s mask; `quiet` is the top fraction bit.
fn class(sign: bool, exponent_zero: bool, exponent_full: bool, fraction: u64, quiet: bool) -> u32 {
    match (exponent_zero, exponent_full, fraction == 0, sign) {
        (_, true, false, _) => u32::from(quiet),
        (_, true, true, true) => 2,
        (true, _, true, true) => 5,
        (true, _, false, true) => 4,
        (false, false, _, true) => 3,
        (true, _, true, false) => 6,
        (true, _, false, false) => 7,
        (false, false, _, false) => 8,
        (_, true, true, false) => 9,
    }
}

fn class_of(value: u64, ty: Ty) -> u32 {
    let (exponent_bits, fraction_bits) = match ty {
        Ty::F16 => (5, 10),
        Ty::F32 => (8, 23),
        _ => (11, 52),
    };
    let fraction = value & ((1 << fraction_bits) - 1);
    let exponent = value >> fraction_bits & ((1 << exponent_bits) - 1);
    let full = (1 << exponent_bits) - 1;
    let sign = value >> (exponent_bits + fraction_bits) & 1 != 0;
    class(sign, exponent == 0, exponent == full, fraction, fraction >> (fraction_bits - 1) & 1 != 0)
}

/// Source 0 of `v_cmp_class` with its modifiers: bits, never flushed.
fn class_source(w: &Wave, i: &Inst) -> [u64; 64] {
    let ty = i.info.src[0];
    let sign = match ty {
        Ty::F16 => 1 << 15,
        Ty::F32 => 1 << 31,
        _ => 1u64 << 63,
    };
    let mut values = if ty == Ty::F64 { raw64(w, i, 0) } else { raw(w, i, 0).map(u64::from) };
    for value in &mut values {
        if i.mods.abs & 1 != 0 {
            *value &= !sign;
        }
        if i.mods.neg & 1 != 0 {
            *value ^= sign;
        }
    }
    values
}

/// Executes a VOPC opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Vopc) -> Done {
    // Opcode number: what the tables and conditions are numbered by.
    let code = Vopc::TABLE[op as usize].0;
    let mask = if code < 0x20 {
        let (values, wanted) = (class_source(w, i), raw(w, i, 1));
        let ty = i.info.src[0];
        bits(|n| wanted[n] >> class_of(values[n], ty) & 1 != 0)
    } else {
        match i.info.src[0] {
            Ty::F32 => {
                let (a, b) = (f32s(w, i, 0), f32s(w, i, 1));
                match code & 15 {
                    1 => bits(|n| a[n] < b[n]),
                    2 => bits(|n| a[n] == b[n]),
                    3 => bits(|n| a[n] <= b[n]),
                    4 => bits(|n| a[n] > b[n]),
                    6 => bits(|n| a[n] >= b[n]),
                    _ => bits(|n| float(code, f64::from(a[n]), f64::from(b[n]))),
                }
            }
            Ty::F64 => {
                let (a, b) = (f64s(w, i, 0), f64s(w, i, 1));
                bits(|n| float(code, a[n], b[n]))
            }
            Ty::F16 => {
                let (a, b) = (f16s(w, i, 0), f16s(w, i, 1));
                bits(|n| float(code, a[n], b[n]))
            }
            Ty::I16 => {
                let (a, b) = (raw(w, i, 0), raw(w, i, 1));
                if code & 8 == 0 {
                    integer(code, |n| (a[n] as i16, b[n] as i16))
                } else {
                    integer(code, |n| (a[n] as u16, b[n] as u16))
                }
            }
            Ty::I32 => {
                let (a, b) = (raw(w, i, 0), raw(w, i, 1));
                if code & 8 == 0 {
                    integer(code, |n| (a[n] as i32, b[n] as i32))
                } else {
                    integer(code, |n| (a[n], b[n]))
                }
            }
            _ => {
                let (a, b) = (raw64(w, i, 0), raw64(w, i, 1));
                if code & 8 == 0 {
                    integer(code, |n| (a[n] as i64, b[n] as i64))
                } else {
                    integer(code, |n| (a[n], b[n]))
                }
            }
        }
    };
    let narrows = code & 0x10 != 0 && code >= 0x20 || code < 0x20 && code & 1 != 0;
    let mask = mask & active(w, i);
    put_mask(w, i, mask);
    if narrows {
        w.set_pair(reg::EXEC, mask);
    }
    Ok(())
}
