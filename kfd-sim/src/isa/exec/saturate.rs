//! Integer vector instructions with the clamp bit: the exact result, limited to what the destination can hold.
//!
//! Compilers use it for saturating sums (`llvm.uadd.sat`, `llvm.ssub.sat`). The carry of a clamped sum is the carry of the
//! exact one.

use super::Done;
use super::lanes::{self, bits, put, put_mask, put16, put64, raw, raw64};
use super::wave::Wave;
use crate::isa::decode::vop2::Vop2;
use crate::isa::decode::vop3::Vop3;
use crate::isa::inst::{Inst, Op, Ty};

/// A result that has room for every intermediate sum and product.
type Exact = fn(i128, i128, i128) -> i128;

/// How an operand is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Unsigned, with so many bits.
    U(u32),
    /// Signed, with so many bits.
    S(u32),
}

impl Read {
    fn of(self, value: u64) -> i128 {
        match self {
            Read::U(n) => i128::from(value << (64 - n) >> (64 - n)),
            Read::S(n) => i128::from((value << (64 - n)) as i64 >> (64 - n)),
        }
    }

    /// The nearest value that the destination can hold.
    fn limit(self, value: i128) -> u64 {
        match self {
            Read::U(n) => value.clamp(0, (1 << n) - 1) as u64,
            Read::S(n) => value.clamp(-(1 << (n - 1)), (1 << (n - 1)) - 1) as u64,
        }
    }
}

/// Sources, destination and exact result of the opcodes that can be clamped.
fn meaning(i: &Inst) -> Option<([Read; 3], Read, Exact)> {
    use Read::{S, U};
    let (u32x3, s32x3, u16x3, s16x3) = ([U(32); 3], [S(32); 3], [U(16); 3], [S(16); 3]);
    Some(match i.op {
        Op::Vop2(op) => {
            use Vop2::*;
            match op {
                AddU32 | AddCoU32 => (u32x3, U(32), |a, b, _| a + b),
                SubU32 | SubCoU32 => (u32x3, U(32), |a, b, _| a - b),
                SubrevU32 | SubrevCoU32 => (u32x3, U(32), |a, b, _| b - a),
                // The third source is the carry.
                AddcCoU32 => (u32x3, U(32), |a, b, c| a + b + c),
                SubbCoU32 => (u32x3, U(32), |a, b, c| a - b - c),
                SubbrevCoU32 => (u32x3, U(32), |a, b, c| b - a - c),
                AddU16 => (u16x3, U(16), |a, b, _| a + b),
                SubU16 => (u16x3, U(16), |a, b, _| a - b),
                SubrevU16 => (u16x3, U(16), |a, b, _| b - a),
                MulU32U24 => ([U(24); 3], U(32), |a, b, _| a * b),
                MulI32I24 => ([S(24); 3], S(32), |a, b, _| a * b),
                _ => return None,
            }
        }
        Op::Vop3(op) => {
            use Vop3::*;
            match op {
                AddI32 => (s32x3, S(32), |a, b, _| a + b),
                SubI32 => (s32x3, S(32), |a, b, _| a - b),
                AddI16 => (s16x3, S(16), |a, b, _| a + b),
                SubI16 => (s16x3, S(16), |a, b, _| a - b),
                MadU32U24 => ([U(24), U(24), U(32)], U(32), |a, b, c| a * b + c),
                MadI32I24 => ([S(24), S(24), S(32)], S(32), |a, b, c| a * b + c),
                MadU16 | MadLegacyU16 => (u16x3, U(16), |a, b, c| a * b + c),
                MadI16 | MadLegacyI16 => (s16x3, S(16), |a, b, c| a * b + c),
                MadU32U16 => ([U(16), U(16), U(32)], U(32), |a, b, c| a * b + c),
                MadI32I16 => ([S(16), S(16), S(32)], S(32), |a, b, c| a * b + c),
                MadU64U32 => ([U(32), U(32), U(64)], U(64), |a, b, c| a * b + c),
                MadI64I32 => ([S(32), S(32), S(64)], S(64), |a, b, c| a * b + c),
                SadU8 => (u32x3, U(32), |a, b, c| sad8(a, b, false) + c),
                MsadU8 => (u32x3, U(32), |a, b, c| sad8(a, b, true) + c),
                SadHiU8 => (u32x3, U(32), |a, b, c| (sad8(a, b, false) << 16) + c),
                SadU16 => (u32x3, U(32), |a, b, c| {
                    c + ((a & 0xffff) - (b & 0xffff)).abs() + ((a >> 16) - (b >> 16)).abs()
                }),
                SadU32 => (u32x3, U(32), |a, b, c| (a - b).abs() + c),
                // Nothing to limit.
                Min3I16 => (s16x3, S(16), |a, b, c| a.min(b).min(c)),
                Max3I16 => (s16x3, S(16), |a, b, c| a.max(b).max(c)),
                Med3I16 => (s16x3, S(16), |a, b, c| a.max(b).min(a.min(b).max(c))),
                Min3U16 => (u16x3, U(16), |a, b, c| a.min(b).min(c)),
                Max3U16 => (u16x3, U(16), |a, b, c| a.max(b).max(c)),
                Med3U16 => (u16x3, U(16), |a, b, c| a.max(b).min(a.min(b).max(c))),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// Sum of absolute differences of bytes; `masked`: without those where `b` is 0.
fn sad8(a: i128, b: i128, masked: bool) -> i128 {
    let byte = |value: i128, n: u32| value >> (8 * n) & 255;
    (0..4).filter(|n| !masked || byte(b, *n) != 0).map(|n| (byte(a, n) - byte(b, n)).abs()).sum()
}

/// Executes a clamped integer instruction; none: the opcode has no clamped form, or is no integer's.
#[cold]
pub fn execute(w: &mut Wave, i: &Inst) -> Option<Done> {
    let (read, dst, exact) = meaning(i)?;
    let wide = |n: usize| i.info.src.get(n).is_some_and(|ty| ty.dwords() == 2);
    let source = |n: usize| -> [u64; 64] {
        match n {
            2 if i.reads_carry() => {
                let mask = lanes::carry_in(w, i);
                std::array::from_fn(|lane| mask >> lane & 1)
            }
            n if n >= i.info.src.len() => [0; 64],
            n if wide(n) => raw64(w, i, n),
            n => raw(w, i, n).map(u64::from),
        }
    };
    let (a, b, c) = (source(0), source(1), source(2));
    let values: [i128; 64] =
        std::array::from_fn(|n| exact(read[0].of(a[n]), read[1].of(b[n]), read[2].of(c[n])));
    let out = values.map(|value| dst.limit(value));
    let done = match i.info.dst {
        Ty::B64 | Ty::I64 => put64(w, i, &out),
        Ty::I16 => put16(w, i, &out.map(|value| value as u32)),
        _ => put(w, i, &out.map(|value| value as u32)),
    };
    if done.is_ok() && i.writes_carry() {
        let width = if wide(2) { 64 } else { 32 };
        put_mask(w, i, bits(|n| values[n] < 0 && read[0] == Read::U(32) || values[n] >> width > 0));
    }
    Some(done)
}
